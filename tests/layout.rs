//! Arrows point one way: `src` names no cloud.

use std::path::Path;

#[test]
fn the_planner_names_no_cloud() {
    let mut found = Vec::new();
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(
        found.is_empty(),
        "what only one cloud knows belongs into its crate:\n{}",
        found.join("\n")
    );
}

fn visit(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("src is there") {
        let path = entry.expect("src can be read").path();
        // Tests may name whatever they test with.
        let is_test = path.file_stem().is_some_and(|stem| stem.to_string_lossy().contains("test"));
        if path.is_dir() && !is_test {
            visit(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test {
            let text = std::fs::read_to_string(&path).expect("sources are text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (index, line) in code.lines().enumerate() {
                let line = line.split("//").next().unwrap_or_default().to_lowercase();
                let mut words = line.split(|c: char| !c.is_ascii_alphanumeric());
                if words.any(|word| ["aws", "gcp", "azure", "azurerm", "google"].contains(&word)) {
                    found.push(format!("{}:{}: {}", path.display(), index + 1, line.trim()));
                }
            }
        }
    }
}

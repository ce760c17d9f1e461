//! Saved plans: a line that says what the file is and the plan's hash, then the plan.

use std::path::Path;

use crate::diagnostic::Diagnostic;
use crate::plan::Plan;

const MAGIC: &str = "fleetform plan 1";

pub fn write(path: &Path, plan: &Plan) -> Result<(), Vec<Diagnostic>> {
    let body = serde_json::to_string(plan).expect("plans serialize");
    let text = format!("{MAGIC} {}\n{body}\n", plan.hash());
    std::fs::write(path, text).map_err(|error| {
        vec![Diagnostic::error(
            "The plan could not be saved",
            format!("Writing {}: {error}.", path.display()),
        )]
    })
}

/// Reads a plan and checks that it is whole: its hash is over every byte that matters.
pub fn read(path: &Path) -> Result<Plan, Vec<Diagnostic>> {
    let bad = |why: String, hint: &str| {
        let what = format!("{} {why}.", path.display());
        vec![Diagnostic::error("Not a usable plan file", what).hint(hint)]
    };
    let text = match std::fs::read(path) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| {
            bad("is no text".into(), "plans are written by `fleetform plan -out=FILE`")
        })?,
        Err(error) => {
            return Err(bad(
                format!("cannot be read: {error}"),
                "give a plan file, or a directory with *.hcl files",
            ));
        }
    };
    let (head, body) = text.split_once('\n').unwrap_or((&text, ""));
    let Some(hash) = head.strip_prefix(MAGIC).map(str::trim) else {
        return Err(bad(
            "is no plan of this version of Fleetform".into(),
            "plans are written by `fleetform plan -out=FILE`",
        ));
    };
    let plan: Plan = serde_json::from_str(body)
        .map_err(|error| bad(format!("is damaged: {error}"), "plan again"))?;
    if plan.hash() != hash {
        return Err(bad("is damaged: its hash does not match".into(), "plan again"));
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_refused() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("p.plan");
        let plan: Plan = serde_json::from_value(serde_json::json!({
            "format": 1, "fleetform_version": "0", "stack": "chat", "lineage": "l", "serial": 3,
            "operation": "apply", "changes": [], "drift": [], "outputs": {}, "checks": [],
            "placement": null, "cost_before_month": null, "created": "2026-01-01T00:00:00Z",
            "inputs": { "directory": ".", "environment": null, "variables": {},
                "variable_files": [], "sandbox": true, "sources": {} },
        }))
        .expect("a plan");
        write(&path, &plan).expect("written");
        assert_eq!(read(&path).expect("read"), plan);
        let text = std::fs::read_to_string(&path).expect("text");
        for (from, to) in
            [("\"serial\":3", "\"serial\":4"), ("fleetform plan 1", "something"), ("}\n", "")]
        {
            std::fs::write(&path, text.replace(from, to)).expect("written");
            let error = read(&path).expect_err("a damaged plan is refused");
            assert_eq!(error[0].summary, "Not a usable plan file");
        }
    }
}

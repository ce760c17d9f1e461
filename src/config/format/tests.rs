//! Formatting, against what `terraform fmt` 1.11 made of the same texts (`samples.txt`).

use super::*;

fn samples() -> Vec<(String, String)> {
    let text = include_str!("samples.txt");
    let samples = text.split("<<<<<<<<\n").filter(|sample| !sample.is_empty());
    samples
        .map(|sample| {
            let (input, output) = sample.split_once("========\n").expect("a sample has two parts");
            (input.to_owned(), output.to_owned())
        })
        .collect()
}

#[test]
fn texts_are_formatted_as_terraform_does() {
    let samples = samples();
    assert!(samples.len() > 30, "{}", samples.len());
    let mut wrong = String::new();
    for (input, expected) in samples {
        let found = formatted(&input);
        if found != expected {
            wrong += &format!("{input}--- gives\n{found}--- not\n{expected}\n");
        }
        assert_eq!(formatted(&found), found, "twice");
    }
    assert_eq!(wrong, "");
}

#[test]
fn line_ends_and_the_last_line_stay() {
    assert_eq!(formatted("a=1\r\nbb=2 # x  \r\n"), "a  = 1\nbb = 2 # x\n");
    assert_eq!(formatted("a=1"), "a = 1");
    assert_eq!(formatted(""), "");
    assert_eq!(format("\u{feff}a=1\n").expect("a mark is no mistake"), "a = 1\n");
}

#[test]
fn what_is_no_hcl_is_refused() {
    let failure = format_named("main.hcl", "a = [\n").expect_err("a bracket is open");
    assert_eq!(failure.diagnostics[0].summary, "Unclosed bracket");
    assert!(failure.sources.files.contains_key("main.hcl"));
    assert!(format("a = \"x\nb = 1\n").is_err());
}

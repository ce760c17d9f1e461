//! The table of Terraform's results, and what a table cannot say: limits, paths, names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;
use crate::config::evaluate_alone;

/// An expression and the JSON of its value, or `error: …`.
struct Row {
    expression: String,
    result: String,
    /// Comment lines directly above it.
    comment: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/functions")
}

/// The rows of a table; `generate-table` explains the format.
fn read_table(source: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let (mut expression, mut comment) = (Vec::new(), String::new());
    for line in source.lines() {
        if let Some(result) = line.strip_prefix("=> ") {
            let expression = std::mem::take(&mut expression).join("\n");
            let comment = std::mem::take(&mut comment);
            rows.push(Row { expression, result: result.to_owned(), comment });
        } else if expression.is_empty() && line.is_empty() {
            comment.clear();
        } else if expression.is_empty() && line.starts_with("# ") {
            comment.push_str(line);
        } else {
            expression.push(line);
        }
    }
    assert!(expression.is_empty(), "a row without a result: {expression:?}");
    rows
}

fn table() -> Vec<Row> {
    read_table(include_str!("table.txt"))
}

/// The JSON of an expression's value as our evaluator computes it, or `error: …`.
fn evaluate(expression: &str) -> String {
    match evaluate_alone(&format!("jsonencode(\n{expression}\n)"), &folder()) {
        Ok(Value::String(json)) => json,
        Ok(other) => format!("not a string: {other:?}"),
        Err(error) => format!("error: {}: {}", error.summary, error.detail),
    }
}

/// Errors agree whatever their words are.
fn agree(left: &str, right: &str) -> bool {
    left == right || left.starts_with("error: ") && right.starts_with("error: ")
}

#[test]
fn results_are_those_of_terraform() {
    let deviations = read_table(include_str!("deviations.txt"));
    let mut deviating: BTreeMap<&str, &Row> =
        deviations.iter().map(|row| (row.expression.as_str(), row)).collect();
    let mut wrong = String::new();
    let rows = table();
    for row in &rows {
        let ours = evaluate(&row.expression);
        let deviation = deviating.remove(row.expression.as_str());
        if let Some(deviation) = deviation {
            assert!(!deviation.comment.is_empty(), "no reason: {}", row.expression);
            assert!(
                !agree(&deviation.result, &row.result),
                "no deviation any more: {}",
                row.expression
            );
        }
        let expected = deviation.map_or(&row.result, |deviation| &deviation.result);
        if !agree(&ours, expected) {
            let _ =
                writeln!(wrong, "{}\n   expected {expected}\n   got      {ours}", row.expression);
        }
    }
    assert!(deviating.is_empty(), "not in the table: {:?}", deviating.keys());
    assert!(rows.len() > 1000, "the table has only {} rows", rows.len());
    assert!(wrong.is_empty(), "{} mismatches:\n{wrong}", wrong.matches("expected").count());
}

/// Asks the installed Terraform for a sample of the table, so that the table stays honest.
#[test]
fn the_table_is_what_terraform_says() {
    let installed = Command::new("terraform").arg("version").output();
    let Some(version) = installed.ok().filter(|output| output.status.success()) else {
        println!("skipped: Terraform is not installed");
        return;
    };
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    if !version.contains("v1.11.") {
        println!("skipped: the table is of Terraform 1.11, installed is {version}");
        return;
    }
    let rows = table();
    let values = rows.iter().filter(|row| {
        // Relative paths start elsewhere there.
        !row.result.starts_with("error: ") && !row.expression.contains("fixtures")
    });
    let sample: Vec<&Row> = values.step_by(5).collect();
    let mut locals = String::from("locals {\n");
    for (number, row) in sample.iter().enumerate() {
        let _ = writeln!(locals, "r{number} = jsonencode(\n{}\n)", row.expression);
    }
    locals.push_str("}\n");
    let names: Vec<String> = (0..sample.len()).map(|number| format!("local.r{number}")).collect();
    let directory = tempfile::tempdir().expect("a directory can be made");
    std::fs::write(directory.path().join("rows.tf"), locals).expect("a file can be written");
    let mut console = Command::new("terraform")
        .args(["console", "-no-color"])
        .current_dir(directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Terraform is installed");
    let question = format!("jsonencode([{}])\n", names.join(", "));
    let mut input = console.stdin.take().expect("its input is a pipe");
    std::io::Write::write_all(&mut input, question.as_bytes()).expect("it reads its input");
    drop(input);
    let output = console.wait_with_output().expect("it ends");
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    let json: String = serde_json::from_str(printed.trim())
        .unwrap_or_else(|error| panic!("{error}: {printed}\n{complaint}"));
    let answers: Vec<String> = serde_json::from_str(&json).expect("a list of texts");
    assert_eq!(answers.len(), sample.len());
    for (row, answer) in sample.iter().zip(answers) {
        assert_eq!(row.result, answer, "{}", row.expression);
    }
}

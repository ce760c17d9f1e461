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

fn run(name: &str, arguments: &[Value]) -> Result<Value> {
    call(name, arguments, &Context { directory: folder() })
}

#[test]
fn every_function_of_terraform_is_here_or_explained() {
    let installed = Command::new("terraform").args(["metadata", "functions", "-json"]).output();
    let Some(output) = installed.ok().filter(|output| output.status.success()) else {
        println!("skipped: Terraform is not installed");
        return;
    };
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let signatures = json["function_signatures"].as_object().expect("signatures by name");
    let known: Vec<&str> = names().collect();
    let missing: Vec<&String> = signatures
        .keys()
        .filter(|name| {
            let name = name.strip_prefix("core::").unwrap_or(name);
            !known.contains(&name) && left_out(name).is_none()
        })
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_documentation_lists_every_function() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/functions.md");
    let text = std::fs::read_to_string(path).expect("the documentation is there");
    let listed = |name: &str| text.lines().any(|line| line.starts_with(&format!("| `{name}`")));
    let missing: Vec<&str> = names().filter(|name| !listed(name)).collect();
    assert!(missing.is_empty(), "not in docs/functions.md: {missing:?}");
    for line in text.lines() {
        let Some(name) = line.strip_prefix("| `").and_then(|rest| rest.split('`').next()) else {
            continue;
        };
        assert!(names().any(|known| known == name) || left_out(name).is_some(), "{name}");
    }
}

#[test]
fn names_are_in_order_and_each_is_answered() {
    let names: Vec<&str> = names().collect();
    assert!(names.is_sorted());
    for name in &names {
        assert_eq!(left_out(name), None, "{name}");
    }
    assert_eq!(run("core::upper", &["a".into()]), Ok("A".into()));
    let error = run("uppr", &[]).expect_err("there is no such function");
    assert_eq!(error.message, "There is no function named \"uppr\".");
    let error = run("timestamp", &[]).expect_err("there is no clock");
    assert!(error.message.contains("clock"), "{error}");
    assert!(left_out("provider::aws::arn_parse").is_some());
}

#[test]
fn errors_name_the_argument() {
    let cases: [(&str, &[Value], Option<usize>); 6] = [
        ("upper", &[Value::Null], Some(0)),
        ("upper", &[], None),
        ("upper", &["a".into(), "b".into()], Some(1)),
        ("max", &[1.into(), "x".into()], Some(1)),
        ("format", &["%d".into(), "x".into()], Some(1)),
        ("zipmap", &[Value::list(["a"]), Value::List(vec![])], None),
    ];
    for (name, arguments, argument) in cases {
        let error = run(name, arguments).expect_err(name);
        assert_eq!(error.argument, argument, "{name}: {error}");
    }
}

#[test]
fn paths_start_at_the_stack() {
    let ours = folder();
    let here = ours.to_str().expect("the path is text");
    assert_eq!(run("abspath", &["a/../b".into()]), Ok(format!("{here}/b").into()));
    assert_eq!(run("file", &["fixtures/a.txt".into()]), Ok("a".into()));
    let home = std::env::home_dir().expect("there is a home directory");
    let expanded = home.join("x").to_str().map(Value::from);
    assert_eq!(run("pathexpand", &["~/x".into()]).ok(), expanded);
}

#[test]
fn compressed_text_expands_to_itself() {
    use base64::Engine;
    let text = "hello ".repeat(1000);
    let Ok(Value::String(encoded)) = run("base64gzip", &[text.as_str().into()]) else {
        panic!("no text")
    };
    let bytes = base64::engine::general_purpose::STANDARD.decode(encoded).expect("it is base64");
    let mut expanded = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut expanded)
        .expect("it is gzip");
    assert_eq!(expanded, text);
}

#[test]
fn networks_contain_their_addresses() {
    for (outer, inner, expected) in [
        ("10.0.0.0/8", "10.1.2.3", Some(true)),
        ("10.0.0.0/8", "11.0.0.0", Some(false)),
        ("10.0.0.0/8", "10.0.0.0/8", Some(true)),
        ("10.0.0.0/8", "10.0.0.0/7", Some(false)),
        ("fd00::/8", "fd12::1", Some(true)),
        ("fd00::/8", "10.0.0.1", None),
        ("10.0.0.0/8", "x", None),
    ] {
        let contains = run("cidrcontains", &[outer.into(), inner.into()]);
        assert_eq!(contains.ok(), expected.map(Value::Bool), "{outer} {inner}");
    }
    assert_eq!(run("urldecode", &["a+b%26%C3%A9".into()]), Ok("a b&é".into()));
}

#[test]
fn noise_of_the_last_digit_is_taken_off() {
    for (number, tidied) in [
        (0.1 + 0.2, 0.3),
        (0.1 + 0.7, 0.8),
        (-0.1 - 0.2, -0.3),
        (1.0 / 3.0, 1.0 / 3.0),
        (0.1234567890123456, 0.1234567890123456),
        (1e300, 1e300),
        (5e-324, 5e-324),
        (f64::INFINITY, f64::INFINITY),
    ] {
        assert_eq!(tidy(number), tidied);
    }
    assert!(tidy(f64::NAN).is_nan());
}

/// What would fill the memory or never end is refused, soon.
#[test]
fn results_have_limits() {
    let long = || Value::from("x".repeat(MAX_TEXT_BYTES));
    let many = || Value::List(vec![Value::from("x"); 10_000]);
    let lines = || Value::from("\n".repeat(1 << 20));
    let laughs = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n\
                  c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\n\
                  e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
    let long_alias = format!("a: &a {}\nb: [{}x]\n", "x".repeat(1 << 20), "*a,".repeat(100));
    let wide = format!("{}\n{}", "x".repeat(1 << 20), "y\n".repeat(100));
    let two = vec![Value::from("x"); 2];
    let groups = || format!("{}.*{}", "(".repeat(140), ")".repeat(140));
    let cases: Vec<(&str, Vec<Value>)> = vec![
        ("indent", vec![1e9.into(), "a\nb".into()]),
        ("indent", vec![(1 << 20).into(), lines()]),
        ("indent", vec![(-1).into(), "a\nb".into()]),
        ("format", vec!["%99999999d".into(), 1.into()]),
        ("format", vec!["%.99999999f".into(), 1.into()]),
        ("format", vec!["%[99999999999999999999]d".into(), 1.into()]),
        ("format", vec!["%[2]s%[2]s".into(), 1.into(), long()]),
        ("format", vec!["%x".into(), 1e300.into()]),
        ("formatlist", vec!["%[2]s%[2]s".into(), many(), long()]),
        ("join", vec![long(), Value::list(two)]),
        ("replace", vec!["x".repeat(1 << 15).into(), "x".into(), "y".repeat(1 << 10).into()]),
        ("replace", vec!["x".repeat(1 << 15).into(), "".into(), "y".repeat(1 << 10).into()]),
        ("replace", vec!["x".repeat(1 << 15).into(), "/(.*)/".into(), "$1".repeat(1 << 10).into()]),
        ("replace", vec!["x".repeat(1 << 15).into(), "/x/".into(), "y".repeat(1 << 10).into()]),
        ("regexall", vec!["((((.))))".into(), "x".repeat(1 << 18).into()]),
        ("regex", vec![groups().into(), "x".repeat(1 << 17).into()]),
        ("regex", vec!["((a{1000}){1000}){1000}".into(), "a".into()]),
        ("regex", vec!["(".repeat(100_000).into(), "a".into()]),
        ("regex", vec!["\\pL{900}{900}".into(), "a".into()]),
        ("split", vec!["".into(), long()]),
        ("split", vec!["x".into(), "x".repeat(MAX_ELEMENTS + 1).into()]),
        ("setproduct", vec![many(), many()]),
        ("setproduct", vec![Value::list([long()]), many()]),
        ("setproduct", vec![Value::list(["a", "b"]); 40]),
        ("range", vec![1e300.into()]),
        ("range", vec![0.into(), 1.into(), 1e-300.into()]),
        ("range", vec![1e300.into(), 1e301.into(), 1.into()]),
        ("pow", vec![10.into(), 1000.into()]),
        ("pow", vec![(-8).into(), 0.3.into()]),
        ("log", vec![0.into(), 10.into()]),
        ("parseint", vec!["9".repeat(400).into(), 10.into()]),
        ("transpose", vec![Value::map([("k".repeat(1 << 20), many())])]),
        ("yamldecode", vec![laughs.into()]),
        ("yamldecode", vec![long_alias.into()]),
        ("yamldecode", vec!["[".repeat(100_000).into()]),
        ("yamldecode", vec!["- ".repeat(10_000).into()]),
        ("yamlencode", vec![nested(500, lines())]),
        ("jsondecode", vec!["[".repeat(100_000).into()]),
        ("jsondecode", vec![format!("[{}1]", "1,".repeat(2 << 20)).into()]),
        ("csvdecode", vec![wide.into()]),
        ("fileset", vec!["fixtures".into(), "{".repeat(10_000).into()]),
        ("file", vec!["/dev/zero".into()]),
        ("file", vec!["a\0b".into()]),
        ("timeadd", vec!["2020-01-01T00:00:00Z".into(), format!("{}h", "9".repeat(400)).into()]),
        ("timeadd", vec!["9999-12-31T23:59:59Z".into(), "1h".into()]),
        ("cidrhost", vec!["10.0.0.0/8".into(), 1e300.into()]),
        ("cidrsubnet", vec!["::/0".into(), 128.into(), 1e300.into()]),
        ("chunklist", vec![many(), (-1).into()]),
    ];
    for (name, arguments) in cases {
        let result = run(name, &arguments);
        let size = result.as_ref().map(weight::bytes);
        assert!(result.is_err(), "{name} gave {size:?} bytes");
    }
}

fn nested(depth: usize, value: Value) -> Value {
    (0..depth).fold(value, |value, _| Value::List(vec![value]))
}

/// Every function with every pair of odd arguments, and many triples: none panics.
#[test]
fn odd_arguments_are_no_panic() {
    let odd: Vec<Value> = vec![
        Value::Null,
        true.into(),
        0.into(),
        (-1).into(),
        0.5.into(),
        3.into(),
        1e308.into(),
        (-9_007_199_254_740_992.0).into(),
        5e-324.into(),
        "".into(),
        "a".into(),
        "é👨\u{200d}👩\u{200d}👧\r\n\0".into(),
        "%".into(),
        "%5.3[1]v%-+# 09.9e%q".into(),
        "(?P<x>a*)|[^".into(),
        "/.*?/".into(),
        "'YYYY".into(),
        "2020-02-29T23:59:59.999999999-23:59".into(),
        "::/0".into(),
        "255.255.255.255/32".into(),
        "-1h1.5m".into(),
        "{\"a\": [1, &".into(),
        "../**/{a,[b-]}".into(),
        "====".into(),
        Value::List(vec![]),
        Value::list([Value::Null]),
        Value::list([Value::from(1), "a".into(), true.into()]),
        Value::list([Value::list(["a"]), Value::List(vec![])]),
        Value::map::<&str>([]),
        Value::map([("", Value::Null), ("a", Value::list(["x"]))]),
        nested(100, Value::Null),
    ];
    let few: Vec<Value> = odd.iter().step_by(3).cloned().collect();
    for name in FUNCTIONS.keys() {
        let _ = run(name, &[]);
        for first in &odd {
            let _ = run(name, std::slice::from_ref(first));
            for second in &odd {
                let _ = run(name, &[first.clone(), second.clone()]);
            }
        }
        for first in &few {
            for second in &few {
                for third in &few {
                    let _ = run(name, &[first.clone(), second.clone(), third.clone()]);
                }
            }
        }
    }
}

//! Input that nobody means well with: it gets a diagnostic, in a bounded number of steps.

use std::fmt::Write as _;
use std::fs;

use super::*;

/// The summaries of what is wrong with one file.
fn check(text: &str) -> Vec<String> {
    summaries(stack(&[("main.hcl", text)]))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let found = check(text);
    assert!(found.iter().any(|found| found == expected), "{found:?}");
}

#[test]
fn nesting_is_limited() {
    let deep = 10_000;
    let nested = |open: &str, inner: &str, close: &str| {
        format!("locals {{\na = {}{inner}{}\n}}\n", open.repeat(deep), close.repeat(deep))
    };
    for (open, inner, close) in [
        ("[", "1", "]"),
        ("(", "1", ")"),
        ("{a=", "1", "}"),
        ("\"${", "1", "}\""),
        ("upper(", "\"a\"", ")"),
        ("[for x in ", "[]", ": x]"),
        ("x[", "0", "]"),
        ("!", "true", ""),
        ("-", "x", ""),
        ("true ? 1 : ", "1", ""),
        ("1 + ", "1", ""),
        ("true && ", "true", ""),
        ("\"%{ if true }", "x", "%{ endif }\""),
    ] {
        refused(&nested(open, inner, close), "2: Nested too deeply");
    }
    refused(&"a {\n".repeat(deep), "60: Nested too deeply".replace("60", "61").as_str());
    let template = format!(
        "locals {{\na = <<EOT\n{}{}EOT\n}}\n",
        "%{ if true }\n".repeat(deep),
        "%{ endif }\n".repeat(deep)
    );
    let found = check(&template);
    assert!(found.iter().any(|found| found.ends_with("Nested too deeply")), "{found:?}");
    // Chains that nest nothing go through.
    assert_eq!(
        check(&format!("locals {{\na = {{ b = {{}} }}{}\n}}\n", "[\"b\"]".repeat(deep))).len(),
        1
    );
}

#[test]
fn values_are_limited() {
    let mut text = "locals {\n  a0 = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n".to_owned();
    for level in 1..30 {
        let below = format!("local.a{}, ", level - 1).repeat(10);
        let _ = writeln!(text, "  a{level} = [{below}]");
    }
    text += "}\n";
    let found = check(&text);
    assert!(found.iter().any(|found| found.ends_with("Expression too large")), "{found:?}");

    let mut text = "locals {\n  a0 = \"xxxxxxxxxxxxxxxx\"\n".to_owned();
    for level in 1..60 {
        let below = format!("${{local.a{}}}", level - 1).repeat(10);
        let _ = writeln!(text, "  a{level} = \"{below}\"");
    }
    text += "}\n";
    let found = check(&text);
    assert!(found.iter().any(|found| found.ends_with("Expression too large")), "{found:?}");

    let mut text = "locals {\n  a0 = 1\n".to_owned();
    for level in 1..2_000 {
        let _ = writeln!(text, "  a{level} = [local.a{}]", level - 1);
    }
    text += "}\n";
    refused(&text, "103: Nested too deeply");

    let mut text = "locals {\n  a0 = 1\n".to_owned();
    for level in 1..10_000 {
        let _ = writeln!(text, "  a{level} = local.a{} + 1", level - 1);
    }
    text += "}\noutput \"x\" { value = local.a9999 }\n";
    let stack = stack(&[("main.hcl", &text)]).expect("a long chain is no deep one");
    assert_eq!(stack.outputs["x"].value, Value::from(10_000));

    let loops = "locals {\n  r = range(1024)\n  a = [for a in local.r : [for b in local.r : [for c in local.r : [for d in local.r : 1]]]]\n}\n";
    refused(loops, "3: Expression too large");
}

#[test]
fn cycles_are_printed_as_chains() {
    let failure = stack(&[(
        "main.hcl",
        r#"
locals {
  a = local.b
  b = [local.c]
  c = { x = local.a }
  alone = local.alone
  fine = 1
}
image "x" { source = "x:1" }
service "s" {
  image    = image.x
  replicas = service.t.replicas
}
service "t" {
  image    = image.x
  replicas = service.s.replicas
}
output "quiet" { value = [local.a, service.s.replicas] }
"#,
    )])
    .expect_err("there are cycles");
    let mut details: Vec<&str> = failure.diagnostics.iter().map(|d| d.detail.as_str()).collect();
    details.sort_unstable();
    assert_eq!(
        details,
        [
            "Each of these needs the next: local.a → local.b → local.c → local.a.",
            "Each of these needs the next: local.alone → local.alone.",
            "Each of these needs the next: service.s.replicas → service.t.replicas → service.s.replicas.",
        ]
    );
    let big =
        (0..3_000).map(|i| format!("a{i} = local.a{}\n", (i + 1) % 3_000)).collect::<String>();
    let found = check(&format!("locals {{\n{big}}}\n"));
    assert_eq!(found, ["2: Cycle"]);
}

#[test]
fn files_that_are_no_text_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = |name: &str| directory.path().join(name);
    fs::write(path("huge.hcl"), vec![b'#'; 50 << 20]).expect("writing");
    fs::write(path("latin.hcl"), b"# ok\nlocals {\n  a = \"caf\xe9\"\n}\n").expect("writing");
    fs::write(path("nul.hcl"), b"locals {\n  a = \"\0\"\n}\n").expect("writing");
    fs::write(path("mark.hcl"), "\u{feff}locals {\r\n  fine = 1\r\n}\r\n").expect("writing");
    fs::create_dir(path("folder.hcl")).expect("making");
    fs::write(path("fleetform.tfvars"), b"x = \"\xff\"").expect("writing");
    let failure =
        load(directory.path(), &Inputs::new(SecretKey::new([0; 32]))).expect_err("nothing fits");
    let mut found: Vec<String> = failure
        .diagnostics
        .iter()
        .map(|d| {
            let text = d
                .span
                .as_ref()
                .and_then(|span| Some((span, failure.sources.files.get(&span.file)?)));
            let line = text.map_or(0, |(span, text)| position(text, span.start).0);
            format!("{line}: {}", d.summary)
        })
        .collect();
    found.sort();
    assert_eq!(
        found,
        [
            "0: File is not UTF-8",
            "0: File too large",
            "2: Invalid character",
            "3: File is not UTF-8"
        ]
    );
}

#[test]
fn directories_that_are_no_stacks_are_refused() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let inputs = Inputs::new(SecretKey::new([0; 32]));
    let summary = |path: &Path, inputs: &Inputs| {
        load(path, inputs).expect_err("no stack").diagnostics[0].clone()
    };
    assert_eq!(summary(directory.path(), &inputs).summary, "No configuration files");
    fs::write(directory.path().join("main.tf"), "").expect("writing");
    assert_eq!(
        summary(directory.path(), &inputs).hint.as_deref(),
        Some("Fleetform reads *.hcl; *.tf files are Terraform's")
    );
    assert_eq!(summary(&directory.path().join("no"), &inputs).summary, "Cannot read the stack");
    fs::write(directory.path().join("main.hcl"), "").expect("writing");
    let unknown = Inputs { environment: Some("prod".into()), ..inputs };
    assert_eq!(summary(directory.path(), &unknown).summary, "Unknown environment");
}

#[test]
fn variable_files_win_in_their_order() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has one")).expect("making");
        fs::write(path, text).expect("writing");
    };
    let names = ["tf", "env", "base", "json", "auto", "later", "prod", "file", "flag"];
    let mut text = String::new();
    for name in names {
        let _ =
            writeln!(text, "variable \"{name}\" {{}}\noutput \"{name}\" {{ value = var.{name} }}");
    }
    write("main.hcl", &text);
    // Each source gives a value to all names from its own on.
    let assign = |from: usize, value: &str| {
        names[from..].iter().map(|name| format!("{name} = \"{value}\"\n")).collect::<String>()
    };
    write("fleetform.tfvars", &assign(2, "base"));
    let json: Vec<String> = names[3..].iter().map(|name| format!("{name:?}: \"json\"")).collect();
    write("fleetform.tfvars.json", &format!("{{{}}}", json.join(",")));
    write("a.auto.tfvars", &assign(4, "auto"));
    write("b.auto.tfvars", &assign(5, "later"));
    write("envs/prod.tfvars", &assign(6, "prod"));
    write("extra/file.tfvars", &assign(7, "file"));
    let mut inputs = Inputs::new(SecretKey::new([0; 32]));
    inputs.environment = Some("prod".into());
    for name in names {
        inputs.env.insert(format!("TF_VAR_{name}"), "tf".into());
    }
    for name in &names[1..] {
        inputs.env.insert(format!("FLEETFORM_VAR_{name}"), "env".into());
    }
    inputs.env.insert("TF_VAR_other".into(), "ignored".into());
    inputs.assignments = vec![
        Assignment::File(directory.path().join("extra/file.tfvars")),
        Assignment::Variable { name: "flag".into(), text: "flag".into() },
    ];
    let stack = load(directory.path(), &inputs).unwrap_or_else(|f| panic!("{:#?}", f.diagnostics));
    for name in names {
        assert_eq!(stack.outputs[name].value, Value::from(name));
    }
    assert_eq!(stack.warnings, []);
}

#[test]
fn the_first_mistakes_are_enough() {
    for line in [
        "x {}\n",
        "locals { a = 1 }\n",
        "output \"a\" { value = var.x }\n",
        "image \"x\" { y = 1 }\n",
    ] {
        let found = check(&line.repeat(2_000));
        assert!((400..=501).contains(&found.len()), "{line}: {}", found.len());
        assert_eq!(found.last().map(String::as_str), Some("-: Too many mistakes"));
    }
    let uses = (0..3_000).map(|i| format!("a{i} = local.b{i}\n")).collect::<String>();
    assert_eq!(check(&format!("locals {{\n{uses}}}\n")).len(), 501);
    // One block of many parts, looked at whole many times.
    let quotas = "quota { max_gpus = 1 }\n".repeat(3_000);
    let looks = (0..3_000).map(|i| format!("a{i} = cloud.aws.name\n")).collect::<String>();
    let found =
        check(&format!("cloud \"aws\" {{\n{quotas}}}\nlocals {{\n{looks}b = cloud.aws\n}}\n"));
    assert_eq!(found, Vec::<String>::new());
}

//! The language from outside: expressions as a table, stacks as texts.

mod hostile;
mod mistakes;
mod mutations;

use super::*;
use std::sync::Arc;

fn expression(text: &str) -> String {
    match evaluate_alone(text, Path::new(".")) {
        Ok(value) => serde_json::to_string(&value).expect("values serialize"),
        Err(diagnostic) => format!("{}: {}", diagnostic.summary, diagnostic.detail),
    }
}

/// Results are those of `terraform console`, except where a comment says why not.
#[test]
fn expressions_give_what_terraform_gives() {
    for (text, expected) in [
        // Literals and operators.
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("0.1 + 0.2", "0.3"),
        ("1 / 3 * 3", "1"),
        ("5.5 % 2", "1.5"),
        ("-5 % 3", "-2"),
        ("-\"3\"", "-3"),
        ("!\"true\"", "false"),
        ("1 < \"2\"", "true"),
        ("1 == \"1\"", "false"),
        ("null == null", "true"),
        ("{ a = 1 } == { \"a\" : 1 }", "true"),
        ("[1, \"a\"] != [1, \"b\"]", "true"),
        ("true && false || true", "true"),
        ("1 == 1 && 2 >= 2", "true"),
        ("1e3", "1000"),
        // Conditionals.
        ("true ? 1 : \"a\"", "\"1\""),
        ("\"true\" ? 2 : 3", "2"),
        ("false ? 1 : null", "null"),
        ("true ? { a = 1 } : null", r#"{"a":1}"#),
        ("true ? 1 : 2 == 3 ? 4 : 5", "1"),
        // Templates.
        (r#""a${1 + 1}b""#, "\"a2b\""),
        (r#""${[1]}""#, "[1]"),
        (r#""$${x} %%{y}""#, "\"${x} %{y}\""),
        (r#""\u00e9\n\t\"""#, r#""é\n\t\"""#),
        (r#""a \n\n ${~ "x" ~} \n \n b""#, "\"axb\""),
        (r#""%{ if true }yes%{ else }no%{ endif }""#, "\"yes\""),
        (r#""%{ for i, x in ["a", "b"] }${i}${x};%{ endfor }""#, "\"0a;1b;\""),
        (r#""${1.50} ${1e3} ${true}""#, "\"1.5 1000 true\""),
        // Collections.
        ("[for k, v in { b = 1, a = 2 }: k]", r#"["a","b"]"#),
        ("[for x in [1, 2, 3]: x * 2 if x > 1]", "[4,6]"),
        ("{for x in [\"a\", \"b\", \"a\"]: x => 1...}", r#"{"a":[1,1],"b":[1]}"#),
        ("{for i, x in [\"a\"]: x => i}", r#"{"a":0}"#),
        ("[for x in [1]: [for y in [2]: x + y]]", "[[3]]"),
        ("\"a\"[*]", r#"["a"]"#),
        ("null[*]", "[]"),
        ("[{ a = { b = 1 } }, { a = { b = 2 } }][*].a.b", "[1,2]"),
        ("[[1, 2], [3]][*][0]", "[1,3]"),
        ("[{ a = [1] }].*.a[0]", "[1]"),
        ("[1, 2].1", "2"),
        ("{ a = { b = 1 } }.a.b", "1"),
        ("{ a = 1 }[\"a\"]", "1"),
        ("[1, 2][\"1\"]", "2"),
        ("{ (\"a${1}\") = 1, \"b\" : 2, c = 3, }", r#"{"a1":1,"b":2,"c":3}"#),
        ("[\n1,\n2,\n]", "[1,2]"),
        ("{ for k, v in { a = 1 } : k => v }", r#"{"a":1}"#),
        // Calls.
        ("upper(\"a\")", "\"A\""),
        ("max([1, 5, 3]...)", "5"),
        ("core::max(1, 2)", "2"),
        ("try({}.x, \"else\")", "\"else\""),
        ("can({}.x)", "false"),
        ("can(1)", "true"),
        ("length(merge({ a = 1 }, { b = 2 }))", "2"),
        ("templatestring(\"a$${x}\", { x = 1 })", "\"a1\""),
        ("issensitive(sensitive(1))", "true"),
        ("nonsensitive(sensitive(1))", "1"),
        ("nonsensitive(sensitive([1, 2])[1] + 1)", "3"),
        ("nonsensitive(\"a${sensitive(\"b\")}\")", "\"ab\""),
        ("nonsensitive([for x in sensitive([1]): x + 1])", "[2]"),
        ("issensitive({ a = sensitive(1), b = 2 }.b)", "false"),
        ("issensitive(merge({ a = sensitive(1) }, { b = 2 }).b)", "false"),
        ("issensitive(upper(sensitive(\"a\")))", "true"),
        ("issensitive(sensitive(true) ? 1 : 2)", "true"),
        // Short circuits, which Terraform has from 1.12 on.
        ("false && {}.x", "false"),
        ("true || {}.x", "true"),
    ] {
        assert_eq!(expression(text), expected, "{text}");
    }
}

#[test]
fn heredocs_are_trimmed_line_by_line() {
    for (text, expected) in [
        ("<<EOT\na\n  b\nEOT\n", "a\n  b\n"),
        (
            "<<EOT\n%{ for x in [\"a\",\"b\"] ~}\n  item ${x}\n%{ endfor ~}\nend\nEOT\n",
            "  item a\n  item b\nend\n",
        ),
        (
            "<<-EOT\n    abc\n      %{~ if true }yes%{ endif }\n    def\n      ${~ \"x\" ~}   \n      \n    ghi\n  EOT\n",
            "    abc\nyes\n    def\nx      \n    ghi\n",
        ),
        ("<<-EOT\n      two\n    ${\"x\"}\n        y\n    EOT\n", "  two\nx\n    y\n"),
        ("<<-EOT\n    a\n\n    b\n    EOT\n", "a\n\nb\n"),
        ("<<EOT\n$${a} %%{b}\nEOT\n", "${a} %{b}\n"),
        ("<<EOT\nEOT\n", ""),
        ("<<EOT\r\na\r\nEOT\r\n", "a\r\n"),
    ] {
        // A heredoc ends its line, so it stands in a file.
        let stack = stack(&[("main.hcl", &format!("output \"x\" {{\nvalue = {text}}}\n"))]);
        let stack = stack.unwrap_or_else(|failure| panic!("{text}: {:?}", failure.diagnostics));
        assert_eq!(stack.outputs["x"].value, Value::from(expected), "{text}");
    }
}

#[test]
fn wrong_expressions_say_what_is_wrong() {
    for (text, expected) in [
        ("9007199254740993", "Number out of range"),
        ("1 / 0", "Division by zero"),
        ("1 % 0", "Division by zero"),
        ("1e308 * 10", "Number out of range"),
        ("\"x\" + 1", "Invalid operand: Unsuitable value for left operand: a number is required."),
        ("1 + null", "Invalid operand: Unsuitable value for right operand: it is null."),
        ("true && null", "Invalid operand"),
        ("!1", "Invalid operand"),
        ("\"a${null}\"", "Invalid template interpolation value: The expression result is null."),
        ("\"a${[1]}\"", "Invalid template interpolation value"),
        ("[1][1]", "Invalid index"),
        ("[1][-1]", "Invalid index"),
        ("[1][0.5]", "Invalid index"),
        ("{ a = 1 }[\"b\"]", "Invalid index"),
        ("null.x", "Unsupported attribute"),
        ("[1].a", "Unsupported attribute"),
        ("{ abc = 1 }.abd", "Unsupported attribute"),
        ("1 ? 2 : 3", "Incorrect condition type"),
        ("null ? 2 : 3", "Null condition"),
        ("true ? 1 : [2]", "Inconsistent conditional result types"),
        ("[for x in 1: x]", "Iteration over non-iterable value"),
        ("[for x in null: x]", "Iteration over non-iterable value"),
        (
            "{for x in [\"a\", \"a\"]: x => 1}",
            "Duplicate object key: Two different items produced the key \"a\"",
        ),
        ("{for x in [null]: x => 1}", "Invalid object key"),
        ("[for x in [1]: x if 2]", "Invalid 'for' condition"),
        ("uper(\"a\")", "Call to unknown function: There is no function named \"uper\"."),
        ("timestamp()", "Call to unknown function: The clock is left out"),
        ("max(1...)", "Invalid expanding argument value"),
        ("try({}.x)", "Error in function call: No expression succeeded"),
        ("can()", "Not enough function arguments"),
        ("foo", "Invalid reference: There is nothing named \"foo\" to refer to."),
        ("var", "Invalid reference: A reference to a variable needs its name."),
        ("var.x", "Reference to undeclared input variable"),
        ("local.x", "Reference to undeclared local value"),
        ("service.x.url", "Reference to undeclared block"),
        ("each.key", "Reference to \"each\" in context without for_each"),
        ("path.module", "Invalid \"path\" attribute"),
        ("fleetform.x", "Invalid \"fleetform\" attribute"),
        ("templatefile(\"nowhere.txt\", {})", "Error in function call"),
        ("templatestring(\"$${y}\", {})", "Unknown variable"),
        (
            "jsondecode(sensitive(\"hunter2\"))",
            "Error in function call: Call to function \"jsondecode\" failed. Why is hidden",
        ),
        (
            "{for x in sensitive([\"hunter2\", \"hunter2\"]): x => 1}",
            "Duplicate object key: Two different items produced one key",
        ),
        ("1 +", "Invalid syntax"),
        ("[1", "Unclosed bracket"),
    ] {
        let found = expression(text);
        assert!(found.starts_with(expected), "{text}: {found}");
        assert!(!found.contains("hunter2"), "{text}: {found}");
    }
}

/// Evaluates files given as texts.
pub(super) fn stack(files: &[(&str, &str)]) -> Result<Stack, Failure> {
    stack_with(files, |_| {})
}

pub(super) fn stack_with(
    files: &[(&str, &str)],
    change: impl FnOnce(&mut Inputs),
) -> Result<Stack, Failure> {
    let mut texts = Files { directory: "demo".into(), ..Files::default() };
    for (file, text) in files {
        let (file, text): (Arc<str>, Arc<str>) = ((*file).into(), (*text).into());
        if file.ends_with(".hcl") {
            texts.sources.files.insert(file, text);
        } else {
            texts.variables.push(Given::File { file, text });
        }
    }
    let mut inputs = Inputs::new(SecretKey::new([1; 32]));
    change(&mut inputs);
    evaluate(&texts, &inputs)
}

fn summaries(result: Result<Stack, Failure>) -> Vec<String> {
    match result {
        Ok(stack) => stack.warnings.iter().map(|d| format!("warning: {}", d.summary)).collect(),
        Err(failure) => failure
            .diagnostics
            .iter()
            .map(|d| {
                let line = d.span.as_ref().and_then(|span| {
                    let text = failure.sources.files.get(&span.file)?;
                    Some(position(text, span.start).0)
                });
                format!("{}: {}", line.map_or("-".into(), |line| line.to_string()), d.summary)
            })
            .collect(),
    }
}

#[test]
fn the_lepton_stack_loads() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks/lepton");
    let stack = load(&directory, &Inputs::new(SecretKey::new([1; 32])))
        .unwrap_or_else(|failure| panic!("{:#?}", failure.diagnostics));
    assert_eq!(stack.warnings, []);
    let replicas: u32 = stack
        .workloads
        .values()
        .map(|workload| match workload.amount {
            Amount::Replicas(replicas) => replicas,
            Amount::Load(_) => panic!("{} has replicas", workload.reference),
        })
        .sum();
    assert_eq!((stack.workloads.len(), replicas), (10, 26));
    let rates = stack.clouds["azure"].rate_card.as_ref().expect("azure has a rate card");
    assert_eq!(
        (rates.gpu_month, rates.storage_tb_month, rates.network_mbps_month),
        (80.0, 40.0, 15.0)
    );
    assert_eq!(stack.clouds["gcp"].capacity.gpus, Some(10.0));
    let search = &stack.workloads["search"];
    assert_eq!(
        search.env["EMBEDDING_URL"],
        Value::from("http://embedding.lepton.svc.cluster.local:80")
    );
    let needs = &search.needs;
    assert_eq!((needs.gpus, needs.storage_tb, needs.network_mbps), (1, 10.0, 50.0));
    assert_eq!(stack.checks["budget"].assertions[0].holds, Some(true));
    for path in [
        "service.chat",
        "service.chat.resources.gpus",
        "cloud.aws.capacity.gpus",
        "cloud.aws.rate_card",
    ] {
        assert!(stack.spans.contains_key(path), "{path}");
    }
}

#[test]
fn services_may_use_each_others_urls() {
    let stack = stack(&[(
        "main.hcl",
        r#"
cloud "aws" {}
image "x" { source = "x@sha256:abc" }
service "a" {
  image = image.x
  port  = 80
  env   = { B = service.b["eu"].url, DIGEST = image.x.digest }
}
service "b" {
  for_each = { eu = 81, us = 82 }
  image    = image.x
  port     = each.value
  env      = { A = service.a.url, ME = each.key }
}
output "urls" { value = { for key, it in service.b : key => it.url } }
"#,
    )])
    .unwrap_or_else(|failure| panic!("{:#?}", failure.diagnostics));
    let names: Vec<&str> = stack.workloads.keys().map(String::as_str).collect();
    assert_eq!(names, ["a", "b-eu", "b-us"]);
    assert_eq!(stack.workloads["a"].env["B"], Value::from("http://b-eu.demo.svc.cluster.local:81"));
    assert_eq!(stack.workloads["a"].env["DIGEST"], Value::from("sha256:abc"));
    assert_eq!(stack.workloads["b-us"].env["ME"], Value::from("us"));
    assert_eq!(stack.workloads["b-us"].reference, "service.b[\"us\"]");
    assert_eq!(
        stack.outputs["urls"].value.at("us"),
        Some(&Value::from("http://b-us.demo.svc.cluster.local:82"))
    );
}

#[test]
fn workloads_name_each_other_and_the_objective_its_parts() {
    let stack = stack(&[(
        "main.hcl",
        r#"
cloud "aws" {}
image "x" { source = "x:1" }
model "m" {
  weights {
    source = "s3://x"
    size   = "1GiB"
    cloud  = cloud.aws
    region = "us-east-1"
  }
}
service "a" {
  for_each = ["eu", "us"]
  image    = image.x
  placement {
    apart_from    = ["a", service.canary]
    together_with = [service.b]
  }
  calls "b" { traffic = "20Mbps" }
  calls "canary" { traffic = "1Gbps" }
}
service "b" {
  for_each = ["eu", "us"]
  image    = image.x
}
service "canary" { image = image.x }
optimize { weights = { cost = 1, carbon = 0.05 } }
"#,
    )])
    .unwrap_or_else(|failure| panic!("{:#?}", failure.diagnostics));
    let eu = &stack.workloads["a-eu"];
    assert_eq!(eu.placement.apart_from, ["a-us", "canary"]);
    assert_eq!(eu.placement.together_with, ["b-eu", "b-us"]);
    let calls = [("b-eu".to_owned(), 20.0), ("canary".to_owned(), 1000.0)];
    assert_eq!(eu.calls, calls.into());
    let kept_in = &stack.models["m"].weights.as_ref().expect("it has weights").kept_in;
    assert_eq!(kept_in, &Some(("aws".to_owned(), "us-east-1".to_owned())));
    let weights = ObjectiveWeights { cost: 1.0, carbon: 0.05, latency: 0.0 };
    assert_eq!(stack.optimize.weights, Some(weights));
}

#[test]
fn what_is_known_after_apply_goes_through() {
    let text = r#"
cloud "aws" {}
registry "main" { clouds = [cloud.aws] }
image "x" { source = "x:1" }
service "a" {
  image = image.x
  env   = { URL = registry.main.urls["aws/us-east-1"], LONG = "https://${registry.main.urls["aws/us-east-1"]}/v2" }
}
check "late" {
  assert {
    condition     = registry.main.urls["aws/us-east-1"] != ""
    error_message = "No registry."
  }
}
"#;
    let before = stack(&[("main.hcl", text)]).expect("unknowns are no mistake");
    let url = Value::unknown("registry.main", "urls.aws/us-east-1");
    assert_eq!(before.workloads["a"].env["URL"], url);
    assert_eq!(before.workloads["a"].env["LONG"], url);
    assert_eq!(before.checks["late"].assertions[0].holds, None);

    let after = stack_with(&[("main.hcl", text)], |inputs| {
        let urls = Value::map([("aws/us-east-1", Value::from("1.dkr.ecr"))]);
        inputs.known.insert("registry.main.urls".into(), urls);
    })
    .expect("knowing more is no mistake");
    assert_eq!(after.workloads["a"].env["LONG"], Value::from("https://1.dkr.ecr/v2"));
    assert_eq!(after.checks["late"].assertions[0].holds, Some(true));
}

#[test]
fn secrets_are_never_shown() {
    let text = r#"
variable "token" {
  type      = string
  sensitive = true
  validation {
    condition     = length(var.token) > 100
    error_message = "The token ${var.token} is too short."
  }
}
variable "count" {
  type      = number
  sensitive = true
}
locals { header = "Bearer ${var.token}" }
cloud "aws" {}
image "x" { source = "x:1" }
service "a" {
  image    = image.x
  env      = { AUTH = local.header }
  replicas = length(var.token)
}
variable "keys" {
  default   = { KEY = "hunter2" }
  sensitive = true
}
service "b" {
  image = image.x
  env   = var.keys
}
output "shown" { value = local.header }
output "bad" {
  value     = jsondecode(var.token)
  sensitive = true
}
"#;
    let failure = stack(&[
        ("main.hcl", text),
        ("a.tfvars", "token = \"hunter2\"\ncount = \"hunter2\"\nother = \"hunter2\"\n"),
    ])
    .expect_err("the validation fails");
    // The default is in the stack's own text, which everybody who has the stack has.
    let everything = format!("{failure:?}").replace("KEY = \\\"hunter2", "");
    assert!(!everything.contains("hunter2"), "{everything}");
    let summaries = summaries(Err(failure));
    for expected in [
        "6: Invalid value for variable",
        "20: Sensitive value not allowed",
        "30: Output refers to sensitive values",
        "32: Error in function call",
        "2: Invalid value for input variable",
        "3: Value for undeclared variable",
    ] {
        assert!(summaries.iter().any(|found| found == expected), "{expected}: {summaries:#?}");
    }
}

#[test]
fn the_example_stacks_load_and_are_formatted() {
    let stacks = Path::new(env!("CARGO_MANIFEST_DIR")).join("stacks");
    let mut seen = Vec::new();
    for entry in std::fs::read_dir(&stacks).expect("there are stacks") {
        let directory = entry.expect("it can be listed").path();
        if !directory.join("main.hcl").is_file() {
            continue;
        }
        let name = directory.file_name().expect("it has one").to_string_lossy().into_owned();
        let environments =
            if directory.join("envs").is_dir() { vec![None, Some("prod")] } else { vec![None] };
        for environment in environments {
            let mut inputs = Inputs::new(SecretKey::new([1; 32]));
            inputs.environment = environment.map(str::to_owned);
            let stack = load(&directory, &inputs)
                .unwrap_or_else(|failure| panic!("{name}: {:#?}", failure.diagnostics));
            let copies = "Images are not copied to the registry yet";
            assert!(stack.warnings.iter().all(|w| w.summary == copies), "{:#?}", stack.warnings);
            assert!(!stack.workloads.is_empty(), "{name} runs nothing");
            assert!(
                stack.checks.values().flat_map(|c| &c.assertions).all(|a| a.holds == Some(true))
            );
            for text in stack.sources.files.values() {
                assert_eq!(format(text).expect("it is HCL"), **text, "{name}");
            }
        }
        seen.push(name);
    }
    seen.sort();
    assert_eq!(
        seen,
        ["batch-training", "edge-vision", "lepton", "quickstart", "recommender", "risk-scoring"]
    );
}

#[test]
fn the_reference_has_every_name() {
    fn names(schema: &'static schema::Schema, all: &mut BTreeSet<&'static str>) {
        all.extend(schema.names().chain(schema.later.iter().copied()));
        for nested in schema.blocks {
            names(nested.schema, all);
        }
    }
    let mut all: BTreeSet<&str> = schema::LATER.into_iter().collect();
    for top in schema::TOP {
        all.insert(top.name);
        all.extend(schema::computed(top.name).iter().filter(|_| top.referable));
        names(top.schema, &mut all);
    }
    let reference = include_str!("../../docs/stack-language.md");
    let missing: Vec<&str> = all
        .into_iter()
        .filter(|name| {
            let written = [format!("`{name}`"), format!("`{name} \""), format!("### {name}\n")];
            !written.iter().any(|text| reference.contains(text))
        })
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

//! `output`, `check`, `optimize` and `fleetform` blocks, and the validations of variables.

use fleetform_contract::Value;
use hcl_edit::Span as _;
use hcl_edit::structure::Block;

use super::convert::{kind_name, to_bool, to_number, to_text};
use super::declare::Declared;
use super::evaluate::Run;
use super::expression::Frame;
use super::fields::Reader;
use super::{Assertion, Check, ObjectiveWeights, Output, Stack, keeping};
use crate::diagnostic::{Diagnostic, Span};

pub(super) fn read(run: &Run, declared: &Declared, stack: &mut Stack) {
    let frame = Frame::new(&declared.source.file, &declared.source.text);
    let path = declared.path();
    if declared.kind == "check" {
        run.notes.spans.borrow_mut().insert(path, declared.header());
        stack.checks.insert(declared.label.clone(), check(run, declared, &frame));
        return;
    }
    if matches!(declared.kind, "moved" | "removed" | "import") {
        super::refactoring::read(run, declared, stack);
        return;
    }
    let section = run.section(declared.block, declared.schema, &frame);
    let reader = Reader {
        section: &section,
        path: &path,
        notes: run.notes,
        table: run.table,
        vault: run.evaluator.vault,
    };
    reader.note_spans();
    match declared.kind {
        "output" => {
            if let Some(output) = output(run, &reader) {
                stack.outputs.insert(declared.label.clone(), output);
            }
        }
        "monitoring" => monitoring(&reader, stack),
        "optimize" => optimize(&reader, stack),
        "fleetform" => fleetform(&reader, stack),
        _ => {}
    }
}

fn output(run: &Run, reader: &Reader) -> Option<Output> {
    if !reader.section.attributes.contains_key("value") {
        reader.require("value", "service.chat.url");
        return None;
    }
    let sensitive = reader.bool("sensitive").unwrap_or(false);
    let description = reader.text("description");
    let value = reader.section.attributes["value"].value.clone()?;
    if value.has_secret() && !sensitive {
        reader.fail(
            "value",
            "Output refers to sensitive values",
            "The value is computed from a sensitive one, so the output is sensitive too.",
            "add `sensitive = true`, or show the value with `nonsensitive(…)`",
        );
    }
    let value = run.evaluator.seal_if(sensitive, value);
    Some(Output { value, sensitive, description })
}

fn optimize(reader: &Reader, stack: &mut Stack) {
    if let Some(goal) = reader.filled("minimize")
        && goal != "cost"
    {
        let detail = format!("What is minimised is \"cost\", or a sum by weights; not {goal:?}.");
        let hint = "for example `weights = { cost = 1, carbon = 0.05 }`";
        reader.fail("minimize", "Unknown objective", detail, hint);
    }
    stack.optimize.budget_month = reader.number("budget", 0.0, f64::MAX);
    if let Some(penalty) = reader.number("move_penalty", 0.0, 1000.0) {
        stack.optimize.move_penalty = penalty;
    }
    stack.optimize.weights = objective_weights(reader);
}

fn objective_weights(reader: &Reader) -> Option<ObjectiveWeights> {
    const EXAMPLE: &str = "for example `weights = { cost = 1, carbon = 0.05, latency = 0.2 }`";
    let value = reader.value("weights")?;
    let Value::Map(map) = value else {
        let detail = format!(
            "Inappropriate value for attribute \"weights\": an object is required, not {}.",
            kind_name(value)
        );
        reader.fail("weights", "Incorrect attribute value type", detail, EXAMPLE);
        return None;
    };
    let mut weights = ObjectiveWeights { cost: 0.0, carbon: 0.0, latency: 0.0 };
    for (name, value) in map {
        let weight = match name.as_str() {
            "cost" => &mut weights.cost,
            "carbon" => &mut weights.carbon,
            "latency" => &mut weights.latency,
            _ => {
                let detail = format!("Nothing is weighed by {name:?}.");
                reader.fail("weights", "Unknown weight", detail, EXAMPLE);
                continue;
            }
        };
        match to_number(value) {
            Ok(number) if (0.0..=1e6).contains(&number) => *weight = number,
            _ => {
                let detail = format!("The weight {name:?} is a number from 0 to 1000000.");
                reader.fail("weights", "Value out of range", detail, EXAMPLE);
            }
        }
    }
    // Without the cost everything would be as good as anything.
    if weights.cost == 0.0 {
        let detail = "A sum by weights has the cost in it, or nothing would keep it down.";
        reader.fail("weights", "Missing weight", detail, "add `cost = 1`");
    }
    Some(weights)
}

fn monitoring(reader: &Reader, stack: &mut Stack) {
    reader.block("prometheus", |reader| {
        reader.require("url", "\"http://prometheus.example:9090\"");
        let Some(url) = reader.filled("url") else { return };
        let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        let host = rest.unwrap_or_default().split('/').next().unwrap_or_default();
        if host.is_empty() || host.contains('@') || url.contains(char::is_whitespace) {
            // Without it in the text: it may hold a password.
            let detail = "This is not the address of a server.";
            let hint =
                "write \"http://HOST:PORT\" or \"https://HOST/PATH\", without a user or a password";
            reader.fail("url", "Invalid URL", detail, hint);
        }
        stack.prometheus = Some(url);
    });
}

/// Loads that are measured need somebody who measured them.
pub(super) fn missing_server(stack: &Stack) -> Vec<Diagnostic> {
    if stack.prometheus.is_some() {
        return Vec::new();
    }
    let missing = stack.queries().map(|(name, _)| {
        let workload = &stack.workloads[name];
        let detail = format!(
            "The load of `{}` comes from a Prometheus server, and the stack names none.",
            workload.reference
        );
        Diagnostic::error("Load without a server", detail)
            .at(stack.span(&format!("{}.load.from_prometheus", workload.path)))
            .hint("add `monitoring { prometheus { url = \"http://…\" } }`, on lines of their own")
    });
    missing.collect()
}

fn fleetform(reader: &Reader, stack: &mut Stack) {
    if let Some(wanted) = reader.filled("required_version") {
        match version_fits(&wanted, env!("CARGO_PKG_VERSION")) {
            Some(true) => {}
            Some(false) => reader.fail(
                "required_version",
                "Unsupported Fleetform version",
                format!(
                    "The stack asks for {wanted:?}, and this is version {}.",
                    env!("CARGO_PKG_VERSION")
                ),
                "use a version that fits, or change the constraint",
            ),
            None => reader.fail(
                "required_version",
                "Invalid version constraint",
                format!("{wanted:?} is no version constraint."),
                "for example \">= 0.1\" or \"~> 0.1\"",
            ),
        }
    }
    for state in reader.section.sections.get("state").map_or(&[][..], Vec::as_slice) {
        let path = format!("{}.state", reader.path);
        let state = Reader { section: state, path: &path, ..*reader };
        state.note_spans();
        if let Some(settings) = keeping::state(&state) {
            stack.state = settings;
        }
    }
    if let Some(keys) = reader.block("encryption", |encryption| keeping::encryption(&encryption)) {
        stack.encryption = keys;
    }
}

/// Whether a version satisfies a constraint (`>= 0.1, < 2`); `None` where that is none.
fn version_fits(constraint: &str, version: &str) -> Option<bool> {
    let parse = |text: &str| {
        let parts = text.split('.').map(|part| part.parse::<u64>().ok());
        let parts: Vec<u64> = parts.collect::<Option<_>>()?;
        (1..=3).contains(&parts.len()).then_some(parts)
    };
    let padded = |parts: &[u64]| {
        let at = |index: usize| parts.get(index).copied().unwrap_or(0);
        [at(0), at(1), at(2)]
    };
    let version = padded(&parse(version)?);
    let mut fits = true;
    for one in constraint.split(',').map(str::trim) {
        let end = one.find(|c: char| c.is_ascii_digit())?;
        let (operator, wanted) = (one[..end].trim(), parse(one[end..].trim())?);
        let bound = padded(&wanted);
        fits &= match operator {
            "" | "=" => version == bound,
            "!=" => version != bound,
            ">" => version > bound,
            ">=" => version >= bound,
            "<" => version < bound,
            "<=" => version <= bound,
            // The last part that is written may grow.
            "~>" => {
                let kept = wanted.len().saturating_sub(1).max(1);
                let same = if wanted.len() == 1 {
                    version[0] >= bound[0]
                } else {
                    version[..kept] == bound[..kept]
                };
                version >= bound && same
            }
            _ => return None,
        };
    }
    Some(fits)
}

fn check(run: &Run, declared: &Declared, frame: &Frame) -> Check {
    let blocks = declared.block.body.get_blocks("assert");
    let assertions: Vec<Assertion> = blocks
        .filter_map(|block| assertion(run, block, frame, "Check block assertion failed"))
        .collect();
    if assertions.is_empty() && !declared.block.body.has_blocks("assert") {
        run.notes.report(
            Diagnostic::error("Missing required block", "A check asserts something.")
                .at(declared.header())
                .hint("add `assert { … }` with `condition` and `error_message`"),
        );
    }
    Check { assertions }
}

/// Reports the validations of a variable that do not hold.
pub(super) fn validations(run: &Run, declared: &Declared) {
    if !matches!(run.table.variables.borrow().get(&declared.label), Some(Some(_))) {
        return;
    }
    let frame = Frame::new(&declared.source.file, &declared.source.text);
    for block in declared.block.body.get_blocks("validation") {
        let Some(assertion) = assertion(run, block, &frame, "Invalid value for variable") else {
            continue;
        };
        if assertion.holds == Some(false) {
            let expression = block.body.get_attribute("condition").map(|a| &a.value);
            let diagnostic = Diagnostic::error("Invalid value for variable", assertion.message)
                .at(assertion.span)
                .hint(format!("give `var.{}` a value that its validation allows", declared.label));
            run.notes.report(match expression {
                Some(expression) => run.with_values(diagnostic, expression, &frame),
                None => diagnostic,
            });
        }
    }
}

/// `condition` and `error_message`; `None` where one of them failed.
fn assertion(run: &Run, block: &Block, frame: &Frame, summary: &str) -> Option<Assertion> {
    let header = super::declare::header(block, frame.file);
    let mut missing = false;
    for name in ["condition", "error_message"] {
        if !block.body.has_attribute(name) {
            missing = true;
            let detail = format!("The argument {name:?} is required, but no definition was found.");
            run.notes
                .report(Diagnostic::error("Missing required argument", detail).at(header.clone()));
        }
    }
    if missing {
        return None;
    }
    let condition = block.body.get_attribute("condition")?;
    let span = frame.span(condition.value.span());
    let value = run.top(&condition.value, frame);
    let message = run.top(&block.body.get_attribute("error_message")?.value, frame);
    let holds = match value? {
        Value::Unknown(_) => None,
        value => {
            let (plain, _) = run.evaluator.open(value, frame, None).ok()?;
            match to_bool(&plain) {
                Ok(holds) => Some(holds),
                Err(_) => {
                    let detail =
                        format!("A condition is true or false; this is {}.", kind_name(&plain));
                    run.notes.report(Diagnostic::error("Invalid condition", detail).at(span));
                    return None;
                }
            }
        }
    };
    Some(Assertion {
        holds,
        message: message_text(run, message?, block, frame, summary, &span),
        span,
    })
}

fn message_text(
    run: &Run,
    message: Value,
    block: &Block,
    frame: &Frame,
    summary: &str,
    condition: &Span,
) -> String {
    match &message {
        Value::Secret(_) => "The error message is not shown, because it is sensitive.".into(),
        Value::Unknown(_) => "The error message is known only after apply.".into(),
        other => to_text(other).unwrap_or_else(|_| {
            let range = block.body.get_attribute("error_message").and_then(|a| a.value.span());
            let detail = format!("An error message is a string; this is {}.", kind_name(other));
            let at = range.map_or_else(|| condition.clone(), |range| frame.span(Some(range)));
            run.notes.report(Diagnostic::error("Invalid error message", detail).at(at));
            summary.to_owned()
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::version_fits;

    #[test]
    fn constraints_are_terraforms() {
        for (constraint, version, expected) in [
            (">= 0.1", "0.1.0", Some(true)),
            (">= 0.1, < 1", "0.9.3", Some(true)),
            (">= 0.1, < 1", "1.0.0", Some(false)),
            ("~> 0.1", "0.9.0", Some(true)),
            ("~> 0.1.2", "0.1.9", Some(true)),
            ("~> 0.1.2", "0.2.0", Some(false)),
            ("~> 1", "2.5.0", Some(true)),
            ("0.1.0", "0.1.0", Some(true)),
            ("!= 0.1.0", "0.1.0", Some(false)),
            ("=> 1", "1.0.0", None),
            ("new", "1.0.0", None),
            ("", "1.0.0", None),
            ("1.2.3.4", "1.0.0", None),
        ] {
            assert_eq!(version_fits(constraint, version), expected, "{constraint}");
        }
    }
}

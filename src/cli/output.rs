//! `output`: what the last apply gave.

use fleetform_contract::Value;
use fleetform_state::OutputValue;

use super::Ended;
use super::arguments::Output;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::view;

pub async fn run(screen: &Screen, arguments: &Output, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.stack_dir, &arguments.stack, ordered);
    let session = Session::open_state(screen, &setting).await?;
    let outputs = session.journal.read(|log| log.state().outputs.clone()).await;
    let Some(name) = &arguments.name else {
        if arguments.json {
            let all: serde_json::Map<_, _> =
                outputs.iter().map(|(name, output)| (name.clone(), json(output))).collect();
            write_out(&format!("{:#}\n", serde_json::Value::Object(all)));
        } else if outputs.is_empty() {
            screen.diagnostics(&[Diagnostic::warning(
                "No outputs found",
                "The state has no outputs, or nothing was applied yet.",
            )
            .hint("add an `output` block and run `fleetform apply`")]);
        } else {
            for (name, output) in &outputs {
                write_out(&line(name, output));
            }
        }
        return Ok(0);
    };
    let Some(output) = outputs.get(name) else {
        let known: Vec<&str> = outputs.keys().map(String::as_str).collect();
        let hint = match known.is_empty() {
            true => {
                "there are none: nothing was applied yet, or the stack has no `output`".to_owned()
            }
            false => format!("there are: {}", known.join(", ")),
        };
        return Err(vec![
            Diagnostic::error("No such output", format!("The state has no output `{name}`."))
                .hint(hint),
        ]);
    };
    if output.value.has_secret() {
        return Err(vec![
            Diagnostic::error(
                "A sensitive output is not kept",
                format!("The state holds a hash of `{name}` and not its text."),
            )
            .hint("read it where it comes from"),
        ]);
    }
    if arguments.raw {
        match &output.value {
            Value::String(text) => write_out(text),
            Value::Number(_) | Value::Bool(_) => {
                write_out(&output.value.to_plain_json().to_string());
            }
            _ => {
                return Err(vec![
                    Diagnostic::error(
                        "Not a plain value",
                        format!("The output `{name}` is no string, number or bool."),
                    )
                    .hint("use -json"),
                ]);
            }
        }
    } else if arguments.json {
        write_out(&format!("{}\n", output.value.to_plain_json()));
    } else {
        write_out(&format!("{}\n", view::change::value(&output.value)));
    }
    Ok(0)
}

/// `name = value`, on as many lines as the value takes.
pub fn line(name: &str, output: &OutputValue) -> String {
    if output.sensitive {
        return format!("{name} = <sensitive>\n");
    }
    format!("{name} = {}\n", view::change::value(&output.value))
}

/// Terraform's layout: sensitive, type, value.
pub fn json(output: &OutputValue) -> serde_json::Value {
    serde_json::json!({
        "sensitive": output.sensitive,
        "type": view::json::kind(&output.value),
        "value": output.value.to_plain_json(),
    })
}

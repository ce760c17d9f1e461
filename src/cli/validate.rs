//! `validate`: is the stack right, as far as that can be said without any cloud?

use super::Ended;
use super::arguments::Validate;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::view;

pub fn run(screen: &Screen, arguments: &Validate, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let (found, valid) = match Session::stack(screen, &setting) {
        Ok(stack) => (stack.warnings, true),
        Err(diagnostics) => (diagnostics, false),
    };
    let errors = found.iter().filter(|diagnostic| diagnostic.is_error()).count();
    if arguments.json {
        let sources = screen.sources.lock().expect("no holder panics");
        let shown = found.iter().map(|diagnostic| view::diagnostic::json(diagnostic, &sources));
        let json = serde_json::json!({
            "format_version": "1.0",
            "valid": valid,
            "error_count": errors,
            "warning_count": found.len() - errors,
            "diagnostics": shown.collect::<Vec<_>>(),
        });
        write_out(&format!("{json:#}\n"));
    } else {
        screen.diagnostics(&found);
        if valid {
            let word = screen.paint.bold(&screen.paint.green("Success!"));
            let rest = if found.is_empty() {
                "."
            } else {
                ", but there were some warnings as shown above."
            };
            screen.say(&format!("{word} The stack is valid{rest}\n"));
        }
    }
    Ok(if valid { 0 } else { 1 })
}

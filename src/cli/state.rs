//! `state list` and `state show`.

use super::Ended;
use super::arguments::State;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::diagnostic::Diagnostic;
use crate::view;

pub async fn run(screen: &Screen, arguments: &State, ordered: &[(bool, String)]) -> Ended {
    let (directory, stack) = match arguments {
        State::List(arguments) => (&arguments.stack_dir, &arguments.stack),
        State::Show(arguments) => (&arguments.stack_dir, &arguments.stack),
    };
    let setting = Setting::new(directory, stack, ordered);
    let session = Session::open_state(screen, &setting).await?;
    let records = session.journal.read(|log| log.state().records.clone()).await;
    match arguments {
        State::List(arguments) => {
            let prefix = arguments.prefix.as_deref().unwrap_or("");
            for record in records.values() {
                let address = record.address.to_string();
                if address.starts_with(prefix) {
                    let id = if arguments.id { format!("  {}", record.id) } else { String::new() };
                    write_out(&format!("{address}{id}\n"));
                }
            }
            Ok(0)
        }
        State::Show(arguments) => {
            let parsed = arguments.address.parse();
            let record = parsed.ok().and_then(|address| records.get(&address));
            let Some(record) = record else {
                let names = records.keys().map(ToString::to_string);
                let nearest = names.max_by(|a, b| {
                    let like = |name: &str| strsim::jaro_winkler(name, &arguments.address);
                    like(a).total_cmp(&like(b))
                });
                let diagnostic = Diagnostic::error(
                    "No such record",
                    format!("The state has no record at {}.", arguments.address),
                );
                return Err(vec![match nearest {
                    Some(name) => diagnostic.hint(format!("did you mean {name}?")),
                    None => diagnostic.hint("the state is empty"),
                }]);
            };
            if arguments.json {
                write_out(&format!("{:#}\n", view::json::record(record)));
            } else {
                write_out(&view::change::record(record));
            }
            Ok(0)
        }
    }
}

//! `import`: takes over an object that exists already, without changing it.

use clap::Args;
use fleetform_contract::Address;
use fleetform_state::Entry;

use super::Ended;
use super::planning::{self, Aim, Wish};
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use super::state::arguments::Place;
use crate::config;
use crate::diagnostic::Diagnostic;
use crate::plan::{Action, Change};
use crate::view;

#[derive(Args, Debug)]
pub struct Import {
    /// The address that the stack gives it, as `fleetform plan` shows it
    pub address: String,
    /// The cloud's own id of the object
    pub id: String,
    #[command(flatten)]
    pub place: Place,
    /// Take it over from another stack: the lineage that its tags name
    #[arg(long, value_name = "LINEAGE")]
    pub lineage: Option<String>,
    /// The change that the next apply makes, in Terraform's JSON layout
    #[arg(long)]
    pub json: bool,
}

pub async fn run(screen: &Screen, arguments: &Import, ordered: &[(bool, String)]) -> Ended {
    let place = &arguments.place;
    let to = planning::address(&arguments.address)?;
    let setting = Setting::new(&place.directory, &place.stack, ordered);
    let mut session = Session::open(screen, &setting).await?;
    if let Some(id) = session
        .journal
        .read(|log| log.state().records.get(&to).map(|record| record.id.clone()))
        .await
    {
        return Err(vec![taken(&to, &id)]);
    }
    session.begin().await?;
    session.stack.imports = vec![config::Import {
        to: to.clone(),
        span: None,
        id: arguments.id.clone(),
        lineage: arguments.lineage.clone(),
    }];
    let wish = Wish {
        aim: Aim::Stack,
        refresh: false,
        parallelism: 10,
        replace: &[],
        targets: &[],
        excluded: &[],
        resume: false,
    };
    let planned = planning::plan(&session, &wish).await?;
    let change = planned.plan.changes.into_iter().find(|change| change.address == to);
    let mut change = change.expect("what is imported is in the plan");
    let record = change.before.clone().expect("what is imported was found");
    session.write(vec![Entry::Adopted { record }]).await?;
    if arguments.json {
        write_out(&format!("{:#}\n", view::json::resource_change(&change)));
        return Ok(0);
    }
    screen.say(&format!("{to}: Imported from ID {:?}\n\nImport successful!\n\n", arguments.id));
    change.importing = None;
    screen.say(&after(&change, screen));
    Ok(0)
}

/// What the next apply does to it.
fn after(change: &Change, screen: &Screen) -> String {
    match change.action {
        Action::NoOp => {
            "The object is managed by this stack now, and is as the stack asks.\n".to_owned()
        }
        _ => format!(
            "The object is managed by this stack now. The next apply changes it:\n\n{}",
            view::change::change(change, screen.paint)
        ),
    }
}

fn taken(to: &Address, id: &str) -> Diagnostic {
    Diagnostic::error(
        "The address is taken",
        format!("The state has {to} already, with the id {id:?}."),
    )
    .hint(format!("forget that one first: fleetform state rm '{to}'"))
}

//! `show`: a saved plan, or the state, for people or in Terraform's JSON layout.

use super::Ended;
use super::arguments::Show;
use super::planning::last_placement;
use super::saved;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::view;

pub async fn run(screen: &Screen, arguments: &Show, ordered: &[(bool, String)]) -> Ended {
    if !arguments.target.is_dir() {
        let plan = saved::read(&arguments.target)?;
        if arguments.json {
            write_out(&format!("{}\n", view::json::plan(&plan)));
        } else {
            screen.say(&view::plan::plan(&plan, screen.paint, screen.table_width));
        }
        return Ok(0);
    }
    let setting = Setting::new(&arguments.target, &arguments.stack, ordered);
    let session = Session::open_state(screen, &setting).await?;
    let (records, outputs) = session
        .journal
        .read(|log| (log.state().records.clone(), log.state().outputs.clone()))
        .await;
    let placement = last_placement(&session.journal).await;
    if arguments.json {
        let outputs: serde_json::Map<_, _> = outputs
            .iter()
            .map(|(name, output)| (name.clone(), super::output::json(output)))
            .collect();
        let resources: Vec<_> = records.values().map(view::json::record).collect();
        let json = serde_json::json!({
            "format_version": "1.0",
            "terraform_version": env!("CARGO_PKG_VERSION"),
            "values": { "outputs": outputs, "root_module": { "resources": resources } },
            "fleetform": { "placement": placement },
        });
        write_out(&format!("{json}\n"));
        return Ok(0);
    }
    if records.is_empty() {
        screen.say("The state is empty. No resources are recorded.\n");
        return Ok(0);
    }
    if let Some(placement) = &placement {
        screen.say(&view::plan::placement(placement, screen.paint, screen.table_width));
        screen.say("\n");
    }
    for record in records.values() {
        screen.say(&view::change::record(record));
        screen.say("\n");
    }
    if !outputs.is_empty() {
        screen.say("Outputs:\n\n");
        for (name, output) in &outputs {
            screen.say(&super::output::line(name, output));
        }
    }
    Ok(0)
}

//! `graph`: the resources and their dependencies, to be drawn.

use super::Ended;
use super::arguments::{Graph, GraphFormat};
use super::planning;
use super::screen::{Screen, write_out};
use super::session::{Session, Setting};
use crate::view;

pub async fn run(screen: &Screen, arguments: &Graph, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let session = Session::open(screen, &setting).await?;
    let last = planning::last_placement(&session.journal).await;
    let (placement, doubts) = planning::place(&session, last.as_ref()).await?;
    screen.diagnostics(&doubts);
    let resources = planning::expand(&session, &session.stack, &placement);
    write_out(&match arguments.format {
        GraphFormat::Dot => view::graph::dot(&resources),
        GraphFormat::Mermaid => view::graph::mermaid(&resources),
    });
    Ok(0)
}

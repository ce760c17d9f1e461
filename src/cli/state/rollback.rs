//! `state rollback`: a plan that goes back to what an earlier run left.

use super::arguments::Rollback;
use super::past::{at, entry, lines};
use crate::cli::Ended;
use crate::cli::plan::show;
use crate::cli::planning::{self, Aim, Wish};
use crate::cli::saved;
use crate::cli::screen::Screen;
use crate::cli::session::{Session, Setting};
use crate::plan::past;

pub async fn run(screen: &Screen, setting: &Setting, arguments: &Rollback) -> Ended {
    let session = Session::open(screen, setting).await?;
    let lines = lines(&session.journal).await?;
    let last = lines.last().map_or(0, |line| line.number);
    let number = entry(&arguments.to, &fleetform_state::runs(&lines), last)?;
    let past = past(&lines, number, &at(&lines, number)?, &session.clouds);
    let wish = Wish {
        aim: Aim::Past(&past),
        refresh: true,
        parallelism: 10,
        replace: &[],
        targets: &[],
        excluded: &[],
        resume: false,
    };
    let planned = planning::plan(&session, &wish).await?;
    screen.say(&format!("This plan goes back to what was after entry {number}.\n\n"));
    show(screen, &planned, "plan");
    screen.diagnostics(&planned.warnings);
    saved::write(&arguments.out, &planned.plan, &session.stack.encryption, &setting.directory)?;
    let out = arguments.out.display();
    screen.say(&format!("\nSaved the plan to: {out}\n"));
    if !screen.in_automation {
        screen.say(&format!(
            "\nNothing was changed. To go back, run:\n    fleetform apply \"{out}\"\nThe stack asks for what it asked for before: change it as well, or the next apply\ngoes forward again.\n"
        ));
    }
    Ok(0)
}

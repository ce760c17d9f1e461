//! `sandbox`: the embedded clouds of a stack, kept up, counted or thrown away.

use fleetform_providers::sandbox;

use super::Ended;
use super::arguments::{Sandbox, SandboxPlace, Serve};
use super::screen::{Screen, write_out};
use super::session::{SANDBOX_SEED, Session, Setting};
use crate::diagnostic::Diagnostic;

pub async fn run(screen: &Screen, arguments: &Sandbox, ordered: &[(bool, String)]) -> Ended {
    match arguments {
        Sandbox::Serve(arguments) => serve(screen, arguments, ordered).await,
        Sandbox::Census(arguments) => census(screen, arguments, ordered).await,
        Sandbox::Reset(arguments) => reset(screen, arguments, ordered),
    }
}

async fn serve(screen: &Screen, arguments: &Serve, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let stack = Session::stack(screen, &setting)?;
    let clouds: Vec<_> = stack.clouds.values().cloned().collect();
    let world = setting.world();
    let running = sandbox::serve(&world, SANDBOX_SEED, &clouds, arguments.port)
        .await
        .map_err(|error| unusable(&world, &error))?;
    let shown = arguments.directory.display();
    for (port, url) in running.moved(arguments.port) {
        screen.diagnostics(&[Diagnostic::warning(
            "A port is taken",
            format!("Another program listens on port {port}; {url} stands in for it."),
        )]);
    }
    screen.say(&format!(
        "The sandbox of {shown} is up; stop it with Ctrl-C. What it holds is kept in {}.\n\n{}\nFleetform finds it by itself: fleetform apply -sandbox {shown}\n",
        world.display(),
        running.instructions(&clouds),
    ));
    let _ = tokio::signal::ctrl_c().await;
    running.stop().await;
    Ok(0)
}

async fn census(screen: &Screen, arguments: &SandboxPlace, ordered: &[(bool, String)]) -> Ended {
    let setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    let world = setting.world();
    let running = sandbox::join_or_start(&world, SANDBOX_SEED, &[])
        .await
        .map_err(|error| unusable(&world, &error))?;
    let census = running.census().await.map_err(|error| unusable(&world, &error))?;
    if arguments.json {
        let json = serde_json::to_string_pretty(&census).expect("counts serialize");
        write_out(&format!("{json}\n"));
    } else if census.is_empty() {
        screen.say("The sandbox is empty.\n");
    } else {
        for (collection, count) in &census {
            screen.say(&format!("{count:>6}  {collection}\n"));
        }
    }
    Ok(0)
}

fn reset(screen: &Screen, arguments: &SandboxPlace, ordered: &[(bool, String)]) -> Ended {
    let mut setting = Setting::new(&arguments.directory, &arguments.stack, ordered);
    setting.sandbox = true;
    let data = setting.data();
    if sandbox::is_served(&setting.world()) {
        return Err(vec![
            Diagnostic::error(
                "The sandbox is being served",
                format!("Another process keeps {} up.", data.display()),
            )
            .hint("stop `fleetform sandbox serve` first"),
        ]);
    }
    match std::fs::remove_dir_all(&data) {
        Ok(()) => screen.say(&format!("Removed {}.\n", data.display())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            screen.say("There was no sandbox.\n");
        }
        Err(error) => {
            return Err(vec![Diagnostic::error(
                "The sandbox could not be removed",
                format!("Removing {}: {error}.", data.display()),
            )]);
        }
    }
    Ok(0)
}

fn unusable(world: &std::path::Path, error: &std::io::Error) -> Vec<Diagnostic> {
    vec![Diagnostic::error(
        "The sandbox cannot be started",
        format!("Opening {}: {error}.", world.display()),
    )]
}

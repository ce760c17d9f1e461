//! `kill -9` of the program at random moments, against a `sandbox serve` that is another process.
//!
//! Runs of a full and of an empty stack take turns and are killed, each at a moment of its own: after so many
//! lines of its event stream and a little more. What one leaves the next one goes on from, and is killed
//! as well; every tenth may finish, and then nothing is there twice, missing or left over.
//!
//! `FLEETFORM_KILLS=N` sets how many are killed (`.ci/run`: 200), `FLEETFORM_KILL_SEED=N` the seed.

#![cfg(target_os = "linux")]

mod common;
#[path = "../src/cli/tests/given.rs"]
mod given;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::Place;
use fleetform_state::{LocalStore, verify};
use given::{EMPTY, Random, STACK};

const KILLS: u64 = 20;
/// So many runs in a row are killed before one may finish.
const IN_A_ROW: u64 = 9;

/// A process that ends with the test.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `sandbox serve` and waits until it says that it is up.
fn serve(place: &Place) -> Serving {
    let mut command = place.command("sandbox serve -port 0 stack");
    let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it says something");
    assert!(line.contains("is up"), "{line}");
    // It has more to say, and must not wait for somebody who listens.
    std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
    Serving(child)
}

fn census(place: &Place) -> BTreeMap<String, usize> {
    let out = place.run("sandbox census -json stack").ends(0).out;
    serde_json::from_str(&out).expect("a census")
}

/// Kills an apply after so many lines and this many turns of nothing. Tells whether it came before its end.
fn kill(mut command: Command, lines: usize, turns: usize) -> bool {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let said = BufReader::new(child.stdout.take().expect("it is piped"));
    let seen = said.lines().take(lines).filter(Result::is_ok).count();
    for turn in 0..turns {
        std::hint::black_box(turn);
    }
    child.kill().expect("it is ours to kill");
    let status = child.wait().expect("it ends");
    status.code().is_none() && seen == lines
}

#[tokio::test]
async fn a_program_killed_at_any_moment_is_finished_by_the_next() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let (kills, seed) =
        (number("FLEETFORM_KILLS").unwrap_or(KILLS), number("FLEETFORM_KILL_SEED").unwrap_or(1));
    println!("FLEETFORM_KILLS={kills} FLEETFORM_KILL_SEED={seed}");
    let mut random = Random(seed);
    let place = Place::with(EMPTY);
    let write = |text: &str| std::fs::write(place.path().join("main.hcl"), text).expect("written");
    let serving = serve(&place);

    // How long the stream of each run is, and what there is when it is through.
    let apply = "apply -sandbox -auto-approve -json stack";
    write(STACK);
    let longest = place.run(apply).ends(0).out.lines().count();
    let made = census(&place);
    write(EMPTY);
    place.run(apply).ends(0);
    let nothing = census(&place);
    assert_ne!(made, nothing);

    let (mut killed, mut finished) = (0, 0);
    while killed < kills {
        for turn in 0..IN_A_ROW {
            write(if turn % 2 == 0 { STACK } else { EMPTY });
            let (lines, turns) = (1 + random.below(longest * 2 / 3), random.below(3_000_000));
            killed += u64::from(kill(place.command(apply), lines, turns));
        }
        let is_full = random.chance(0.5);
        write(if is_full { STACK } else { EMPTY });
        let context = format!("seed {seed}, after {killed} were killed");
        place.run(apply).ends(0);
        finished += 1;
        assert_eq!(
            census(&place),
            if is_full { made.clone() } else { nothing.clone() },
            "{context}"
        );
        place.run("plan -sandbox -detailed-exitcode stack").ends(0);
    }
    let store = LocalStore::new(place.path().join(".fleetform/sandbox/state"));
    let report = verify(&store).await.expect("the log is whole");
    println!("{killed} killed, {finished} finished, {} entries", report.entries);
    drop(serving);
}

/// Sends a signal once the program says that it makes something. What it said after that.
fn signalled(mut command: Command, signal: &str) -> (Option<i32>, String) {
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the program starts");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
    let mut line = String::new();
    while !line.contains("Creating...") {
        line.clear();
        assert_ne!(said.read_line(&mut line).expect("it is text"), 0, "it makes nothing");
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(sent.expect("there is a kill").success());
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut said, &mut rest).expect("it is text");
    (child.wait().expect("it ends").code(), rest)
}

#[tokio::test]
async fn a_signal_ends_a_run_in_order_and_the_next_one_goes_on() {
    for signal in ["-INT", "-TERM"] {
        let place = Place::with(STACK);
        let serving = serve(&place);
        let (code, said) = signalled(place.command("apply -sandbox -auto-approve stack"), signal);
        assert!(said.contains("Stopping: running operations finish"), "{signal}: {said}");
        assert_eq!(code, Some(1), "{signal}: {said}");
        assert!(said.contains("Resources so far: "), "{signal}: {said}");
        place.run("lock list -sandbox -stack-dir stack").ends(0).says("No locks are held.");
        place.run("apply -sandbox -auto-approve stack").ends(0);
        place.run("plan -sandbox -detailed-exitcode stack").ends(0);
        drop(serving);
    }
}

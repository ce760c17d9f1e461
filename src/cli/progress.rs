//! A run, as it goes: lines (or bars on a terminal) for people, events for programs.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use fleetform_contract::{Error, Record};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::screen::Screen;
use crate::apply::Listener;
use crate::plan::{Change, Phase};
use crate::view::events::{hook, words};

/// How often a long operation says that it is still going on.
const STILL: Duration = Duration::from_secs(10);

pub struct Progress<'a> {
    screen: &'a Screen,
    bars: MultiProgress,
    total: ProgressBar,
    running: Mutex<BTreeMap<String, Running>>,
}

struct Running {
    started: Instant,
    said: Instant,
    bar: ProgressBar,
}

impl<'a> Progress<'a> {
    pub fn new(screen: &'a Screen, steps: usize) -> Progress<'a> {
        let visible = !screen.json && std::io::stderr().is_terminal();
        let target =
            if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bars = MultiProgress::with_draw_target(target);
        let total = bars.add(ProgressBar::new(steps as u64));
        let style = ProgressStyle::with_template("  {bar:30} {pos}/{len} operations, {elapsed}");
        total.set_style(style.expect("a valid template"));
        Progress { screen, bars, total, running: Mutex::default() }
    }

    /// Takes the bars away.
    pub fn finish(&self) {
        // Those of operations that were abandoned, too.
        for running in self.running.lock().expect("no holder panics").values() {
            running.bar.finish_and_clear();
        }
        self.total.finish_and_clear();
    }

    fn line(&self, text: &str) {
        self.bars.suspend(|| self.screen.say(&format!("{text}\n")));
    }

    fn key(change: &Change, phase: Phase) -> String {
        format!("{} {phase:?}", change.address)
    }

    fn end(&self, change: &Change, phase: Phase) {
        let running =
            self.running.lock().expect("no holder panics").remove(&Self::key(change, phase));
        if let Some(running) = running {
            running.bar.finish_and_clear();
        }
        self.total.inc(1);
    }
}

impl Listener for Progress<'_> {
    fn started(&self, change: &Change, phase: Phase) {
        let (_, doing, _) = words(change, phase);
        let id = match (phase, &change.before) {
            (Phase::Remove, Some(record)) => format!(" [id={}]", record.id),
            _ => String::new(),
        };
        let message = format!("{}: {doing}...{id}", change.address);
        self.line(&message);
        self.screen.event("info", "apply_start", &message, hook(change, phase, None, None));
        let bar = self.bars.insert_before(&self.total, ProgressBar::new_spinner());
        bar.set_style(ProgressStyle::with_template("  {spinner} {msg}").expect("a valid template"));
        bar.set_message(change.address.to_string());
        bar.enable_steady_tick(Duration::from_millis(120));
        let now = Instant::now();
        let running = Running { started: now, said: now, bar };
        self.running.lock().expect("no holder panics").insert(Self::key(change, phase), running);
    }

    fn progress(&self, change: &Change, phase: Phase, text: &str) {
        let (_, doing, _) = words(change, phase);
        let mut running = self.running.lock().expect("no holder panics");
        let Some(running) = running.get_mut(&Self::key(change, phase)) else { return };
        running.bar.set_message(format!("{}: {text}", change.address));
        if running.said.elapsed() < STILL {
            return;
        }
        running.said = Instant::now();
        let elapsed = running.started.elapsed();
        let message = format!(
            "{}: Still {}... [{text}, {}s elapsed]",
            change.address,
            doing.to_lowercase(),
            elapsed.as_secs()
        );
        self.line(&message);
        let fields = hook(change, phase, None, Some(elapsed));
        self.screen.event("info", "apply_progress", &message, fields);
    }

    fn finished(&self, change: &Change, phase: Phase, record: Option<&Record>, elapsed: Duration) {
        self.end(change, phase);
        let (_, _, done) = words(change, phase);
        let id = record.map(|record| format!(" [id={}]", record.id)).unwrap_or_default();
        let message =
            format!("{}: {done} complete after {}s{id}", change.address, elapsed.as_secs());
        self.line(&message);
        let fields = hook(change, phase, record, Some(elapsed));
        self.screen.event("info", "apply_complete", &message, fields);
    }

    fn failed(&self, change: &Change, phase: Phase, error: &Error, elapsed: Duration) {
        self.end(change, phase);
        let (_, _, done) = words(change, phase);
        let message = format!("{}: {done} errored after {}s", change.address, elapsed.as_secs());
        self.line(&message);
        let mut fields = hook(change, phase, None, Some(elapsed));
        fields["hook"]["error_class"] = error.class().into();
        let is_unknown = matches!(error, Error::Lost { .. });
        fields["hook"]["outcome"] = if is_unknown { "unknown" } else { "failed" }.into();
        self.screen.event("info", "apply_errored", &message, fields);
    }
}

//! Ctrl-C and SIGTERM: how a run that writes is asked to end early.
//!
//! The first signal lets running operations finish, the second abandons them; SIGTERM does both by itself,
//! because whoever sent it kills us soon. What is abandoned is open in the journal, so nothing is lost.

use std::convert::Infallible;
use std::time::Duration;

use fleetform_state::{Clock, SystemClock};
use tokio::sync::watch;

use super::screen::Screen;
use crate::apply::Stop;

/// What running operations have to finish after a SIGTERM.
const GRACE: Duration = Duration::from_secs(7);
/// What is left to record the end and to give claims back, before the process ends whatever it does. Both
/// together stay below the ten seconds that most who send a SIGTERM wait.
const FAREWELL: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Signal {
    Interrupt,
    Terminate,
}

/// Asks for the run's end when the user or the system does. Ends with whoever waits for it.
pub async fn heed(screen: &Screen, stop: &watch::Sender<Stop>) -> Infallible {
    let (said, mut signals) = tokio::sync::mpsc::unbounded_channel();
    let listening = listen(said);
    let say = |text: &str| screen.say(&format!("\n{text}\n"));
    let clock = SystemClock::default();
    let heeding = async {
        obey(&mut signals, &clock, stop, &say).await;
        clock.sleep(FAREWELL).await;
        // A store that hangs must not keep us: what it should record is open in the journal.
        std::process::exit(1)
    };
    tokio::select! {
        never = listening => never,
        never = heeding => never,
    }
}

/// Returns when a SIGTERM has run out of time, or at a third Ctrl-C.
async fn obey(
    signals: &mut tokio::sync::mpsc::UnboundedReceiver<Signal>,
    clock: &dyn Clock,
    stop: &watch::Sender<Stop>,
    say: &dyn Fn(&str),
) {
    let abandon = || {
        stop.send_replace(Stop::Abandon);
        say("Abandoning what runs: it is in the journal, and the next run goes on from there.");
    };
    let finish = || {
        stop.send_replace(Stop::Finish);
        say("Stopping: running operations finish, no new ones start.");
    };
    while let Some(signal) = signals.recv().await {
        let now = *stop.borrow();
        match (signal, now) {
            (Signal::Interrupt, Stop::Go) => finish(),
            (Signal::Interrupt, Stop::Finish) => abandon(),
            // Whoever insists does not want to wait for a store that hangs.
            (Signal::Interrupt, Stop::Abandon) => return,
            (Signal::Terminate, _) => {
                if now == Stop::Go {
                    finish();
                }
                let again = async { while signals.recv().await == Some(Signal::Terminate) {} };
                tokio::select! {
                    () = clock.sleep(GRACE) => {}
                    () = again => {}
                }
                if now != Stop::Abandon {
                    abandon();
                }
                return;
            }
        }
    }
}

#[cfg(unix)]
async fn listen(said: tokio::sync::mpsc::UnboundedSender<Signal>) -> Infallible {
    use tokio::signal::unix::{SignalKind, signal};
    let listeners = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupts), Ok(mut terminations)) = listeners else {
        // Without listeners signals end the process, which is safe, too.
        return std::future::pending().await;
    };
    loop {
        let signal = tokio::select! {
            _ = interrupts.recv() => Signal::Interrupt,
            _ = terminations.recv() => Signal::Terminate,
        };
        // Nobody hears it any more where the run has run out of time.
        let _ = said.send(signal);
    }
}

#[cfg(not(unix))]
async fn listen(said: tokio::sync::mpsc::UnboundedSender<Signal>) -> Infallible {
    while tokio::signal::ctrl_c().await.is_ok() {
        let _ = said.send(Signal::Interrupt);
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Sleeps for no time, and remembers how long it was to be.
    #[derive(Default)]
    struct Leaping(Mutex<Vec<Duration>>);

    #[async_trait::async_trait]
    impl Clock for Leaping {
        fn now(&self) -> Duration {
            Duration::ZERO
        }

        async fn sleep(&self, duration: Duration) {
            self.0.lock().expect("no holder panics").push(duration);
        }
    }

    /// What signals come to, one after the other, and what was slept for.
    async fn come_to(signals: &[Signal]) -> (Vec<Stop>, Vec<Duration>) {
        let (stop, _) = watch::channel(Stop::Go);
        let (clock, seen) = (Leaping::default(), Mutex::new(Vec::new()));
        let say = |_: &str| seen.lock().expect("no holder panics").push(*stop.borrow());
        let (said, mut heard) = tokio::sync::mpsc::unbounded_channel();
        signals.iter().for_each(|signal| said.send(*signal).expect("somebody hears"));
        drop(said);
        obey(&mut heard, &clock, &stop, &say).await;
        let slept = clock.0.lock().expect("no holder panics").clone();
        let seen = seen.lock().expect("no holder panics").clone();
        (seen, slept)
    }

    #[tokio::test]
    async fn once_finishes_twice_abandons_and_a_termination_does_both() {
        use Signal::{Interrupt, Terminate};
        assert_eq!(come_to(&[Interrupt]).await, (vec![Stop::Finish], vec![]));
        let both = vec![Stop::Finish, Stop::Abandon];
        assert_eq!(come_to(&[Interrupt, Interrupt]).await, (both.clone(), vec![]));
        assert_eq!(come_to(&[Interrupt; 5]).await, (both.clone(), vec![]));
        let (stops, slept) = come_to(&[Terminate]).await;
        assert_eq!(stops, both);
        assert!(slept.iter().all(|slept| *slept == GRACE), "{slept:?}");
        assert_eq!(come_to(&[Interrupt, Terminate]).await.0, both);
        assert!(GRACE + FAREWELL < Duration::from_secs(10));
    }
}

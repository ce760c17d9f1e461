//! Where a run's words go: text for people, or events for programs.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use serde_json::Value as Json;

use crate::diagnostic::{Diagnostic, Sources};
use crate::view::{self, Paint};

/// Standard output and error, with what the user wants to see there.
pub struct Screen {
    pub paint: Paint,
    /// Of standard error, which may go elsewhere than standard output.
    pub error_paint: Paint,
    /// Events, one JSON object a line, instead of text.
    pub json: bool,
    /// Where events go beside, whatever else is shown.
    pub into: Option<Mutex<std::fs::File>>,
    /// Columns to wrap sentences at.
    pub width: usize,
    /// Columns that a table may take: as many as it likes where nobody said how many there are.
    pub table_width: usize,
    pub compact_warnings: bool,
    pub sources: Mutex<Sources>,
    /// Whether hints about the next step help nobody (`TF_IN_AUTOMATION`).
    pub in_automation: bool,
    /// Says nothing at all: for whoever runs a verb in process.
    pub mute: bool,
}

impl Screen {
    pub fn new(no_color: bool, json: bool) -> Screen {
        let plain =
            no_color || json || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let paint = |terminal: bool| match terminal && !plain {
            true => Paint::Colour,
            false => Paint::Plain,
        };
        let width = terminal_width();
        Screen {
            paint: paint(std::io::stdout().is_terminal()),
            error_paint: paint(std::io::stderr().is_terminal()),
            json,
            into: None,
            width: width.unwrap_or(100),
            table_width: width.unwrap_or(usize::MAX),
            compact_warnings: false,
            sources: Mutex::default(),
            in_automation: std::env::var_os("TF_IN_AUTOMATION").is_some()
                || std::env::var_os("FLEETFORM_IN_AUTOMATION").is_some(),
            mute: false,
        }
    }

    /// Text for people: nothing in JSON mode.
    pub fn say(&self, text: &str) {
        if !self.json && !self.mute {
            write_out(text);
        }
    }

    /// An event for programs: in text mode only into the file of `-json-into`.
    pub fn event(&self, level: &str, kind: &str, message: &str, fields: Json) {
        if self.mute || (!self.json && self.into.is_none()) {
            return;
        }
        let event = view::events::event(level, kind, message, &now(), fields);
        if self.json {
            write_out(&format!("{event}\n"));
        }
        if let Some(file) = &self.into {
            let mut file = file.lock().expect("no holder panics");
            // A full disk must not stop what is under way; who reads the file misses its end.
            let _ = writeln!(file, "{event}");
        }
    }

    /// Diagnostics: on standard error as text, on standard output as events.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        if self.mute {
            return;
        }
        let sources = self.sources.lock().expect("no holder panics");
        for diagnostic in diagnostics {
            if self.json || self.into.is_some() {
                let level = if diagnostic.is_error() { "error" } else { "warn" };
                let word = if diagnostic.is_error() { "Error" } else { "Warning" };
                let fields = serde_json::json!({
                    "diagnostic": view::diagnostic::json(diagnostic, &sources),
                });
                self.event(level, "diagnostic", &format!("{word}: {}", diagnostic.summary), fields);
            }
            if self.json {
                continue;
            }
            if self.compact_warnings && !diagnostic.is_error() {
                write_error(&format!("Warning: {}\n", diagnostic.summary));
            } else {
                let style = view::diagnostic::Style { paint: self.error_paint, width: self.width };
                write_error(&format!(
                    "\n{}",
                    view::diagnostic::render(diagnostic, &sources, style)
                ));
            }
        }
    }
}

/// Columns, as the environment or the terminal tells.
fn terminal_width() -> Option<usize> {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    let asked = || console::Term::stdout().size_checked().map(|(_, columns)| columns.into());
    told.or_else(asked).filter(|width| *width > 0).map(|width: usize| width.clamp(40, 400))
}

/// Now, in RFC 3339.
pub fn now() -> String {
    jiff::Timestamp::now().to_string()
}

/// The day that it is, in UTC.
pub fn today() -> String {
    now().chars().take_while(|c| *c != 'T').collect()
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
pub fn write_out(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(141);
    }
}

pub fn write_error(text: &str) {
    // Nobody to tell when standard error is closed.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

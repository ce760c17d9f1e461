//! What we tell the user: collected, never thrown at the first.

use std::fmt;
use std::sync::Arc;

/// A place in a source file, as byte offsets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// The file's path as the user wrote it or would write it.
    pub file: Arc<str>,
    pub start: usize,
    pub end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// One message: a fixed summary, a detail in sentences, where it comes from and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Fixed words, no names: "No offering fits".
    pub summary: String,
    /// Sentences.
    pub detail: String,
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
    /// The values that mattered: (`var.replicas`, `is 0`).
    pub values: Vec<(String, String)>,
    /// The resource or block it is about.
    pub address: Option<String>,
}

impl Diagnostic {
    pub fn error(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic {
            severity: Severity::Error,
            summary: summary.into(),
            detail: detail.into(),
            span: None,
            hint: None,
            values: Vec::new(),
            address: None,
        }
    }

    pub fn warning(summary: impl Into<String>, detail: impl Into<String>) -> Diagnostic {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(summary, detail) }
    }

    #[must_use]
    pub fn at(mut self, span: impl Into<Option<Span>>) -> Diagnostic {
        self.span = span.into();
        self
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Diagnostic {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn about(mut self, address: impl fmt::Display) -> Diagnostic {
        self.address = Some(address.to_string());
        self
    }

    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// The texts that spans point into.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sources {
    pub files: std::collections::BTreeMap<Arc<str>, Arc<str>>,
}

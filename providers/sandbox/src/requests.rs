//! What was asked of the sandbox, for tests and traces: the last requests, bounded.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use crate::Fault;

const REQUESTS_KEPT: usize = 10_000;
const BYTES_KEPT: usize = 32 << 20;

/// One request and how it was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub api: String,
    /// From 1, for each API.
    pub number: u64,
    pub method: String,
    /// With the query.
    pub path: String,
    /// JSON where it is JSON, text elsewhere; null where there is none.
    pub body: serde_json::Value,
    /// The HTTP status; `None` where no answer was given.
    pub status: Option<u16>,
    pub fault: Option<Fault>,
}

/// Clones share one content.
#[derive(Clone, Default)]
pub(crate) struct Requests {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    last: VecDeque<(Request, usize)>,
    bytes: usize,
    counts: BTreeMap<&'static str, u64>,
}

impl Requests {
    /// The number of the next request of an API.
    pub fn number(&self, api: &'static str) -> u64 {
        let mut inner = self.inner.lock().expect("no holder panics");
        let count = inner.counts.entry(api).or_default();
        *count += 1;
        *count
    }

    /// Requests so far.
    pub fn count(&self, api: &str) -> u64 {
        self.inner.lock().expect("no holder panics").counts.get(api).copied().unwrap_or(0)
    }

    pub fn push(&self, request: Request, bytes: usize) {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.bytes += bytes;
        inner.last.push_back((request, bytes));
        while inner.last.len() > REQUESTS_KEPT || inner.bytes > BYTES_KEPT {
            let Some((_, dropped)) = inner.last.pop_front() else { return };
            inner.bytes -= dropped;
        }
    }

    pub fn last(&self) -> Vec<Request> {
        let inner = self.inner.lock().expect("no holder panics");
        inner.last.iter().map(|(request, _)| request.clone()).collect()
    }
}

/// A body as the log shows it.
pub(crate) fn readable(bytes: &[u8]) -> serde_json::Value {
    if bytes.is_empty() {
        return serde_json::Value::Null;
    }
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_in_number_and_size() {
        let requests = Requests::default();
        let request = |number| Request {
            api: "aws".into(),
            number,
            method: "GET".into(),
            path: "/".into(),
            body: readable(b"not json"),
            status: Some(200),
            fault: None,
        };
        for number in 0..REQUESTS_KEPT as u64 + 5 {
            requests.push(request(number), 1);
        }
        let last = requests.last();
        assert_eq!((last.len(), last[0].number), (REQUESTS_KEPT, 5));
        requests.push(request(1), BYTES_KEPT);
        assert_eq!(requests.last().len(), 1);
        requests.push(request(2), BYTES_KEPT + 1);
        assert_eq!(requests.last(), []);
    }
}

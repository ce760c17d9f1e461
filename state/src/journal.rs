//! A log that many tasks append to at once: what they bring while a write is under way goes into the
//! next write together.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::{Entry, Error, Log, Store};

/// Clones are the same journal.
#[derive(Clone)]
pub struct Journal {
    shared: Arc<Shared>,
}

struct Shared {
    run: String,
    store: Arc<dyn Store>,
    log: tokio::sync::Mutex<Log>,
    waiting: Mutex<Vec<Waiting>>,
}

struct Waiting {
    entries: Vec<Entry>,
    answer: oneshot::Sender<Result<Range<u64>, Error>>,
}

impl Journal {
    pub fn new(log: Log) -> Journal {
        let shared = Shared {
            run: log.run().to_owned(),
            store: Arc::clone(log.store()),
            log: tokio::sync::Mutex::new(log),
            waiting: Mutex::default(),
        };
        Journal { shared: Arc::new(shared) }
    }

    /// As [`Log::append`]: durable when this returns, all of the entries or none. A caller that stops
    /// waiting does not stop the write.
    pub async fn append(&self, entries: Vec<Entry>) -> Result<Range<u64>, Error> {
        let (answer, answered) = oneshot::channel();
        self.shared.waiting.lock().expect("no holder panics").push(Waiting { entries, answer });
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.write().await });
        answered.await.expect("a write answers everyone it takes up")
    }

    /// The run that writes here.
    pub fn run(&self) -> &str {
        &self.shared.run
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Reads what others have appended.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.shared.log.lock().await.refresh().await
    }

    /// Looks at the log, between two writes.
    pub async fn read<T>(&self, look: impl FnOnce(&Log) -> T) -> T {
        look(&*self.shared.log.lock().await)
    }
}

impl Shared {
    /// Writes everything that waits, as one batch.
    async fn write(&self) {
        let mut log = self.log.lock().await;
        let waiting = std::mem::take(&mut *self.waiting.lock().expect("no holder panics"));
        if waiting.is_empty() {
            return;
        }
        let all: Vec<Entry> = waiting.iter().flat_map(|one| one.entries.clone()).collect();
        match log.append(all).await {
            Ok(numbers) => {
                let mut next = numbers.start;
                for one in waiting {
                    let end = next + one.entries.len() as u64;
                    // Nobody listens where the caller has gone.
                    let _ = one.answer.send(Ok(next..end));
                    next = end;
                }
            }
            // One of them is wrong: the others must not suffer for it.
            Err(Error::Refused(_) | Error::Claimed { .. }) => {
                for one in waiting {
                    let _ = one.answer.send(log.append(one.entries).await);
                }
            }
            Err(error) => {
                for one in waiting {
                    let _ = one.answer.send(Err(error.clone()));
                }
            }
        }
    }
}

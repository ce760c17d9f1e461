//! A log in memory, for tests and for trying things.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::{Batch, Kept, Put, Snapshot, Store};

/// Clones are the same store.
#[derive(Clone, Default)]
pub struct MemoryStore {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    batches: BTreeMap<u64, Vec<u8>>,
    /// Below this number batches were dropped.
    dropped: u64,
    snapshot: Option<Snapshot>,
    heartbeats: BTreeMap<String, Vec<u8>>,
    bytes_written: u64,
}

impl MemoryStore {
    /// Bytes ever put, of batches and snapshots.
    pub fn bytes_written(&self) -> u64 {
        self.inner.lock().expect("no holder panics").bytes_written
    }

    /// Batches that are kept.
    pub fn batches(&self) -> usize {
        self.inner.lock().expect("no holder panics").batches.len()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        Ok(self.inner.lock().expect("no holder panics").snapshot.clone())
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.bytes_written += snapshot.bytes.len() as u64;
        if inner.snapshot.as_ref().is_none_or(|kept| kept.number <= snapshot.number) {
            inner.snapshot = Some(snapshot);
        }
        Ok(())
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        let inner = self.inner.lock().expect("no holder panics");
        let batches = inner.batches.range(number..);
        Ok(batches.map(|(first, bytes)| Batch { first: *first, bytes: bytes.clone() }).collect())
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        let mut inner = self.inner.lock().expect("no holder panics");
        if batch.first < inner.dropped || inner.batches.contains_key(&batch.first) {
            return Ok(Put::Taken);
        }
        inner.bytes_written += batch.bytes.len() as u64;
        inner.batches.insert(batch.first, batch.bytes);
        Ok(Put::Kept)
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.bytes_written += batch.bytes.len() as u64;
        inner.batches.insert(batch.first, batch.bytes);
        Ok(())
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        let mut inner = self.inner.lock().expect("no holder panics");
        match kept {
            Kept::Batch(first) => {
                inner.dropped = inner.dropped.max(first);
                inner.batches = inner.batches.split_off(&first);
            }
            Kept::Snapshot(number) => {
                inner.snapshot.take_if(|snapshot| snapshot.number < number);
            }
        }
        Ok(())
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        let mut inner = self.inner.lock().expect("no holder panics");
        inner.heartbeats.insert(run.to_owned(), bytes);
        Ok(())
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        Ok(self.inner.lock().expect("no holder panics").heartbeats.clone())
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.inner.lock().expect("no holder panics").heartbeats.remove(run);
        Ok(())
    }

    fn place(&self, kept: Kept) -> String {
        match kept {
            Kept::Batch(first) => format!("memory: batch {first}"),
            Kept::Snapshot(number) => format!("memory: snapshot {number}"),
        }
    }
}

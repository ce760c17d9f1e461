//! Where a log is kept: few operations, so that a store is small to write.

use std::collections::BTreeMap;
use std::io;

use async_trait::async_trait;

/// Keeps batches of lines and snapshots. It never looks inside.
#[async_trait]
pub trait Store: Send + Sync {
    /// The newest snapshot.
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>>;

    /// Keeps a snapshot. Older ones may be dropped.
    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()>;

    /// Every batch whose first entry has this number or a greater one, in order.
    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>>;

    /// Keeps a batch, unless there is one with the same first entry. A batch that this has kept is
    /// durable, and is seen by every later read, whole.
    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put>;

    /// Keeps a batch in place of the one with the same first entry: whole, and durable. Whoever reads
    /// meanwhile sees the one or the other. Two that replace the same batch at once do so at their own
    /// peril.
    async fn replace(&self, batch: Batch) -> io::Result<()>;

    /// Drops every batch, or every snapshot, with a number below this one. The numbers of dropped
    /// batches stay taken for ever: who has not heard of it and puts one of them is told so, and what
    /// a crash leaves of them is never read again.
    async fn drop_before(&self, kept: Kept) -> io::Result<()>;

    /// Keeps a run's sign of life in place of its last one. Heartbeats are no part of the log: one that
    /// is lost or seen late costs time, never truth.
    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()>;

    /// The newest sign of life of every run that has one.
    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>>;

    /// Removes a run's sign of life. None there is fine.
    async fn remove_heartbeat(&self, run: &str) -> io::Result<()>;

    /// What the user calls the place of something kept: a path, a URL.
    fn place(&self, kept: Kept) -> String;
}

/// Lines that were written together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first entry.
    pub first: u64,
    pub bytes: Vec<u8>,
}

/// The fold up to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the last entry in it.
    pub number: u64,
    pub bytes: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    Kept,
    /// Another batch has that number already, or had it and was dropped.
    Taken,
}

/// Something that a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// The batch with this first entry.
    Batch(u64),
    /// The snapshot up to this entry.
    Snapshot(u64),
}

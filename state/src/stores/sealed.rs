//! Any store, with everything in it that says something sealed: batches and snapshots. Heartbeats say
//! nothing.
//!
//! Bytes that are not what was sealed go to the log as they are, which finds them damaged and names
//! them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;

use super::failure::Failure;
use crate::seal::{Keys, Locked, is_sealed};
use crate::{Batch, Kept, Put, Snapshot, Store};

/// How often everything is looked through for what others write under an old key meanwhile.
const PASSES: usize = 8;

pub struct SealedStore {
    inner: Arc<dyn Store>,
    keys: Keys,
    /// Whether a sealed batch was seen: nothing in clear may follow it.
    has_sealed: AtomicBool,
    /// Whether one in clear was.
    has_clear: AtomicBool,
}

/// What is kept, by how it is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealing {
    /// Batches sealed with the current key.
    pub current: u64,
    /// Batches sealed with another one.
    pub previous: u64,
    /// Batches in clear.
    pub clear: u64,
}

impl SealedStore {
    pub fn new(inner: Arc<dyn Store>, keys: Keys) -> SealedStore {
        SealedStore {
            inner,
            keys,
            has_sealed: AtomicBool::new(false),
            has_clear: AtomicBool::new(false),
        }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Whether what is written is sealed.
    pub fn seals(&self) -> bool {
        self.keys.seals()
    }

    /// Whether all that was read is in clear although what is written is sealed: encryption was turned on
    /// just now, or somebody has put another state in the place of the one that was sealed.
    pub fn was_in_clear(&self) -> bool {
        let seen = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        self.seals() && seen(&self.has_clear) && !seen(&self.has_sealed)
    }

    /// How the batches are kept.
    pub async fn sealing(&self) -> io::Result<Sealing> {
        let mut sealing = Sealing::default();
        for batch in self.inner.read_from(1).await? {
            let count = match is_sealed(&batch.bytes) {
                false => &mut sealing.clear,
                true if self.keys.is_current(&batch.bytes) => &mut sealing.current,
                true => &mut sealing.previous,
            };
            *count += 1;
        }
        Ok(sealing)
    }

    /// Writes everything again that is not sealed with the current key; without one, in clear. Gives the
    /// number of batches. Only one process may do this at a time.
    pub async fn rekey(&self) -> io::Result<u64> {
        let mut written = 0;
        for _ in 0..PASSES {
            let batches = self.inner.read_from(1).await?;
            // The newest first: at every moment what is in clear comes before what is sealed.
            let batches = batches.into_iter().rev();
            let old = batches.filter(|batch| !self.keys.is_current(&batch.bytes));
            let before = written;
            for Batch { first, bytes } in old {
                let kept = Kept::Batch(first);
                let bytes = self.keys.open(&context(kept), &bytes);
                let bytes = bytes.map_err(|locked| self.failure(kept, locked))?;
                let bytes = self.keys.seal(&context(kept), &bytes);
                self.inner.replace(Batch { first, bytes }).await?;
                written += 1;
            }
            if written == before {
                self.rekey_snapshots().await?;
                return Ok(written);
            }
        }
        let what = format!("others write to {} under an old key", self.place(Kept::Batch(1)));
        Err(Failure::error(
            io::ErrorKind::WouldBlock,
            what,
            "Run the command again when they have finished; give them the new key.",
        ))
    }

    /// The newest snapshot, under the current key; older ones go.
    async fn rekey_snapshots(&self) -> io::Result<()> {
        let Some(Snapshot { number, bytes }) = self.inner.read_snapshot().await? else {
            return Ok(());
        };
        let kept = Kept::Snapshot(number);
        if !self.keys.is_current(&bytes) {
            let bytes = self.keys.open(&context(kept), &bytes);
            let bytes = bytes.map_err(|locked| self.failure(kept, locked))?;
            let bytes = self.keys.seal(&context(kept), &bytes);
            self.inner.put_snapshot(Snapshot { number, bytes }).await?;
        }
        self.inner.drop_before(kept).await
    }

    fn open(&self, kept: Kept, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        match self.keys.open(&context(kept), &bytes) {
            Ok(opened) => Ok(opened),
            // The log names it, and says what to do.
            Err(Locked::Damaged) => Ok(bytes),
            Err(locked) => Err(self.failure(kept, locked)),
        }
    }

    fn failure(&self, kept: Kept, locked: Locked) -> io::Error {
        let place = self.place(kept);
        let (what, hint) = match locked {
            Locked::NoKey => (
                format!("{place} is encrypted, and the stack has no `encryption` block"),
                "Say in the `fleetform` block where the key comes from: \
                 `encryption { passphrase_env = \"…\" }` or `encryption { key_file = \"…\" }`.",
            ),
            Locked::WrongKey => (
                format!(
                    "{place} is encrypted with another key than those of the `encryption` block"
                ),
                "Give the key that it was encrypted with; one that has been replaced goes into \
                 `previous { … }` inside the `encryption` block.",
            ),
            Locked::Version => (
                format!("{place} was encrypted by a later version of Fleetform"),
                "Use that version, or a newer one.",
            ),
            Locked::Damaged => (
                format!("{place} is damaged: it is not what was encrypted there"),
                "Run `fleetform state verify`, and restore what it names from a backup.",
            ),
        };
        Failure::error(io::ErrorKind::InvalidData, what, hint)
    }
}

fn context(kept: Kept) -> String {
    match kept {
        Kept::Batch(first) => format!("batch {first}"),
        Kept::Snapshot(number) => format!("snapshot {number}"),
    }
}

#[async_trait]
impl Store for SealedStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let Some(Snapshot { number, bytes }) = self.inner.read_snapshot().await? else {
            return Ok(None);
        };
        Ok(Some(Snapshot { number, bytes: self.open(Kept::Snapshot(number), bytes)? }))
    }

    async fn put_snapshot(&self, Snapshot { number, bytes }: Snapshot) -> io::Result<()> {
        let bytes = self.keys.seal(&context(Kept::Snapshot(number)), &bytes);
        self.inner.put_snapshot(Snapshot { number, bytes }).await
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        let mut opened = Vec::new();
        for Batch { first, bytes } in self.inner.read_from(number).await? {
            let kept = Kept::Batch(first);
            if is_sealed(&bytes) {
                self.has_sealed.store(true, Ordering::Relaxed);
            } else if self.keys.seals() && self.has_sealed.load(Ordering::Relaxed) {
                return Err(Failure::error(
                    io::ErrorKind::InvalidData,
                    format!("{} is not encrypted, although what is before it is", self.place(kept)),
                    "Nobody who has the key wrote this. Restore the state from a backup.",
                ));
            } else {
                self.has_clear.store(true, Ordering::Relaxed);
            }
            opened.push(Batch { first, bytes: self.open(kept, bytes)? });
        }
        Ok(opened)
    }

    async fn put_if_absent(&self, Batch { first, bytes }: Batch) -> io::Result<Put> {
        let bytes = self.keys.seal(&context(Kept::Batch(first)), &bytes);
        self.inner.put_if_absent(Batch { first, bytes }).await
    }

    async fn replace(&self, Batch { first, bytes }: Batch) -> io::Result<()> {
        let bytes = self.keys.seal(&context(Kept::Batch(first)), &bytes);
        self.inner.replace(Batch { first, bytes }).await
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        self.inner.drop_before(kept).await
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.inner.put_heartbeat(run, bytes).await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        self.inner.read_heartbeats().await
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.inner.remove_heartbeat(run).await
    }

    fn place(&self, kept: Kept) -> String {
        self.inner.place(kept)
    }
}

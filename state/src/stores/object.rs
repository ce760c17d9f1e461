//! A log in an object store: one object a batch, one object a snapshot, one a heartbeat, under the
//! same names as in a directory.
//!
//! An object appears whole or not at all, and a name is given once: a batch is put on the condition
//! that its name is free, which S3, Google Cloud Storage and Azure Blob Storage decide themselves.
//! An answer that is lost says nothing: what is there then is read, and our own bytes are our own
//! write.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore as Objects, ObjectStoreExt, PutMode, PutPayload};

use super::failure::{Failure, chain};
use crate::{Batch, Kept, Put, Snapshot, Store};

const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
const HEARTBEATS: &str = "heartbeats";
/// Holds the number of the first batch that is not dropped. It is there before anything is dropped.
const BEGINNING: &str = "beginning";
/// The newest one, and one more in case somebody is reading it.
const SNAPSHOTS_KEPT: usize = 2;
/// Objects that are fetched at once.
const FETCHES: usize = 16;
/// How often something is tried that another run's doings may undo.
const ATTEMPTS: u32 = 8;

/// The objects below a prefix.
#[derive(Clone, Debug)]
pub struct ObjectStore {
    objects: Arc<dyn Objects>,
    prefix: Path,
    /// `s3://bucket/prefix`.
    name: String,
    advice: Advice,
}

/// What the user is told where the service refuses.
#[derive(Clone, Debug)]
pub(crate) struct Advice {
    /// `bucket "acme-state"`.
    pub container: String,
    /// Where credentials come from.
    pub credentials: &'static str,
}

impl ObjectStore {
    pub(crate) fn new(
        objects: Arc<dyn Objects>,
        prefix: &str,
        name: impl Into<String>,
        advice: Advice,
    ) -> ObjectStore {
        ObjectStore { objects, prefix: Path::from(prefix), name: name.into(), advice }
    }

    /// A bucket in memory, and what gives a copy of all that is in it at that moment.
    pub fn in_memory() -> (ObjectStore, impl Fn() -> ObjectStore + Send + Sync) {
        fn over(objects: InMemory) -> ObjectStore {
            let advice = Advice { container: "bucket \"memory\"".into(), credentials: "nobody" };
            ObjectStore::new(Arc::new(objects), "", "memory:", advice)
        }
        let objects = Arc::new(InMemory::new());
        let first = ObjectStore { objects: Arc::clone(&objects) as _, ..over(InMemory::new()) };
        (first, move || over(objects.fork()))
    }

    fn path(&self, kept: Kept) -> Path {
        match kept {
            Kept::Batch(first) => self.numbered(LOG, first, "jsonl"),
            Kept::Snapshot(number) => self.numbered(SNAPSHOTS, number, "json"),
        }
    }

    fn numbered(&self, folder: &str, number: u64, ending: &str) -> Path {
        self.prefix.clone().join(folder).join(format!("{number:020}.{ending}"))
    }

    /// The numbers in a folder from `start` on, in order.
    async fn numbers(&self, folder: &str, ending: &str, start: u64) -> io::Result<Vec<u64>> {
        let prefix = self.prefix.clone().join(folder);
        let listing = match start.checked_sub(1) {
            Some(before) => {
                let offset = self.numbered(folder, before, ending);
                self.objects.list_with_offset(Some(&prefix), &offset)
            }
            None => self.objects.list(Some(&prefix)),
        };
        let numbers = listing.try_filter_map(|object| async move {
            let name = object.location.filename().unwrap_or_default();
            let digits = name.strip_suffix(ending).and_then(|name| name.strip_suffix('.'));
            Ok(digits
                .filter(|digits| digits.len() == 20)
                .and_then(|digits| digits.parse::<u64>().ok()))
        });
        let mut numbers: Vec<u64> =
            numbers.try_collect().await.map_err(|error| self.failure("listing", &prefix, error))?;
        // Not every service lists in order, and not every one knows where to start.
        numbers.retain(|number| *number >= start);
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// An object's bytes; `None` where there is none.
    async fn get(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let mut attempt = 1;
        loop {
            let got = match self.objects.get(path).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(None),
                Err(error) if attempt < ATTEMPTS && broke_off(&error) => {
                    attempt += 1;
                    continue;
                }
                got => got.map_err(|error| self.failure("reading", path, error))?,
            };
            match got.bytes().await {
                Ok(bytes) => return Ok(Some(bytes.to_vec())),
                // The client asks again for an answer that did not come, not for one that broke off.
                Err(_) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(self.failure("reading", path, error)),
            }
        }
    }

    async fn put(&self, path: &Path, bytes: Vec<u8>) -> io::Result<()> {
        let put = self.objects.put(path, PutPayload::from(bytes)).await;
        put.map(|_| ()).map_err(|error| self.failure("writing", path, error))
    }

    async fn remove(&self, path: &Path) -> io::Result<()> {
        match self.objects.delete(path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failure("removing", path, error)),
        }
    }

    /// The number below which batches were dropped.
    async fn beginning(&self) -> io::Result<u64> {
        let path = self.prefix.clone().join(BEGINNING);
        let Some(bytes) = self.get(&path).await? else { return Ok(0) };
        let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok());
        number.ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("{path} of {} holds no number", self.name),
            )
        })
    }

    /// Whether a batch that was just put has its number for good. Who was asleep while it was dropped
    /// has put it where nobody reads.
    async fn settle(&self, path: &Path, first: u64) -> io::Result<Put> {
        if first >= self.beginning().await? {
            return Ok(Put::Kept);
        }
        self.remove(path).await?;
        Ok(Put::Taken)
    }

    async fn read_once(&self, number: u64) -> io::Result<Option<Vec<Batch>>> {
        let start = number.max(self.beginning().await?);
        let numbers = self.numbers(LOG, "jsonl", start).await?;
        let fetches = numbers.into_iter().map(|first| async move {
            let bytes = self.get(&self.path(Kept::Batch(first))).await?;
            Ok::<_, io::Error>(bytes.map(|bytes| Batch { first, bytes }))
        });
        let batches: Vec<Option<Batch>> =
            futures::stream::iter(fetches).buffered(FETCHES).try_collect().await?;
        Ok(batches.into_iter().collect())
    }

    fn failure(&self, doing: &str, path: &Path, error: object_store::Error) -> io::Error {
        let whole = chain(&error);
        let text = brief(&whole);
        let place = &self.name;
        let container = &self.advice.container;
        let is_missing = ["NoSuchBucket", "ContainerNotFound", "bucket does not exist"];
        if is_missing.iter().any(|word| text.contains(word)) {
            return Failure::error(
                io::ErrorKind::NotFound,
                format!("the {container} of {place} does not exist ({text})"),
                format!("Make the {container}, or correct its name in the `state` block."),
            );
        }
        let is_denied =
            matches!(
                error,
                object_store::Error::PermissionDenied { .. }
                    | object_store::Error::Unauthenticated { .. }
            ) || ["401 Unauthorized", "403 Forbidden", "redential", "169.254.169.254", "metadata"]
                .iter()
                .any(|word| whole.contains(word));
        if is_denied {
            return Failure::error(
                io::ErrorKind::PermissionDenied,
                format!("{doing} {path} of {place} was not allowed ({text})"),
                format!(
                    "Give Fleetform credentials that may list, read, write and delete objects there. {}",
                    self.advice.credentials
                ),
            );
        }
        Failure::error(
            io::ErrorKind::Other,
            format!("{doing} {path} of {place} failed ({text})"),
            "Check the network, and `endpoint` and `region` of the `state` block; then run the \
             command again."
                .to_owned(),
        )
    }
}

/// The code and the message of an answer in XML, in place of the XML.
fn brief(text: &str) -> String {
    let between = |open: &str, close: &str| {
        let start = text.find(open)? + open.len();
        let end = text[start..].find(close)?;
        Some(text[start..start + end].trim())
    };
    match (between("<Code>", "</Code>"), between("<Message>", "</Message>")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        _ => text.to_owned(),
    }
}

/// Whether an answer that says no (not found, say) ended before it had said all.
fn broke_off(error: &object_store::Error) -> bool {
    chain(error).contains("response body error")
}

#[async_trait]
impl Store for ObjectStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        // The one that was listed may be dropped meanwhile, because two newer ones have come.
        for _ in 0..ATTEMPTS {
            let Some(number) = self.numbers(SNAPSHOTS, "json", 0).await?.pop() else {
                return Ok(None);
            };
            if let Some(bytes) = self.get(&self.path(Kept::Snapshot(number))).await? {
                return Ok(Some(Snapshot { number, bytes }));
            }
        }
        Err(io::Error::other(format!("the snapshots of {} vanish while they are read", self.name)))
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.put(&self.path(Kept::Snapshot(snapshot.number)), snapshot.bytes).await?;
        let numbers = self.numbers(SNAPSHOTS, "json", 0).await?;
        for number in numbers.iter().rev().skip(SNAPSHOTS_KEPT) {
            self.remove(&self.path(Kept::Snapshot(*number))).await?;
        }
        Ok(())
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        // What was listed may be dropped before it is read.
        for _ in 0..ATTEMPTS {
            if let Some(batches) = self.read_once(number).await? {
                return Ok(batches);
            }
        }
        Err(io::Error::other(format!("batches of {} are listed and are not there", self.name)))
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        let path = self.path(Kept::Batch(batch.first));
        for attempt in 1.. {
            let payload = PutPayload::from(batch.bytes.clone());
            let put = self.objects.put_opts(&path, payload, PutMode::Create.into()).await;
            let error = match put {
                Ok(_) => return self.settle(&path, batch.first).await,
                Err(error) => error,
            };
            let is_taken = matches!(error, object_store::Error::AlreadyExists { .. });
            // An answer that is lost is sent for again by the client, and our own first write is then
            // in the way of the second.
            match self.get(&path).await {
                Ok(Some(there)) if there == batch.bytes => {
                    return self.settle(&path, batch.first).await;
                }
                Ok(Some(_)) => return Ok(Put::Taken),
                // S3 answers 409 while another write of that name is under way, which may yet fail.
                Ok(None) if is_taken && attempt < ATTEMPTS => {
                    tokio::time::sleep(Duration::from_millis(50) * attempt).await;
                }
                _ => return Err(self.failure("writing", &path, error)),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.put(&self.path(Kept::Batch(batch.first)), batch.bytes).await
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        let (folder, ending, bound) = match kept {
            Kept::Batch(first) => (LOG, "jsonl", first),
            Kept::Snapshot(number) => (SNAPSHOTS, "json", number),
        };
        if matches!(kept, Kept::Batch(_)) && self.beginning().await? < bound {
            let path = self.prefix.clone().join(BEGINNING);
            self.put(&path, bound.to_string().into_bytes()).await?;
        }
        let mut numbers = self.numbers(folder, ending, 0).await?;
        numbers.retain(|number| *number < bound);
        let removals = numbers
            .into_iter()
            .map(|number| async move { self.remove(&self.numbered(folder, number, ending)).await });
        futures::stream::iter(removals).buffer_unordered(FETCHES).try_collect().await
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        self.put(&self.prefix.clone().join(HEARTBEATS).join(run), bytes).await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let prefix = self.prefix.clone().join(HEARTBEATS);
        let listed: Vec<_> = self
            .objects
            .list(Some(&prefix))
            .try_collect()
            .await
            .map_err(|error| self.failure("listing", &prefix, error))?;
        let fetches = listed.into_iter().map(|object| async move {
            let run = object.location.filename().unwrap_or_default().to_owned();
            // None where its run has ended meanwhile.
            Ok::<_, io::Error>(self.get(&object.location).await?.map(|bytes| (run, bytes)))
        });
        let beats = futures::stream::iter(fetches).buffered(FETCHES);
        beats.try_filter_map(|beat| async move { Ok(beat) }).try_collect().await
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        self.remove(&self.prefix.clone().join(HEARTBEATS).join(run)).await
    }

    fn place(&self, kept: Kept) -> String {
        let path = self.path(kept);
        let below = path.as_ref().strip_prefix(self.prefix.as_ref()).unwrap_or(path.as_ref());
        format!("{}/{}", self.name, below.trim_start_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::brief;

    #[test]
    fn an_answer_in_xml_is_said_in_words() {
        let xml =
            "status 403: <?xml?><Error><Code>AccessDenied</Code><Message>No.</Message></Error>";
        assert_eq!(brief(xml), "AccessDenied: No.");
        assert_eq!(brief("connection refused"), "connection refused");
    }
}

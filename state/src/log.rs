//! The log: reading it, and appending to it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::line::{self, Head};
use crate::state::Inconsistent;
use crate::{
    Batch, Entry, Error, FORMAT, Genesis, Kept, Line, MemoryStore, Put, Snapshot, State, Store,
};

/// A snapshot comes after at least so many entries, and so many times the bytes of the last snapshot: so
/// all snapshots together take a quarter of the log at most, and what must be folded when it is opened
/// is a few times the state.
const ENTRIES_BETWEEN_SNAPSHOTS: u64 = 100;
const SNAPSHOTS_BETWEEN_SNAPSHOTS: u64 = 4;

/// Who writes: the run's name, which every entry carries, and its clock.
pub struct Writer {
    /// Unique: a UUID, say. Two writers of one name could take each other's entries for their own.
    pub run: String,
    /// The time in RFC 3339.
    pub clock: Box<dyn Fn() -> String + Send + Sync>,
}

/// An open log: the fold of what it has read, and where the next entry goes.
pub struct Log {
    store: Arc<dyn Store>,
    writer: Writer,
    state: State,
    head: Head,
    /// The first entry of the batch that holds the last entry.
    last_batch: u64,
    /// Whether this writer works under a claim: then it begins nothing without one.
    has_claimed: bool,
    /// Since the last snapshot.
    entries_since: u64,
    bytes_since: u64,
    snapshot_bytes: u64,
    /// Where the log begins, if not with its genesis.
    beginning: Option<Anchor>,
}

/// A beginning that an entry behind it must name: else it may be an older one, put back.
struct Anchor {
    hash: String,
    place: String,
    batch: u64,
}

/// What [`verify`] looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The number of the last one.
    pub entries: u64,
    /// The number of the last entry that was compacted.
    pub beginning: Option<u64>,
    pub batches: u64,
    /// The number of the last entry in the newest snapshot.
    pub snapshot: Option<u64>,
    pub lineage: Option<String>,
}

/// The layout of a snapshot. Its `hash` seals it as a line's does.
#[derive(Serialize, Deserialize)]
struct Image {
    format: u32,
    number: u64,
    /// The hash of the entry with that number.
    head: String,
    /// The first entry of the batch that holds it.
    batch: u64,
    state: State,
}

impl Log {
    /// Reads the log from its beginning and checks that each entry follows the one before. What the
    /// newest snapshot holds already is checked and not folded again, which is most of the work.
    /// Writes nothing: where there is no log yet, `genesis` opens the first batch appended.
    pub async fn open(
        store: Arc<dyn Store>,
        writer: Writer,
        genesis: Genesis,
    ) -> Result<Log, Error> {
        let mut log = Log {
            store,
            writer,
            state: State::new(genesis),
            head: Head::start(),
            last_batch: 0,
            has_claimed: false,
            entries_since: 0,
            bytes_since: 0,
            snapshot_bytes: 0,
            beginning: None,
        };
        let snapshot = read_snapshot(&*log.store).await?;
        let image =
            snapshot.as_ref().map(|snapshot| read_image(&*log.store, snapshot)).transpose()?;
        let batches = line::from_beginning(read_from(&*log.store, 1).await?);
        let mut batches = batches.into_iter().peekable();
        if let Some(batch) = batches.next_if(|batch| line::is_beginning(&batch.bytes)) {
            log.take(&batch)?;
        }
        if let (Some(snapshot), Some(image)) = (&snapshot, image)
            && image.number >= log.head.number
        {
            log.start_from(snapshot, image, &mut batches)?;
        }
        for batch in batches {
            log.take(&batch)?;
        }
        log.settle_beginning().await?;
        Ok(log)
    }

    /// A log in memory with nothing in it.
    pub async fn in_memory(stack: &str) -> Log {
        let clock = Box::new(|| "1970-01-01T00:00:00Z".to_owned());
        let writer = Writer { run: "memory".into(), clock };
        let opened = Log::open(Arc::new(MemoryStore::default()), writer, Genesis::random(stack));
        opened.await.expect("memory does not fail")
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// The run that writes here.
    pub fn run(&self) -> &str {
        &self.writer.run
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Whether anything was ever written.
    pub fn has_begun(&self) -> bool {
        self.head.number > 0
    }

    /// Reads what others have appended.
    pub async fn refresh(&mut self) -> Result<(), Error> {
        self.read_new(None).await.map(|_| ())
    }

    /// Appends the entries as one batch, behind what others have appended meanwhile: all of them or
    /// none. Gives their numbers. They are durable when this returns.
    pub async fn append(&mut self, entries: Vec<Entry>) -> Result<Range<u64>, Error> {
        if entries.is_empty() {
            return Ok(self.head.number + 1..self.head.number + 1);
        }
        let time = (self.writer.clock)();
        let lineage = self.state.genesis.lineage.clone();
        loop {
            let opening = (!self.has_begun()).then(|| Entry::Genesis(self.state.genesis.clone()));
            let opens = opening.is_some();
            let batch: Vec<Entry> = opening.into_iter().chain(entries.iter().cloned()).collect();
            self.admits(&batch)?;
            let (bytes, head) = line::encode(&self.head, &time, &self.writer.run, &batch);
            let first = self.head.number + 1;
            let put = self.store.put_if_absent(Batch { first, bytes: bytes.clone() }).await;
            let place = || self.store.place(Kept::Batch(first));
            let put = put.map_err(|source| store_error("writing", &place(), source))?;
            let ours = match put {
                Put::Kept => {
                    let run = self.writer.run.clone();
                    let lines = batch.iter().map(|entry| (&run[..], entry));
                    self.advance(lines, head, first, bytes.len())?;
                    true
                }
                // Also the way in which our own write comes back whose answer was lost.
                Put::Taken => self.read_new(Some(&bytes)).await?,
            };
            if ours {
                self.snapshot_if_due().await;
                let start = first + u64::from(opens);
                return Ok(start..first + batch.len() as u64);
            }
            if opens && self.state.genesis.lineage != lineage {
                // What the caller wants to write was derived from another lineage.
                return Err(Error::Begun { lineage: self.state.genesis.lineage.clone() });
            }
        }
    }

    /// Whether this writer may append these entries.
    fn admits(&self, entries: &[Entry]) -> Result<(), Error> {
        let run = &self.writer.run;
        let begun = entries.iter().find(|entry| matches!(entry, Entry::Begin { .. }));
        if self.has_claimed
            && !self.state.claims.fenced.contains_key(run)
            && !self.state.claims.held.contains_key(run)
            && let Some(address) = begun.and_then(|begin| begin.addresses().next())
        {
            let (address, run) = (address.clone(), run.clone());
            return Err(Error::Refused(Inconsistent::Unclaimed { address, run }));
        }
        self.state.admits(run, entries).map_err(|what| match what {
            Inconsistent::Fenced { by, .. } => Error::Fenced { by },
            Inconsistent::Claimed { address, run } => match self.state.claims.held.get(&run) {
                Some(claim) => Error::Claimed { claim: Box::new(claim.clone()), run, address },
                None => Error::Refused(Inconsistent::Claimed { address, run }),
            },
            what => Error::Refused(what),
        })
    }

    /// Folds a batch that is kept: its entries with the runs that wrote them.
    fn advance<'a>(
        &mut self,
        lines: impl Iterator<Item = (&'a str, &'a Entry)>,
        head: Head,
        first: u64,
        bytes: usize,
    ) -> Result<(), Error> {
        for (run, entry) in lines {
            let number = self.state.serial + 1;
            self.state.fold(run, entry).map_err(|what| match what {
                Inconsistent::Format { .. } => Error::Version {
                    place: self.store.place(Kept::Batch(first)),
                    what: what.to_string(),
                },
                what => Error::Inconsistent { entry: number, what },
            })?;
            self.has_claimed |=
                matches!(entry, Entry::Claim { run, .. } if *run == self.writer.run);
        }
        self.entries_since += head.number - self.head.number;
        self.head = head;
        self.last_batch = first;
        self.bytes_since += bytes as u64;
        Ok(())
    }

    /// Reads and folds new batches. Tells whether the first of them has just these bytes.
    async fn read_new(&mut self, awaited: Option<&[u8]>) -> Result<bool, Error> {
        let batches = read_from(&*self.store, self.head.number + 1).await?;
        if awaited.is_some() && batches.is_empty() {
            // A store that says "taken" and shows nothing would keep us here for ever.
            let place = self.store.place(Kept::Batch(self.head.number + 1));
            return Err(Error::Missing { place, entry: self.head.number + 1 });
        }
        let ours = batches.first().is_some_and(|batch| awaited == Some(&batch.bytes[..]));
        for batch in batches {
            self.take(&batch)?;
        }
        self.settle_beginning().await?;
        Ok(ours)
    }

    /// Checks and folds a batch of the store.
    fn take(&mut self, batch: &Batch) -> Result<(), Error> {
        if line::is_beginning(&batch.bytes) {
            return self.begin(batch);
        }
        let (lines, head) = decode(&*self.store, &self.head, batch)?;
        let lines = lines.iter().map(|line| (&line.run[..], &line.entry));
        self.advance(lines, head, batch.first, batch.bytes.len())
    }

    /// Starts from a beginning. Who was asleep while the log was compacted goes on from there, too.
    fn begin(&mut self, batch: &Batch) -> Result<(), Error> {
        let place = self.store.place(Kept::Batch(batch.first));
        let (line, head) = line::decode_beginning(batch, &place)?;
        let Entry::Beginning { state, .. } = line.entry else { unreachable!("it is one") };
        self.state = *state;
        self.head = head;
        self.last_batch = batch.first;
        self.beginning = Some(Anchor { hash: line.hash, place, batch: batch.first });
        Ok(())
    }

    /// Makes sure that an entry of the log names its beginning.
    async fn settle_beginning(&mut self) -> Result<(), Error> {
        if self.is_anchored() {
            return Ok(());
        }
        // The log may have been compacted while it was read: that entry was there before the beginning.
        for batch in read_from(&*self.store, self.head.number + 1).await? {
            self.take(&batch)?;
        }
        match &self.beginning {
            Some(anchor) if !self.is_anchored() => Err(unanchored(&anchor.place, anchor.batch)),
            _ => Ok(()),
        }
    }

    fn is_anchored(&self) -> bool {
        let named = |hash: &str| self.state.compactions.values().any(|known| known == hash);
        self.beginning.as_ref().is_none_or(|anchor| named(&anchor.hash))
    }

    /// Starts from a snapshot, once the batches up to its last entry are seen to be whole and to lead
    /// there.
    fn start_from(
        &mut self,
        snapshot: &Snapshot,
        image: Image,
        batches: &mut impl Iterator<Item = Batch>,
    ) -> Result<(), Error> {
        while self.head.number < image.number {
            let expected = self.store.place(Kept::Batch(self.head.number + 1));
            let missing = Error::Missing { place: expected, entry: self.head.number + 1 };
            let batch = batches.next().ok_or(missing)?;
            let place = place_behind(&*self.store, &self.head, &batch)?;
            self.head = line::follow(&self.head, &batch.bytes, &place, |_| Ok(()))?;
            self.last_batch = batch.first;
        }
        if (self.head.number, &self.head.hash) != (image.number, &image.head) {
            return Err(Error::Damaged {
                place: self.store.place(Kept::Batch(self.last_batch)),
                entry: Some(image.number),
                what: format!(
                    "its entry {} is not the one that the snapshot {} ends with",
                    image.number,
                    self.store.place(Kept::Snapshot(snapshot.number))
                ),
            });
        }
        self.state = image.state;
        self.snapshot_bytes = snapshot.bytes.len() as u64;
        Ok(())
    }

    async fn snapshot_if_due(&mut self) {
        let is_due = self.entries_since >= ENTRIES_BETWEEN_SNAPSHOTS
            && self.bytes_since >= SNAPSHOTS_BETWEEN_SNAPSHOTS * self.snapshot_bytes;
        if !is_due {
            return;
        }
        let image = Image {
            format: FORMAT,
            number: self.head.number,
            head: self.head.hash.clone(),
            batch: self.last_batch,
            state: self.state.clone(),
        };
        let (bytes, _) = line::seal(serde_json::to_vec(&image).expect("states serialize"));
        let length = bytes.len() as u64;
        // A snapshot only saves time. Where it cannot be kept the entries still are; the next append
        // tries again.
        if self.store.put_snapshot(Snapshot { number: image.number, bytes }).await.is_ok() {
            (self.entries_since, self.bytes_since, self.snapshot_bytes) = (0, 0, length);
        }
    }
}

/// Every line of the log, in order, each checked against the one before it. The first is the genesis,
/// or what stands for everything that was compacted.
pub async fn history(store: &dyn Store) -> Result<Vec<Line>, Error> {
    Ok(read_all(store).await?.1)
}

/// The numbers of all batches, and their lines.
pub(crate) async fn read_all(store: &dyn Store) -> Result<(Vec<u64>, Vec<Line>), Error> {
    let mut head = Head::start();
    let mut history = Vec::new();
    let batches = line::from_beginning(read_from(store, 1).await?);
    for batch in &batches {
        head = if line::is_beginning(&batch.bytes) {
            let (line, head) =
                line::decode_beginning(batch, &store.place(Kept::Batch(batch.first)))?;
            history.push(line);
            head
        } else {
            let (lines, head) = decode(store, &head, batch)?;
            history.extend(lines);
            head
        };
    }
    Ok((batches.iter().map(|batch| batch.first).collect(), history))
}

/// Reads everything from the first entry on and checks it: every hash, the order, that the entries
/// make sense, and that they fold into what the newest snapshot holds.
pub async fn verify(store: &dyn Store) -> Result<Report, Error> {
    match verify_once(store).await {
        // What looks damaged may have been compacted while it was read.
        Err(Error::Damaged { .. }) => verify_once(store).await,
        verified => verified,
    }
}

async fn verify_once(store: &dyn Store) -> Result<Report, Error> {
    let snapshot = read_snapshot(store).await?;
    let image = snapshot.as_ref().map(|snapshot| read_image(store, snapshot)).transpose()?;
    let (batches, lines) = read_all(store).await?;
    let Some(first) = lines.first() else {
        if image.is_some() {
            return Err(Error::Missing { place: store.place(Kept::Batch(1)), entry: 1 });
        }
        return Ok(Report {
            entries: 0,
            beginning: None,
            batches: 0,
            snapshot: None,
            lineage: None,
        });
    };
    let (mut state, beginning) = match &first.entry {
        Entry::Genesis(genesis) => (State::new(genesis.clone()), None),
        Entry::Beginning { state, .. } => ((**state).clone(), Some(first)),
        _ => return Err(Error::Inconsistent { entry: first.number, what: Inconsistent::Genesis }),
    };
    // A snapshot from before the beginning is of no use, and does no harm.
    let image = image.filter(|image| beginning.is_none_or(|line| image.number >= line.number));
    let mut matched = image.is_none();
    for line in &lines {
        let inconsistent = |what| Error::Inconsistent { entry: line.number, what };
        let head = match &line.entry {
            Entry::Beginning { head, .. } => head,
            entry => {
                state.fold(&line.run, entry).map_err(inconsistent)?;
                &line.hash
            }
        };
        if let Some(image) = image.as_ref().filter(|image| image.number == line.number) {
            if image.head != *head || image.state != state {
                let place = store.place(Kept::Snapshot(image.number));
                let what = Inconsistent::Snapshot.to_string();
                return Err(Error::Damaged { place, entry: None, what });
            }
            matched = true;
        }
    }
    let last = state.serial;
    if !matched {
        return Err(Error::Missing { place: store.place(Kept::Batch(last + 1)), entry: last + 1 });
    }
    if let Some(line) = beginning
        && !state.compactions.values().any(|known| *known == line.hash)
    {
        return Err(unanchored(&store.place(Kept::Batch(batches[0])), batches[0]));
    }
    Ok(Report {
        entries: last,
        beginning: beginning.map(|line| line.number),
        batches: batches.len() as u64,
        snapshot: snapshot.map(|snapshot| snapshot.number),
        lineage: Some(state.genesis.lineage),
    })
}

fn unanchored(place: &str, batch: u64) -> Error {
    Error::Damaged {
        place: place.to_owned(),
        entry: Some(batch),
        what: "the log begins here, and no entry behind it says so: it may be an older beginning"
            .into(),
    }
}

fn decode(store: &dyn Store, head: &Head, batch: &Batch) -> Result<(Vec<Line>, Head), Error> {
    let place = place_behind(store, head, batch)?;
    line::decode(head, &batch.bytes, &place)
}

/// The place of a batch, where none is missing before it.
fn place_behind(store: &dyn Store, head: &Head, batch: &Batch) -> Result<String, Error> {
    if batch.first > head.number + 1 {
        let place = store.place(Kept::Batch(head.number + 1));
        return Err(Error::Missing { place, entry: head.number + 1 });
    }
    Ok(store.place(Kept::Batch(batch.first)))
}

fn read_image(store: &dyn Store, snapshot: &Snapshot) -> Result<Image, Error> {
    let place = || store.place(Kept::Snapshot(snapshot.number));
    let damaged = |what: &str| Error::Damaged { place: place(), entry: None, what: what.into() };
    if line::unseal(&snapshot.bytes).is_none() {
        return Err(damaged("the snapshot does not match its own hash"));
    }
    let version = |what: String| Error::Version { place: place(), what };
    let image: Image =
        serde_json::from_slice(&snapshot.bytes).map_err(|error| version(error.to_string()))?;
    if image.format > FORMAT {
        return Err(version(Inconsistent::Format { found: image.format }.to_string()));
    }
    let is_consistent = image.number == snapshot.number
        && image.state.serial == image.number
        && (1..=image.number).contains(&image.batch);
    if !is_consistent {
        return Err(damaged(&format!("it is the snapshot of entry {}", image.number)));
    }
    Ok(image)
}

async fn read_snapshot(store: &dyn Store) -> Result<Option<Snapshot>, Error> {
    let read = store.read_snapshot().await;
    read.map_err(|source| store_error("reading the newest snapshot near", &place_of(store), source))
}

async fn read_from(store: &dyn Store, number: u64) -> Result<Vec<Batch>, Error> {
    let read = store.read_from(number).await;
    read.map_err(|source| {
        store_error("reading the log from", &store.place(Kept::Batch(number)), source)
    })
}

fn place_of(store: &dyn Store) -> String {
    store.place(Kept::Snapshot(0))
}

fn store_error(doing: &str, place: &str, source: io::Error) -> Error {
    Error::Store { doing: format!("{doing} {place}"), source: Arc::new(source) }
}

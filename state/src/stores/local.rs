//! A log in a directory: one file a batch, one file a snapshot.
//!
//! A file appears whole or not at all: it is written under a temporary name, flushed to the disk, and
//! then linked (which fails where the name is taken) or renamed; then the directory is flushed too.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use async_trait::async_trait;

use crate::{Batch, Kept, Put, Snapshot, Store};

const LOG: &str = "log";
const SNAPSHOTS: &str = "snapshots";
const HEARTBEATS: &str = "heartbeats";
/// Holds the number of the first batch that is not dropped. It is there before anything is dropped.
const BEGINNING: &str = "beginning";
/// How often what was listed may be dropped before it is read.
const ATTEMPTS: usize = 8;
/// The newest one, and one more in case somebody is reading it.
const SNAPSHOTS_KEPT: usize = 2;

/// A directory with `log/` and `snapshots/`, made with the first write, readable by its owner only.
#[derive(Clone, Debug)]
pub struct LocalStore {
    directory: PathBuf,
}

/// The files of a folder.
#[derive(Default)]
struct Folder {
    /// In order.
    numbers: Vec<u64>,
    /// Temporary files, with the number each was to get.
    temporary: Vec<(u64, PathBuf)>,
}

impl LocalStore {
    pub fn new(directory: impl Into<PathBuf>) -> LocalStore {
        LocalStore { directory: directory.into() }
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    fn path(&self, kept: Kept) -> PathBuf {
        match kept {
            Kept::Batch(first) => self.directory.join(LOG).join(format!("{first:020}.jsonl")),
            Kept::Snapshot(number) => {
                self.directory.join(SNAPSHOTS).join(format!("{number:020}.json"))
            }
        }
    }

    /// What is in a folder.
    fn scan(&self, folder: &str, extension: &str) -> io::Result<Folder> {
        let mut found = Folder::default();
        let entries = match fs::read_dir(self.directory.join(folder)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(found);
            }
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(rest) = name.strip_prefix(".new-") {
                let number = rest.split('-').next().and_then(|digits| digits.parse().ok());
                found.temporary.extend(number.map(|number| (number, entry.path())));
            } else if let Some(digits) = name.strip_suffix(extension) {
                found.numbers.extend(digits.parse::<u64>().ok().filter(|_| digits.len() == 20));
            }
        }
        found.numbers.sort_unstable();
        Ok(found)
    }

    fn write_temporary(&self, folder: &str, number: u64, bytes: &[u8]) -> io::Result<PathBuf> {
        let folder = self.directory.join(folder);
        make_directory(&folder)?;
        let path = folder.join(format!(".new-{number:020}-{}", uuid::Uuid::new_v4().simple()));
        let written = write_new(&path, bytes);
        if written.is_err() {
            // A half-written file on a full disk helps nobody; the error that counts is the first.
            let _ = fs::remove_file(&path);
        }
        written.map(|()| path)
    }

    fn put(&self, batch: &Batch) -> io::Result<Put> {
        let target = self.path(Kept::Batch(batch.first));
        // Cheap where somebody was first; the link below is what decides.
        if target.exists() {
            return Ok(Put::Taken);
        }
        let temporary = self.write_temporary(LOG, batch.first, &batch.bytes)?;
        let linked = fs::hard_link(&temporary, &target);
        let _ = fs::remove_file(&temporary);
        match linked {
            Ok(()) => {
                flush_directory(&self.directory.join(LOG))?;
                // Who was asleep while this number was dropped has put it where nobody reads.
                if batch.first < self.beginning()? {
                    fs::remove_file(&target)?;
                    return Ok(Put::Taken);
                }
                Ok(Put::Kept)
            }
            // `NotFound`: a reader swept our temporary file away, which it does where the number is
            // taken.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound
                ) && target.exists() =>
            {
                Ok(Put::Taken)
            }
            Err(error) => Err(error),
        }
    }

    /// The number below which batches were dropped.
    fn beginning(&self) -> io::Result<u64> {
        let path = self.directory.join(BEGINNING);
        let text = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            text => text?,
        };
        text.trim().parse().map_err(|_| {
            let what = format!("{} holds no number", path.display());
            io::Error::new(io::ErrorKind::InvalidData, what)
        })
    }

    fn read(&self, number: u64) -> io::Result<Vec<Batch>> {
        let mut attempts = 1;
        loop {
            match self.read_once(number) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempts < ATTEMPTS => {
                    attempts += 1;
                }
                read => return read,
            }
        }
    }

    fn read_once(&self, number: u64) -> io::Result<Vec<Batch>> {
        let number = number.max(self.beginning()?);
        let Folder { numbers, temporary } = self.scan(LOG, ".jsonl")?;
        // What a crash left behind: its number is taken, so its writer can only lose.
        if let Some(last) = numbers.last() {
            for (_, path) in temporary.iter().filter(|(number, _)| number <= last) {
                let _ = fs::remove_file(path);
            }
        }
        let wanted = numbers.into_iter().filter(|first| *first >= number);
        wanted
            .map(|first| Ok(Batch { first, bytes: fs::read(self.path(Kept::Batch(first)))? }))
            .collect()
    }

    fn keep_snapshot(&self, snapshot: &Snapshot) -> io::Result<()> {
        let Snapshot { number, bytes } = snapshot;
        self.put_over(SNAPSHOTS, *number, bytes, &self.path(Kept::Snapshot(*number)))?;
        let Folder { numbers, temporary } = self.scan(SNAPSHOTS, ".json")?;
        let old = numbers.iter().rev().skip(SNAPSHOTS_KEPT);
        for number in old {
            let _ = fs::remove_file(self.path(Kept::Snapshot(*number)));
        }
        for (_, path) in temporary.iter().filter(|(number, _)| *number < snapshot.number) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    /// Puts a file in the place of another, or of none.
    fn put_over(&self, folder: &str, number: u64, bytes: &[u8], target: &Path) -> io::Result<()> {
        let temporary = self.write_temporary(folder, number, bytes)?;
        fs::rename(temporary, target)?;
        flush_directory(target.parent().unwrap_or(&self.directory))
    }

    fn drop(&self, kept: Kept) -> io::Result<()> {
        let (folder, extension, bound) = match kept {
            Kept::Batch(first) => (LOG, ".jsonl", first),
            Kept::Snapshot(number) => (SNAPSHOTS, ".json", number),
        };
        if matches!(kept, Kept::Batch(_)) && self.beginning()? < bound {
            let target = self.directory.join(BEGINNING);
            self.put_over("", bound, bound.to_string().as_bytes(), &target)?;
        }
        let numbers = self.scan(folder, extension)?.numbers;
        for number in numbers.into_iter().filter(|number| *number < bound) {
            let path = self.directory.join(folder).join(format!("{number:020}{extension}"));
            match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    fn newest_snapshot(&self) -> io::Result<Option<Snapshot>> {
        let numbers = self.scan(SNAPSHOTS, ".json")?.numbers;
        let Some(number) = numbers.last().copied() else { return Ok(None) };
        Ok(Some(Snapshot { number, bytes: fs::read(self.path(Kept::Snapshot(number)))? }))
    }

    /// No flush: a heartbeat that a crash of the machine loses belongs to a run that the crash ended.
    fn beat(&self, run: &str, bytes: &[u8]) -> io::Result<()> {
        let folder = self.directory.join(HEARTBEATS);
        make_directory(&folder)?;
        let temporary = folder.join(format!(".new-{run}"));
        let _ = fs::remove_file(&temporary);
        write_new(&temporary, bytes)?;
        fs::rename(temporary, folder.join(run))
    }

    fn beats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        let mut beats = BTreeMap::new();
        let entries = match fs::read_dir(self.directory.join(HEARTBEATS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(beats),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(run) = name.to_str().filter(|name| !name.starts_with('.')) else { continue };
            match fs::read(entry.path()) {
                Ok(bytes) => beats.insert(run.to_owned(), bytes),
                // Its run has ended meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
        }
        Ok(beats)
    }

    /// Runs blocking work where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&LocalStore) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let store = self.clone();
        let joined = tokio::task::spawn_blocking(move || work(&store)).await;
        joined.unwrap_or_else(|error| Err(io::Error::other(error)))
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn read_snapshot(&self) -> io::Result<Option<Snapshot>> {
        self.blocking(LocalStore::newest_snapshot).await
    }

    async fn put_snapshot(&self, snapshot: Snapshot) -> io::Result<()> {
        self.blocking(move |store| store.keep_snapshot(&snapshot)).await
    }

    async fn read_from(&self, number: u64) -> io::Result<Vec<Batch>> {
        self.blocking(move |store| store.read(number)).await
    }

    async fn put_if_absent(&self, batch: Batch) -> io::Result<Put> {
        self.blocking(move |store| store.put(&batch)).await
    }

    async fn replace(&self, batch: Batch) -> io::Result<()> {
        self.blocking(move |store| {
            let target = store.path(Kept::Batch(batch.first));
            // Not beside the batches: readers sweep what has a number that is taken.
            store.put_over("", batch.first, &batch.bytes, &target)
        })
        .await
    }

    async fn drop_before(&self, kept: Kept) -> io::Result<()> {
        self.blocking(move |store| store.drop(kept)).await
    }

    async fn put_heartbeat(&self, run: &str, bytes: Vec<u8>) -> io::Result<()> {
        let run = run.to_owned();
        self.blocking(move |store| store.beat(&run, &bytes)).await
    }

    async fn read_heartbeats(&self) -> io::Result<BTreeMap<String, Vec<u8>>> {
        self.blocking(LocalStore::beats).await
    }

    async fn remove_heartbeat(&self, run: &str) -> io::Result<()> {
        let path = self.directory.join(HEARTBEATS).join(run);
        self.blocking(move |_| match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    fn place(&self, kept: Kept) -> String {
        self.path(kept).display().to_string()
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    // The log holds the key of the digests of secrets.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Makes a directory that survives a crash of the machine, with those above it.
fn make_directory(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_directory(parent)?;
    }
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => flush_directory(parent),
            _ => flush_directory(Path::new(".")),
        },
    }
}

/// Makes the names in a directory durable. Only Unix has directories as files.
fn flush_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

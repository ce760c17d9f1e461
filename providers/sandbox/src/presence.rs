//! Who has a world open, and where it is served.
//!
//! `lock` is locked by the one process that has the world open; the system unlocks it when that
//! process ends, however it ends. `serve.json` tells others the URLs, and is believed only
//! while the lock is held by the process that wrote it.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

const LOCK: &str = "lock";
const SERVE: &str = "serve.json";

/// The right to use a world's directory, until it is dropped.
pub(crate) struct Presence {
    directory: PathBuf,
    lock: File,
}

#[derive(Serialize, Deserialize)]
struct Announcement {
    pid: u32,
    urls: BTreeMap<String, String>,
}

impl Presence {
    /// Takes the directory for this process.
    pub fn claim(directory: &Path) -> io::Result<Presence> {
        let path = directory.join(LOCK);
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path)?;
        // Whoever calls `discover` holds the lock for a moment, too.
        for attempt in 0.. {
            match lock.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error),
                Err(TryLockError::WouldBlock) if attempt < 20 => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(TryLockError::WouldBlock) => {
                    let mut holder = String::new();
                    lock.read_to_string(&mut holder)?;
                    let text = format!(
                        "the sandbox in {} is in use by another process ({}): wait for it to end, or \
                         stop it",
                        directory.display(),
                        holder.trim()
                    );
                    return Err(io::Error::new(io::ErrorKind::WouldBlock, text));
                }
            }
        }
        // An announcement of a process that is gone.
        remove(&directory.join(SERVE))?;
        lock.set_len(0)?;
        lock.seek(SeekFrom::Start(0))?;
        lock.write_all(format!("{}\n", std::process::id()).as_bytes())?;
        Ok(Presence { directory: directory.to_owned(), lock })
    }

    pub fn announce(&mut self, urls: &BTreeMap<&'static str, String>) -> io::Result<()> {
        let urls = urls.iter().map(|(api, url)| ((*api).to_owned(), url.clone())).collect();
        let announcement = Announcement { pid: std::process::id(), urls };
        let text = serde_json::to_string_pretty(&announcement).expect("announcements serialize");
        let (path, new) = (self.directory.join(SERVE), self.directory.join("serve.json.new"));
        fs::write(&new, text + "\n")?;
        fs::rename(new, path)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Nothing can be done about an error here, and the lock alone already tells the truth.
        let _ = remove(&self.directory.join(SERVE));
        let _ = self.lock.unlock();
    }
}

/// The URLs by API of the sandbox that some process (this one included) serves from this directory
/// now; `None` where nobody does.
pub fn discover(directory: &Path) -> Option<BTreeMap<String, String>> {
    let text = fs::read(directory.join(SERVE)).ok()?;
    let announcement: Announcement = serde_json::from_slice(&text).ok()?;
    let mut lock = File::open(directory.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        // Nobody has the world open: what is announced is left from a process that was killed.
        Ok(()) | Err(TryLockError::Error(_)) => return None,
        Err(TryLockError::WouldBlock) => {}
    }
    let mut holder = String::new();
    lock.read_to_string(&mut holder).ok()?;
    (holder.trim() == announcement.pid.to_string()).then_some(announcement.urls)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    #[test]
    fn a_directory_is_one_process_s_and_its_urls_are_known_while_it_lives() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path();
        assert_eq!(discover(path), None);
        let world = World::open(path, 1).expect("it opens");
        assert_eq!(discover(path), None, "open, but not served");
        let error = World::open(path, 1).err().expect("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");

        let urls = BTreeMap::from([("aws", "http://127.0.0.1:1".to_owned())]);
        world.announce(&urls).expect("it is announced");
        let found = discover(path).expect("it is served");
        assert_eq!(found, BTreeMap::from([("aws".to_owned(), "http://127.0.0.1:1".to_owned())]));
        let kept = fs::read(path.join(SERVE)).expect("it reads");
        drop(world);
        assert_eq!(discover(path), None);

        // What a killed process leaves behind.
        fs::write(path.join(SERVE), &kept).expect("it is written");
        assert_eq!(discover(path), None, "nobody holds the lock");
        let other = String::from_utf8(kept).expect("it is text");
        let other = other.replace(&std::process::id().to_string(), "1");
        let world = World::open(path, 1).expect("it opens");
        assert!(!path.join(SERVE).exists());
        fs::write(path.join(SERVE), other).expect("it is written");
        assert_eq!(discover(path), None, "the lock's holder is not who announced");
        drop(world);
    }

    #[test]
    fn a_world_in_memory_tells_nobody() {
        World::in_memory(1).announce(&BTreeMap::new()).expect("nothing happens");
    }
}

//! The world on disk: a journal of changed objects, and the tick.
//!
//! `world.jsonl` begins with a line that says what it is; each further line is what one step changed,
//! so a step is there whole or not at all. The line a killed process did not finish is dropped. `tick`
//! holds the clock in twenty digits, overwritten in place: a request that changes nothing
//! costs one small write and no growth. When the journal is much longer than what it describes, it
//! is written anew.
//!
//! Nothing is flushed to the disk itself: the sandbox survives its process, not a power cut.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Object, Table};

const FORMAT: u32 = 1;
const JOURNAL: &str = "world.jsonl";
const TICK: &str = "tick";
/// Lines of a journal that is never worth writing anew.
const LINES_FREE: usize = 1000;

pub(crate) struct Disk {
    directory: PathBuf,
    journal: File,
    tick: File,
    /// Lines in the journal.
    lines: usize,
}

#[derive(Serialize, Deserialize)]
struct Header {
    sandbox: u32,
    seed: u64,
}

/// What one step changed.
#[derive(Serialize, Deserialize)]
struct Line<'a> {
    tick: u64,
    /// Collection, key, object as it is now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    put: Vec<(String, String, std::borrow::Cow<'a, Object>)>,
    /// Collection, key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    remove: Vec<(String, String)>,
}

impl Disk {
    /// Reads the world of a directory, or begins it.
    pub fn open(directory: &Path, seed: u64) -> io::Result<(Table, Disk)> {
        let path = directory.join(JOURNAL);
        let open = |path: &Path| {
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)
        };
        let mut journal = open(&path)?;
        let mut bytes = Vec::new();
        journal.read_to_end(&mut bytes)?;
        // Behind the last line end is what a killed process did not finish.
        let length = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        journal.set_len(length as u64)?;
        journal.seek(SeekFrom::End(0))?;

        let mut tick_file = open(&directory.join(TICK))?;
        let mut tick = String::new();
        tick_file.read_to_string(&mut tick)?;

        let (mut table, lines) =
            read(&bytes[..length], seed).map_err(|what| invalid(&path, &what))?;
        table.tick = table.tick.max(tick.trim().parse().unwrap_or(0));
        let mut disk = Disk { directory: directory.to_owned(), journal, tick: tick_file, lines };
        if lines == 0 || disk.is_long(&table) {
            disk.write_anew(&table)?;
        }
        Ok((table, disk))
    }

    /// Keeps what a step changed.
    pub fn keep(&mut self, table: &Table, changes: &[(String, String)]) -> io::Result<()> {
        if changes.is_empty() {
            self.tick.seek(SeekFrom::Start(0))?;
            return self.tick.write_all(format!("{:020}\n", table.tick).as_bytes());
        }
        let mut line = Line { tick: table.tick, put: Vec::new(), remove: Vec::new() };
        for (collection, key) in changes {
            match table.get(collection, key) {
                Some(object) => {
                    let object = std::borrow::Cow::Borrowed(object);
                    line.put.push((collection.clone(), key.clone(), object));
                }
                None => line.remove.push((collection.clone(), key.clone())),
            }
        }
        // One write a line: what is killed between two leaves no half of a step that has a line end.
        self.journal.write_all(&to_line(&line))?;
        self.lines += 1;
        if self.is_long(table) { self.write_anew(table) } else { Ok(()) }
    }

    fn is_long(&self, table: &Table) -> bool {
        let objects: usize = table.collections.values().map(|objects| objects.len()).sum();
        self.lines > LINES_FREE + 4 * objects
    }

    /// Replaces the journal by one that only says what there is now.
    fn write_anew(&mut self, table: &Table) -> io::Result<()> {
        let mut bytes = to_line(&Header { sandbox: FORMAT, seed: table.seed });
        let mut lines = 1;
        for (collection, objects) in &table.collections {
            for (key, object) in objects {
                let object = std::borrow::Cow::Borrowed(object);
                let put = vec![(collection.clone(), key.clone(), object)];
                bytes.extend(to_line(&Line { tick: table.tick, put, remove: Vec::new() }));
                lines += 1;
            }
        }
        let (path, new) = (self.directory.join(JOURNAL), self.directory.join("world.jsonl.new"));
        fs::write(&new, &bytes)?;
        fs::rename(&new, &path)?;
        self.journal = OpenOptions::new().append(true).open(&path)?;
        self.lines = lines;
        Ok(())
    }
}

/// The table that the lines describe, and their number.
fn read(bytes: &[u8], seed: u64) -> Result<(Table, usize), String> {
    let mut table = Table { seed, ..Table::default() };
    let mut lines = 0;
    for text in bytes.split_inclusive(|byte| *byte == b'\n') {
        lines += 1;
        let wrong = |error: serde_json::Error| format!("line {lines}: {error}");
        if lines == 1 {
            let header: Header = serde_json::from_slice(text).map_err(wrong)?;
            if header.sandbox != FORMAT {
                return Err(format!(
                    "it has format {}, this version reads {FORMAT}",
                    header.sandbox
                ));
            }
            table.seed = header.seed;
            continue;
        }
        let line: Line = serde_json::from_slice(text).map_err(wrong)?;
        table.tick = line.tick;
        for (collection, key, object) in line.put {
            table.collections.entry(collection).or_default().insert(key, object.into_owned());
        }
        for (collection, key) in line.remove {
            table.collections.entry(collection).or_default().remove(&key);
        }
    }
    Ok((table, lines))
}

fn to_line(value: &impl Serialize) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(value).expect("objects serialize");
    bytes.push(b'\n');
    bytes
}

fn invalid(path: &Path, what: &str) -> io::Error {
    let text = format!(
        "{} cannot be read: {what}. It is the sandbox's own file; remove the directory {} to begin \
         a new sandbox",
        path.display(),
        path.parent().unwrap_or(path).display()
    );
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::World;

    fn object(number: u64) -> Object {
        Object { body: serde_json::json!({ "number": number, "text": "a\nb" }), settles_at: number }
    }

    fn everything(world: &World) -> Table {
        world.step(|table| table.clone())
    }

    fn length(directory: &Path, name: &str) -> u64 {
        fs::metadata(directory.join(name)).map_or(0, |metadata| metadata.len())
    }

    #[test]
    fn a_world_is_there_again_with_its_clock_and_seed() {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::open(directory.path(), 7).expect("it opens");
        world.step(|table| table.put("things", "a", object(1)));
        world.step(|table| table.put("things", "b", object(2)));
        world.step(|table| table.get_mut("things", "a").expect("it is there").settles_at = 9);
        world.step(|table| table.remove("things", "b"));
        world.step(|_| ());
        let before = everything(&world);
        drop(world);
        let world = World::open(directory.path(), 8).expect("it opens again");
        let after = everything(&world);
        assert_eq!(after.seed, 7, "the world keeps its own seed");
        assert_eq!(after.tick, before.tick + 1, "the clock goes on");
        assert_eq!(after.collections["things"].len(), 1);
        assert_eq!(after.get("things", "a").map(|object| object.settles_at), Some(9));
    }

    #[test]
    fn looking_grows_nothing_and_changing_grows_by_the_change() {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::open(directory.path(), 7).expect("it opens");
        world.step(|table| (0..200).for_each(|n| table.put("things", format!("k{n}"), object(n))));
        let before = length(directory.path(), JOURNAL);
        for _ in 0..50 {
            world.step(|table| table.get_mut("things", "k1").map(|object| object.settles_at));
        }
        assert_eq!(length(directory.path(), JOURNAL), before);
        assert_eq!(length(directory.path(), TICK), 21);
        world.step(|table| table.get_mut("things", "k1").expect("it is there").settles_at = 77);
        let grown = length(directory.path(), JOURNAL) - before;
        assert!((1..200).contains(&grown), "{grown} bytes for one object");
    }

    #[test]
    fn a_torn_line_is_a_step_that_did_not_happen() {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::open(directory.path(), 7).expect("it opens");
        world.step(|table| table.put("things", "a", object(1)));
        let whole = length(directory.path(), JOURNAL);
        world.step(|table| {
            table.put("things", "b", object(2));
            table.remove("things", "a");
        });
        drop(world);
        let path = directory.path().join(JOURNAL);
        let bytes = fs::read(&path).expect("it reads");
        for cut in whole as usize..bytes.len() {
            fs::write(&path, &bytes[..cut]).expect("it is written");
            let world = World::open(directory.path(), 7).expect("it opens");
            let keys = |world: &World| {
                world.step(|table| {
                    table.list("things", "").map(|(key, _)| key.to_owned()).collect::<Vec<_>>()
                })
            };
            assert_eq!(keys(&world), ["a"], "cut at {cut}");
            world.step(|table| table.put("things", "c", object(3)));
            drop(world);
            let world = World::open(directory.path(), 7).expect("it opens after the next step too");
            assert_eq!(keys(&world), ["a", "c"], "cut at {cut}");
        }
        // A header cut off: the process died while it began the world.
        fs::write(&path, b"{\"sandb").expect("it is written");
        let world = World::open(directory.path(), 5).expect("it begins again");
        assert_eq!(world.seed(), 5);
    }

    #[test]
    fn what_is_not_a_world_is_named() {
        let directory = tempfile::tempdir().expect("a directory");
        for text in
            ["nonsense\n", "{\"sandbox\":2,\"seed\":1}\n", "{\"sandbox\":1,\"seed\":1}\nx\n"]
        {
            fs::write(directory.path().join(JOURNAL), text).expect("it is written");
            let error = World::open(directory.path(), 1).err().expect("it is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(error.to_string().contains(JOURNAL), "{error}");
        }
    }

    #[test]
    fn a_long_journal_is_written_anew() {
        let directory = tempfile::tempdir().expect("a directory");
        let world = World::open(directory.path(), 7).expect("it opens");
        for n in 0..5000 {
            world.step(|table| table.put("things", format!("k{}", n % 3), object(n)));
        }
        let text = fs::read_to_string(directory.path().join(JOURNAL)).expect("it reads");
        assert!(text.lines().count() < LINES_FREE + 20, "{} lines", text.lines().count());
        let before = everything(&world);
        drop(world);
        let after = everything(&World::open(directory.path(), 7).expect("it opens"));
        assert_eq!(after.collections, before.collections);
        assert_eq!(after.tick, before.tick + 1);
    }
}

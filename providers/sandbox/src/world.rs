//! The object table and its clock.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::FaultPlan;
use crate::disk::Disk;
use crate::faults::dice;
use crate::presence::Presence;

/// For so many ticks after a change a stale read does not see it.
const STALE_TICKS: u64 = 3;

tokio::task_local! {
    /// Set while a request is answered that reads what was.
    static STALE: ();
}

/// An object of some cloud, as its emulator keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// What the API answers, in the emulator's own layout.
    pub body: serde_json::Value,
    /// The tick at which the current transition (creating, updating, deleting) is over.
    pub settles_at: u64,
}

/// Every object by collection (`aws/eks/clusters`) and key (`us-east-1/main`), and the clock.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Table {
    pub(crate) tick: u64,
    pub(crate) seed: u64,
    pub(crate) collections: BTreeMap<String, BTreeMap<String, Object>>,
    /// What the objects that the current step touched were before it, where the world is kept.
    /// What goes wrong with operations: shares of those that are slow, and of pools without capacity.
    #[serde(skip)]
    pub(crate) slow: f64,
    #[serde(skip)]
    pub(crate) no_capacity: f64,
    #[serde(skip)]
    pub(crate) before: Option<BTreeMap<(String, String), Option<Object>>>,
}

/// The shared world. Clones are the same world.
#[derive(Clone)]
pub struct World {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    table: Table,
    disk: Option<Disk>,
    presence: Option<Presence>,
    /// The table before its last change and the tick of that, where reads may be stale.
    earlier: Option<(Table, u64)>,
    may_be_stale: bool,
    /// Why the world can no longer be kept, once that is so.
    failure: Option<String>,
}

impl World {
    /// A world in memory, gone with the process.
    pub fn in_memory(seed: u64) -> World {
        World::of(Table { seed, ..Table::default() }, None, None)
    }

    /// The world kept in a directory, made there with this seed where there is none (a world that
    /// exists keeps its own).
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] where another process has it open; [`io::ErrorKind::InvalidData`]
    /// where what is kept there cannot be read. A line that a killed process did not finish is
    /// no error: its step has not happened.
    pub fn open(directory: &Path, seed: u64) -> io::Result<World> {
        std::fs::create_dir_all(directory)?;
        let presence = Presence::claim(directory)?;
        let (mut table, disk) = Disk::open(directory, seed)?;
        table.before = Some(BTreeMap::new());
        Ok(World::of(table, Some(disk), Some(presence)))
    }

    fn of(table: Table, disk: Option<Disk>, presence: Option<Presence>) -> World {
        let (earlier, may_be_stale) = (None, false);
        let inner = Inner { table, disk, presence, earlier, may_be_stale, failure: None };
        World { inner: Arc::new(Mutex::new(inner)) }
    }

    /// Runs one atomic step: nothing else sees the table meanwhile. The clock moves by one tick.
    /// What the step changed is kept on disk before this returns: it survives the end of the
    /// process, whatever ends it. Where it cannot be kept, [`World::failure`] says why, and the host
    /// answers nothing but that from then on.
    pub fn step<T>(&self, action: impl FnOnce(&mut Table) -> T) -> T {
        let mut inner = self.lock();
        let inner = &mut *inner;
        inner.table.tick += 1;
        if let Some((earlier, changed)) = &inner.earlier
            && STALE.try_with(|()| ()).is_ok()
            && inner.table.tick <= changed + STALE_TICKS
        {
            return action(&mut Table { tick: inner.table.tick, ..earlier.clone() });
        }
        let before = inner.may_be_stale.then(|| inner.table.clone());
        let result = action(&mut inner.table);
        if let Some(before) = before
            && before.collections != inner.table.collections
        {
            inner.earlier = Some((before, inner.table.tick));
        }
        let changes = inner.table.take_changes();
        // After a failed write the journal may end in half a line: nothing may follow it.
        if let Some(disk) = inner.disk.as_mut().filter(|_| inner.failure.is_none())
            && let Err(error) = disk.keep(&inner.table, &changes)
        {
            inner.failure = Some(format!("the sandbox cannot be kept: {error}"));
        }
        result
    }

    /// What goes wrong from now on with what is asked for.
    pub(crate) fn set_faults(&self, faults: &FaultPlan) {
        let mut inner = self.lock();
        (inner.table.slow, inner.table.no_capacity) = (faults.slow, faults.no_capacity);
        inner.may_be_stale = faults.stale > 0.0;
        inner.earlier = None;
    }

    /// The seed that the world was made with.
    pub fn seed(&self) -> u64 {
        self.lock().table.seed
    }

    /// Why the world can no longer be kept on its disk, once that is so.
    pub fn failure(&self) -> Option<String> {
        self.lock().failure.clone()
    }

    /// Every collection that has objects, with their number. The clock does not move.
    pub fn census(&self) -> BTreeMap<String, usize> {
        let inner = self.lock();
        inner.table.census().into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }

    /// Tells other processes where this world is served ([`crate::discover`] finds it), until it is
    /// closed. A world in memory tells nobody.
    pub fn announce(&self, urls: &BTreeMap<&'static str, String>) -> io::Result<()> {
        self.lock().presence.as_mut().map_or(Ok(()), |presence| presence.announce(urls))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no step panics")
    }
}

impl Table {
    /// Ticks since the world began: one a request.
    pub fn tick(&self) -> u64 {
        self.tick
    }

    /// Seconds since the Unix epoch by the world's own clock, which starts at 2026-01-01T00:00:00Z and
    /// moves a second a tick.
    pub fn now_unix(&self) -> u64 {
        1_767_225_600 + self.tick
    }

    /// Ticks that the operation on `key` takes: between `least` and `most`, by the seed.
    pub fn duration(&self, key: &str, least: u64, most: u64) -> u64 {
        let mut hash = self.seed ^ 0xcbf2_9ce4_8422_2325;
        for byte in key.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        let ticks = least + hash % (most - least + 1);
        let is_slow = self.slow > 0.0 && dice(self.seed, self.tick, key) < self.slow;
        if is_slow { 10 * ticks } else { ticks }
    }

    /// Whether there is no capacity for this node pool now.
    pub fn is_out_of_capacity(&self, pool: &str) -> bool {
        self.no_capacity > 0.0 && dice(!self.seed, self.tick, pool) < self.no_capacity
    }

    pub fn get(&self, collection: &str, key: &str) -> Option<&Object> {
        self.collections.get(collection)?.get(key)
    }

    pub fn get_mut(&mut self, collection: &str, key: &str) -> Option<&mut Object> {
        self.remember(collection, key);
        self.collections.get_mut(collection)?.get_mut(key)
    }

    pub fn put(&mut self, collection: &str, key: impl Into<String>, object: Object) {
        let key = key.into();
        self.remember(collection, &key);
        self.collections.entry(collection.to_owned()).or_default().insert(key, object);
    }

    pub fn remove(&mut self, collection: &str, key: &str) -> Option<Object> {
        self.remember(collection, key);
        self.collections.get_mut(collection)?.remove(key)
    }

    /// The objects whose keys start with `prefix`, in the order of their keys.
    pub fn list<'a, 'p>(
        &'a self,
        collection: &str,
        prefix: &'p str,
    ) -> impl Iterator<Item = (&'a str, &'a Object)> + use<'a, 'p> {
        self.collections
            .get(collection)
            .into_iter()
            .flat_map(move |objects| objects.range(prefix.to_owned()..))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(key, object)| (key.as_str(), object))
    }

    /// Every collection that has objects, with their number: what `destroy` must bring to nothing.
    pub fn census(&self) -> BTreeMap<&str, usize> {
        let counts = self.collections.iter().map(|(name, objects)| (name.as_str(), objects.len()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Notes what an object is before the current step touches it for the first time.
    fn remember(&mut self, collection: &str, key: &str) {
        let Some(before) = &mut self.before else { return };
        before.entry((collection.to_owned(), key.to_owned())).or_insert_with(|| {
            self.collections.get(collection).and_then(|objects| objects.get(key)).cloned()
        });
    }

    /// The collections and keys of the objects that are not what they were before the step.
    fn take_changes(&mut self) -> Vec<(String, String)> {
        let Some(before) = self.before.as_mut().map(std::mem::take) else { return Vec::new() };
        let differs = |(key, before): ((String, String), Option<Object>)| {
            (self.get(&key.0, &key.1) != before.as_ref()).then_some(key)
        };
        before.into_iter().filter_map(differs).collect()
    }
}

/// Answers as if the last change, where it was a moment ago, had not been made yet.
pub(crate) async fn stale<T>(answer: impl Future<Output = T>) -> T {
    STALE.scope((), answer).await
}

impl PartialEq for Table {
    fn eq(&self, other: &Table) -> bool {
        (self.tick, self.seed) == (other.tick, other.seed) && self.collections == other.collections
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(number: u64) -> Object {
        Object { body: serde_json::json!({ "number": number }), settles_at: number }
    }

    #[test]
    fn lists_keep_to_their_prefix_and_order() {
        let world = World::in_memory(1);
        world.step(|table| {
            for key in ["b/2", "a/1", "b/1", "c/1", "b"] {
                table.put("things", key, object(1));
            }
            let keys =
                |prefix| table.list("things", prefix).map(|(key, _)| key).collect::<Vec<_>>();
            assert_eq!(keys("b/"), ["b/1", "b/2"]);
            assert_eq!(keys(""), ["a/1", "b", "b/1", "b/2", "c/1"]);
            assert_eq!(keys("x"), [""; 0]);
            assert_eq!(table.list("nothing", "").count(), 0);
        });
        assert_eq!(world.census(), BTreeMap::from([("things".to_owned(), 5)]));
        world.step(|table| {
            for key in ["b/2", "a/1", "b/1", "c/1", "b"] {
                assert_eq!(table.remove("things", key), Some(object(1)));
            }
            assert_eq!(table.remove("things", "b"), None);
        });
        assert_eq!(world.census(), BTreeMap::new());
    }

    #[test]
    fn the_clock_moves_with_steps_and_durations_come_from_the_seed() {
        let world = World::in_memory(7);
        assert_eq!(world.step(|table| (table.tick(), table.now_unix())), (1, 1_767_225_601));
        assert_eq!(world.step(|table| table.tick()), 2);
        world.census();
        assert_eq!(world.step(|table| table.tick()), 3);
        let durations = |world: &World| {
            world.step(|table| {
                (0..50).map(|n| table.duration(&format!("k{n}"), 2, 6)).collect::<Vec<_>>()
            })
        };
        let seen = durations(&world);
        assert!(seen.iter().all(|ticks| (2..=6).contains(ticks)), "{seen:?}");
        assert_eq!(seen, durations(&World::in_memory(7)));
        assert_ne!(seen, durations(&World::in_memory(8)));
    }

    #[test]
    fn a_step_changes_only_what_it_leaves_different() {
        let mut table = Table { before: Some(BTreeMap::new()), ..Table::default() };
        table.put("things", "kept", object(1));
        table.put("things", "passing", object(1));
        table.remove("things", "passing");
        let key = |key: &str| ("things".to_owned(), key.to_owned());
        assert_eq!(table.take_changes(), [key("kept")]);
        table.get_mut("things", "kept").expect("it is there").settles_at = 1;
        assert_eq!(table.get_mut("things", "missing"), None);
        assert_eq!(table.take_changes(), []);
        table.get_mut("things", "kept").expect("it is there").settles_at = 2;
        assert_eq!(table.take_changes(), [key("kept")]);
        table.remove("things", "kept");
        assert_eq!(table.take_changes(), [key("kept")]);
    }
}

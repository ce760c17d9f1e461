//! One cluster's objects in the sandbox table, and what this process remembers beside them.
//!
//! A resource version is the tick of the write: ticks only grow, so versions are ordered over all
//! kinds, as watchers expect. The last digits of a uid are the tick of the object's creation.

use std::collections::{BTreeMap, VecDeque};

use fleetform_sandbox::{KUBERNETES_OBJECTS, Object, Table};
use serde_json::{Value as Json, json};

use super::kinds::{self, Kind};
use super::scheduler::{self, Amounts};

/// Deletions that late watchers can still hear of.
const TOMBSTONES: usize = 1000;

/// What is not worth keeping on disk: it can be computed again or, for watchers, be asked anew.
#[derive(Default)]
pub(super) struct Memory {
    /// What pods take of each node, by cluster.
    used: BTreeMap<String, BTreeMap<String, Amounts>>,
    /// The last deletions: tick, table key and the object as it was.
    tombstones: VecDeque<(u64, String, Json)>,
    /// Deletions up to this tick are forgotten.
    forgotten: u64,
}

/// The objects of one cluster, during one request.
pub(super) struct Cluster<'a> {
    pub table: &'a mut Table,
    pub key: &'a str,
    pub memory: &'a mut Memory,
    /// What a node of an instance type gives, where the catalog says it.
    pub catalog: &'a BTreeMap<String, Amounts>,
}

impl Memory {
    /// A memory that starts at a tick: what was deleted before is not known.
    pub fn since(tick: u64) -> Memory {
        Memory { forgotten: tick, ..Memory::default() }
    }

    /// Deletions after `version`, oldest first; `None` where some of them are forgotten.
    pub fn deleted_since(&self, version: u64) -> Option<impl Iterator<Item = (&str, &Json)>> {
        (version >= self.forgotten).then(|| {
            self.tombstones
                .iter()
                .filter(move |(tick, _, _)| *tick > version)
                .map(|(_, key, object)| (key.as_str(), object))
        })
    }
}

impl Cluster<'_> {
    pub fn tick(&self) -> u64 {
        self.table.tick()
    }

    /// The world's time, as RFC 3339.
    pub fn now(&self) -> String {
        rfc3339(self.table.now_unix())
    }

    /// The table's key of an object, or the prefix of a collection's.
    pub fn path(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> String {
        let collection = format!("{}/{}/{}", self.key, kind.api_version(), kind.plural);
        match (kind.namespaced, namespace) {
            (true, None) => format!("{collection}/"),
            (true, Some(namespace)) => format!("{collection}/{namespace}/{name}"),
            (false, _) => format!("{collection}/-/{name}"),
        }
    }

    pub fn get(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> Option<&Json> {
        let object = self.table.get(KUBERNETES_OBJECTS, &self.path(kind, namespace, name))?;
        Some(&object.body)
    }

    /// The tick that was noted beside an object: see [`Cluster::note`].
    pub fn noted(&self, kind: &Kind, object: &Json) -> u64 {
        let path = self.path_of(kind, object);
        self.table.get(KUBERNETES_OBJECTS, &path).map_or(0, |object| object.settles_at)
    }

    /// Notes a tick beside an object: when a pod settles, when a rollout last moved.
    pub fn note(&mut self, kind: &Kind, object: &Json, tick: u64) {
        let path = self.path_of(kind, object);
        if let Some(object) = self.table.get_mut(KUBERNETES_OBJECTS, &path) {
            object.settles_at = tick;
        }
    }

    /// The objects of a kind, in a namespace or in all, whose names start with `prefix`.
    pub fn list(&self, kind: &Kind, namespace: Option<&str>, prefix: &str) -> Vec<&Json> {
        let path = self.path(kind, namespace, prefix);
        self.table.list(KUBERNETES_OBJECTS, &path).map(|(_, object)| &object.body).collect()
    }

    /// The same with the table's keys, which order them.
    pub fn keyed(&self, kind: &Kind, namespace: Option<&str>) -> Vec<(String, &Json)> {
        let path = self.path(kind, namespace, "");
        let objects = self.table.list(KUBERNETES_OBJECTS, &path);
        objects.map(|(key, object)| (key.to_owned(), &object.body)).collect()
    }

    fn path_of(&self, kind: &Kind, object: &Json) -> String {
        let metadata = &object["metadata"];
        self.path(
            kind,
            metadata["namespace"].as_str(),
            metadata["name"].as_str().unwrap_or_default(),
        )
    }

    /// Writes an object with a new resource version and gives it as written.
    pub fn put(&mut self, kind: &Kind, mut object: Json) -> Json {
        object["metadata"]["resourceVersion"] = self.tick().to_string().into();
        let path = self.path_of(kind, &object);
        if kind.is("Pod") {
            self.count(&path, Some(&object));
        }
        let settles_at =
            self.table.get(KUBERNETES_OBJECTS, &path).map_or(0, |object| object.settles_at);
        self.table.put(KUBERNETES_OBJECTS, path, Object { body: object.clone(), settles_at });
        object
    }

    /// Writes a status, where it differs.
    pub fn put_status(&mut self, kind: &Kind, object: &Json, status: Json) {
        if object["status"] != status {
            let mut object = object.clone();
            object["status"] = status;
            self.put(kind, object);
        }
    }

    /// Removes an object from the table; watchers hear of it.
    pub fn remove(&mut self, kind: &Kind, object: &Json) {
        let path = self.path_of(kind, object);
        if kind.is("Pod") {
            self.count(&path, None);
        }
        let Some(removed) = self.table.remove(KUBERNETES_OBJECTS, &path) else { return };
        let tick = self.tick();
        let mut last = removed.body;
        last["metadata"]["resourceVersion"] = tick.to_string().into();
        let tombstones = &mut self.memory.tombstones;
        tombstones.push_back((tick, path, last));
        if tombstones.len() > TOMBSTONES
            && let Some((tick, _, _)) = tombstones.pop_front()
        {
            self.memory.forgotten = tick;
        }
    }

    /// A uid that no other object has: the object's place and the tick of its creation.
    pub fn uid(&self, kind: &Kind, namespace: Option<&str>, name: &str) -> String {
        let path = self.path(kind, namespace, name);
        let fnv = |seed: u64| {
            path.bytes().fold(seed, |hash, byte| {
                (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
            })
        };
        let (one, two) = (fnv(0xcbf2_9ce4_8422_2325), fnv(self.tick()));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            one >> 32,
            one & 0xffff,
            (one >> 16) & 0xfff,
            two & 0xfff,
            self.tick() & 0xffff_ffff_ffff
        )
    }

    /// What the pods on each node take, counted once and kept up to date.
    pub fn used(&mut self) -> BTreeMap<String, Amounts> {
        std::mem::take(self.counted())
    }

    /// Gives back what [`Cluster::used`] lent.
    pub fn give_back(&mut self, used: BTreeMap<String, Amounts>) {
        self.memory.used.insert(self.key.to_owned(), used);
    }

    fn counted(&mut self) -> &mut BTreeMap<String, Amounts> {
        if !self.memory.used.contains_key(self.key) {
            let mut used: BTreeMap<String, Amounts> = BTreeMap::new();
            for pod in self.list(kinds::named("Pod"), None, "") {
                if let Some((node, amounts)) = scheduler::taken(pod) {
                    scheduler::add(used.entry(node.to_owned()).or_default(), &amounts, 1);
                }
            }
            self.memory.used.insert(self.key.to_owned(), used);
        }
        self.memory.used.get_mut(self.key).expect("it was just put there")
    }

    /// Counts a pod's change in the nodes' use.
    fn count(&mut self, path: &str, pod: Option<&Json>) {
        let before = self.table.get(KUBERNETES_OBJECTS, path).map(|object| object.body.clone());
        let used = self.counted();
        for (pod, sign) in [(before.as_ref(), -1), (pod, 1)] {
            if let Some((node, amounts)) = pod.and_then(scheduler::taken) {
                scheduler::add(used.entry(node.to_owned()).or_default(), &amounts, sign);
            }
        }
    }

    /// Forgets what was remembered of an earlier cluster of this key.
    pub fn forget(&mut self) {
        self.memory.used.remove(self.key);
    }

    /// A note of the emulator's own beside the objects; it goes with the cluster.
    pub fn private(&self, name: &str) -> Option<&Json> {
        let object = self.table.get(KUBERNETES_OBJECTS, &format!("{}/~{name}", self.key))?;
        Some(&object.body)
    }

    pub fn put_private(&mut self, name: &str, body: Json) {
        let key = format!("{}/~{name}", self.key);
        self.table.put(KUBERNETES_OBJECTS, key, Object { body, settles_at: 0 });
    }

    /// Asks the controllers to look at an object after some ticks.
    pub fn look_after(&mut self, kind: &Kind, object: &Json, ticks: u64) {
        let metadata = &object["metadata"];
        let due = self.tick() + ticks;
        let key = format!("{}/~due/{due:012}/{}", self.key, self.path_of(kind, object));
        let body = json!({
            "kind": kind.kind, "namespace": metadata["namespace"], "name": metadata["name"],
        });
        self.table.put(KUBERNETES_OBJECTS, key, Object { body, settles_at: due });
    }

    /// Takes what the controllers should look at by now.
    pub fn due(&mut self) -> Vec<Json> {
        let now = self.tick();
        let prefix = format!("{}/~due/", self.key);
        let due: Vec<(String, Json)> = self
            .table
            .list(KUBERNETES_OBJECTS, &prefix)
            .take_while(|(_, object)| object.settles_at <= now)
            .map(|(key, object)| (key.to_owned(), object.body.clone()))
            .collect();
        let mut looks: Vec<Json> = Vec::new();
        for (key, body) in due {
            self.table.remove(KUBERNETES_OBJECTS, &key);
            if !looks.contains(&body) {
                looks.push(body);
            }
        }
        looks
    }
}

/// The tick at which an object was created, from its uid.
pub(super) fn created(object: &Json) -> u64 {
    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
    uid.rsplit('-').next().and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

/// The resource version of an object.
pub(super) fn version(object: &Json) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Seconds since the Unix epoch as `2026-01-01T00:00:00Z`.
pub(super) fn rfc3339(unix: u64) -> String {
    let (days, seconds) = (unix / 86_400, unix % 86_400);
    // Howard Hinnant's civil-from-days, for dates after 1970.
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Seconds since the Unix epoch of a timestamp as [`rfc3339`] writes it.
pub(super) fn unix(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_600, "2026-01-01T00:00:00Z"),
            (1_772_366_399, "2026-03-01T11:59:59Z"),
        ] {
            assert_eq!(rfc3339(seconds), text);
            assert_eq!(unix(text), Some(seconds));
        }
    }
}

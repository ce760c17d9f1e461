//! Sets of fields, as managed fields spell them (`fieldsV1`), and how lists and maps merge.
//!
//! The relations are those of the API's OpenAPI extensions: `x-kubernetes-list-type`,
//! `x-kubernetes-list-map-keys` and `x-kubernetes-map-type`. A list that is not named here is atomic, a
//! map that is not named here is granular.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

/// A set of fields: a tree with the elements of `fieldsV1` (`f:spec`, `k:{"name":"a"}`, `v:"x"`).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Set {
    /// Whether the field itself is in the set, beside what is inside it.
    pub member: bool,
    pub children: BTreeMap<String, Set>,
}

/// How the items of a list are told apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Items {
    /// They are not: the list is one value.
    Atomic,
    /// By their own value.
    Set,
    /// By these keys.
    Keyed(&'static [&'static str]),
}

/// How the items of the list at `field` are told apart; `lists` are its versions.
pub(super) fn items(field: &str, lists: &[&[Json]]) -> Items {
    let keys: &'static [&'static str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "claims"
        | "schedulingGates"
        | "secrets" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "conditions" => &["type"],
        "ownerReferences" => &["uid"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ports" => {
            let has = |name: &str| lists.iter().any(|list| list.iter().any(|i| !i[name].is_null()));
            if has("containerPort") {
                &["containerPort", "protocol"]
            } else {
                &["port", "protocol"]
            }
        }
        "finalizers" => return Items::Set,
        _ => return Items::Atomic,
    };
    let named = |item: &Json| !item[keys[0]].is_null();
    if lists.iter().all(|list| list.iter().all(named)) { Items::Keyed(keys) } else { Items::Atomic }
}

/// Whether the map at `field` is one value.
pub(super) fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "labelSelector"
            | "namespaceSelector"
            | "podSelector"
            | "nodeSelector"
            | "secretKeyRef"
            | "configMapKeyRef"
            | "fieldRef"
            | "resourceFieldRef"
            | "scaleTargetRef"
            | "requiredDuringSchedulingIgnoredDuringExecution"
            | "involvedObject"
            | "roleRef"
    )
}

/// The element of an item in a list.
pub(super) fn element(item: &Json, items: Items) -> String {
    match items {
        Items::Keyed(keys) => {
            let mut key = Map::new();
            for name in keys {
                match &item[*name] {
                    // The only key with a default.
                    Json::Null if *name == "protocol" => {
                        key.insert((*name).to_owned(), "TCP".into());
                    }
                    Json::Null => {}
                    value => {
                        key.insert((*name).to_owned(), value.clone());
                    }
                }
            }
            format!("k:{}", Json::Object(key))
        }
        Items::Set | Items::Atomic => format!("v:{item}"),
    }
}

impl Set {
    pub fn leaf() -> Set {
        Set { member: true, children: BTreeMap::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.is_empty()
    }

    /// Reads a `fieldsV1`.
    pub fn from_json(json: &Json) -> Set {
        let Some(map) = json.as_object() else { return Set::default() };
        let children = map.iter().filter(|(key, _)| *key != ".").map(|(key, below)| {
            let mut below_set = Set::from_json(below);
            below_set.member = below_set.children.is_empty() || below.get(".").is_some();
            (key.clone(), below_set)
        });
        Set { member: map.contains_key("."), children: children.collect() }
    }

    /// As `fieldsV1`.
    pub fn to_json(&self) -> Json {
        let mut map = Map::new();
        if self.member && !self.children.is_empty() {
            map.insert(".".to_owned(), Json::Object(Map::new()));
        }
        for (key, below) in &self.children {
            map.insert(key.clone(), below.to_json());
        }
        Json::Object(map)
    }

    /// Every field of a value.
    pub fn of(value: &Json) -> Set {
        let mut set = of(value, "");
        set.member = false;
        set
    }

    pub fn add(&mut self, other: &Set) {
        self.member |= other.member;
        for (key, below) in &other.children {
            self.children.entry(key.clone()).or_default().add(below);
        }
    }

    pub fn subtract(&mut self, other: &Set) {
        self.member &= !other.member;
        for (key, below) in &other.children {
            if let Some(own) = self.children.get_mut(key) {
                own.subtract(below);
                if own.is_empty() {
                    self.children.remove(key);
                }
            }
        }
    }

    pub fn intersection(&self, other: &Set) -> Set {
        let mut children = BTreeMap::new();
        for (key, below) in &self.children {
            if let Some(others) = other.children.get(key) {
                let both = below.intersection(others);
                if !both.is_empty() {
                    children.insert(key.clone(), both);
                }
            }
        }
        Set { member: self.member && other.member, children }
    }

    /// Without the fields at these paths (`f:metadata`, `f:name`).
    pub fn without(mut self, paths: &[&[&str]]) -> Set {
        for path in paths {
            self.cut(path);
        }
        self
    }

    fn cut(&mut self, path: &[&str]) {
        let [first, rest @ ..] = path else { return };
        if rest.is_empty() {
            self.children.remove(*first);
        } else if let Some(below) = self.children.get_mut(*first) {
            below.cut(rest);
            if below.is_empty() {
                self.children.remove(*first);
            }
        }
    }

    /// The members as paths: `.spec.template.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.collect("", &mut paths);
        paths
    }

    fn collect(&self, path: &str, paths: &mut Vec<String>) {
        if self.member {
            paths.push(path.to_owned());
        }
        for (key, below) in &self.children {
            let step = match key.split_once(':') {
                Some(("f", name)) => format!(".{name}"),
                Some(("k", keys)) => {
                    let keys: Json = serde_json::from_str(keys).unwrap_or_default();
                    let pairs = keys.as_object().into_iter().flatten();
                    let pairs: Vec<String> =
                        pairs.map(|(name, value)| format!("{name}={value}")).collect();
                    format!("[{}]", pairs.join(","))
                }
                Some((_, value)) => format!("[={value}]"),
                None => continue,
            };
            below.collect(&format!("{path}{step}"), paths);
        }
    }
}

fn of(value: &Json, field: &str) -> Set {
    match value {
        Json::Object(map) if !map.is_empty() && !is_atomic_map(field) => {
            let children = map.iter().map(|(key, item)| (format!("f:{key}"), of(item, key)));
            Set { member: false, children: children.collect() }
        }
        Json::Array(list) if !list.is_empty() => match items(field, &[list]) {
            Items::Atomic => Set::leaf(),
            how => {
                let children = list.iter().map(|item| {
                    let mut set = of(item, "");
                    set.member = true;
                    (element(item, how), set)
                });
                Set { member: false, children: children.collect() }
            }
        },
        _ => Set::leaf(),
    }
}

/// What changed between two values.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Added or modified.
    pub changed: Set,
    pub removed: Set,
}

pub(super) fn compare(old: &Json, new: &Json) -> Difference {
    let mut difference = compare_at(old, new, "");
    difference.changed.member = false;
    difference.removed.member = false;
    difference
}

fn compare_at(old: &Json, new: &Json, field: &str) -> Difference {
    let mut difference = Difference::default();
    let mut at = |key: String, old: Option<&Json>, new: Option<&Json>, field: &str, item: bool| {
        let below = match (old, new) {
            (Some(old), Some(new)) => compare_at(old, new, field),
            (None, Some(new)) => {
                let mut changed = of(new, field);
                changed.member |= item;
                Difference { changed, removed: Set::default() }
            }
            (Some(old), None) => {
                let mut removed = of(old, field);
                removed.member |= item;
                Difference { changed: Set::default(), removed }
            }
            (None, None) => Difference::default(),
        };
        if !below.changed.is_empty() {
            difference.changed.children.insert(key.clone(), below.changed);
        }
        if !below.removed.is_empty() {
            difference.removed.children.insert(key, below.removed);
        }
    };
    match (old, new) {
        _ if old == new => {}
        (Json::Object(one), Json::Object(other)) if !is_atomic_map(field) => {
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                at(format!("f:{key}"), one.get(key), other.get(key), key, false);
            }
        }
        (Json::Array(one), Json::Array(other)) if items(field, &[one, other]) != Items::Atomic => {
            let how = items(field, &[one, other]);
            let keyed = |list: &[Json]| -> BTreeMap<String, Json> {
                list.iter().map(|item| (element(item, how), item.clone())).collect()
            };
            let (one, other) = (keyed(one), keyed(other));
            for key in one.keys().chain(other.keys().filter(|key| !one.contains_key(*key))) {
                at(key.clone(), one.get(key), other.get(key), "", true);
            }
        }
        _ => {
            difference.changed = of(new, field);
            // What was inside and is not any more has no owner any more.
            let mut removed = of(old, field);
            removed.subtract(&difference.changed);
            difference.removed = removed;
        }
    }
    difference
}

/// The live value with the applied one laid over it.
pub(super) fn merge(live: &mut Json, applied: &Json, field: &str) {
    match (live, applied) {
        (Json::Object(live), Json::Object(applied)) if !is_atomic_map(field) => {
            for (key, item) in applied {
                match live.get_mut(key) {
                    Some(below) => merge(below, item, key),
                    None => {
                        live.insert(key.clone(), item.clone());
                    }
                }
            }
        }
        (Json::Array(live), Json::Array(applied))
            if items(field, &[live, applied]) != Items::Atomic =>
        {
            let how = items(field, &[live, applied]);
            let mut before: BTreeMap<String, Json> =
                live.iter().map(|item| (element(item, how), item.clone())).collect();
            // In the order that was applied; what others added comes after it.
            let mut merged = Vec::new();
            for item in applied {
                merged.push(match before.remove(&element(item, how)) {
                    Some(mut below) => {
                        merge(&mut below, item, "");
                        below
                    }
                    None => item.clone(),
                });
            }
            merged.extend(
                live.iter().filter(|item| before.contains_key(&element(item, how))).cloned(),
            );
            *live = merged;
        }
        (live, applied) => *live = applied.clone(),
    }
}

/// Removes what `last` names and nobody in `keep` does.
pub(super) fn prune(value: &mut Json, last: &Set, keep: &Set, field: &str) {
    match value {
        Json::Object(map) => {
            for (key, below) in &last.children {
                let Some(name) = key.strip_prefix("f:") else { continue };
                let Some(item) = map.get_mut(name) else { continue };
                match keep.children.get(key) {
                    Some(kept) => prune(item, below, kept, name),
                    None => {
                        map.remove(name);
                    }
                }
            }
        }
        Json::Array(list) => {
            let how = items(field, &[list]);
            if how == Items::Atomic {
                return;
            }
            list.retain_mut(|item| {
                let key = element(item, how);
                match (last.children.get(&key), keep.children.get(&key)) {
                    (Some(below), Some(kept)) => {
                        prune(item, below, kept, "");
                        true
                    }
                    (Some(_), None) => false,
                    (None, _) => true,
                }
            });
        }
        _ => {}
    }
}

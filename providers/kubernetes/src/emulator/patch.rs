//! Patches that are no apply: JSON merge patch (RFC 7386), Kubernetes' strategic merge patch and JSON
//! patch (RFC 6902).

use serde_json::{Map, Value as Json};

use super::fields::{self, Items};

/// RFC 7386: null removes, maps merge, everything else replaces.
pub(super) fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let map = target.as_object_mut().expect("it was just made one");
    for (key, item) in patch {
        if item.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Json::Null), item);
        }
    }
}

/// Like a merge patch, but lists whose items have names merge by them, and `$patch` says otherwise.
pub(super) fn strategic(target: &mut Json, patch: &Json) -> Result<(), String> {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return Ok(());
    };
    match patch.get("$patch").and_then(Json::as_str) {
        None | Some("merge") => {}
        Some("replace") => {
            let mut whole = patch.clone();
            whole.remove("$patch");
            *target = Json::Object(whole);
            return Ok(());
        }
        Some("delete") => {
            *target = Json::Object(Map::new());
            return Ok(());
        }
        Some(other) => return Err(format!("unknown $patch directive {other:?}")),
    }
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    let map = target.as_object_mut().expect("it was just made one");
    if let Some(kept) = patch.get("$retainKeys").and_then(Json::as_array) {
        map.retain(|key, _| kept.iter().any(|kept| kept == key));
    }
    for (key, item) in patch {
        if let Some(list) = key.strip_prefix("$deleteFromPrimitiveList/") {
            let gone = item.as_array().cloned().unwrap_or_default();
            if let Some(Json::Array(items)) = map.get_mut(list) {
                items.retain(|item| !gone.contains(item));
            }
        } else if key.starts_with('$') {
            // Orders are kept as they are: nothing here depends on them.
        } else if item.is_null() {
            map.remove(key);
        } else if let Json::Array(items) = item {
            list(map.entry(key.clone()).or_insert(Json::Array(Vec::new())), items, key)?;
        } else {
            strategic(map.entry(key.clone()).or_insert(Json::Null), item)?;
        }
    }
    Ok(())
}

fn list(target: &mut Json, patch: &[Json], field: &str) -> Result<(), String> {
    let before = target.as_array().cloned().unwrap_or_default();
    let directive = |item: &Json| item["$patch"].as_str().map(str::to_owned);
    let plain: Vec<Json> = patch
        .iter()
        .filter(|item| directive(item).as_deref() != Some("replace"))
        .cloned()
        .collect();
    let replaced = plain.len() < patch.len();
    match fields::items(field, &[&before, &plain]) {
        Items::Keyed(keys) if !replaced => {
            let mut items = before;
            // The patch key is the first: a port is one whatever its protocol.
            let key = keys[0];
            for change in patch {
                let position = items.iter().position(|item| item[key] == change[key]);
                match (directive(change).as_deref(), position) {
                    (Some("delete"), Some(index)) => {
                        items.remove(index);
                    }
                    (Some("delete"), None) => {}
                    (_, Some(index)) => strategic(&mut items[index], change)?,
                    (_, None) => {
                        let mut item = Json::Null;
                        strategic(&mut item, change)?;
                        items.push(item);
                    }
                }
            }
            *target = Json::Array(items);
        }
        Items::Set if !replaced => {
            let mut items = before;
            for item in patch {
                if !items.contains(item) {
                    items.push(item.clone());
                }
            }
            *target = Json::Array(items);
        }
        _ => *target = Json::Array(plain),
    }
    Ok(())
}

/// RFC 6902.
pub(super) fn json_patch(target: &mut Json, operations: &Json) -> Result<(), String> {
    let operations = operations.as_array().ok_or("a JSON patch is a list of operations")?;
    for operation in operations {
        let text = |name: &str| operation[name].as_str().unwrap_or_default();
        let path = text("path");
        match text("op") {
            "add" => add(target, path, operation["value"].clone())?,
            "remove" => {
                remove(target, path)?;
            }
            "replace" => {
                let place = target.pointer_mut(path).ok_or_else(|| missing(path))?;
                *place = operation["value"].clone();
            }
            "test" => {
                if target.pointer(path) != Some(&operation["value"]) {
                    return Err(format!("testing path {path} failed"));
                }
            }
            "move" => {
                let moved = remove(target, text("from"))?;
                add(target, path, moved)?;
            }
            "copy" => {
                let from = text("from");
                let copied = target.pointer(from).cloned().ok_or_else(|| missing(from))?;
                add(target, path, copied)?;
            }
            other => return Err(format!("unknown operation {other:?}")),
        }
    }
    Ok(())
}

fn missing(path: &str) -> String {
    format!("no value at {path}")
}

fn split(path: &str) -> Result<(&str, String), String> {
    let (parent, last) = path.rsplit_once('/').ok_or_else(|| missing(path))?;
    Ok((parent, last.replace("~1", "/").replace("~0", "~")))
}

fn add(target: &mut Json, path: &str, value: Json) -> Result<(), String> {
    if path.is_empty() {
        *target = value;
        return Ok(());
    }
    let (parent, last) = split(path)?;
    match target.pointer_mut(parent) {
        Some(Json::Object(map)) => {
            map.insert(last, value);
        }
        Some(Json::Array(items)) => {
            let index = if last == "-" { Some(items.len()) } else { last.parse().ok() };
            match index.filter(|index| *index <= items.len()) {
                Some(index) => items.insert(index, value),
                None => return Err(missing(path)),
            }
        }
        _ => return Err(missing(path)),
    }
    Ok(())
}

fn remove(target: &mut Json, path: &str) -> Result<Json, String> {
    let (parent, last) = split(path)?;
    let removed = match target.pointer_mut(parent) {
        Some(Json::Object(map)) => map.remove(&last),
        Some(Json::Array(items)) => last
            .parse::<usize>()
            .ok()
            .filter(|index| *index < items.len())
            .map(|index| items.remove(index)),
        _ => None,
    };
    removed.ok_or_else(|| missing(path))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strategic_patches_merge_lists_by_name() {
        for (target, patch, expected) in [
            (
                json!({ "containers": [{ "name": "a", "image": "1" }, { "name": "b" }] }),
                json!({ "containers": [{ "name": "a", "image": "2" }], "$setElementOrder/containers": [] }),
                json!({ "containers": [{ "name": "a", "image": "2" }, { "name": "b" }] }),
            ),
            (
                json!({ "containers": [{ "name": "a" }, { "name": "b" }] }),
                json!({ "containers": [{ "name": "a", "$patch": "delete" }] }),
                json!({ "containers": [{ "name": "b" }] }),
            ),
            (json!({ "args": ["a", "b"] }), json!({ "args": ["c"] }), json!({ "args": ["c"] })),
            (
                json!({ "strategy": { "type": "RollingUpdate", "rollingUpdate": {} } }),
                json!({ "strategy": { "$retainKeys": ["type"], "type": "Recreate" } }),
                json!({ "strategy": { "type": "Recreate" } }),
            ),
            (
                json!({ "finalizers": ["a", "b"] }),
                json!({ "$deleteFromPrimitiveList/finalizers": ["a"] }),
                json!({ "finalizers": ["b"] }),
            ),
            (json!({ "a": 1, "b": 2 }), json!({ "a": null }), json!({ "b": 2 })),
            (
                json!({ "a": { "x": 1 } }),
                json!({ "a": { "$patch": "replace", "y": 2 } }),
                json!({ "a": { "y": 2 } }),
            ),
        ] {
            let mut result = target.clone();
            strategic(&mut result, &patch).expect("a good patch");
            assert_eq!(result, expected, "{target} {patch}");
        }
        assert!(strategic(&mut json!({}), &json!({ "$patch": "explode" })).is_err());
    }

    #[test]
    fn json_patches_do_all_or_say_what_is_missing() {
        let mut target = json!({ "a": [1, 2], "b/c": 1 });
        let patch = json!([
            { "op": "test", "path": "/a/0", "value": 1 },
            { "op": "add", "path": "/a/-", "value": 3 },
            { "op": "remove", "path": "/b~1c" },
            { "op": "move", "from": "/a/0", "path": "/d" },
            { "op": "copy", "from": "/d", "path": "/e" },
            { "op": "replace", "path": "/a/0", "value": 9 },
        ]);
        json_patch(&mut target, &patch).expect("a good patch");
        assert_eq!(target, json!({ "a": [9, 3], "d": 1, "e": 1 }));
        for bad in [
            json!([{ "op": "remove", "path": "/x" }]),
            json!([{ "op": "add", "path": "/a/7", "value": 1 }]),
            json!([{ "op": "test", "path": "/d", "value": 2 }]),
            json!([{ "op": "shuffle" }]),
            json!({}),
        ] {
            assert!(json_patch(&mut target.clone(), &bad).is_err(), "{bad}");
        }
    }
}

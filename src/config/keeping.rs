//! The `state` and `encryption` blocks: where the state is kept, and under which key. The stores
//! themselves say which arguments they take.

use std::collections::BTreeMap;

use fleetform_state::stores::{self, Argument, Kind, Shape};
use fleetform_state::{KeySource, KeySources};

use super::fields::Reader;
use super::quantity::Measure;
use super::{StateSettings, nearest};

/// Arguments that Terraform's backends take and that belong into no file.
const SECRETS: [&str; 8] = [
    "access_key",
    "client_secret",
    "encryption_key",
    "password",
    "sas_token",
    "secret_key",
    "token",
    "access_token",
];

/// A `state` block; `None` where it cannot be used, which the user has been told.
pub(super) fn state(reader: &Reader) -> Option<StateSettings> {
    let label = reader.section.label.as_deref().unwrap_or_default();
    let Some(kind) = stores::kind(label) else {
        let names: Vec<&str> = stores::kinds().iter().map(|kind| kind.name).collect();
        let hint = match nearest(label, names.iter().copied()) {
            Some(near) => format!("did you mean `state \"{near}\"`?"),
            None => format!("the stores are {}", names.join(", ")),
        };
        reader.fail(
            "",
            "Unknown state store",
            format!("There is no state store {label:?}."),
            &hint,
        );
        return None;
    };
    let mut arguments = BTreeMap::new();
    for name in reader.section.attributes.keys() {
        let Some(known) = kind.argument(name) else {
            unknown(reader, kind, name);
            continue;
        };
        let value = match known.shape {
            Shape::Text => reader.filled(name).map(Argument::Text),
            Shape::Flag => reader.bool(name).map(Argument::Flag),
            Shape::Seconds => reader.quantity(name, Measure::Duration).map(Argument::Seconds),
        };
        let Some(value) = value else { continue };
        if arguments.insert(known.name.to_owned(), value).is_some() {
            let names: Vec<String> = known.names().map(|name| format!("{name:?}")).collect();
            let detail = format!("{} say the same thing: one is enough.", names.join(" and "));
            reader.fail(name, "Argument given twice", detail, "remove one of them");
        }
    }
    for known in kind.arguments.iter().filter(|known| known.required) {
        if !known.names().any(|name| reader.section.attributes.contains_key(name)) {
            reader.require(known.name, &format!("…` as in `{}", kind.example));
        }
    }
    Some(StateSettings { kind: kind.name.to_owned(), arguments })
}

fn unknown(reader: &Reader, kind: &Kind, name: &str) {
    let detail = format!("An argument named {name:?} is not expected in `state {:?}`.", kind.name);
    let known = kind.arguments.iter().flat_map(stores::Known::names);
    let hint = if SECRETS.contains(&name) {
        "secrets are taken from the environment: docs/state.md says from which variables".to_owned()
    } else if let Some(near) = nearest(name, known) {
        format!("did you mean `{near}`?")
    } else {
        let names: Vec<&str> = kind.arguments.iter().map(|known| known.name).collect();
        format!("it takes {}", names.join(", "))
    };
    reader.fail(name, "Unsupported argument", detail, &hint);
}

/// An `encryption` block with the `previous` ones inside it.
pub(super) fn encryption(reader: &Reader) -> KeySources {
    let previous: Vec<KeySource> =
        reader.blocks("previous", |previous, _| key(&previous)).into_iter().flatten().collect();
    let says_key = ["passphrase_env", "key_file"].iter().any(|name| reader.has(name));
    // A block with nothing but `previous` reads what was encrypted and writes in clear.
    let current = match previous.is_empty() || says_key {
        true => key(reader),
        false => None,
    };
    KeySources { current, previous }
}

fn key(reader: &Reader) -> Option<KeySource> {
    let (passphrase, file) = (reader.filled("passphrase_env"), reader.filled("key_file"));
    match (passphrase, file) {
        (Some(name), None) => Some(KeySource::PassphraseEnv(name)),
        (None, Some(path)) => Some(KeySource::KeyFile(path.into())),
        (Some(_), Some(_)) => {
            let detail = "A key comes from a passphrase or from a file, not from both.";
            reader.fail("key_file", "Two keys", detail, "remove `passphrase_env` or `key_file`");
            None
        }
        (None, None) => {
            if !reader.section.attributes.contains_key("passphrase_env")
                && !reader.section.attributes.contains_key("key_file")
            {
                reader.require("passphrase_env", "\"FLEETFORM_PASSPHRASE\"");
            }
            None
        }
    }
}

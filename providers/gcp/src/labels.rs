//! Names and labels as Google Cloud allows them.
//!
//! Labels have at most 63 characters of `a-z`, `0-9`, `_` and `-`. An address has other characters and may
//! be longer, so it is escaped and cut into pieces: `fleetform-address`, `fleetform-address-1`, … In the
//! escaped text `_` begins an escape: `__` is `_` itself, `_s` is `/`, `_p` is `.`, `_o` is `["`, `_q` is `"]`
//! and `_` with two hexadecimal digits is any other byte. Reading it back gives exactly what was written.

use std::collections::BTreeMap;

use fleetform_contract::{Address, Mark, Owner, Value};

const PREFIX: &str = "fleetform-";
const LONGEST_VALUE: usize = 63;
/// Letters that name a frequent text in an escape; none of them is a hexadecimal digit.
const SHORT: &[(&str, char)] = &[("[\"", 'o'), ("\"]", 'q'), ("/", 's'), (".", 'p'), ("_", '_')];

/// The labels of the object at `address`.
pub fn of(owner: &Owner, address: &Address) -> BTreeMap<String, String> {
    let tags = owner.tags(PREFIX, address);
    tags.iter().flat_map(|(key, text)| pieces(key, text)).collect()
}

/// The same as an attribute.
pub fn value(owner: &Owner, address: &Address) -> Value {
    Value::map(of(owner, address).into_iter().map(|(key, text)| (key, text.into())))
}

/// Who made an object, as its labels say.
pub fn owner(labels: Option<&Value>) -> Option<Owner> {
    let labels = labels?.as_map()?.iter();
    let labels = labels.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect();
    let read = |key: &str| read(&labels, &format!("{PREFIX}{key}"));
    Some(Owner { stack: read("stack")?, lineage: read("lineage")? })
}

/// What an object's labels say, where they name this stack.
pub fn mark<'a>(
    wanted: &str,
    labels: impl IntoIterator<Item = (&'a String, &'a String)>,
) -> Option<Mark> {
    let labels: BTreeMap<&str, &str> =
        labels.into_iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let stack = read(&labels, "fleetform-stack")?;
    let lineage = read(&labels, "fleetform-lineage")?;
    if stack != wanted {
        return None;
    }
    Some(Mark { address: read(&labels, "fleetform-address")?.parse().ok()?, lineage })
}

/// A name of at most `longest` characters that starts with a letter, ends with a letter or digit and has
/// only lower-case letters, digits and single dashes. A text that does not fit as it is gets a hash, so
/// that different texts stay different.
pub fn name(text: &str, longest: usize) -> String {
    let mut fitted = String::new();
    for c in text.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_alphanumeric() {
            fitted.push(c);
        } else if !fitted.is_empty() && !fitted.ends_with('-') {
            fitted.push('-');
        }
    }
    let mut fitted = fitted.trim_matches('-').to_owned();
    if !fitted.starts_with(|c: char| c.is_ascii_lowercase()) {
        fitted.insert_str(0, "f-");
    }
    if fitted.len() <= longest && fitted == text {
        return fitted;
    }
    let hash = format!("-{:08x}", fnv(text.as_bytes()) as u32);
    fitted.truncate(longest - hash.len());
    format!("{}{hash}", fitted.trim_end_matches('-'))
}

/// FNV-1a: stable over versions and machines, which a name must be.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

fn pieces(key: &str, text: &str) -> Vec<(String, String)> {
    let escaped = escape(text);
    let mut pieces = Vec::new();
    let mut rest = escaped.as_str();
    loop {
        let (piece, tail) = rest.split_at(rest.len().min(LONGEST_VALUE));
        let number = pieces.len();
        let key = if number == 0 { key.to_owned() } else { format!("{key}-{number}") };
        pieces.push((key, piece.to_owned()));
        rest = tail;
        if rest.is_empty() {
            return pieces;
        }
    }
}

fn read(labels: &BTreeMap<&str, &str>, key: &str) -> Option<String> {
    let mut escaped = (*labels.get(key)?).to_owned();
    for number in 1.. {
        let Some(piece) = labels.get(format!("{key}-{number}").as_str()) else { break };
        escaped.push_str(piece);
    }
    unescape(&escaped)
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if let Some((long, letter)) = SHORT.iter().find(|(long, _)| rest.starts_with(long)) {
            escaped.push('_');
            escaped.push(*letter);
            rest = &rest[long.len()..];
            continue;
        }
        let (character, tail) = rest.split_at(c.len_utf8());
        if c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' {
            escaped.push(c);
        } else {
            escaped.extend(character.bytes().map(|byte| format!("_{byte:02x}")));
        }
        rest = tail;
    }
    escaped
}

fn unescape(escaped: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = escaped;
    while let Some(c) = rest.chars().next() {
        if c != '_' {
            bytes.extend(c.to_string().bytes());
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let letter = rest[1..].chars().next()?;
        if let Some((long, _)) = SHORT.iter().find(|(_, short)| *short == letter) {
            bytes.extend(long.bytes());
            rest = &rest[2..];
        } else {
            bytes.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            rest = &rest[3..];
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made_by(stack: &str) -> Owner {
        Owner { stack: stack.into(), lineage: "6f1c2d9e-0000-4aaa-8bbb-123456789abc".into() }
    }

    #[test]
    fn addresses_read_back_from_labels_that_google_allows() {
        let long = "x".repeat(200);
        for address in [
            Address::new("google_container_cluster", "main"),
            Address::keyed("google_container_node_pool", "main", "us-central1/a2-highgpu-1g/spot"),
            Address::keyed(
                "google_container_node_pool",
                "eu_2",
                "europe-west4/n1-standard-8+T4:1/on_demand",
            ),
            Address::keyed("t", "n", "a \"quoted\" [\"one\"] / ünï_code\\"),
            Address::keyed("t", "n", long),
        ] {
            let made_by = made_by("My stack.é");
            let labels = of(&made_by, &address);
            for (key, text) in &labels {
                let allowed =
                    |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
                assert!(key.len() <= 63 && key.chars().all(allowed), "{key}");
                assert!(text.len() <= 63 && text.chars().all(allowed), "{key}: {text}");
            }
            assert_eq!(super::owner(Some(&value(&made_by, &address))), Some(made_by.clone()));
            let lineage = made_by.lineage.clone();
            assert_eq!(mark(&made_by.stack, &labels), Some(Mark { address, lineage }));
            assert_eq!(mark("other", &labels), None);
        }
    }

    #[test]
    fn labels_of_a_pool_are_few_and_readable() {
        let key = "us-central1/a2-highgpu-1g/spot";
        let address = Address::keyed("google_container_node_pool", "main", key);
        let text: Vec<String> =
            of(&made_by("chat"), &address).iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(
            text,
            [
                "fleetform-address=google__container__node__pool_pmain_ous-central1_sa2-highgpu-1g",
                "fleetform-address-1=_sspot_q",
                "fleetform-lineage=6f1c2d9e-0000-4aaa-8bbb-123456789abc",
                "fleetform-stack=chat",
            ]
        );
    }

    #[test]
    fn foreign_labels_are_no_address() {
        for text in ["_", "_z", "_f", "_ff", "é", "no-address", ""] {
            let mut labels = of(&made_by("chat"), &Address::new("a", "b"));
            labels.insert("fleetform-address".into(), text.into());
            assert_eq!(mark("chat", &labels), None, "{text}");
        }
    }

    #[test]
    fn names_fit_and_stay_apart() {
        assert_eq!(name("chat", 40), "chat");
        assert_eq!(name("n1-standard-8-t4-1-spot", 40), "n1-standard-8-t4-1-spot");
        for text in ["Chat", "9lives", "", "-", "a--b", "café", &"long-".repeat(20)] {
            let fitted = name(text, 40);
            assert!(fitted.len() <= 40 && fitted.starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(fitted.ends_with(|c: char| c.is_ascii_alphanumeric()), "{fitted}");
            assert_ne!(fitted, name(&format!("{text}x"), 40));
        }
        assert_ne!(name("Chat", 40), name("chat", 40));
    }
}

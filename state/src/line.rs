//! An entry as it is kept: one line of JSON that carries its number, the hash of the line before it
//! and its own.
//!
//! The hash is SHA-256 over the bytes of the line up to `,"hash":"`: over what is kept, not over what
//! some serializer would make of it again.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Batch, Entry, Error, FORMAT, State};

/// The `previous` of the first entry.
pub(crate) const NOTHING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One entry with everything the log knows of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// From 1, without gaps.
    pub number: u64,
    /// How many more lines of the same batch follow.
    pub more: u64,
    /// RFC 3339, by the clock of the run that wrote it.
    pub time: String,
    /// The run that wrote it.
    pub run: String,
    /// The hash of the line before; zeros for the first.
    pub previous: String,
    pub entry: Entry,
    pub hash: String,
}

/// Where the next line goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    /// The number of the last line; 0 for none.
    pub number: u64,
    /// Its hash.
    pub hash: String,
}

impl Head {
    pub fn start() -> Head {
        Head { number: 0, hash: NOTHING.to_owned() }
    }
}

/// The batch of these entries behind `head`, and the head behind it.
pub(crate) fn encode(head: &Head, time: &str, run: &str, entries: &[Entry]) -> (Vec<u8>, Head) {
    #[derive(Serialize)]
    struct Body<'a> {
        number: u64,
        more: u64,
        time: &'a str,
        run: &'a str,
        previous: &'a str,
        entry: &'a Entry,
    }
    let mut head = head.clone();
    let mut bytes = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let number = head.number + 1;
        let more = (entries.len() - 1 - index) as u64;
        let body = Body { number, more, time, run, previous: &head.hash, entry };
        let sealed = seal(serde_json::to_vec(&body).expect("entries serialize"));
        head = Head { number, hash: sealed.1 };
        bytes.extend_from_slice(&sealed.0);
        bytes.push(b'\n');
    }
    (bytes, head)
}

/// How a batch starts that stands for everything before it.
const BEGINNING: &[u8] = b"{\"beginning\":";

/// What a log begins with whose older entries are gone.
#[derive(Serialize, Deserialize)]
struct Beginning {
    beginning: Box<State>,
    format: u32,
    /// The last entry in it.
    number: u64,
    /// The first entry of the batch that it stands in place of.
    batch: u64,
    time: String,
    run: String,
    /// The hash of the entry `number`, which the next one follows.
    head: String,
}

/// The batch that a log begins with from now on, in place of the batch from `first` to `head`; and
/// its hash.
pub(crate) fn encode_beginning(
    head: &Head,
    first: u64,
    time: &str,
    run: &str,
    state: State,
) -> (Batch, String) {
    let beginning = Beginning {
        beginning: Box::new(state),
        format: FORMAT,
        number: head.number,
        batch: first,
        time: time.to_owned(),
        run: run.to_owned(),
        head: head.hash.clone(),
    };
    let (mut bytes, hash) = seal(serde_json::to_vec(&beginning).expect("states serialize"));
    bytes.push(b'\n');
    (Batch { first, bytes }, hash)
}

/// The batches from the one on that the log begins with: a crash may have left older ones.
pub(crate) fn from_beginning(mut batches: Vec<Batch>) -> Vec<Batch> {
    let start = batches.iter().rposition(|batch| is_beginning(&batch.bytes)).unwrap_or(0);
    batches.split_off(start)
}

pub(crate) fn is_beginning(bytes: &[u8]) -> bool {
    bytes.starts_with(BEGINNING)
}

/// The line of a beginning, and the head behind it.
pub(crate) fn decode_beginning(batch: &Batch, place: &str) -> Result<(Line, Head), Error> {
    let damaged =
        |what: String| Error::Damaged { place: place.to_owned(), entry: Some(batch.first), what };
    let text = batch.bytes.strip_suffix(b"\n").unwrap_or_default();
    let hash = unseal(text)
        .ok_or_else(|| damaged("the beginning of the log does not match its own hash".into()))?;
    let read: Beginning = serde_json::from_slice(text).map_err(|error| unknown(place, &error))?;
    if read.format > FORMAT {
        let what = format!("format {} is newer than {FORMAT}", read.format);
        return Err(Error::Version { place: place.to_owned(), what });
    }
    if read.batch != batch.first || read.beginning.serial != read.number {
        return Err(damaged(format!("it is the beginning of the log at entry {}", read.batch)));
    }
    let head = Head { number: read.number, hash: read.head.clone() };
    let line = Line {
        number: read.number,
        more: 0,
        time: read.time,
        run: read.run,
        previous: String::new(),
        entry: Entry::Beginning { head: read.head, state: read.beginning },
        hash: hash.to_owned(),
    };
    Ok((line, head))
}

/// What binds a line to its neighbours. Reading only this much is cheap.
#[derive(Deserialize)]
struct Link<'a> {
    number: u64,
    more: u64,
    #[serde(borrow)]
    previous: Cow<'a, str>,
}

/// The lines of a batch that must follow `head`, and the head behind them.
pub(crate) fn decode(head: &Head, bytes: &[u8], place: &str) -> Result<(Vec<Line>, Head), Error> {
    let mut lines = Vec::new();
    let head = follow(head, bytes, place, |text| {
        lines.push(serde_json::from_slice(text).map_err(|error| unknown(place, &error))?);
        Ok(())
    })?;
    Ok((lines, head))
}

/// Checks that the lines of a batch follow `head`, each whole and behind the one before, and hands each
/// over as it is. Gives the head behind them.
pub(crate) fn follow(
    head: &Head,
    bytes: &[u8],
    place: &str,
    mut each: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<Head, Error> {
    let mut head = head.clone();
    let mut expected_more = None;
    let damaged = |entry: u64, what: String| Error::Damaged {
        place: place.to_owned(),
        entry: Some(entry),
        what,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let entry = head.number + 1;
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            return Err(damaged(entry, format!("it ends in the middle of entry {entry}")));
        };
        let (text, tail) = (&rest[..end], &rest[end + 1..]);
        let Some(hash) = unseal(text) else {
            return Err(damaged(entry, format!("entry {entry} does not match its own hash")));
        };
        // What has its hash was once written as it is: from here on it is whole, if not ours.
        let link: Link = serde_json::from_slice(text).map_err(|error| unknown(place, &error))?;
        if link.number != entry {
            let what = format!("it holds entry {} where entry {entry} belongs", link.number);
            return Err(damaged(entry, what));
        }
        if link.previous != head.hash {
            let what = if entry == 1 {
                "entry 1 says that another one came before it".to_owned()
            } else {
                format!("entry {entry} does not follow the entry {} that is there", entry - 1)
            };
            return Err(damaged(entry, what));
        }
        if expected_more.is_some_and(|more| more != link.more) {
            return Err(damaged(entry, format!("entry {entry} counts its batch differently")));
        }
        expected_more = link.more.checked_sub(1);
        if link.more == 0 && !tail.is_empty() {
            return Err(damaged(entry + 1, "lines follow the end of its batch".into()));
        }
        head = Head { number: entry, hash: hash.to_owned() };
        each(text)?;
        rest = tail;
    }
    // Cut at a line's end, or empty.
    if bytes.is_empty() || expected_more.is_some() {
        let entry = head.number + 1;
        return Err(damaged(entry, format!("it ends before entry {entry}, which it must hold")));
    }
    Ok(head)
}

fn unknown(place: &str, error: &serde_json::Error) -> Error {
    Error::Version { place: place.to_owned(), what: error.to_string() }
}

/// A JSON object with its hash as the last member, and the hash.
pub(crate) fn seal(mut json: Vec<u8>) -> (Vec<u8>, String) {
    assert_eq!(json.pop(), Some(b'}'), "only objects are sealed");
    let hash = sha256(&json);
    json.extend_from_slice(b",\"hash\":\"");
    json.extend_from_slice(hash.as_bytes());
    json.extend_from_slice(b"\"}");
    (json, hash)
}

/// The hash of a sealed object, where it is the right one.
pub(crate) fn unseal(json: &[u8]) -> Option<&str> {
    const SEPARATOR: &[u8] = b",\"hash\":\"";
    let body_and_hash = json.strip_suffix(b"\"}")?;
    let (body, hash) = body_and_hash.split_at_checked(body_and_hash.len().checked_sub(64)?)?;
    let body = body.strip_suffix(SEPARATOR)?;
    let hash = std::str::from_utf8(hash).ok()?;
    (sha256(body) == hash).then_some(hash)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

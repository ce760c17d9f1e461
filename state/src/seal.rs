//! Encryption of what is kept: AES-256-GCM under a key from a passphrase (argon2id) or from a key file.
//!
//! Sealed bytes say how they were sealed: a line of text, then the ciphertext with its tag.
//!
//! ```text
//! fleetform-sealed 1 argon2id,65536,3,4 SALT KEY NONCE
//! fleetform-sealed 1 key-file SALT KEY NONCE
//! ```
//!
//! The key is derived once for each salt. The tag covers this line and the context (`batch 4`), so that
//! bytes in another's place are found out. KEY tells keys apart, so that a wrong key is not taken for
//! damage.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use aes_gcm::aead::{Aead, Generate, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce, aead::consts::U12};
use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::line::hexadecimal;
use crate::stores::{Refusal, Surroundings};

const MAGIC: &[u8] = b"fleetform-sealed ";
const FORMAT: &str = "1";
const KEY_FILE: &str = "key-file";
/// RFC 9106, the second recommended option: 64 MiB, three passes, four lanes.
const COST: Cost = Cost { memory_kib: 1 << 16, passes: 3, lanes: 4 };
/// What a header may ask for: it is read before anything is known to be ours.
const MOST: Cost = Cost { memory_kib: 1 << 20, passes: 32, lanes: 16 };
const SHORTEST_PASSPHRASE: usize = 8;

/// Where a key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeySource {
    /// The environment variable that holds a passphrase.
    PassphraseEnv(String),
    /// A file with 32 bytes, as they are, in hexadecimal or in base64.
    KeyFile(PathBuf),
}

/// The keys of a state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeySources {
    /// What is written is sealed with it. None: it is written in clear.
    pub current: Option<KeySource>,
    /// With these it is read as well.
    pub previous: Vec<KeySource>,
}

/// Seals and opens. Clones share the derived keys.
#[derive(Clone)]
pub struct Keys {
    current: Option<Secret>,
    previous: Vec<Secret>,
    derived: Arc<Mutex<Derived>>,
}

/// Why sealed bytes could not be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// There is no key at all.
    NoKey,
    /// They were sealed with another key.
    WrongKey,
    /// By a later version.
    Version,
    /// They are not what was sealed, or not in the place that they were sealed for.
    Damaged,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Secret {
    Passphrase(Vec<u8>),
    File([u8; 32]),
}

#[derive(Default)]
struct Derived {
    keys: BTreeMap<(Secret, Method), Key>,
    /// How the current key was derived last: by this it goes on.
    writing: Option<Method>,
}

#[derive(Clone)]
struct Key {
    cipher: Aes256Gcm,
    id: String,
}

/// How a key is made of a secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Method {
    /// None for a key file.
    cost: Option<Cost>,
    salt: [u8; 16],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Cost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

struct Header {
    method: Method,
    key: String,
    nonce: [u8; 12],
}

impl Keys {
    /// Reads the environment and the key files.
    ///
    /// # Errors
    /// Where a passphrase or a key is not there, or is none.
    pub fn new(sources: &KeySources, around: &Surroundings) -> Result<Keys, Refusal> {
        let secret = |source: &KeySource| Secret::read(source, around);
        Ok(Keys {
            current: sources.current.as_ref().map(secret).transpose()?,
            previous: sources.previous.iter().map(secret).collect::<Result<_, _>>()?,
            derived: Arc::default(),
        })
    }

    /// No key: what is sealed stays closed, and nothing is sealed.
    pub fn none() -> Keys {
        Keys { current: None, previous: Vec::new(), derived: Arc::default() }
    }

    /// Whether what is written is sealed.
    pub fn seals(&self) -> bool {
        self.current.is_some()
    }

    /// Whether these bytes are as they would be written now.
    pub fn is_current(&self, bytes: &[u8]) -> bool {
        match &self.current {
            None => !is_sealed(bytes),
            Some(secret) => read_header(bytes).is_ok_and(|(header, _)| {
                secret.fits(&header.method) && self.key(secret, &header.method).id == header.key
            }),
        }
    }

    /// Seals bytes for a context. Without a current key they stay as they are.
    pub fn seal(&self, context: &str, bytes: &[u8]) -> Vec<u8> {
        let Some(secret) = &self.current else { return bytes.to_vec() };
        let method = self.writing(secret);
        let key = self.key(secret, &method);
        let nonce = Nonce::<U12>::generate();
        let mut sealed = header(&method, &key.id, &nonce);
        let payload = Payload { msg: bytes, aad: &associated(&sealed, context) };
        let cipher = key.cipher.encrypt(&nonce, payload);
        sealed.extend(cipher.expect("a batch is shorter than 64 GiB"));
        sealed
    }

    /// The bytes that were sealed for this context. Those that were never sealed are given back.
    ///
    /// # Errors
    /// Where there is no key for them, or they are not what was sealed.
    pub fn open(&self, context: &str, bytes: &[u8]) -> Result<Vec<u8>, Locked> {
        if !is_sealed(bytes) {
            return Ok(bytes.to_vec());
        }
        let (header, ciphertext) = read_header(bytes)?;
        if self.current.is_none() && self.previous.is_empty() {
            return Err(Locked::NoKey);
        }
        let secrets = self.current.iter().chain(&self.previous);
        let key = secrets
            .filter(|secret| secret.fits(&header.method))
            .map(|secret| (secret, self.key(secret, &header.method)))
            .find(|(_, key)| key.id == header.key);
        let (secret, key) = key.ok_or(Locked::WrongKey)?;
        if self.current.as_ref() == Some(secret) {
            self.derived.lock().expect("no holder panics").writing = Some(header.method);
        }
        let line = &bytes[..bytes.len() - ciphertext.len()];
        let payload = Payload { msg: ciphertext, aad: &associated(line, context) };
        key.cipher.decrypt(&Nonce::<U12>::from(header.nonce), payload).map_err(|_| Locked::Damaged)
    }

    /// How the current key is derived: as it was before, or with a new salt.
    fn writing(&self, secret: &Secret) -> Method {
        let mut derived = self.derived.lock().expect("no holder panics");
        let new = || Method {
            cost: matches!(secret, Secret::Passphrase(_)).then_some(COST),
            salt: *uuid::Uuid::new_v4().as_bytes(),
        };
        derived.writing.get_or_insert_with(new).clone()
    }

    fn key(&self, secret: &Secret, method: &Method) -> Key {
        let mut derived = self.derived.lock().expect("no holder panics");
        let made = derived.keys.entry((secret.clone(), method.clone()));
        made.or_insert_with(|| secret.derive(method)).clone()
    }
}

impl Secret {
    fn read(source: &KeySource, around: &Surroundings) -> Result<Secret, Refusal> {
        match source {
            KeySource::PassphraseEnv(name) => {
                let text = around.variables.get(name).map(String::as_str).unwrap_or_default();
                let refuse = |detail: String, hint: String| Refusal {
                    argument: Some("passphrase_env"),
                    summary: "No passphrase",
                    detail,
                    hint,
                };
                if text.is_empty() {
                    let detail = format!(
                        "The environment variable {name} is not set, which holds the passphrase of \
                         the state."
                    );
                    return Err(refuse(detail, format!("set {name}")));
                }
                if text.chars().count() < SHORTEST_PASSPHRASE {
                    let detail =
                        format!("The passphrase in {name} is too short to protect anything.");
                    let hint = format!("use {SHORTEST_PASSPHRASE} characters at the very least");
                    return Err(refuse(detail, hint));
                }
                Ok(Secret::Passphrase(text.as_bytes().to_vec()))
            }
            KeySource::KeyFile(path) => {
                let path = around.directory.join(path);
                let refuse = |what: String| Refusal {
                    argument: Some("key_file"),
                    summary: "No key",
                    detail: format!("The key file {} {what}.", path.display()),
                    hint: "a key is made with `openssl rand -hex 32`".into(),
                };
                let bytes = std::fs::read(&path)
                    .map_err(|error| refuse(format!("cannot be read: {error}")))?;
                let key = key_bytes(&bytes);
                key.map(Secret::File).ok_or_else(|| refuse("does not hold 32 bytes".into()))
            }
        }
    }

    /// Whether a key can be made of it in this way.
    fn fits(&self, method: &Method) -> bool {
        matches!(self, Secret::Passphrase(_)) == method.cost.is_some()
    }

    fn derive(&self, method: &Method) -> Key {
        let mut key = [0; 32];
        match (self, method.cost) {
            (Secret::Passphrase(text), Some(cost)) => {
                let Cost { memory_kib, passes, lanes } = cost;
                let params = Params::new(memory_kib, passes, lanes, Some(key.len()));
                let params = params.expect("costs are checked when they are read");
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                let made = argon2.hash_password_into(text, &method.salt, &mut key);
                made.expect("lengths are right");
            }
            (Secret::File(bytes), _) => {
                let mut hash = Sha256::new_with_prefix(b"fleetform key file\0");
                hash.update(method.salt);
                hash.update(bytes);
                key = hash.finalize().into();
            }
            (Secret::Passphrase(_), None) => unreachable!("a passphrase has a cost"),
        }
        let id = Sha256::new_with_prefix(b"fleetform key id\0").chain_update(key).finalize();
        Key { cipher: Aes256Gcm::new(&key.into()), id: hexadecimal(&id[..8]) }
    }
}

/// Whether bytes say that they are sealed.
pub fn is_sealed(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

fn key_bytes(bytes: &[u8]) -> Option<[u8; 32]> {
    use base64::Engine as _;
    if let Ok(key) = bytes.try_into() {
        return Some(key);
    }
    let text = std::str::from_utf8(bytes).ok()?.trim();
    let decoded = match text.len() {
        64 => from_hexadecimal(text)?,
        _ => base64::engine::general_purpose::STANDARD.decode(text).ok()?,
    };
    decoded.try_into().ok()
}

fn from_hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(pair.first()?)? << 4 | digit(pair.get(1)?)?)).collect()
}

/// What the tag covers beside the ciphertext.
fn associated(header: &[u8], context: &str) -> Vec<u8> {
    [header, context.as_bytes()].concat()
}

fn header(method: &Method, key: &str, nonce: &[u8]) -> Vec<u8> {
    let way = match method.cost {
        Some(Cost { memory_kib, passes, lanes }) => {
            format!("argon2id,{memory_kib},{passes},{lanes}")
        }
        None => KEY_FILE.to_owned(),
    };
    let (salt, nonce) = (hexadecimal(&method.salt), hexadecimal(nonce));
    let magic = String::from_utf8_lossy(MAGIC);
    format!("{magic}{FORMAT} {way} {salt} {key} {nonce}\n").into_bytes()
}

/// The header, and the ciphertext behind it.
fn read_header(bytes: &[u8]) -> Result<(Header, &[u8]), Locked> {
    // Longer than any header: what has no line end there is none.
    let end = bytes.iter().take(200).position(|byte| *byte == b'\n').ok_or(Locked::Damaged)?;
    let line =
        std::str::from_utf8(&bytes[MAGIC.len().min(end)..end]).map_err(|_| Locked::Damaged)?;
    let parts: Vec<&str> = line.split(' ').collect();
    let [format, way, salt, key, nonce] = parts[..] else { return Err(Locked::Damaged) };
    if format != FORMAT {
        return Err(if format.parse::<u32>().is_ok() { Locked::Version } else { Locked::Damaged });
    }
    let cost = match way.strip_prefix("argon2id,") {
        Some(numbers) => Some(read_cost(numbers).ok_or(Locked::Damaged)?),
        None if way == KEY_FILE => None,
        None => return Err(Locked::Damaged),
    };
    let fixed = |text: &str| from_hexadecimal(text).ok_or(Locked::Damaged);
    let header = Header {
        method: Method { cost, salt: fixed(salt)?.try_into().map_err(|_| Locked::Damaged)? },
        key: key.to_owned(),
        nonce: fixed(nonce)?.try_into().map_err(|_| Locked::Damaged)?,
    };
    Ok((header, &bytes[end + 1..]))
}

fn read_cost(numbers: &str) -> Option<Cost> {
    let numbers: Vec<u32> =
        numbers.split(',').map(|number| number.parse().ok()).collect::<Option<_>>()?;
    let [memory_kib, passes, lanes] = numbers[..] else { return None };
    let is_sane = (1..=MOST.lanes).contains(&lanes)
        && (1..=MOST.passes).contains(&passes)
        && (8 * lanes..=MOST.memory_kib).contains(&memory_kib);
    is_sane.then_some(Cost { memory_kib, passes, lanes })
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(…)")
    }
}

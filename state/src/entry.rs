//! What a line of the log says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use fleetform_contract::{Address, Record, Resource, SecretKey, Value};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{Holder, State};

/// The version of the format that this crate writes. It reads this one and all before it.
///
/// 1: operations, records, placement and outputs. 2: claims. 3: logs that begin in their middle. 4: what failed
/// creations leave.
pub const FORMAT: u32 = 4;

/// One thing that happened. On disk the variant is the only key: `{"begin": {…}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "an entry lives only until it is written or folded")]
pub enum Entry {
    /// The first entry, and only the first.
    Genesis(Genesis),
    /// A provider is about to be called. Durable before the call.
    Begin {
        /// Names the operation; unique in the log.
        op: String,
        address: Address,
        action: Action,
        /// What the provider gets to make the call idempotent.
        token: String,
        /// What is to exist afterwards; `None` for a deletion. Secrets inside are digests.
        desired: Option<Resource>,
        /// What existed before. A deletion that names it leaves alone what another operation has
        /// recorded at the same address since (create before destroy).
        previous: Option<Record>,
    },
    /// The call came back with success. `None`: the object is gone.
    Done { op: String, record: Option<Record> },
    /// The call came back without effect. A call that did not come back is no failure: it stays open.
    Failed {
        op: String,
        /// [`fleetform_contract::Error::class`].
        class: String,
        message: String,
    },
    /// A creation failed and left an object, which is ours: `record` is tainted.
    Tainted {
        op: String,
        record: Record,
        /// [`fleetform_contract::Error::class`].
        class: String,
        message: String,
    },
    /// An object that existed already is ours from now on.
    Adopted { record: Record },
    /// The object goes on to exist and is no longer ours.
    Forgotten { address: Address },
    /// The object was found changed, and that was accepted.
    Observed { record: Record },
    /// The object was found gone, and that was accepted.
    Vanished { address: Address },
    /// The record goes on under another address, and so do the dependencies on it. No cloud was called.
    Moved { from: Address, to: Address },
    /// The object must not be destroyed, says the block `by` (`service.chat`), until this is lifted.
    Protected { address: Address, by: String },
    /// The object may be destroyed again.
    Unprotected { address: Address },
    /// The placement that the resources now follow, in the planner's own layout.
    Placement { placement: serde_json::Value },
    /// The outputs after an apply: all of them.
    Outputs { outputs: BTreeMap<String, OutputValue> },
    /// From here on nobody but `run`, which writes this, writes at these addresses. A second claim of
    /// the same run adds to its first.
    Claim {
        run: String,
        addresses: BTreeSet<Address>,
        holder: Holder,
        /// A heartbeat that stays the same for so long is that of a dead run.
        ttl_seconds: u64,
    },
    /// `run`, which writes this, has finished: its claim is over.
    Release { run: String },
    /// Somebody else ends the claim of `run`, which may write nothing any more.
    Fence {
        run: String,
        /// Who did it, in words.
        by: String,
    },
    /// What a log begins with whose older entries were compacted: their fold. Only the first, and in
    /// place of the batch that held the entry with its number.
    Beginning {
        /// The hash of the entry with that number.
        head: String,
        state: Box<State>,
    },
    /// Everything up to an entry was compacted.
    Compacted {
        /// The number of that entry.
        through: u64,
        /// The hash of the beginning that stands for it.
        beginning: String,
    },
}

/// What makes this log this log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Genesis {
    pub format: u32,
    /// The stack's name when the log began.
    pub stack: String,
    /// A UUID. Tags and tokens carry it.
    pub lineage: String,
    /// The key of the digests of secrets.
    pub secret_key: KeyBytes,
}

/// 32 random bytes, in hexadecimal on disk and hidden in debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyBytes(pub [u8; 32]);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    Create,
    Update,
    Delete,
}

/// An output as `output` shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OutputValue {
    pub value: Value,
    pub sensitive: bool,
}

impl Genesis {
    /// A new beginning with a random lineage and key.
    pub fn random(stack: impl Into<String>) -> Genesis {
        // Three version 4 UUIDs are 366 random bits from the system; the hash spreads them over 256.
        let mut hash = Sha256::new();
        for _ in 0..3 {
            hash.update(uuid::Uuid::new_v4().as_bytes());
        }
        Genesis {
            format: FORMAT,
            stack: stack.into(),
            lineage: uuid::Uuid::new_v4().to_string(),
            secret_key: KeyBytes(hash.finalize().into()),
        }
    }

    pub fn secret_key(&self) -> SecretKey {
        SecretKey::new(self.secret_key.0)
    }
}

impl Entry {
    /// The operation that this entry begins or ends.
    pub fn operation(&self) -> Option<&str> {
        match self {
            Entry::Begin { op, .. }
            | Entry::Done { op, .. }
            | Entry::Failed { op, .. }
            | Entry::Tainted { op, .. } => Some(op),
            _ => None,
        }
    }

    /// The addresses that this entry names and changes something at. The end of an operation names none.
    pub fn addresses(&self) -> impl Iterator<Item = &Address> {
        let named = match self {
            Entry::Begin { address, .. }
            | Entry::Forgotten { address }
            | Entry::Vanished { address }
            | Entry::Protected { address, .. }
            | Entry::Unprotected { address } => [Some(address), None],
            Entry::Moved { from, to } => [Some(from), Some(to)],
            Entry::Adopted { record } | Entry::Observed { record } => [Some(&record.address), None],
            _ => [None, None],
        };
        named.into_iter().flatten()
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Action::Create => "create",
            Action::Update => "update",
            Action::Delete => "delete",
        })
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(…)")
    }
}

impl From<KeyBytes> for String {
    fn from(key: KeyBytes) -> String {
        crate::line::hexadecimal(&key.0)
    }
}

impl TryFrom<String> for KeyBytes {
    type Error = String;

    fn try_from(text: String) -> Result<KeyBytes, String> {
        let wrong = || "a key is 64 hexadecimal digits".to_owned();
        if text.len() != 64 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).map_err(|_| wrong())?;
        }
        Ok(KeyBytes(bytes))
    }
}

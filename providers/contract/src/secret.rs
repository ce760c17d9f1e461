//! Secrets: what travels is a reference and a keyed hash, never the text.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use crate::Value;

/// A sensitive value in its travelling form. Two secrets are equal when their texts are.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub struct Secret {
    /// Where the text comes from: `var.token`, or `expression` for a value computed from secrets.
    pub reference: String,
    /// HMAC-SHA256 of the value under the state's key, in hexadecimal.
    pub digest: String,
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.digest == other.digest
    }
}

/// The key of the digests: one for each state, so digests of two states cannot be compared.
#[derive(Clone)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    pub fn new(bytes: [u8; 32]) -> SecretKey {
        SecretKey(bytes)
    }

    /// The digest of a value under this key.
    pub fn digest(&self, value: &Value) -> String {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.0)
            .expect("HMAC takes keys of any length");
        mac.update(&serde_json::to_vec(value).expect("values serialize"));
        mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// The texts of the secrets of one run, in memory only: seal before anything is kept or shown,
/// open right before a call. Clones share one content.
#[derive(Clone)]
pub struct Vault {
    key: SecretKey,
    values: Arc<Mutex<BTreeMap<String, Value>>>,
}

impl Vault {
    pub fn new(key: SecretKey) -> Vault {
        Vault { key, values: Arc::default() }
    }

    /// Puts a plain value away and gives its travelling form. Sealing a secret gives it back.
    pub fn seal(&self, reference: impl Into<String>, value: Value) -> Value {
        if let Value::Secret(_) = value {
            return value;
        }
        let digest = self.key.digest(&value);
        self.values.lock().expect("no holder panics").insert(digest.clone(), value);
        Value::Secret(Secret { reference: reference.into(), digest })
    }

    /// The plain value, where this run has seen it.
    pub fn reveal(&self, secret: &Secret) -> Option<Value> {
        self.values.lock().expect("no holder panics").get(&secret.digest).cloned()
    }

    /// The value with every secret inside replaced by its plain value; the first secret that this
    /// run does not know is the error.
    pub fn open(&self, value: &Value) -> Result<Value, Secret> {
        let mut missing = None;
        let opened = value.map_leaves(&mut |leaf| match leaf {
            Value::Secret(secret) => self.reveal(secret).unwrap_or_else(|| {
                missing.get_or_insert_with(|| secret.clone());
                Value::Null
            }),
            other => other.clone(),
        });
        missing.map_or(Ok(opened), Err)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealing_hides_and_opening_restores() {
        let vault = Vault::new(SecretKey::new([7; 32]));
        let sealed = Value::map([("token", vault.seal("var.token", "hunter2".into()))]);
        assert!(
            !format!("{sealed:?}{}", serde_json::to_string(&sealed).unwrap()).contains("hunter2")
        );
        assert_eq!(vault.open(&sealed), Ok(Value::map([("token", "hunter2".into())])));
        let other = Vault::new(SecretKey::new([8; 32]));
        assert!(other.open(&sealed).is_err());
        assert_ne!(
            other.seal("var.token", "hunter2".into()),
            vault.seal("var.token", "hunter2".into())
        );
    }
}

//! Who made an object: the tags that every cloud object carries.

use serde::{Deserialize, Serialize};

use crate::Address;

/// A stack and the lineage of its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub stack: String,
    pub lineage: String,
}

impl Owner {
    /// The tags of the object at `address`, in the order `stack`, `lineage`, `address`, with the
    /// separator a cloud allows in a key: `fleetform:stack` on AWS, `fleetform-stack` on Google
    /// Cloud, `fleetform.dev/stack` in Kubernetes. Clouds with a narrower alphabet for values encode
    /// the address reversibly themselves.
    pub fn tags(&self, prefix: &str, address: &Address) -> [(String, String); 3] {
        [
            (format!("{prefix}stack"), self.stack.clone()),
            (format!("{prefix}lineage"), self.lineage.clone()),
            (format!("{prefix}address"), address.to_string()),
        ]
    }
}

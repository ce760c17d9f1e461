//! Who made an object: the tags that every cloud object carries.

use serde::{Deserialize, Serialize};

use crate::{Address, Attributes, Value};

/// A stack and the lineage of its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    pub stack: String,
    pub lineage: String,
}

/// What an object's tags say: which of an owner's objects it is. The stack is known to who asks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    pub address: Address,
    pub lineage: String,
}

impl Owner {
    /// The owner that tags name, with the prefix that [`Owner::tags`] gave them.
    pub fn in_tags(prefix: &str, tags: Option<&Value>) -> Option<Owner> {
        let tags: &Attributes = tags?.as_map()?;
        let text = |name: &str| tags.get(&format!("{prefix}{name}"))?.as_str().map(str::to_owned);
        Some(Owner { stack: text("stack")?, lineage: text("lineage")? })
    }

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

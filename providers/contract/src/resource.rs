//! What we want to exist, what exists, and what we know of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Address, Value};

/// Attributes by name, in Terraform's spelling.
pub type Attributes = BTreeMap<String, Value>;

/// An object that we want to exist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    pub address: Address,
    /// The name of the cloud whose provider makes it.
    pub cloud: String,
    /// The site (`aws/us-east-1`) in whose cluster it lives; `None` for what the cloud's own API makes.
    pub site: Option<String>,
    /// Every attribute we set. What another resource computes is [`Value::Unknown`] with that
    /// resource's address; the applier puts the value in before it calls.
    pub attributes: Attributes,
    /// What must exist before; deletion goes the other way round.
    pub depends_on: Vec<Address>,
}

/// An object as a cloud reports it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Remote {
    /// The cloud's own identifier (an ARN, a path, `namespace/name`).
    pub id: String,
    /// Attributes in the schema's spelling, with computed ones.
    pub attributes: Attributes,
}

/// A resource that we own, as last seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub address: Address,
    pub cloud: String,
    pub site: Option<String>,
    pub id: String,
    pub attributes: Attributes,
    pub depends_on: Vec<Address>,
    /// The number of the log entry that wrote it.
    pub version: u64,
    /// Its creation failed and left it: it is not what it should be, and is made again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub tainted: bool,
}

/// What a provider needs to find an object: enough for `read`, whether it was recorded or not.
#[derive(Clone, Copy, Debug)]
pub struct Reference<'a> {
    pub address: &'a Address,
    /// `None` when the object was never recorded: it is found by the names in `attributes`.
    pub id: Option<&'a str>,
    /// As recorded, else as desired.
    pub attributes: &'a Attributes,
}

impl Resource {
    pub fn reference(&self) -> Reference<'_> {
        Reference { address: &self.address, id: None, attributes: &self.attributes }
    }
}

impl Record {
    /// As if we wanted exactly what is recorded.
    pub fn resource(&self) -> Resource {
        Resource {
            address: self.address.clone(),
            cloud: self.cloud.clone(),
            site: self.site.clone(),
            attributes: self.attributes.clone(),
            depends_on: self.depends_on.clone(),
        }
    }

    pub fn reference(&self) -> Reference<'_> {
        Reference { address: &self.address, id: Some(&self.id), attributes: &self.attributes }
    }
}

/// The text of a string attribute, where it is one.
pub(crate) fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(Value::as_str)
}

impl Reference<'_> {
    /// The text of a string attribute, where it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        text(self.attributes, name)
    }
}

impl Resource {
    /// The text of a string attribute, where it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        text(&self.attributes, name)
    }
}

impl Record {
    /// The text of a string attribute, where it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        text(&self.attributes, name)
    }
}

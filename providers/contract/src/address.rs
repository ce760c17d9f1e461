//! Addresses: the names of resources, in Terraform's form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// `aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]`: a type, a name and, where there are several
/// of one name, a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    pub kind: String,
    pub name: String,
    pub key: Option<String>,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address: expected TYPE.NAME or TYPE.NAME[\"KEY\"]")]
pub struct ParseAddressError(pub String);

impl Address {
    pub fn new(kind: impl Into<String>, name: impl Into<String>) -> Address {
        Address { kind: kind.into(), name: name.into(), key: None }
    }

    pub fn keyed(
        kind: impl Into<String>,
        name: impl Into<String>,
        key: impl Into<String>,
    ) -> Address {
        Address { kind: kind.into(), name: name.into(), key: Some(key.into()) }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind, self.name)?;
        match &self.key {
            Some(key) => write!(f, "[\"{}\"]", key.replace('\\', "\\\\").replace('"', "\\\"")),
            None => Ok(()),
        }
    }
}

impl FromStr for Address {
    type Err = ParseAddressError;

    fn from_str(text: &str) -> Result<Address, ParseAddressError> {
        let bad = || ParseAddressError(text.to_owned());
        let (kind, rest) = text.split_once('.').ok_or_else(bad)?;
        let (name, key) = match rest.split_once('[') {
            None => (rest, None),
            Some((name, tail)) => {
                let quoted = tail
                    .strip_suffix("\"]")
                    .and_then(|tail| tail.strip_prefix('"'))
                    .ok_or_else(bad)?;
                (name, Some(quoted.replace("\\\"", "\"").replace("\\\\", "\\")))
            }
        };
        let is_name = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-')
        };
        if !is_name(kind) || !is_name(name) {
            return Err(bad());
        }
        Ok(Address { kind: kind.to_owned(), name: name.to_owned(), key })
    }
}

impl TryFrom<String> for Address {
    type Error = ParseAddressError;

    fn try_from(text: String) -> Result<Address, ParseAddressError> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_back_as_written() {
        for text in [
            "aws_eks_cluster.main",
            r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#,
            r#"kubernetes_deployment.chat-eu["a \"quoted\" one"]"#,
        ] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        for text in ["", "x", "x.", ".y", "x.y[1]", "x.y[\"a\"", "x.y z"] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}

//! Names and encodings: what AWS allows in tags and names, and what its query APIs want.

use std::fmt::Write;

use fleetform_contract::{Address, Mark, Owner, Token};
use sha2::{Digest, Sha256};

/// The key prefix of the tags that name an object's owner.
pub const TAG_PREFIX: &str = "fleetform:";

/// The owner's tags of the object at `address`, with values in the alphabet that every AWS service
/// allows.
pub fn owner_tags(owner: &Owner, address: &Address) -> [(String, String); 3] {
    owner.tags(TAG_PREFIX, address).map(|(key, value)| {
        let value = match key.as_str() {
            "fleetform:address" => tag_address(address),
            _ => tag_value(&value),
        };
        (key, value)
    })
}

/// What an object's tags say, where they name this stack.
pub fn mark<'a>(stack: &str, tag: impl Fn(&str) -> Option<&'a str>) -> Option<Mark> {
    if tag("fleetform:stack") != Some(tag_value(stack).as_str()) {
        return None;
    }
    let lineage = decode(tag("fleetform:lineage")?, '=')?;
    Some(Mark { address: parse_tag_address(tag("fleetform:address")?)?, lineage })
}

/// `aws_eks_node_group.main:us-east-1/g6.xlarge/spot`: brackets and quotes are not allowed in the
/// values of AWS tags.
pub fn tag_address(address: &Address) -> String {
    let mut text = format!("{}.{}", tag_value(&address.kind), tag_value(&address.name));
    if let Some(key) = &address.key {
        write!(text, ":{}", tag_value(key)).expect("writing to a string succeeds");
    }
    text
}

fn parse_tag_address(text: &str) -> Option<Address> {
    let (kind, rest) = text.split_once('.')?;
    let (name, key) = match rest.split_once(':') {
        Some((name, key)) => (name, Some(decode(key, '=')?)),
        None => (rest, None),
    };
    Some(Address { kind: decode(kind, '=')?, name: decode(name, '=')?, key })
}

/// Letters, digits, space and `+ - . _ : / @` stand for themselves; every other byte is `=` and two
/// hexadecimal digits, `=` among them.
fn tag_value(text: &str) -> String {
    encode(text, '=', |byte| byte.is_ascii_alphanumeric() || b" +-._:/@".contains(&byte))
}

/// RFC 3986's percent encoding of everything but unreserved characters.
pub fn percent_encode(text: &str) -> String {
    encode(text, '%', |byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
}

/// `None` where a `%` does not start an escape or the bytes are no UTF-8.
pub fn percent_decode(text: &str) -> Option<String> {
    decode(text, '%')
}

/// The pairs of a query string or a form, in order; `None` where they do not decode.
pub fn form_decode(text: &str) -> Option<Vec<(String, String)>> {
    let part = |part: &str| percent_decode(&part.replace('+', " "));
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((part(name)?, part(value)?))
        })
        .collect()
}

fn encode(text: &str, escape: char, plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "{escape}{byte:02X}").expect("writing to a string succeeds");
        }
    }
    out
}

fn decode(text: &str, escape: char) -> Option<String> {
    let mut parts = text.split(escape);
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        if !code.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

/// The name itself where it has at most `limit` bytes, else its beginning and eight digits of its
/// hash: two long names never become one.
pub fn fit(name: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name.to_owned();
    }
    let mut end = limit - 9;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}-{}", name[..end].trim_end_matches(['-', '_', '.', '/']), &hash(name)[..8])
}

/// SHA-256 in hexadecimal: 64 characters.
pub fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A `clientRequestToken` for one call of an operation. AWS allows 64 ASCII characters.
pub fn client_token(token: &Token, call: &str) -> String {
    hash(&format!("{}/{call}", token.0))
}

/// The partition of a region, as it stands in ARNs.
pub fn partition(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_the_alphabet_of_tags() {
        for (address, tag) in [
            ("aws_eks_cluster.main", "aws_eks_cluster.main"),
            (
                r#"aws_eks_node_group.main["us-east-1/g6.xlarge/spot"]"#,
                "aws_eks_node_group.main:us-east-1/g6.xlarge/spot",
            ),
            (
                r#"aws_ecr_repository.main["a:b=c[\"d\"]é"]"#,
                "aws_ecr_repository.main:a:b=3Dc=5B=22d=22=5D=C3=A9",
            ),
        ] {
            let address: Address = address.parse().expect(address);
            assert_eq!(tag_address(&address), tag);
            assert_eq!(parse_tag_address(tag), Some(address));
        }
        for broken in ["", "x", "a.b:=4", "a.b:=zz", "a.b:=é1", "a.b:=FF"] {
            assert_eq!(parse_tag_address(broken), None, "{broken}");
        }
    }

    #[test]
    fn only_the_owner_owns() {
        let owner = Owner { stack: "a \"stack\"".into(), lineage: "1".into() };
        let address = Address::new("aws_eks_cluster", "main");
        let tags = owner_tags(&owner, &address);
        let tag = |key: &str| {
            tags.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
        };
        assert_eq!(mark(&owner.stack, tag), Some(Mark { address, lineage: "1".into() }));
        assert_eq!(mark("a stack", tag), None);
    }

    #[test]
    fn long_names_stay_apart() {
        let long = "g".repeat(70);
        assert_eq!(fit("short", 63), "short");
        assert_eq!(fit(&long, 63).len(), 63);
        assert_ne!(fit(&long, 63), fit(&format!("{long}x"), 63));
        assert!(fit(&"é".repeat(60), 63).len() <= 63);
    }

    #[test]
    fn forms_read_as_they_were_meant() {
        let pairs = form_decode("Action=A&Value=a%20b+c%26&Empty=&Bare").expect("it decodes");
        let want = [("Action", "A"), ("Value", "a b c&"), ("Empty", ""), ("Bare", "")];
        assert_eq!(pairs, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(form_decode("a=%zz"), None);
        assert_eq!(percent_encode("arn:aws/é"), "arn%3Aaws%2F%C3%A9");
    }
}

//! Names and labels: what Kubernetes allows, made from what the user wrote.

use fleetform_contract::{Address, Owner};

/// What all keys of ours begin with.
pub(crate) const PREFIX: &str = "fleetform.dev/";
pub(crate) const STACK: &str = "fleetform.dev/stack";
pub(crate) const LINEAGE: &str = "fleetform.dev/lineage";
pub(crate) const ADDRESS: &str = "fleetform.dev/address";
/// The node label that names a pool; the clouds put it on their nodes.
pub(crate) const POOL: &str = "fleetform.dev/pool";

/// The namespace of a stack's objects: a DNS label made of the stack's name.
///
/// Names that Kubernetes keeps for itself get the prefix `stack-`: destroying a stack removes its
/// namespace, and nobody means `default` or `kube-system` by that.
pub fn namespace(stack: &str) -> String {
    let name = dns_label(stack, 63);
    match name.as_str() {
        "" => "fleetform".to_owned(),
        "default" => "stack-default".to_owned(),
        name if name.starts_with("kube-") => dns_label(&format!("stack-{name}"), 63),
        _ => name,
    }
}

/// Lower-case letters, digits and single dashes, at most `limit` bytes. What is cut off is
/// replaced by a hash, so that different names stay different.
pub(crate) fn dns_label(text: &str, limit: usize) -> String {
    let parts = text.to_lowercase();
    let parts = parts.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty());
    shorten(parts.collect::<Vec<_>>().join("-"), text, limit)
}

/// A label's value: the text itself where Kubernetes allows it; else made of it, with a hash, so that
/// different texts stay different.
pub(crate) fn label_value(text: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    if text.len() <= 63
        && text.chars().all(allowed)
        && ends(text.chars().next())
        && ends(text.chars().last())
    {
        return text.to_owned();
    }
    let safe: String = text.chars().map(|c| if allowed(c) { c } else { '-' }).take(54).collect();
    let safe = safe.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    if safe.is_empty() { hash(text) } else { format!("{safe}-{}", hash(text)) }
}

/// The labels by which we find our objects again.
pub(crate) fn owner_labels(owner: &Owner) -> [(&'static str, String); 2] {
    [(STACK, label_value(&owner.stack)), (LINEAGE, label_value(&owner.lineage))]
}

/// The label selector of everything that a stack has, whatever its lineage.
pub(crate) fn stack_selector(stack: &str) -> String {
    format!("{STACK}={},{LINEAGE}", label_value(stack))
}

/// The address in an object's annotation, exact.
pub(crate) fn address_annotation(address: &Address) -> (&'static str, String) {
    (ADDRESS, address.to_string())
}

fn shorten(name: String, full: &str, limit: usize) -> String {
    if name.len() <= limit {
        return name;
    }
    let kept = name[..limit - 9].trim_end_matches('-');
    format!("{kept}-{}", hash(full))
}

/// FNV-1a, 32 bits, in hexadecimal: short, and the same everywhere.
pub(crate) fn hash(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    format!("{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_dns_labels_and_never_the_systems() {
        for (stack, expected) in [
            ("lepton", "lepton"),
            ("Risk Scoring_2", "risk-scoring-2"),
            ("default", "stack-default"),
            ("kube-system", "stack-kube-system"),
            ("…", "fleetform"),
        ] {
            assert_eq!(namespace(stack), expected);
        }
        let long = namespace(&"a".repeat(100));
        assert!(long.len() <= 63 && long != namespace(&"a".repeat(99)), "{long}");
    }

    #[test]
    fn label_values_are_safe_and_stay_different() {
        assert_eq!(label_value("4f1c-9_x.y"), "4f1c-9_x.y");
        for text in ["mit Leerzeichen", "-x", "x-", "…", &"x".repeat(64)] {
            let value = label_value(text);
            assert!(!value.is_empty() && value.len() <= 63, "{text}: {value}");
            assert_eq!(label_value(&value), value, "{text} became no label value");
        }
        assert_ne!(label_value("a b"), label_value("a/b"));
    }
}

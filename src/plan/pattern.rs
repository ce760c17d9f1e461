//! What users name: one resource, all of a name, or everything of a block of the stack.

use std::collections::{BTreeMap, BTreeSet};

use fleetform_contract::{Address, Record};

use crate::config::Stack;
use crate::diagnostic::Diagnostic;

/// Names resources: `aws_eks_cluster.main["us-east-1"]`, `aws_eks_cluster.main` (every key of it),
/// `service.chat` and `service.chat["eu"]` (every object of it), `cloud.aws` (every object in it).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// As the user wrote it.
    pub text: String,
    names: Names,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Names {
    Resource(Address),
    /// Instance names of services and jobs: the names of their objects' addresses.
    Workloads(BTreeSet<String>),
    Cloud(String),
}

/// A resource as far as patterns ask: its address, and the cloud and the site that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Placed<'a> {
    pub address: &'a Address,
    pub cloud: &'a str,
    pub site: Option<&'a str>,
}

impl<'a> Placed<'a> {
    pub fn of(record: &'a Record) -> Placed<'a> {
        Placed { address: &record.address, cloud: &record.cloud, site: record.site.as_deref() }
    }
}

impl Pattern {
    /// Reads a pattern. What the stack has no block for may still be a block that it once had.
    ///
    /// # Errors
    /// Text that can name nothing.
    pub fn read(text: &str, stack: &Stack) -> Result<Pattern, Box<Diagnostic>> {
        let address: Address = text.parse().map_err(|_| not_an_address(text))?;
        let names = match address.kind.as_str() {
            "service" | "job" => Names::Workloads(workloads(&address, stack)),
            "cloud" if address.key.is_none() => Names::Cloud(address.name),
            _ => Names::Resource(address),
        };
        Ok(Pattern { text: text.to_owned(), names })
    }

    /// The pattern of what was at an address, whatever the stack declares now: of a block, the instance
    /// without a key.
    pub fn former(address: &Address) -> Pattern {
        let names = match address.kind.as_str() {
            "service" | "job" => Names::Workloads(BTreeSet::from([crate::config::instance_name(
                &address.name,
                address.key.as_deref(),
            )])),
            _ => Names::Resource(address.clone()),
        };
        Pattern { text: address.to_string(), names }
    }

    pub fn fits(&self, placed: Placed<'_>) -> bool {
        match &self.names {
            Names::Resource(named) if named.key.is_some() => placed.address == named,
            Names::Resource(named) => {
                placed.address.kind == named.kind && placed.address.name == named.name
            }
            Names::Workloads(names) => {
                placed.site.is_some() && names.contains(&placed.address.name)
            }
            Names::Cloud(name) => placed.cloud == name,
        }
    }

    /// The one resource that it can name, if it names a resource by its whole address.
    pub fn resource(&self) -> Option<&Address> {
        match &self.names {
            Names::Resource(address) => Some(address),
            _ => None,
        }
    }

    /// The instance names of the services and jobs that it names.
    pub fn workloads(&self) -> Option<&BTreeSet<String>> {
        match &self.names {
            Names::Workloads(names) => Some(names),
            _ => None,
        }
    }
}

/// The instance names of a block, or of one of its instances.
fn workloads(reference: &Address, stack: &Stack) -> BTreeSet<String> {
    let written = reference.to_string();
    let named: BTreeSet<String> = stack
        .workloads
        .iter()
        .filter(|(_, workload)| workload.reference == written || workload.path == written)
        .map(|(name, _)| name.clone())
        .collect();
    if named.is_empty() {
        let key = reference.key.as_deref();
        return BTreeSet::from([crate::config::instance_name(&reference.name, key)]);
    }
    named
}

/// A pattern that names a resource.
#[cfg(test)]
pub fn resource(text: &str) -> Pattern {
    Pattern { text: text.to_owned(), names: Names::Resource(text.parse().expect("an address")) }
}

fn not_an_address(text: &str) -> Diagnostic {
    Diagnostic::error(
        "Not an address",
        format!(
            "`{text}` is no address: expected TYPE.NAME, TYPE.NAME[\"KEY\"], service.NAME, job.NAME or cloud.NAME."
        ),
    )
    .hint("write it as the plan does, in quotes for the shell: 'TYPE.NAME[\"KEY\"]'")
}

/// What a pattern that fits nothing is told: with the nearest of what it could have named.
pub fn unknown(pattern: &str, place: &str, addresses: &[Placed<'_>], stack: &Stack) -> Diagnostic {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for placed in addresses {
        known.insert(placed.address.to_string());
        known.insert(format!("{}.{}", placed.address.kind, placed.address.name));
    }
    for workload in stack.workloads.values() {
        known.extend([workload.reference.clone(), workload.path.clone()]);
    }
    known.extend(stack.clouds.keys().map(|name| format!("cloud.{name}")));
    let diagnostic =
        Diagnostic::error("No such address", format!("{place} has nothing that {pattern} names."));
    match nearest(pattern, &known) {
        Some(name) => diagnostic.hint(format!("did you mean {name}?")),
        None => diagnostic.hint("`fleetform state list` shows the recorded addresses"),
    }
}

/// The known text that is most like this one, where any is like it at all.
fn nearest<'k>(text: &str, known: &'k BTreeSet<String>) -> Option<&'k String> {
    let like = |name: &&String| strsim::jaro_winkler(name, text);
    let best = known.iter().max_by(|a, b| like(a).total_cmp(&like(b)))?;
    (like(&best) > 0.7).then_some(best)
}

/// How the records of one pattern get the addresses of another: `moved`, `state mv`.
///
/// # Errors
/// Kinds that cannot become one another.
pub fn renames<'a>(
    from: &Pattern,
    to: &Pattern,
    addresses: impl Iterator<Item = Placed<'a>>,
) -> Result<BTreeMap<Address, Address>, Box<Diagnostic>> {
    let cannot = || {
        Box::new(
            Diagnostic::error(
                "Cannot be moved there",
                format!("{} cannot become {}: they are of different kinds.", from.text, to.text),
            )
            .hint("a resource moves to another name or key of its type, a service to a service, a job to a job"),
        )
    };
    let kind = |pattern: &Pattern| pattern.text.split('.').next().unwrap_or("").to_owned();
    if kind(from) != kind(to) {
        return Err(cannot());
    }
    match (&from.names, &to.names) {
        (Names::Resource(old), Names::Resource(new)) => {
            if old.key.is_some() != new.key.is_some() {
                return Ok(BTreeMap::from([(old.clone(), new.clone())]));
            }
            let renamed = addresses.filter(|placed| from.fits(*placed)).map(|placed| {
                let key = new.key.clone().or_else(|| placed.address.key.clone());
                let to = Address { kind: new.kind.clone(), name: new.name.clone(), key };
                (placed.address.clone(), to)
            });
            Ok(renamed.collect())
        }
        (Names::Workloads(old), Names::Workloads(new)) => {
            let pairs = instance_pairs(old, new, from, to).ok_or_else(cannot)?;
            let renamed = addresses.filter(|placed| placed.site.is_some()).filter_map(|placed| {
                let name = pairs.get(&placed.address.name)?.clone();
                Some((placed.address.clone(), Address { name, ..placed.address.clone() }))
            });
            Ok(renamed.collect())
        }
        _ => Err(cannot()),
    }
}

/// Which instance becomes which. A whole block keeps its keys: `old-eu` becomes `new-eu`.
fn instance_pairs(
    old: &BTreeSet<String>,
    new: &BTreeSet<String>,
    from: &Pattern,
    to: &Pattern,
) -> Option<BTreeMap<String, String>> {
    let mut pairs = BTreeMap::new();
    let of_instance = |pattern: &Pattern| pattern.text.contains('[');
    if !of_instance(from) && !of_instance(to) {
        let label = |pattern: &Pattern| pattern.text.split('.').nth(1).unwrap_or("").to_owned();
        let (old_label, new_label) = (label(from), label(to));
        let keys = new.iter().filter_map(|name| Some((name.strip_prefix(&new_label)?, name)));
        pairs.extend(keys.map(|(key, name)| (format!("{old_label}{key}"), name.clone())));
    }
    if let (Some(old), Some(new), 1, 1) = (old.first(), new.first(), old.len(), new.len()) {
        pairs.insert(old.clone(), new.clone());
    }
    (!pairs.is_empty()).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str, workloads: &[&str]) -> Pattern {
        let names = match workloads {
            [] => return resource(text),
            names => Names::Workloads(names.iter().map(|name| (*name).to_owned()).collect()),
        };
        Pattern { text: text.to_owned(), names }
    }

    fn renamed(from: &Pattern, to: &Pattern, addresses: &[&str]) -> Result<Vec<String>, String> {
        let addresses: Vec<Address> =
            addresses.iter().map(|text| text.parse().expect("an address")).collect();
        let site = |address: &Address| address.kind.starts_with("kubernetes").then_some("aws/r");
        let placed = addresses.iter().map(|a| Placed { address: a, cloud: "aws", site: site(a) });
        match renames(from, to, placed) {
            Ok(pairs) => Ok(pairs.iter().map(|(from, to)| format!("{from} -> {to}")).collect()),
            Err(diagnostic) => Err(diagnostic.summary),
        }
    }

    #[test]
    fn keys_and_instances_are_kept_unless_they_are_named() {
        let objects = [
            r#"kubernetes_deployment.old["aws/r"]"#,
            r#"kubernetes_deployment.old-eu["aws/r"]"#,
            r#"kubernetes_deployment.other["aws/r"]"#,
            "aws_ecr_repository.old",
        ];
        let one = pattern("service.old", &["old"]);
        assert_eq!(
            renamed(&one, &pattern("service.new", &["new"]), &objects),
            Ok(vec![
                r#"kubernetes_deployment.old["aws/r"] -> kubernetes_deployment.new["aws/r"]"#
                    .into()
            ])
        );
        let repeated = pattern("service.new", &["new-eu", "new-us"]);
        assert_eq!(
            renamed(&one, &repeated, &objects),
            Ok(vec![
                r#"kubernetes_deployment.old-eu["aws/r"] -> kubernetes_deployment.new-eu["aws/r"]"#
                    .into()
            ])
        );
        let into_key = pattern(r#"service.new["eu"]"#, &["new-eu"]);
        assert_eq!(
            renamed(&one, &into_key, &objects),
            Ok(vec![
                r#"kubernetes_deployment.old["aws/r"] -> kubernetes_deployment.new-eu["aws/r"]"#
                    .into()
            ])
        );
        let pools = [r#"pool.main["a/x"]"#, r#"pool.main["a/y"]"#];
        let all = pattern("pool.main", &[]);
        assert_eq!(
            renamed(&all, &pattern("pool.extra", &[]), &pools),
            Ok(vec![
                r#"pool.main["a/x"] -> pool.extra["a/x"]"#.into(),
                r#"pool.main["a/y"] -> pool.extra["a/y"]"#.into()
            ])
        );
        assert_eq!(
            renamed(&all, &pattern("cluster.main", &[]), &pools),
            Err("Cannot be moved there".into())
        );
        assert_eq!(renamed(&one, &all, &pools), Err("Cannot be moved there".into()));
    }
}

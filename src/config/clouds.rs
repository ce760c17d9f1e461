//! `cloud`, `registry`, `image` and `model` blocks → their nouns.

use std::collections::BTreeMap;

use fleetform_contract::{
    Capacity, Cloud, ClusterSettings, Location, NodeGroup, Quota, RateCard, Reservation, Value,
};

use super::fields::Reader;
use super::quantity::Measure;
use super::{Image, Model, Registry, Throughput, Weights, nearest};
use crate::diagnostic::Diagnostic;

/// What identifies an account; which of them a kind of cloud needs is for its provider to say.
const ACCOUNT: [&str; 7] = [
    "account_id",
    "context",
    "kubeconfig",
    "profile",
    "project",
    "resource_group",
    "subscription_id",
];

/// The one kind whose clusters exist already: its nodes are declared instead of rented.
const EXISTING: &str = "kubernetes";

/// Dollars.
const MAX_PRICE: f64 = 1e9;

pub(super) fn cloud(reader: &Reader, name: &str, kinds: &[&str]) -> Cloud {
    let kind = match reader.filled("kind") {
        Some(kind) if kinds.contains(&kind.as_str()) => kind,
        Some(kind) => {
            let hint = match nearest(&kind, kinds.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("kinds are {}", kinds.join(", ")),
            };
            reader.fail(
                "kind",
                "Unknown kind of cloud",
                format!("{kind:?} is no kind of cloud."),
                &hint,
            );
            kind
        }
        None if kinds.contains(&name) => name.to_owned(),
        None => {
            if !reader.has("kind") {
                let near = nearest(name, kinds.iter().copied()).unwrap_or(kinds[0]);
                reader.fail(
                    "kind",
                    "Unknown kind of cloud",
                    format!("The cloud's name, {name:?}, is no kind of cloud, so it must say which kind it is."),
                    &format!("for example `kind = {near:?}`"),
                );
            }
            String::new()
        }
    };
    let existing = kind == EXISTING;
    let mut regions = reader.texts("regions").unwrap_or_default();
    check_names(reader, "regions", &mut regions);
    if regions.is_empty() && existing {
        regions.push("local".into());
    }
    if reader.has("regions") && regions.is_empty() && !existing {
        reader.fail(
            "regions",
            "Value is empty",
            "The list of regions is empty, so nothing could run in this cloud.",
            "leave `regions` out for all regions of the catalog",
        );
    }
    let account = ACCOUNT.iter().filter_map(|key| Some(((*key).to_owned(), reader.filled(key)?)));
    let cloud = Cloud {
        name: name.to_owned(),
        account: account.collect(),
        endpoints: reader.block("endpoints", |r| endpoints(&r)).unwrap_or_default(),
        discount: reader.share("discount").unwrap_or_default(),
        cluster: reader.block("cluster", |r| cluster(&r)).unwrap_or_default(),
        quotas: reader.blocks("quota", |r, _| quota(&r, &regions)),
        capacity: reader.block("capacity", |r| capacity(&r)).unwrap_or_default(),
        rate_card: reader.block("rate_card", |r| rate_card(&r)),
        reservations: reader.blocks("reservation", |r, _| reservation(&r, &regions)),
        location: location(reader, "location"),
        nodes: reader.blocks("node", |r, label| node(&r, label)),
        kind,
        regions,
        ..Cloud::default()
    };
    if existing && cloud.nodes.is_empty() {
        let hint = "for example `node \"gpu\" { … }` with count, cpus, memory and GPUs";
        reader.fail(
            "node",
            "Missing required block",
            "A cluster that exists already declares its nodes.",
            hint,
        );
    }
    if !existing && !cloud.nodes.is_empty() && !cloud.kind.is_empty() {
        let detail =
            format!("The nodes of a cloud of kind {:?} are rented from its catalog.", cloud.kind);
        let hint = format!("remove the `node` blocks, or set `kind = {EXISTING:?}`");
        reader.fail("node", "Nodes of a rented cloud", detail, &hint);
    }
    cloud
}

fn endpoints(reader: &Reader) -> BTreeMap<String, String> {
    let mut endpoints = BTreeMap::new();
    for name in reader.section.attributes.keys() {
        let Some(url) = reader.filled(name) else { continue };
        let authority = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        if authority.is_none_or(|rest| rest.is_empty() || rest.starts_with('/')) {
            let detail = format!("{url:?} is no URL.");
            reader.fail(name, "Invalid URL", detail, "for example \"https://eks.internal:8443\"");
        }
        endpoints.insert(name.clone(), url);
    }
    endpoints
}

fn cluster(reader: &Reader) -> ClusterSettings {
    ClusterSettings {
        name: reader.filled("name"),
        version: reader.filled("version"),
        subnet_ids: reader.texts("subnet_ids").unwrap_or_default(),
        cluster_role_arn: reader.filled("cluster_role_arn"),
        node_role_arn: reader.filled("node_role_arn"),
    }
}

fn quota(reader: &Reader, regions: &[String]) -> Quota {
    reader.require("max_gpus", "16");
    let region = reader.filled("region");
    check_region(reader, region.as_deref(), regions);
    Quota {
        region,
        gpu_type: reader.filled("gpu_type"),
        max_gpus: reader.count("max_gpus", 0, u32::MAX).unwrap_or_default(),
    }
}

/// A region that the cloud does not have can only be a slip.
fn check_region(reader: &Reader, region: Option<&str>, regions: &[String]) {
    let Some(region) = region else { return };
    if regions.is_empty() || regions.iter().any(|known| known == region) {
        return;
    }
    let hint = match nearest(region, regions.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("its regions are {}", regions.join(", ")),
    };
    reader.fail("region", "Unknown region", format!("The cloud has no region {region:?}."), &hint);
}

fn capacity(reader: &Reader) -> Capacity {
    Capacity {
        gpus: reader.number("gpus", 0.0, f64::MAX),
        cpus: reader.number("cpus", 0.0, f64::MAX),
        nodes: reader.count("nodes", 0, u32::MAX),
    }
}

fn rate_card(reader: &Reader) -> RateCard {
    let rate = |name: &str| reader.number(name, 0.0, MAX_PRICE).unwrap_or_default();
    RateCard {
        gpu_month: rate("gpu_month"),
        cpu_month: rate("cpu_month"),
        memory_gib_month: rate("memory_gib_month"),
        storage_tb_month: rate("storage_tb_month"),
        network_mbps_month: rate("network_mbps_month"),
    }
}

fn reservation(reader: &Reader, regions: &[String]) -> Reservation {
    reader.require("region", "\"us-east-1\"");
    reader.require("instance_type", "\"p5.48xlarge\"");
    reader.require("nodes", "2");
    let region = reader.filled("region");
    check_region(reader, region.as_deref(), regions);
    let (from, until) = (day(reader, "from"), day(reader, "until"));
    if let (Some(from), Some(until)) = (&from, &until)
        && from > until
    {
        let detail = format!("It ends on {until}, before it begins on {from}.");
        reader.fail("until", "Value out of range", detail, "the first day comes first");
    }
    Reservation {
        region: region.unwrap_or_default(),
        instance_type: reader.filled("instance_type").unwrap_or_default(),
        nodes: reader.count("nodes", 1, u32::MAX).unwrap_or_default(),
        id: reader.filled("id"),
        zone: reader.filled("zone"),
        from,
        until,
    }
}

/// A day, as `2026-01-31`: in this form days compare as texts.
fn day(reader: &Reader, name: &str) -> Option<String> {
    let text = reader.filled(name)?;
    match text.parse::<jiff::civil::Date>() {
        Ok(day) if day.to_string() == text => Some(text),
        _ => {
            let detail = format!("{text:?} is no day of the calendar.");
            let hint = "write the year, month and day: \"2026-01-31\"";
            reader.fail(name, "Invalid date", detail, hint);
            None
        }
    }
}

fn node(reader: &Reader, name: &str) -> NodeGroup {
    reader.require("count", "8");
    reader.require("cpus", "8");
    reader.require("memory", "\"32GiB\"");
    let gpus = reader.count("gpus", 0, 1024).unwrap_or(u32::from(reader.has("gpu_type")));
    if gpus > 0 && !reader.has("gpu_type") {
        reader.fail(
            "gpus",
            "Missing required argument",
            "Nodes with GPUs say which: the argument \"gpu_type\" is required.",
            "for example `gpu_type = \"L4\"`",
        );
    }
    if gpus > 0 {
        reader.require("gpu_memory", "\"24GiB\"");
    }
    NodeGroup {
        name: name.to_owned(),
        count: reader.count("count", 0, 100_000).unwrap_or_default(),
        gpu_type: reader.filled("gpu_type"),
        gpus,
        gpu_memory_gib: reader.quantity("gpu_memory", Measure::Memory).unwrap_or_default(),
        cpus: reader.number("cpus", 0.0, 100_000.0).unwrap_or_default(),
        memory_gib: reader.quantity("memory", Measure::Memory).unwrap_or_default(),
        price_hour: reader.number("price_hour", 0.0, MAX_PRICE).unwrap_or_default(),
    }
}

/// A place on Earth.
pub(super) fn location(reader: &Reader, attribute: &str) -> Option<Location> {
    let value = reader.value(attribute)?;
    let fail = |detail: String| {
        let hint = "for example `{ latitude = 31.23, longitude = 121.47, country = \"CN\" }`";
        reader.fail(attribute, "Invalid location", detail, hint);
    };
    let Value::Map(map) = value else {
        fail("A location is an object with `latitude` and `longitude`.".into());
        return None;
    };
    if let Some(other) =
        map.keys().find(|key| !["latitude", "longitude", "country"].contains(&key.as_str()))
    {
        fail(format!("A location has no {other:?}."));
    }
    let degrees = |name: &str, most: f64| {
        let number = map.get(name).and_then(|value| super::convert::to_number(value).ok());
        if number.is_none_or(|number| number.abs() > most) {
            fail(format!("{name:?} is a number of degrees from -{most} to {most}."));
            return None;
        }
        number
    };
    let country = map.get("country").and_then(Value::as_str).map(str::to_owned);
    if country.as_ref().is_some_and(|c| c.len() != 2 || !c.bytes().all(|b| b.is_ascii_uppercase()))
    {
        fail("\"country\" is a code of two capital letters, as of ISO 3166-1.".into());
    }
    let (latitude, longitude) = (degrees("latitude", 90.0), degrees("longitude", 180.0));
    Some(Location { latitude: latitude?, longitude: longitude?, country: country.map(Into::into) })
}

fn check_names(reader: &Reader, attribute: &str, names: &mut Vec<String>) {
    let mut seen: Vec<String> = Vec::new();
    for name in names.drain(..) {
        if name.trim().is_empty() {
            reader.fail(
                attribute,
                "Value is empty",
                format!("{attribute:?} has an empty name."),
                "",
            );
        } else if seen.contains(&name) {
            let detail = format!("{attribute:?} names {name:?} twice.");
            reader.fail(attribute, "Duplicate reference", detail, "");
        } else {
            seen.push(name);
        }
    }
    *names = seen;
}

pub(super) fn registry(reader: &Reader) -> Registry {
    reader.require("clouds", "[cloud.main]");
    Registry {
        clouds: reader.references("clouds", "cloud").unwrap_or_default(),
        immutable_tags: reader.bool("immutable_tags").unwrap_or(false),
        scan_on_push: reader.bool("scan_on_push").unwrap_or(false),
        keep_images: reader.count("keep_images", 1, 10_000),
    }
}

pub(super) fn image(reader: &Reader, warnings: &mut Vec<Diagnostic>) -> Image {
    reader.require("source", "\"ghcr.io/acme/chat:1.4.2\"");
    let source = reader.filled("source").unwrap_or_default();
    if source.contains(char::is_whitespace) || source.contains("://") {
        reader.fail(
            "source",
            "Invalid image reference",
            format!("{source:?} is no image reference."),
            "for example \"ghcr.io/acme/chat:1.4.2\", without `https://`",
        );
    }
    let registry = reader.reference("registry", "registry");
    if let Some(registry) = &registry {
        warnings.push(
            Diagnostic::warning(
                "Images are not copied to the registry yet",
                format!("This version makes `registry.{registry}` and does not copy images: pods pull {source} from its source."),
            )
            .at(reader.span("registry"))
            .hint("make sure that the clusters may pull from the source"),
        );
    }
    Image { source, registry }
}

/// Where the source of weights is, so that carrying them elsewhere has a price.
fn kept_in(reader: &Reader) -> Option<(String, String)> {
    let cloud = reader.reference("cloud", "cloud");
    let region = reader.filled("region");
    for (name, other) in [("cloud", "region"), ("region", "cloud")] {
        if reader.has(name) && !reader.has(other) {
            let detail = format!("{name:?} says where the source is only together with {other:?}.");
            let hint = "write both: `cloud = cloud.NAME` and `region = \"REGION\"`";
            reader.fail(name, "Missing required argument", detail, hint);
        }
    }
    Some((cloud?, region?))
}

pub(super) fn model(reader: &Reader) -> Model {
    let weights = reader.block("weights", |reader| {
        reader.require("source", "\"s3://acme-weights/llama-8b/\"");
        reader.require("size", "\"16GiB\"");
        let sha256 = reader.filled("sha256");
        let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        if sha256.as_deref().is_some_and(|text| !is_hash(text)) {
            let detail = "\"sha256\" has 64 hexadecimal digits.";
            reader.fail("sha256", "Invalid hash", detail, "`sha256sum` prints it");
        }
        Weights {
            source: reader.filled("source").unwrap_or_default(),
            size_gib: reader.quantity("size", Measure::Memory).unwrap_or_default(),
            sha256,
            kept_in: kept_in(&reader),
        }
    });
    let throughput = reader.blocks("throughput", |reader, gpu_type| {
        reader.require("requests_per_second", "4");
        let throughput = Throughput {
            requests_per_second: reader.number("requests_per_second", 0.0, 1e9).unwrap_or_default(),
            latency_p95_ms: reader.quantity("latency_p95", Measure::Latency),
        };
        (gpu_type.to_owned(), throughput)
    });
    Model { weights, throughput: throughput.into_iter().collect() }
}

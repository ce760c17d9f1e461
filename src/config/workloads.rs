//! `service` and `job` blocks → [`Workload`]s, one for each instance.

use std::collections::BTreeMap;

use fleetform_contract::{Autoscale, Cloud, Health, JobSettings, Market, Needs, SecretEnv, Value};

use super::convert::{kind_name, to_text};
use super::fields::{Notes, Reader};
use super::lifecycle;
use super::quantity::Measure;
use super::{
    Amount, LatencyRule, Load, LoadSize, Model, PlacementRules, SpotRules, Spread, SpreadOver,
    Stack, Workload, nearest,
};
use crate::diagnostic::Diagnostic;

const MAX_REPLICAS: u32 = 100_000;

pub(super) struct Instance<'i> {
    /// `chat-eu`.
    pub name: &'i str,
    /// `service.chat["eu"]`.
    pub reference: String,
    pub job: bool,
}

pub(super) fn workload(reader: &Reader, instance: &Instance, stack: &mut Stack) -> Workload {
    check_name(reader, instance);
    reader.require("image", "image.name");
    let autoscale = reader.block("autoscale", |r| autoscale(&r)).flatten();
    let model = reader.reference("model", "model");
    let amount = match reader.block("load", |r| load(&r, reader, model.as_ref(), &stack.models)) {
        Some(load) => Amount::Load(load),
        None => Amount::Replicas(replicas(reader, instance, autoscale.as_ref())),
    };
    let port = reader.count("port", 1, 65_535).map(|port| port as u16);
    let health = reader.block("health", |r| health(&r, port)).flatten();
    let mut secret_env = reader.blocks("secret_env", |reader, name| {
        reader.require("secret", "\"hf\"");
        reader.require("key", "\"token\"");
        check_variable(&reader, "", name);
        SecretEnv {
            name: name.to_owned(),
            secret: reader.filled("secret").unwrap_or_default(),
            key: reader.filled("key").unwrap_or_default(),
        }
    });
    secret_env.sort_by(|left, right| left.name.cmp(&right.name));
    let env = env(reader);
    for secret in &secret_env {
        if env.contains_key(&secret.name) {
            let detail = format!("{:?} is in `env` and in a `secret_env` block.", secret.name);
            reader.fail("env", "Duplicate environment variable", detail, "remove one of the two");
        }
    }
    let most = match amount {
        Amount::Replicas(replicas) => replicas,
        Amount::Load(_) => autoscale.as_ref().map_or(MAX_REPLICAS, |bounds| bounds.max),
    };
    let clouds = &stack.clouds;
    let warnings = &mut stack.warnings;
    let placement = reader.block("placement", |r| PlacementRules {
        apart_from: beside(&r, "apart_from", instance.name),
        together_with: beside(&r, "together_with", instance.name),
        ..placement(&r, clouds, most, warnings)
    });
    let needs = reader.block("resources", |r| needs(&r)).unwrap_or_default();
    let says_gpus = reader.section.sections.get("resources").and_then(|all| all.first());
    let failed =
        says_gpus.and_then(|r| r.attributes.get("gpus")).is_some_and(|f| f.value.is_none());
    if matches!(amount, Amount::Load(_)) && needs.gpus == 0 && !failed {
        let detail =
            "A load is served by replicas on GPUs, and a replica of this service has none.";
        reader.fail(
            "load",
            "Load without GPUs",
            detail,
            "set `gpus` in `resources`, or `replicas`",
        );
    }
    Workload {
        reference: instance.reference.clone(),
        path: reader.path.to_owned(),
        job: instance.job.then(|| job(reader)),
        image: reader.reference("image", "image").unwrap_or_default(),
        model,
        amount,
        port,
        command: reader.texts("command").unwrap_or_default(),
        env,
        secret_env,
        calls: calls(reader, instance),
        needs,
        placement: placement.unwrap_or_default(),
        autoscale,
        health,
        protect: reader.bool("protect"),
        ignored: lifecycle::ignored(reader),
    }
}

fn replicas(reader: &Reader, instance: &Instance, autoscale: Option<&Autoscale>) -> u32 {
    let count = if instance.job { "nodes" } else { "replicas" };
    let least = u32::from(instance.job);
    let usual = autoscale.map_or(1, |bounds| bounds.min);
    let replicas = reader.count(count, least, MAX_REPLICAS).unwrap_or(usual);
    if let Some(bounds) = autoscale
        && !(bounds.min..=bounds.max).contains(&replicas)
    {
        let detail = format!(
            "\"replicas\" is {replicas}, which is not between the autoscaler's {} and {}.",
            bounds.min, bounds.max
        );
        reader.fail("replicas", "Value out of range", detail, "change the bounds in `autoscale`");
    }
    replicas
}

/// The `load` block of a service; what a replica serves is its model's to say.
fn load(
    reader: &Reader,
    service: &Reader,
    model: Option<&String>,
    models: &BTreeMap<String, Model>,
) -> Load {
    if service.has("replicas") {
        let detail = "`load` decides how many replicas there are, and \"replicas\" says it too.";
        service.fail("replicas", "Replicas and load", detail, "remove one of the two");
    }
    let query = reader.filled("from_prometheus");
    match (reader.has("from_prometheus"), reader.has("requests_per_second")) {
        (true, true) => {
            let detail = "A load is said or measured, and this one is both.";
            reader.fail("from_prometheus", "Load said twice", detail, "remove one of the two");
        }
        (false, false) => reader.require("requests_per_second", "500"),
        _ => {}
    }
    let said_size = reader.number("requests_per_second", 0.0, 1e9).unwrap_or_default();
    let size = query.map_or(LoadSize::Known(said_size), LoadSize::Query);
    let said = model.and_then(|model| models.get(model)).map(|model| &model.throughput);
    let rates = said.into_iter().flatten();
    let rates = rates.map(|(gpu_type, said)| (gpu_type.clone(), said.requests_per_second));
    let rates: BTreeMap<String, f64> = rates.filter(|(_, rate)| *rate > 0.0).collect();
    // A model that was named and failed has been told already.
    if !service.has("model") {
        let detail = "How many replicas serve a load depends on the model that they run.";
        service.fail("model", "Load without a model", detail, "set `model`, with its `throughput`");
    } else if said.is_some() && rates.is_empty() {
        let name = model.map_or("", String::as_str);
        let detail = format!("`model.{name}` does not say what a replica serves on any GPU type.");
        let hint = format!(
            "add `throughput \"L4\" {{ requests_per_second = … }}` to `model.{name}`, for each GPU \
             type that may run it"
        );
        service.fail("model", "Load without a throughput", detail, &hint);
    }
    Load { size, rates }
}

fn calls(reader: &Reader, instance: &Instance) -> BTreeMap<String, f64> {
    let calls = reader.blocks("calls", |reader, callee| {
        reader.require("traffic", "\"20Mbps\"");
        if callee == instance.name {
            let detail = format!("`{}` calls itself.", instance.reference);
            reader.fail(
                "",
                "Calls to itself",
                detail,
                "what stays within a service is not counted",
            );
        }
        (callee.to_owned(), reader.quantity("traffic", Measure::Bandwidth).unwrap_or_default())
    });
    calls.into_iter().collect()
}

/// Whom services call must be services; all are known by now. A repeated service that calls another
/// repeated one means the instance of its own key.
pub(super) fn settle_calls(workloads: &mut BTreeMap<String, Workload>, notes: &Notes) {
    let mut settled: BTreeMap<String, BTreeMap<String, f64>> = BTreeMap::new();
    for (name, workload) in workloads.iter() {
        let mut calls = BTreeMap::new();
        for (callee, mbps) in &workload.calls {
            let key = workload.reference.strip_prefix(&workload.path).unwrap_or_default();
            let own = format!("service.{callee}{key}");
            let is_service = |other: &&Workload| other.job.is_none();
            let by_key = || workloads.iter().find(|(_, other)| other.reference == own);
            let named = workloads.get(callee).filter(is_service).map(|_| callee);
            match named.or_else(|| by_key().map(|(name, _)| name)) {
                Some(found) => drop(calls.insert(found.clone(), *mbps)),
                None => notes.report(no_service(workloads, workload, callee, notes)),
            }
        }
        settled.insert(name.clone(), calls);
    }
    for (name, calls) in settled {
        workloads.get_mut(&name).expect("it is one of them").calls = calls;
    }
}

fn no_service(
    workloads: &BTreeMap<String, Workload>,
    workload: &Workload,
    callee: &str,
    notes: &Notes,
) -> Diagnostic {
    let path = format!("service.{callee}");
    let instance = workloads.iter().find(|(_, other)| other.path == path);
    let services = workloads.iter().filter(|(_, other)| other.job.is_none());
    let near = nearest(callee, services.map(|(name, _)| name.as_str()));
    let hint = match (instance, near) {
        (Some((name, _)), _) => format!("name one of its instances: `calls {name:?}`"),
        (None, Some(near)) => format!("did you mean {near:?}?"),
        (None, None) => format!("declare it: `service {callee:?} {{ … }}`"),
    };
    let detail = format!("`{}` calls {callee:?}, which is no service.", workload.reference);
    let at = notes.spans.borrow().get(&format!("{}.calls.{callee}", workload.path)).cloned();
    Diagnostic::error("Reference to undeclared block", detail).at(at).hint(hint)
}

/// Names become those of Kubernetes objects.
fn check_name(reader: &Reader, instance: &Instance) {
    let name = instance.name;
    // A CronJob's pods get a suffix of eleven characters.
    let longest = if reader.has("schedule") { 52 } else { 63 };
    let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    let ends = name.starts_with(|c: char| c.is_ascii_lowercase()) && !name.ends_with('-');
    if !letters || !ends || name.len() > longest {
        let diagnostic = Diagnostic::error(
            "Invalid name",
            format!(
                "`{}` would be called {name:?} in clusters, which is no DNS label: lower-case letters, digits and `-`, first a letter, at most {longest} characters.",
                instance.reference
            ),
        );
        let suggestion = super::slug(name);
        let diagnostic = diagnostic.at(reader.section.header.clone());
        reader.report(match suggestion.starts_with(|c: char| c.is_ascii_lowercase()) {
            true if suggestion.len() <= longest && suggestion != name => {
                diagnostic.hint(format!("for example {suggestion:?}"))
            }
            _ => diagnostic.hint("choose a shorter or simpler name"),
        });
    }
}

fn job(reader: &Reader) -> JobSettings {
    let schedule = reader.filled("schedule");
    if let Some(text) = &schedule
        && let Err(detail) = check_schedule(text)
    {
        reader.fail(
            "schedule",
            "Invalid schedule",
            detail,
            "for example \"0 3 * * *\": every day at three",
        );
    }
    reader.require("duration", "\"6h\"");
    let duration = reader.quantity("duration", Measure::Duration).unwrap_or_default();
    if reader.has("duration") && duration > 0.0 && duration < 1.0 {
        reader.fail("duration", "Value out of range", "\"duration\" is at least one second.", "");
    }
    JobSettings {
        duration_seconds: duration.round() as u64,
        schedule,
        retries: reader.count("retries", 0, 1000).unwrap_or_default(),
    }
}

/// Cron's five fields, or one of the names that Kubernetes knows.
fn check_schedule(text: &str) -> Result<(), String> {
    if ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"]
        .contains(&text)
    {
        return Ok(());
    }
    let fields: Vec<&str> = text.split_whitespace().collect();
    if fields.len() != 5 {
        return Err(format!(
            "{text:?} has {}; a schedule has five: minute, hour, day, month, weekday.",
            super::counted(fields.len(), "field")
        ));
    }
    let limits =
        [("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("weekday", 0, 7)];
    for (field, (name, least, most)) in fields.iter().zip(limits) {
        let good = field.split(',').all(|part| {
            let (range, step) = part.split_once('/').map_or((part, None), |(r, s)| (r, Some(s)));
            let step_good = step.is_none_or(|step| step.parse::<u32>().is_ok_and(|step| step > 0));
            let value = |text: &str| cron_value(text, name).filter(|v| (least..=most).contains(v));
            let range_good = range == "*"
                || match range.split_once('-') {
                    Some((from, to)) => {
                        matches!((value(from), value(to)), (Some(a), Some(b)) if a <= b)
                    }
                    None => value(range).is_some(),
                };
            step_good && range_good
        });
        if !good {
            return Err(format!(
                "{field:?} is no {name} of a schedule: numbers from {least} to {most}, `*`, ranges, lists and steps."
            ));
        }
    }
    Ok(())
}

fn cron_value(text: &str, field: &str) -> Option<u32> {
    let names: &[&str] = match field {
        "month" => &[
            "", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC",
        ],
        "weekday" => &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
        _ => &[],
    };
    let upper = text.to_uppercase();
    let named = names.iter().position(|name| !name.is_empty() && *name == upper);
    named.map(|index| index as u32).or_else(|| text.parse().ok())
}

fn env(reader: &Reader) -> BTreeMap<String, Value> {
    let mut env = BTreeMap::new();
    let Some(value) = reader.any("env") else { return env };
    // A sensitive object is one of sensitive values: the names are shown.
    let opened = match value {
        Value::Secret(secret) => reader.vault.reveal(secret).map(|plain| match plain {
            Value::Map(map) => Value::Map(
                map.into_iter()
                    .map(|(name, value)| (name, reader.vault.seal("expression", value)))
                    .collect(),
            ),
            _ => value.clone(),
        }),
        _ => None,
    };
    let value = opened.as_ref().unwrap_or(value);
    let Value::Map(map) = value else {
        let detail = format!(
            "Inappropriate value for attribute \"env\": an object is required, not {}.",
            kind_name(value)
        );
        reader.fail(
            "env",
            "Incorrect attribute value type",
            detail,
            "write `{ NAME = \"value\" }`",
        );
        return env;
    };
    for (name, value) in map {
        check_variable(reader, "env", name);
        let text = match value {
            // An unset variable is not there at all.
            Value::Null => continue,
            Value::Unknown(_) | Value::Secret(_) => value.clone(),
            other => match to_text(other) {
                Ok(text) => Value::String(text),
                Err(_) => {
                    let detail = format!(
                        "The environment variable {name:?} is a string, and its value is {}.",
                        kind_name(other)
                    );
                    reader.fail(
                        "env",
                        "Incorrect attribute value type",
                        detail,
                        "`jsonencode(…)` makes a string of it",
                    );
                    continue;
                }
            },
        };
        env.insert(name.clone(), text);
    }
    env
}

fn check_variable(reader: &Reader, attribute: &str, name: &str) {
    let good = name
        .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '-' || c == '.')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    if !good {
        let detail = format!(
            "{name:?} is no name of an environment variable: letters, digits, `_`, `-` and `.`, first no digit."
        );
        reader.fail(attribute, "Invalid name", detail, "");
    }
}

fn needs(reader: &Reader) -> Needs {
    let gpu_types = reader.texts("gpu_types").unwrap_or_default();
    let gpus = reader.count("gpus", 0, 1024).unwrap_or_default();
    let declared = reader.section.attributes.get("gpus").is_none_or(|f| f.value.is_some());
    for attribute in ["gpu_types", "gpu_memory"] {
        if gpus == 0 && declared && reader.has(attribute) {
            let detail = format!("{attribute:?} says which GPUs, and \"gpus\" says none.");
            reader.fail(attribute, "GPUs without a number", detail, "set `gpus`, per replica");
        }
    }
    if gpu_types.iter().any(|name| name.trim().is_empty())
        || (reader.has("gpu_types") && gpu_types.is_empty())
    {
        reader.fail(
            "gpu_types",
            "Value is empty",
            "A list of GPU types names some.",
            "leave it out for any type",
        );
    }
    Needs {
        gpus,
        gpu_types,
        gpu_memory_gib: reader.quantity("gpu_memory", Measure::Memory).unwrap_or_default(),
        cpus: reader.number("cpus", 0.0, 100_000.0).unwrap_or_default(),
        memory_gib: reader.quantity("memory", Measure::Memory).unwrap_or_default(),
        storage_tb: reader.quantity("storage", Measure::Storage).unwrap_or_default(),
        network_mbps: reader.quantity("network", Measure::Bandwidth).unwrap_or_default(),
    }
}

fn autoscale(reader: &Reader) -> Option<Autoscale> {
    reader.require("min", "2");
    reader.require("max", "10");
    let min = reader.count("min", 1, MAX_REPLICAS);
    let max = reader.count("max", 1, MAX_REPLICAS);
    let target_cpu = reader.share("target_cpu").unwrap_or(0.8);
    if target_cpu == 0.0 {
        reader.fail("target_cpu", "Value out of range", "\"target_cpu\" is more than 0.", "");
    }
    let (min, max) = (min?, max?);
    if min > max {
        let detail = format!("\"min\" is {min} and \"max\" is {max}.");
        reader.fail("min", "Value out of range", detail, "the smallest number comes first");
        return None;
    }
    Some(Autoscale { min, max, target_cpu })
}

fn health(reader: &Reader, port: Option<u16>) -> Option<Health> {
    reader.require("path", "\"/healthz\"");
    let path = reader.filled("path").unwrap_or_else(|| "/".into());
    if !path.starts_with('/') {
        let hint = format!("write {:?}", format!("/{path}"));
        reader.fail("path", "Invalid path", "A path starts with `/`.", &hint);
    }
    let own = reader.count("port", 1, 65_535).map(|port| port as u16);
    let delay = reader.quantity("initial_delay", Measure::Duration).unwrap_or_default();
    let Some(port) = own.or(port) else {
        if !reader.has("port") {
            let detail = "Neither the service nor its health check says a port.";
            reader.fail("port", "Missing required argument", detail, "set `port` in the service");
        }
        return None;
    };
    Some(Health { path, port, initial_delay_seconds: delay.ceil().min(f64::from(u32::MAX)) as u32 })
}

fn placement(
    reader: &Reader,
    clouds: &BTreeMap<String, Cloud>,
    replicas: u32,
    warnings: &mut Vec<Diagnostic>,
) -> PlacementRules {
    let chosen = reader.references("clouds", "cloud").unwrap_or_default();
    if reader.any("clouds") == Some(&Value::List(Vec::new())) {
        let detail = "The list of clouds is empty, so nothing could run.";
        reader.fail("clouds", "Value is empty", detail, "leave `clouds` out for any cloud");
    }
    let regions = regions(reader, clouds, &chosen);
    let markets = markets(reader);
    let spot = reader.block("spot", |reader| SpotRules {
        max_share: reader.share("max_share"),
        base_on_demand: reader.count("base_on_demand", 0, MAX_REPLICAS).unwrap_or_default(),
    });
    if spot.is_some() && !markets.contains(&Market::Spot) {
        let section = reader.section.sections.get("spot").and_then(|all| all.first());
        warnings.push(
            Diagnostic::warning(
                "Spot rules without the spot market",
                "The `spot` block has no effect, because \"spot\" is not among the markets.",
            )
            .at(section.map(|section| section.header.clone()))
            .hint("add it: `markets = [\"on_demand\", \"spot\"]`"),
        );
    }
    let spread: Vec<Spread> =
        reader.blocks("spread", |r, _| spread(&r, replicas)).into_iter().flatten().collect();
    for (index, one) in spread.iter().enumerate() {
        if spread[..index].iter().any(|before| before.over == one.over) {
            let section = reader.section.sections.get("spread").and_then(|all| all.get(index));
            let diagnostic = Diagnostic::error(
                "Duplicate declaration",
                "Two `spread` blocks are over the same.",
            );
            let diagnostic = diagnostic.at(section.map(|section| section.header.clone()));
            reader.report(diagnostic.hint("put `min` and `max_share` into one block"));
        }
    }
    let split = reader.bool("split").unwrap_or(true);
    if !split
        && spread
            .iter()
            .any(|spread| spread.min.unwrap_or(0) > 1 && spread.over != SpreadOver::Zone)
    {
        let detail =
            "`split = false` keeps all replicas at one site, and a `spread` block wants several.";
        reader.fail("split", "Placement rules contradict", detail, "remove one of the two");
    }
    let residency = residency(reader);
    let latency = reader.block("latency", |reader| latency(&reader)).flatten();
    PlacementRules {
        clouds: chosen,
        regions,
        markets,
        spot,
        spread,
        split,
        residency,
        latency,
        ..PlacementRules::default()
    }
}

/// Other workloads that a rule names; the workload's own block means its other instances.
fn beside(reader: &Reader, rule: &str, own: &str) -> Vec<String> {
    let mut others = reader.workloads(rule);
    others.retain(|name| name != own);
    if rule == "together_with" {
        let apart = reader.workloads("apart_from");
        if let Some(both) = others.iter().find(|name| apart.contains(name)) {
            let detail =
                format!("{both:?} is to be together with this workload and apart from it.");
            reader.fail(rule, "Placement rules contradict", detail, "remove one of the two");
        }
    }
    others
}

/// Countries, and groups of them by name.
fn residency(reader: &Reader) -> Vec<String> {
    let places = reader.texts("residency").unwrap_or_default();
    if reader.has("residency") && places.is_empty() {
        let detail = "The list of countries is empty, so nothing could run.";
        reader.fail("residency", "Value is empty", detail, "leave `residency` out for any country");
    }
    for place in &places {
        let is_country = place.len() == 2 && place.bytes().all(|byte| byte.is_ascii_uppercase());
        if !is_country && place != "EEA" {
            let detail = format!("{place:?} is neither a country nor a group of countries.");
            let hint =
                "write codes of two capital letters as of ISO 3166-1 (\"DE\"), \"EU\" or \"EEA\"";
            reader.fail("residency", "Unknown country", detail, hint);
        }
    }
    places
}

fn latency(reader: &Reader) -> Option<LatencyRule> {
    reader.require("from", "{ latitude = 50.1, longitude = 8.7 }");
    reader.require("max", "\"60ms\"");
    let from = super::clouds::location(reader, "from")?;
    Some(LatencyRule { from, max_ms: reader.quantity("max", Measure::Latency)? })
}

fn regions(reader: &Reader, clouds: &BTreeMap<String, Cloud>, chosen: &[String]) -> Vec<String> {
    let patterns = reader.texts("regions").unwrap_or_default();
    if reader.has("regions") && patterns.is_empty() {
        let detail = "The list of regions is empty, so nothing could run.";
        reader.fail("regions", "Value is empty", detail, "leave `regions` out for any region");
    }
    let usable: Vec<&Cloud> =
        clouds.values().filter(|c| chosen.is_empty() || chosen.contains(&c.name)).collect();
    // A cloud without a list has all of its catalog, which is for the placement to look at.
    let listed = !usable.is_empty() && usable.iter().all(|cloud| !cloud.regions.is_empty());
    let known: Vec<&str> = usable.iter().flat_map(|c| &c.regions).map(String::as_str).collect();
    let matches = |pattern: &str| known.iter().any(|region| matches_pattern(pattern, region));
    let none = !patterns.iter().any(|pattern| matches(pattern));
    for pattern in &patterns {
        let good = |c: char| c.is_ascii_alphanumeric() || "-_*".contains(c);
        if pattern.is_empty() || !pattern.chars().all(good) {
            let detail =
                format!("{pattern:?} is no pattern of regions: letters, digits, `-` and `*`.");
            reader.fail("regions", "Invalid region pattern", detail, "for example \"us-*\"");
        } else if listed && !matches(pattern) && (none || !pattern.contains('*')) {
            // One of several patterns may match nothing: clouds call their regions differently.
            let hint = match nearest(pattern, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}?"),
                None => format!("regions are {}", known.join(", ")),
            };
            let detail = format!("No region of the clouds it may use matches {pattern:?}.");
            reader.fail("regions", "Unknown region", detail, &hint);
        }
    }
    patterns
}

/// Whether a region's name matches a pattern in which `*` stands for any text.
pub(crate) fn matches_pattern(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn markets(reader: &Reader) -> Vec<Market> {
    const NAMES: [&str; 3] = ["on_demand", "reserved", "spot"];
    let mut markets: Vec<Market> = Vec::new();
    for name in reader.texts("markets").unwrap_or_default() {
        match name.parse::<Market>() {
            Ok(market) if markets.contains(&market) => {
                let detail = format!("\"markets\" names {name:?} twice.");
                reader.fail("markets", "Duplicate reference", detail, "");
            }
            Ok(market) => markets.push(market),
            Err(_) => {
                let hint = match nearest(&name, NAMES) {
                    Some(near) => format!("did you mean {near:?}?"),
                    None => format!("markets are {}", NAMES.join(", ")),
                };
                reader.fail("markets", "Unknown market", format!("{name:?} is no market."), &hint);
            }
        }
    }
    if markets.is_empty() {
        if reader.value("markets") == Some(&Value::List(Vec::new())) {
            let hint = "leave `markets` out for on demand only";
            reader.fail("markets", "Value is empty", "The list of markets is empty.", hint);
        }
        markets.push(Market::OnDemand);
    }
    markets.sort();
    markets
}

fn spread(reader: &Reader, replicas: u32) -> Option<Spread> {
    reader.require("over", "\"region\"");
    let over = match reader.filled("over")?.as_str() {
        "cloud" => SpreadOver::Cloud,
        "region" => SpreadOver::Region,
        "zone" => SpreadOver::Zone,
        other => {
            let hint = match nearest(other, ["cloud", "region", "zone"]) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "spread over \"cloud\", \"region\" or \"zone\"".into(),
            };
            let detail = format!("Replicas cannot be spread over {other:?}.");
            reader.fail("over", "Invalid spread", detail, &hint);
            return None;
        }
    };
    let min = reader.count("min", 1, 1000);
    if let Some(min) = min
        && min > replicas
    {
        let detail =
            format!("{} cannot be in {min} places.", super::counted(replicas as usize, "replica"));
        reader.fail("min", "Value out of range", detail, "raise `replicas`, or lower `min`");
    }
    let max_share = reader.share("max_share");
    if max_share == Some(0.0) {
        reader.fail("max_share", "Value out of range", "\"max_share\" is more than 0.", "");
    }
    if min.is_none() && max_share.is_none() {
        let detail = "A `spread` block says how many places at least, or how much in one at most.";
        reader.fail("min", "Missing required argument", detail, "set `min` or `max_share`");
    }
    Some(Spread { over, min, max_share })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_with_stars() {
        for (pattern, name, expected) in [
            ("us-*", "us-east-1", true),
            ("us-*", "eu-west-1", false),
            ("*", "x", true),
            ("us-east-1", "us-east-1", true),
            ("us-east", "us-east-1", false),
            ("*-west-*", "eu-west-1", true),
            ("*-1", "us-east-1", true),
            ("a*a", "a", false),
            ("a*b*c", "axbxc", true),
        ] {
            assert_eq!(matches_pattern(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn schedules_are_crons() {
        for good in ["0 3 * * *", "*/5 0-6,12 1 JAN mon-fri", "@daily", "0 0 * * 7"] {
            assert_eq!(check_schedule(good), Ok(()), "{good}");
        }
        for bad in
            ["", "0 3 * *", "60 * * * *", "* * 0 * *", "*/0 * * * *", "5-1 * * * *", "x * * * *"]
        {
            assert!(check_schedule(bad).is_err(), "{bad}");
        }
    }
}

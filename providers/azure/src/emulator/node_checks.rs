//! What AKS checks of a node pool by itself: name, size, counts, priority, labels and taints.

use serde_json::Value as Json;

use super::answer::{Refusal, refuse};
use super::validate;
use crate::catalog::{self, Row};
use crate::resources::SPOT_KEY;

/// Checks a pool by itself, and finds its size.
pub fn expect_pool(name: &str, wanted: &Json, location: &str) -> Result<&'static Row, Refusal> {
    let is_name = (1..=12).contains(&name.len())
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    if !is_name {
        return refuse(validate::invalid(
            "agentPoolProfile.name",
            format!(
                "'{name}' must begin with a lower-case letter and hold at most 12 lower-case letters and digits."
            ),
        ));
    }
    let Some(size) = wanted["vmSize"].as_str() else {
        return refuse(Refusal::bad(
            "InvalidParameter",
            "Required parameter agentPoolProfile.vmSize is missing (null).",
        ));
    };
    let Some(row) = catalog::find(location, size) else {
        return refuse(Refusal::bad(
            "BadRequest",
            format!(
                "The VM size of {size} is not allowed in your subscription in location '{location}'. The \
                 available VM sizes are those of the catalog."
            ),
        ));
    };
    validate::one_of(&wanted["mode"], &["System", "User"], "agentPoolProfile.mode")?;
    validate::one_of(&wanted["osType"], &["Linux"], "agentPoolProfile.osType")?;
    validate::one_of(&wanted["type"], &["VirtualMachineScaleSets"], "agentPoolProfile.type")?;
    expect_counts(wanted)?;
    expect_priority(wanted)?;
    if !wanted["osDiskSizeGB"].is_null() {
        let size = wanted["osDiskSizeGB"].as_i64().unwrap_or(-1);
        if size != 0 && !(30..=2048).contains(&size) {
            return refuse(validate::invalid(
                "agentPoolProfile.osDiskSizeGB",
                "It must be 0 or 30 to 2048.",
            ));
        }
    }
    let zones = wanted["availabilityZones"].as_array().map_or(&[][..], Vec::as_slice);
    let known = catalog::zones(location);
    if let Some(zone) = zones.iter().find(|zone| !known.iter().any(|known| *zone == known)) {
        return refuse(Refusal::bad(
            "AvailabilityZoneNotSupported",
            format!(
                "Preflight validation check failed. The zone(s) {zone} for resource 'agentPoolProfile' is not \
                 supported. The supported zones for location '{location}' are '{}'.",
                known.join(",")
            ),
        ));
    }
    expect_labels(wanted)?;
    expect_taints(wanted)?;
    Ok(row)
}

fn expect_counts(wanted: &Json) -> Result<(), Refusal> {
    let least = if wanted["mode"] == "System" { 1 } else { 0 };
    let number = |name: &str| match &wanted[name] {
        Json::Null => Ok(None),
        value => match value.as_i64().filter(|count| (0..=1000).contains(count)) {
            Some(count) => Ok(Some(count)),
            None => refuse(validate::invalid(
                &format!("agentPoolProfile.{name}"),
                "It must be a whole number from 0 to 1000.",
            )),
        },
    };
    let (count, min, max) = (number("count")?, number("minCount")?, number("maxCount")?);
    if count.is_none_or(|count| count < least) {
        return refuse(validate::invalid(
            "agentPoolProfile.count",
            format!("It must be at least {least}."),
        ));
    }
    if wanted["enableAutoScaling"] != true {
        if min.is_some() || max.is_some() {
            return refuse(validate::invalid(
                "agentPoolProfile.minCount",
                "minCount and maxCount can only be set when enableAutoScaling is true.",
            ));
        }
        return Ok(());
    }
    match (min, count, max) {
        (Some(min), Some(count), Some(max))
            if least <= min && min <= count && count <= max && max >= 1 =>
        {
            Ok(())
        }
        _ => refuse(validate::invalid(
            "agentPoolProfile.minCount",
            "With enableAutoScaling, minCount <= count <= maxCount must hold, and maxCount be at least 1.",
        )),
    }
}

fn expect_priority(wanted: &Json) -> Result<(), Refusal> {
    validate::one_of(
        &wanted["scaleSetPriority"],
        &["Regular", "Spot"],
        "agentPoolProfile.scaleSetPriority",
    )?;
    validate::one_of(
        &wanted["scaleSetEvictionPolicy"],
        &["Delete", "Deallocate"],
        "agentPoolProfile.scaleSetEvictionPolicy",
    )?;
    let spot = wanted["scaleSetPriority"] == "Spot";
    for name in ["scaleSetEvictionPolicy", "spotMaxPrice"] {
        if !spot && !wanted[name].is_null() {
            return refuse(validate::invalid(
                &format!("agentPoolProfile.{name}"),
                "It can only be set when scaleSetPriority is Spot.",
            ));
        }
    }
    if spot && wanted["mode"] == "System" {
        return refuse(validate::invalid(
            "agentPoolProfile.scaleSetPriority",
            "A system pool cannot be Spot.",
        ));
    }
    if !wanted["spotMaxPrice"].is_null()
        && !wanted["spotMaxPrice"].as_f64().is_some_and(|price| price == -1.0 || price > 0.0)
    {
        return refuse(validate::invalid(
            "agentPoolProfile.spotMaxPrice",
            "It must be -1 or positive.",
        ));
    }
    Ok(())
}

fn expect_labels(wanted: &Json) -> Result<(), Refusal> {
    let wrong = |why: String| refuse(validate::invalid("agentPoolProfile.nodeLabels", why));
    let labels = match &wanted["nodeLabels"] {
        Json::Null => return Ok(()),
        Json::Object(labels) => labels,
        _ => return wrong("It must be an object.".into()),
    };
    for (key, value) in labels {
        let (prefix, name) = key.split_once('/').unwrap_or(("", key));
        let is_value = value.as_str().is_some_and(|value| value.is_empty() || is_label_name(value));
        if !is_label_name(name) || prefix.len() > 253 || !is_value {
            return wrong(format!("'{key}: {value}' is no label."));
        }
        let reserved = prefix == "kubernetes.azure.com" || prefix == "kubernetes.io";
        let own = key == SPOT_KEY && value == "spot" && wanted["scaleSetPriority"] == "Spot";
        if reserved && !own {
            return wrong(format!("The label prefix '{prefix}' is reserved."));
        }
    }
    Ok(())
}

fn expect_taints(wanted: &Json) -> Result<(), Refusal> {
    let wrong = |why: String| refuse(validate::invalid("agentPoolProfile.nodeTaints", why));
    let taints = match &wanted["nodeTaints"] {
        Json::Null => return Ok(()),
        Json::Array(taints) => taints,
        _ => return wrong("It must be a list.".into()),
    };
    for taint in taints {
        match taint.as_str().and_then(split_taint) {
            Some((_, _, effect))
                if ["NoSchedule", "PreferNoSchedule", "NoExecute"].contains(&effect) => {}
            _ => return wrong(format!("{taint} is not of the form key=value:Effect.")),
        }
    }
    Ok(())
}

fn is_label_name(text: &str) -> bool {
    let alphanumeric = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && alphanumeric(text.chars().next())
        && alphanumeric(text.chars().next_back())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `key=value:Effect`.
pub fn split_taint(taint: &str) -> Option<(&str, &str, &str)> {
    let (pair, effect) = taint.rsplit_once(':')?;
    let (key, value) = pair.split_once('=')?;
    Some((key, value, effect))
}

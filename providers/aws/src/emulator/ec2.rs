//! The part of EC2 that finds subnets: every region has a default VPC, which nothing can change.

use std::collections::BTreeMap;

use super::wire::{Answer, Form, Refusal, leaf};
use super::{ACCOUNT, Call};
use crate::catalog;
use crate::text;
use crate::xml::Element;

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";
/// Zones that EKS control planes cannot be in.
pub const NO_EKS: [&str; 3] = ["use1-az3", "usw1-az2", "cac1-az3"];
/// The zones of a region that is not in the catalog.
const ZONES: [&str; 3] = ["az1", "az2", "az3"];

struct Subnet {
    id: String,
    /// `us-east-1a`.
    zone: String,
    /// `use1-az1`.
    zone_id: String,
    cidr: String,
}

pub fn answer(call: &Call<'_>) -> Result<Answer, Refusal> {
    let form = call.form()?;
    let region = call.scope.region.as_str();
    match form.action()? {
        "DescribeVpcs" => vpcs(region, &form),
        "DescribeSubnets" => describe_subnets(region, &form),
        _ => Err(form.unknown_action()),
    }
}

/// The default VPC of a region.
pub fn vpc_id(region: &str) -> String {
    format!("vpc-{}", &text::hash(&format!("vpc/{region}"))[..17])
}

/// The zones of subnets (`use1-az1`), where all of them exist.
pub fn zones_of(region: &str, ids: &[String]) -> Result<Vec<String>, String> {
    let subnets = subnets(region);
    let zone = |id: &String| {
        let subnet = subnets.iter().find(|subnet| subnet.id == *id);
        subnet
            .map(|subnet| subnet.zone_id.clone())
            .ok_or_else(|| format!("The subnet ID '{id}' does not exist (Service: EC2)"))
    };
    if ids.is_empty() {
        return Err("subnetIds is required".to_owned());
    }
    ids.iter().map(zone).collect()
}

/// The zone (`us-east-1a`) that all of these subnets are in, where it is one.
pub fn only_zone(region: &str, ids: &[&str]) -> Option<String> {
    let subnets = subnets(region);
    let mut zones = ids.iter().map(|id| subnets.iter().find(|subnet| subnet.id == *id));
    let first = zones.next()??;
    let is_first = |other: Option<&Subnet>| other.is_some_and(|other| other.zone == first.zone);
    zones.all(is_first).then(|| first.zone.clone())
}

fn vpcs(region: &str, form: &Form) -> Result<Answer, Refusal> {
    form.only(&[
        "Action",
        "Version",
        "Filter.#.Name",
        "Filter.#.Value.#",
        "VpcId.#",
        "MaxResults",
    ])?;
    let id = vpc_id(region);
    if let Some(other) = form.numbered("VpcId").into_iter().find(|wanted| *wanted != id) {
        let message = format!("The vpc ID '{other}' does not exist");
        return Err(Refusal::new(400, "InvalidVpcID.NotFound", message));
    }
    let facts = [
        ("vpc-id", id.as_str()),
        ("is-default", "true"),
        ("isDefault", "true"),
        ("state", "available"),
        ("cidr", "172.31.0.0/16"),
        ("owner-id", ACCOUNT),
    ];
    let items = if filters_hold(form, &facts)? {
        vec![Element::node(
            "item",
            vec![
                leaf("vpcId", &id),
                leaf("ownerId", ACCOUNT),
                leaf("state", "available"),
                leaf("cidrBlock", "172.31.0.0/16"),
                leaf("dhcpOptionsId", "default"),
                leaf("instanceTenancy", "default"),
                leaf("isDefault", "true"),
            ],
        )]
    } else {
        Vec::new()
    };
    Ok(reply("DescribeVpcs", "vpcSet", items))
}

fn describe_subnets(region: &str, form: &Form) -> Result<Answer, Refusal> {
    let known =
        ["Action", "Version", "Filter.#.Name", "Filter.#.Value.#", "SubnetId.#", "MaxResults"];
    form.only(&known)?;
    let subnets = subnets(region);
    let wanted = form.numbered("SubnetId");
    if let Some(id) = wanted.iter().find(|id| !subnets.iter().any(|subnet| subnet.id == **id)) {
        let message = format!("The subnet ID '{id}' does not exist");
        return Err(Refusal::new(400, "InvalidSubnetID.NotFound", message));
    }
    let vpc = vpc_id(region);
    let mut items = Vec::new();
    for subnet in &subnets {
        let facts = [
            ("subnet-id", subnet.id.as_str()),
            ("vpc-id", &vpc),
            ("default-for-az", "true"),
            ("defaultForAz", "true"),
            ("availability-zone", &subnet.zone),
            ("availability-zone-id", &subnet.zone_id),
            ("state", "available"),
            ("owner-id", ACCOUNT),
        ];
        let named = wanted.is_empty() || wanted.contains(&subnet.id.as_str());
        if filters_hold(form, &facts)? && named {
            let arn = format!("arn:aws:ec2:{region}:{ACCOUNT}:subnet/{}", subnet.id);
            items.push(Element::node(
                "item",
                vec![
                    leaf("subnetId", &subnet.id),
                    leaf("subnetArn", arn),
                    leaf("state", "available"),
                    leaf("vpcId", &vpc),
                    leaf("ownerId", ACCOUNT),
                    leaf("cidrBlock", &subnet.cidr),
                    leaf("availableIpAddressCount", "4091"),
                    leaf("availabilityZone", &subnet.zone),
                    leaf("availabilityZoneId", &subnet.zone_id),
                    leaf("defaultForAz", "true"),
                    leaf("mapPublicIpOnLaunch", "true"),
                ],
            ));
        }
    }
    Ok(reply("DescribeSubnets", "subnetSet", items))
}

/// The subnets of the default VPC: one in each zone, those included that EKS cannot be in.
fn subnets(region: &str) -> Vec<Subnet> {
    let prefix = format!("{}-", region_code(region));
    let known = catalog::zones(region).iter().map(String::as_str);
    let mut zones: Vec<&str> =
        known.chain(NO_EKS).filter_map(|zone| zone.strip_prefix(&prefix)).collect();
    zones.sort_unstable();
    if zones.is_empty() {
        zones = ZONES.to_vec();
    }
    let subnets = zones.into_iter().zip('a'..).zip(0..).map(|((zone, letter), number)| Subnet {
        id: format!("subnet-{}", &text::hash(&format!("subnet/{region}/{zone}"))[..17]),
        zone: format!("{region}{letter}"),
        zone_id: format!("{prefix}{zone}"),
        cidr: format!("172.31.{}.0/20", number * 16),
    });
    subnets.collect()
}

/// `use1` for `us-east-1`, as zone ids spell regions.
fn region_code(region: &str) -> String {
    let parts = region.split('-').map(|part| match part {
        "north" => "n",
        "south" => "s",
        "east" => "e",
        "west" => "w",
        "central" => "c",
        "northeast" => "ne",
        "southeast" => "se",
        "northwest" => "nw",
        "southwest" => "sw",
        other => other,
    });
    parts.collect()
}

/// Whether an object with these facts passes every filter: each names some values, any of which will do.
fn filters_hold(form: &Form, facts: &[(&str, &str)]) -> Result<bool, Refusal> {
    let facts: BTreeMap<&str, &str> = facts.iter().copied().collect();
    for number in 1.. {
        let Some(name) = form.get(&format!("Filter.{number}.Name")) else { break };
        let Some(fact) = facts.get(name) else {
            let message = format!("The filter '{name}' is invalid");
            return Err(Refusal::new(400, "InvalidParameterValue", message));
        };
        if !form.numbered(&format!("Filter.{number}.Value")).contains(fact) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn reply(action: &str, set: &str, items: Vec<Element>) -> Answer {
    let root = format!("{action}Response xmlns=\"{NAMESPACE}\"");
    Answer::Xml(Element::node(&root, vec![Element::node(set, items)]))
}

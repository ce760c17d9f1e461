//! Address ranges in CIDR notation, on the bits of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fleetform_contract::Value;

use super::arguments::Arguments;
use super::{Function, Result, function, variadic};

pub(super) const FUNCTIONS: &[Function] = &[
    function("cidrcontains", &["containing_prefix", "contained_ip_or_prefix"], cidrcontains),
    function("cidrhost", &["prefix", "hostnum"], cidrhost),
    function("cidrnetmask", &["prefix"], cidrnetmask),
    function("cidrsubnet", &["prefix", "newbits", "netnum"], cidrsubnet),
    variadic("cidrsubnets", &["prefix"], "newbits", cidrsubnets),
];

/// Addresses that share their first `length` bits.
#[derive(Clone, Copy)]
struct Network {
    /// The first address, in the low bits.
    start: u128,
    length: u32,
    /// Of an address: 32 or 128.
    bits: u32,
}

impl Network {
    fn parse(arguments: &Arguments, index: usize) -> Result<Network> {
        let text = arguments.text(index)?;
        let wrong = || {
            arguments.wrong(index, format!("invalid CIDR expression: invalid CIDR address: {text}"))
        };
        let (address, length) = text.split_once('/').ok_or_else(wrong)?;
        let (address, bits) = match parse_address(address).ok_or_else(wrong)? {
            IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
            IpAddr::V6(address) => (address.to_bits(), 128),
        };
        let plain = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length = length.parse::<u32>().ok().filter(|length| plain && *length <= bits);
        let length = length.ok_or_else(wrong)?;
        Ok(Network { start: address & !low_bits(bits - length), length, bits })
    }

    fn address(&self, address: u128) -> IpAddr {
        match self.bits {
            32 => IpAddr::V4(Ipv4Addr::from_bits(address as u32)),
            _ => IpAddr::V6(Ipv6Addr::from_bits(address)),
        }
    }

    fn last(&self) -> u128 {
        self.start | low_bits(self.bits - self.length)
    }

    fn text(&self) -> String {
        format!("{}/{}", self.address(self.start), self.length)
    }
}

/// An address; leading zeros in IPv4's parts mean nothing, as with Terraform.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        return text.parse().ok();
    }
    let part = |part: &str| {
        let short = match part.trim_start_matches('0') {
            "" if !part.is_empty() => "0",
            short => short,
        };
        short.parse::<u8>().ok().filter(|_| part.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let parts: Vec<u8> = text.split('.').map(part).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(IpAddr::from)
}

fn low_bits(count: u32) -> u128 {
    u128::MAX.checked_shr(128 - count).unwrap_or(0)
}

/// OpenTofu's: whether a network holds an address or the whole of another network.
fn cidrcontains(arguments: &Arguments) -> Result<Value> {
    let outer = Network::parse(arguments, 0)?;
    let text = arguments.text(1)?;
    let inner = match parse_address(&text) {
        Some(IpAddr::V4(address)) => {
            Network { start: address.to_bits().into(), length: 32, bits: 32 }
        }
        Some(IpAddr::V6(address)) => Network { start: address.to_bits(), length: 128, bits: 128 },
        None => Network::parse(arguments, 1)?,
    };
    if inner.bits != outer.bits {
        return Err(arguments.wrong(1, "address family mismatch: one is IPv4, the other IPv6"));
    }
    Ok((outer.start <= inner.start && inner.last() <= outer.last()).into())
}

fn cidrhost(arguments: &Arguments) -> Result<Value> {
    let network = Network::parse(arguments, 0)?;
    let number = arguments.whole(1)?;
    let hosts = low_bits(network.bits - network.length);
    // Negative numbers count from the end: -1 is the last address.
    let offset = if number < 0 {
        u128::from(number.unsigned_abs()).checked_sub(1).and_then(|back| hosts.checked_sub(back))
    } else {
        Some(number as u128).filter(|number| *number <= hosts)
    };
    let offset = offset.ok_or_else(|| {
        let length = network.length;
        arguments
            .wrong(1, format!("prefix of {length} does not accommodate a host numbered {number}"))
    })?;
    Ok(network.address(network.start | offset).to_string().into())
}

fn cidrnetmask(arguments: &Arguments) -> Result<Value> {
    let network = Network::parse(arguments, 0)?;
    if network.bits != 32 {
        let why = format!("IPv6 addresses cannot have a netmask: {}", network.text());
        return Err(arguments.wrong(0, why));
    }
    let mask = low_bits(32) & !low_bits(32 - network.length);
    Ok(network.address(mask).to_string().into())
}

fn cidrsubnet(arguments: &Arguments) -> Result<Value> {
    let network = Network::parse(arguments, 0)?;
    let (added, number) = (arguments.whole(1)?, arguments.whole(2)?);
    let length = network.length;
    let room = i64::from(network.bits - length);
    if !(0..=room).contains(&added) {
        let why = format!("insufficient address space to extend prefix of {length} by {added}");
        return Err(arguments.wrong(1, why));
    }
    let added = added as u32;
    let number = u128::try_from(number).ok().filter(|number| *number <= low_bits(added));
    let number = number.ok_or_else(|| {
        let number = arguments.whole(2).unwrap_or_default();
        arguments.wrong(
            2,
            format!("prefix extension of {added} does not accommodate a subnet numbered {number}"),
        )
    })?;
    let length = length + added;
    let start = network.start | number.checked_shl(network.bits - length).unwrap_or(0);
    Ok(Network { start, length, ..network }.text().into())
}

fn cidrsubnets(arguments: &Arguments) -> Result<Value> {
    let network = Network::parse(arguments, 0)?;
    let mut next = Some(network.start);
    let mut previous = network;
    let mut out = Vec::new();
    for index in 1..arguments.len() {
        let added = arguments.whole(index)?;
        if added < 1 {
            return Err(arguments.wrong(index, "must extend prefix by at least one bit"));
        }
        if added > 32 {
            return Err(arguments.wrong(index, "may not extend prefix by more than 32 bits"));
        }
        let length = network.length + added as u32;
        if length > network.bits {
            let why = format!(
                "would extend prefix to {length} bits, which is too long for an address of {} bits",
                network.bits
            );
            return Err(arguments.wrong(index, why));
        }
        // A wider network than the one before starts at the next of its own boundaries.
        let hosts = low_bits(network.bits - length);
        let start = next.and_then(|next| next.checked_add(hosts)).map(|next| next & !hosts);
        let start = start.filter(|start| start.saturating_add(hosts) <= network.last());
        let start = start.ok_or_else(|| {
            let why = format!(
                "not enough remaining address space for a subnet with a prefix of {length} bits \
                 after {}",
                previous.text()
            );
            arguments.wrong(index, why)
        })?;
        previous = Network { start, length, ..network };
        next = previous.last().checked_add(1);
        out.push(previous.text());
    }
    Ok(Value::list(out))
}

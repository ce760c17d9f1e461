//! Groups with rules of their own as parts without: each rule is kept by saying in advance how much may be where.

use std::collections::BTreeSet;

use super::prices::Prices;
use super::scene::{Part, Scene};
use crate::config::SpreadOver;

/// The parts that the linear program sees: spot limits are kept, the other rules are left to the bound.
pub(super) fn loose(scene: &Scene) -> Vec<Part> {
    let groups = 0..scene.groups.len();
    groups.flat_map(|group| off_spot(scene, scene.part(group), scene.rules(group).spot)).collect()
}

/// Where the prices say that each rule is kept at the least cost. `None` where a rule cannot be kept.
pub(super) fn settled(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>) -> Option<Vec<Part>> {
    let mut parts = Vec::new();
    for group in 0..scene.groups.len() {
        let whole = scene.part(group);
        let rules = scene.rules(group);
        let mut spot = rules.spot;
        for part in spread(scene, prices, open, whole)? {
            let divided = off_spot(scene, part.clone(), spot);
            if let Some(left) = &mut spot {
                let anywhere =
                    divided.iter().filter(|one| one.candidates.len() == part.candidates.len());
                *left -= anywhere.map(|one| one.amount).sum::<f64>();
            }
            parts.extend(divided);
        }
    }
    let parts = parts.into_iter().map(|part| whole(scene, prices, part));
    let mut parts: Vec<Part> = parts.collect::<Option<Vec<_>>>()?.into_iter().flatten().collect();
    parts.retain(|part| part.amount > 0.0);
    parts.iter().all(|part| !part.candidates.is_empty()).then_some(parts)
}

/// A load as numbers of replicas, each on its kind of GPU.
fn whole(scene: &Scene, prices: &Prices, part: Part) -> Option<Vec<Part>> {
    if part.rates.is_empty() {
        return Some(vec![part]);
    }
    let (_, counts) = prices.cheapest(scene, &part)?;
    let counts = counts.into_iter().enumerate().filter(|(_, count)| *count > 0);
    let parts = counts.map(|(kind, count)| {
        let candidates = part.candidates.iter().copied();
        let candidates = candidates.filter(|place| scene.places[*place as usize].kind == kind);
        Part {
            amount: f64::from(count),
            candidates: candidates.collect(),
            rates: Vec::new(),
            ..part.clone()
        }
    });
    Some(parts.collect())
}

/// So much may be on spot nodes, the rest is not.
fn off_spot(scene: &Scene, part: Part, spot: Option<f64>) -> Vec<Part> {
    let Some(spot) = spot.filter(|spot| *spot < part.amount) else { return vec![part] };
    let steady = part.candidates.iter().copied();
    let steady = steady.filter(|place| !scene.places[*place as usize].is_spot).collect();
    let amount = part.amount - spot.max(0.0);
    let rest = Part { amount, candidates: steady, is_steady: true, ..part.clone() };
    let mut parts = vec![rest];
    if spot > 0.0 {
        parts.push(Part { amount: spot, ..part });
    }
    parts
}

fn spread(scene: &Scene, prices: &Prices, open: &BTreeSet<usize>, part: Part) -> Option<Vec<Part>> {
    let rules = scene.rules(part.group);
    if !rules.together && rules.min.is_empty() && rules.share.is_empty() {
        return Some(vec![part]);
    }
    let over = match (rules.min.as_slice(), rules.share.as_slice()) {
        ([], []) => SpreadOver::Region,
        ([(over, _)], []) | ([], [(over, _)]) => *over,
        ([(one, _)], [(other, _)]) if one == other => *one,
        _ => return None,
    };
    // A site that is not open yet costs its control plane. Where a limit may leave no room is the last resort.
    let is_limited = |place: u32| !scene.places[place as usize].caps.is_empty();
    let all_limited = part.candidates.iter().all(|place| is_limited(*place));
    let each = |place: u32| {
        if is_limited(place) && !all_limited {
            return f64::INFINITY;
        }
        let site = scene.places[place as usize].site;
        let opening = if open.contains(&site) { 0.0 } else { scene.sites[site].1 };
        prices.unit(scene, &part, place) + opening / part.amount.max(1.0)
    };
    let seats: Vec<f64> = part.candidates.iter().map(|place| each(*place)).collect();
    let spot = rules.spot.filter(|_| rules.together);
    let sections = prices.sections(scene, &part, &seats, over, spot);
    let min = rules.min.first().map_or(1, |(_, min)| *min);
    let share = rules.share.first().map_or(f64::INFINITY, |(_, share)| f64::from(*share));
    if !part.rates.is_empty() && !rules.together {
        return None;
    }
    let one = |section: usize, amount: f64| {
        let candidates = scene.inside(&part, over, section);
        Part { amount, candidates, given: Some((over, section)), ..part.clone() }
    };
    let mut parts = Vec::new();
    let mut left = part.amount;
    if rules.share.is_empty() && !rules.together {
        // One in each of the best; the others are free.
        if sections.len() < min || left < min as f64 {
            return None;
        }
        parts.extend(sections.iter().take(min).map(|(_, section)| one(*section, 1.0)));
        parts.push(Part { amount: left - min as f64, ..part });
        return Some(parts);
    }
    for (number, (_, section)) in sections.iter().enumerate() {
        // One for each section that is still missing.
        let kept = min.saturating_sub(number + 1) as f64;
        let amount = (left - kept).min(share);
        if amount <= 0.0 {
            break;
        }
        parts.push(one(*section, amount));
        left -= amount;
    }
    (left <= 0.0).then_some(parts)
}

//! The same problem with one thing changed: what if an offering were out of reach, a limit gave way, a price
//! moved? Each answer is a problem again, to be solved like any other.

use std::collections::BTreeMap;

use fleetform_contract::{Capacity, Quota};

use super::limits::share_of;
use super::{Amount, Candidate, Demand, Problem, Rule, SpotSaid};
use crate::config::Stack;

/// Limits that stand in for those of the stack and of its clouds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// By cloud. Each replaces whatever is said of the same region and GPU type.
    pub quotas: Vec<(String, Quota)>,
    /// By cloud. What is given replaces that part of the cloud's capacity.
    pub capacities: Vec<(String, Capacity)>,
    pub budget_month: Option<f64>,
}

impl Conditions {
    /// Puts them into a stack and into what its clouds report. Each cloud must be one of the stack's.
    pub fn apply(&self, stack: &mut Stack, reported: &mut BTreeMap<String, Vec<Quota>>) {
        for (name, quota) in &self.quotas {
            let cloud = stack.clouds.get_mut(name).expect("a cloud of the stack");
            let is_other = |other: &Quota| {
                (&other.region, &other.gpu_type) != (&quota.region, &quota.gpu_type)
            };
            cloud.quotas.retain(is_other);
            cloud.quotas.push(quota.clone());
            reported.entry(name.clone()).or_default().retain(is_other);
        }
        for (name, capacity) in &self.capacities {
            let cloud = stack.clouds.get_mut(name).expect("a cloud of the stack");
            let kept = cloud.capacity.clone();
            cloud.capacity = Capacity {
                gpus: capacity.gpus.or(kept.gpus),
                cpus: capacity.cpus.or(kept.cpus),
                nodes: capacity.nodes.or(kept.nodes),
            };
        }
        if self.budget_month.is_some() {
            stack.optimize.budget_month = self.budget_month;
            // No line of the stack says so.
            stack.spans.retain(|path, _| path != "optimize" && path != "optimize.budget");
        }
    }
}

impl Problem {
    /// The problem without the pairs of demand and candidate that `forbids` names.
    ///
    /// # Errors
    /// The references of the demands that are left without any candidate.
    pub fn without(
        &self,
        forbids: impl Fn(&Demand, &Candidate) -> bool,
    ) -> Result<Problem, Vec<String>> {
        let mut demands = self.demands.clone();
        for demand in &mut demands {
            let mut candidates = std::mem::take(&mut demand.candidates);
            candidates.retain(|index| !forbids(demand, &self.candidates[*index]));
            demand.candidates = candidates;
        }
        let stranded = demands.iter().filter(|demand| demand.candidates.is_empty());
        let stranded: Vec<String> = stranded.map(|demand| demand.reference.clone()).collect();
        if !stranded.is_empty() {
            return Err(stranded);
        }
        let (candidates, renumbered) = super::keep_useful(self.candidates.clone(), &mut demands);
        let limits = self.limits.iter().filter_map(|limit| {
            let mut limit = limit.clone();
            if let Rule::Nodes { candidate, .. } = &mut limit.rule {
                *candidate = renumbered[*candidate]?;
            }
            Some(limit)
        });
        Ok(Problem { limits: limits.collect(), demands, candidates, ..self.clone() })
    }

    /// Asks for so many replicas of one demand (by its index), with the shares that follow.
    pub fn ask_for(&mut self, asked: usize, replicas: u32) {
        self.demands[asked].amount = Amount::Replicas(replicas);
        if replicas == 0 {
            self.traffic.retain(|traffic| ![traffic.from, traffic.to].contains(&asked));
            // Nobody has to be anywhere any more.
            self.limits.retain(|limit| match limit.rule {
                Rule::SpreadMin { demand, .. }
                | Rule::ZoneMin { demand, .. }
                | Rule::BaseOnDemand { demand, .. }
                | Rule::LoadOffSpot { demand, .. }
                | Rule::LoadElsewhere { demand, .. } => demand != asked,
                Rule::SameSites { demands } => !demands.contains(&asked),
                _ => true,
            });
        }
        for limit in &mut self.limits {
            match &mut limit.rule {
                Rule::Spot { demand, max_replicas, said } if *demand == asked => {
                    *max_replicas = match said {
                        SpotSaid::MaxShare(share) => share_of(*share, replicas),
                        SpotSaid::BaseOnDemand(base) => replicas.saturating_sub(*base),
                    };
                }
                Rule::SpreadShare { demand, max_replicas, max_share, .. } if *demand == asked => {
                    *max_replicas = share_of(*max_share, replicas);
                }
                _ => {}
            }
        }
    }

    /// The problem in which one limit (by its index) lets `more` units through: GPUs, CPUs, nodes,
    /// replicas, requests a second or dollars, as the limit counts. A demand that must stay together may be split then,
    /// and a rule on two demands is gone.
    pub fn relaxed(&self, limit: usize, more: u32) -> Problem {
        let mut relaxed = self.clone();
        match &mut relaxed.limits[limit].rule {
            Rule::Quota { max_gpus: max, .. }
            | Rule::CapacityNodes { max, .. }
            | Rule::Nodes { max, .. }
            | Rule::Spot { max_replicas: max, .. }
            | Rule::SpreadShare { max_replicas: max, .. } => *max = max.saturating_add(more),
            Rule::CapacityGpus { max, .. }
            | Rule::CapacityCpus { max, .. }
            | Rule::Budget { max_month: max } => *max += f64::from(more),
            Rule::LoadOffSpot { min, .. } | Rule::LoadElsewhere { min, .. } => {
                *min = (*min - f64::from(more)).max(0.0);
            }
            Rule::BaseOnDemand { min, .. } => *min = min.saturating_sub(more),
            Rule::MaxReplicas { max, .. } => *max = max.saturating_add(more),
            Rule::SpreadMin { min, .. } | Rule::ZoneMin { min, .. } => {
                *min = min.saturating_sub(more).max(1)
            }
            Rule::Together { demand } => {
                let demand = *demand;
                relaxed.demands[demand].together = false;
                relaxed.limits.remove(limit);
                return relaxed;
            }
            Rule::Apart { .. } | Rule::SameSites { .. } => {
                relaxed.limits.remove(limit);
                return relaxed;
            }
        }
        // The number of a candidate's nodes stands at its offering too.
        if let Rule::Nodes { candidate, max } = relaxed.limits[limit].rule {
            relaxed.candidates[candidate].offering.max_nodes = Some(max);
        }
        relaxed
    }

    /// The problem with the price of the named candidates multiplied.
    pub fn repriced(&self, factors: &BTreeMap<String, f64>) -> Problem {
        let mut repriced = self.clone();
        for candidate in &mut repriced.candidates {
            if let Some(factor) = factors.get(&candidate.id) {
                candidate.price_hour *= factor;
                candidate.offering.price_hour *= factor;
            }
        }
        repriced
    }
}

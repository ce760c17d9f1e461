//! How much a replica takes of a node, and how much of a node replicas may take.
//!
//! Amounts are whole numbers (GPUs, thousandths of a CPU, MiB, pods), as Kubernetes counts them, so that
//! packing is exact. Needs are rounded up and nodes down.

use fleetform_contract::{Needs, Offering};

/// An amount of every resource that nodes have and replicas take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size {
    pub gpus: u64,
    pub cpu_millis: u64,
    pub memory_mib: u64,
    pub pods: u64,
}

/// Pods that the kubelet runs on a node at most: its default, and that of managed node pools.
const PODS: u64 = 110;
/// What the pods that run on every node take: network, proxy, logs, metrics, device plugin.
const DAEMON_PODS: u64 = 10;
const DAEMON_CPU_MILLIS: f64 = 250.0;
const DAEMON_MEMORY_MIB: f64 = 256.0;
/// Below this much free memory the kubelet evicts.
const EVICTION_MIB: f64 = 100.0;
/// The most that is reserved by count of pods: 20 MB for each of 110 and 50 MB, in MiB.
const RESERVED_BY_PODS_MIB: f64 = 2_250.0 / 1.048_576;
/// Forgives the rounding of decimal text to binary, well below one unit.
const ROUNDING: f64 = 1e-6;

impl Size {
    /// What one replica takes.
    pub fn of_replica(needs: &Needs) -> Size {
        Size {
            gpus: needs.gpus.into(),
            cpu_millis: (needs.cpus * 1000.0 - ROUNDING).ceil().max(0.0) as u64,
            memory_mib: (needs.memory_gib * 1024.0 - ROUNDING).ceil().max(0.0) as u64,
            pods: 1,
        }
    }

    /// What replicas may take of one node: its size less what Kubernetes, the system and the pods of
    /// every node keep. `docs/placement.md` gives the formulas and their sources.
    pub fn of_node(offering: &Offering) -> Size {
        let cpu_millis = offering.cpus * 1000.0 - reserved_cpu_millis(offering.cpus);
        let memory_mib = offering.memory_gib * 1024.0 - reserved_memory_mib(offering.memory_gib);
        Size {
            gpus: offering.gpus.into(),
            cpu_millis: (cpu_millis - DAEMON_CPU_MILLIS + ROUNDING).max(0.0) as u64,
            memory_mib: (memory_mib - DAEMON_MEMORY_MIB + ROUNDING).max(0.0) as u64,
            pods: offering
                .max_pods
                .map_or(PODS, |pods| PODS.min(pods.into()))
                .saturating_sub(DAEMON_PODS),
        }
    }

    pub fn fits_in(self, other: Size) -> bool {
        self.array().iter().zip(other.array()).all(|(mine, theirs)| *mine <= theirs)
    }

    /// GPUs, CPU, memory, pods: for code that treats all alike.
    pub fn array(self) -> [u64; 4] {
        [self.gpus, self.cpu_millis, self.memory_mib, self.pods]
    }
}

/// The largest of what the managed services publish: 60 for the first CPU, 40 for the second, 20 for
/// each of the next two, 10 for each further one.
fn reserved_cpu_millis(cpus: f64) -> f64 {
    staircase(cpus, &[(1.0, 60.0), (2.0, 40.0), (4.0, 20.0), (f64::INFINITY, 10.0)])
}

/// The larger of the two published rules: a share that falls with the size of the node (a quarter of
/// the first 4 GiB, a fifth of the next 4, a tenth of the next 8, 6 % of the next 112, 2 % of the rest),
/// or an amount for each pod that is at most a quarter; and the eviction threshold.
fn reserved_memory_mib(memory_gib: f64) -> f64 {
    let steps = [(4.0, 0.25), (8.0, 0.2), (16.0, 0.1), (128.0, 0.06), (f64::INFINITY, 0.02)];
    let by_share = 1024.0 * staircase(memory_gib, &steps);
    let by_pods = RESERVED_BY_PODS_MIB.min(0.25 * 1024.0 * memory_gib);
    by_share.max(by_pods) + EVICTION_MIB
}

/// The area below a staircase from 0 to `until`: steps are (where it ends, height).
fn staircase(until: f64, steps: &[(f64, f64)]) -> f64 {
    let mut area = 0.0;
    let mut start = 0.0;
    for &(end, height) in steps {
        area += (until.min(end) - start).max(0.0) * height;
        start = end;
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserves_follow_the_published_tables() {
        // The published table of CPU reserves, by cores.
        for (cores, millis) in
            [(1.0, 60.0), (2.0, 100.0), (4.0, 140.0), (8.0, 180.0), (16.0, 260.0), (64.0, 740.0)]
        {
            assert_eq!(reserved_cpu_millis(cores), millis, "{cores} cores");
        }
        // By share: 1 + 0.8 + 0.8 GiB of 16; by pods it would be 2,146 MiB.
        assert!((reserved_memory_mib(16.0) - 100.0 - 2.6 * 1024.0).abs() < 1e-9);
        // By pods, but at most a quarter: 2 GiB of 8, where by share it would be 1.8.
        assert!((reserved_memory_mib(8.0) - 100.0 - 2048.0).abs() < 1e-9);
    }

    #[test]
    fn needs_round_up_and_decimals_are_forgiven() {
        let needs = |cpus, memory_gib| Needs { cpus, memory_gib, ..Needs::default() };
        for (cpus, memory_gib, millis, mib) in
            [(0.1 + 0.2, 0.5, 300, 512), (0.0001, 0.0001, 1, 1), (0.0, 0.0, 0, 0)]
        {
            let size = Size::of_replica(&needs(cpus, memory_gib));
            assert_eq!((size.cpu_millis, size.memory_mib, size.pods), (millis, mib, 1));
        }
    }
}

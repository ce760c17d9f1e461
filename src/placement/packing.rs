//! Packs replicas onto whole nodes, exactly.
//!
//! All nodes of one offering are equal bins with four amounts (GPUs, CPU, memory, pods), replicas of one
//! group are equal items. First fit by decreasing size settles almost everything. Where it fails, either
//! the patterns (sets of items that one node can hold) prove that no packing exists, or a search over
//! them decides. The search has a limit on its work, not on its time; past it the answer is `Unknown`.

use std::collections::HashSet;

/// Steps of the exact search and of the enumeration of patterns.
const WORK: usize = 200_000;
/// More patterns than these are not enumerated.
const PATTERNS: usize = 4_000;

/// An item: what one replica takes.
pub(super) type Amounts = [u64; 4];
/// How many items of each kind.
pub(super) type Counts = Vec<u32>;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Packing {
    /// For each node that is used, the items on it. At most as many nodes as were given.
    Fits(Vec<Counts>),
    Impossible,
    /// The work limit came first.
    Unknown,
}

/// Packs `counts` items of the given sizes into at most `nodes` bins.
pub(super) fn pack(sizes: &[Amounts], counts: &[u32], capacity: Amounts, nodes: u32) -> Packing {
    let mut best: Option<Vec<Counts>> = None;
    for order in orders(sizes, capacity) {
        if let Some(packed) = first_fit(sizes, counts, capacity, &order)
            && best.as_ref().is_none_or(|best| packed.len() < best.len())
        {
            best = Some(packed);
        }
    }
    match best {
        Some(packed) if packed.len() <= nodes as usize => Packing::Fits(packed),
        // An item that is larger than a node.
        None if counts.iter().any(|count| *count > 0) => Packing::Impossible,
        None => Packing::Fits(Vec::new()),
        Some(_) => Search::new(sizes, capacity).run(counts, nodes),
    }
}

/// Orders of decreasing size: by the largest share of a node in any resource, by the sum of shares, and by
/// each resource alone. Equal sizes keep the order of the kinds.
fn orders(sizes: &[Amounts], capacity: Amounts) -> Vec<Vec<usize>> {
    let share = |size: &Amounts, k: usize| size[k] as f64 / (capacity[k].max(1)) as f64;
    let largest = |size: &Amounts| (0..4).map(|k| share(size, k)).fold(0.0, f64::max);
    let sum = |size: &Amounts| (0..4).map(|k| share(size, k)).sum::<f64>();
    let by = |key: &dyn Fn(&Amounts) -> f64| {
        let mut order: Vec<usize> = (0..sizes.len()).collect();
        order.sort_by(|a, b| key(&sizes[*b]).total_cmp(&key(&sizes[*a])).then(a.cmp(b)));
        order
    };
    let mut orders = vec![by(&largest), by(&sum)];
    orders.extend((0..3).map(|k| by(&|size: &Amounts| share(size, k))));
    orders.dedup();
    orders
}

/// Fills node after node, each with the items that still fit in the order given. Equal nodes are filled at
/// once. `None` where an item fits no empty node.
fn first_fit(
    sizes: &[Amounts],
    counts: &[u32],
    capacity: Amounts,
    order: &[usize],
) -> Option<Vec<Counts>> {
    let mut left = counts.to_vec();
    let mut nodes = Vec::new();
    while left.iter().any(|count| *count > 0) {
        let mut free = capacity;
        let mut pattern = vec![0; sizes.len()];
        for &kind in order {
            let fit = fitting(&sizes[kind], &free).min(left[kind]);
            take(&mut free, &sizes[kind], fit);
            pattern[kind] = fit;
        }
        let used = || pattern.iter().zip(&left).filter(|(used, _)| **used > 0);
        let times = used().map(|(used, left)| left / used).min()?;
        for (left, used) in left.iter_mut().zip(&pattern) {
            *left -= used * times;
        }
        nodes.extend((0..times).map(|_| pattern.clone()));
    }
    Some(nodes)
}

/// How many items of a size fit into what is free.
pub(super) fn fitting(size: &Amounts, free: &Amounts) -> u32 {
    let each = size.iter().zip(free).filter(|(size, _)| **size > 0);
    each.map(|(size, free)| u32::try_from(free / size).unwrap_or(u32::MAX))
        .min()
        .unwrap_or(u32::MAX)
}

fn take(free: &mut Amounts, size: &Amounts, times: u32) {
    for (free, size) in free.iter_mut().zip(size) {
        *free -= size * u64::from(times);
    }
}

/// Every maximal set of items that one node can hold, with at most `counts` of each kind; `None` where
/// there are too many.
pub(super) fn patterns(
    sizes: &[Amounts],
    counts: &[u32],
    capacity: Amounts,
) -> Option<Vec<Counts>> {
    let mut found = Vec::new();
    let mut work = WORK;
    let mut pattern = vec![0; sizes.len()];
    let all = Kinds { sizes, counts };
    all.extend(0, capacity, &mut pattern, &mut work, &mut |pattern| {
        found.push(pattern.to_vec());
        found.len() < PATTERNS
    })?;
    Some(found)
}

/// What patterns are made of.
#[derive(Clone, Copy)]
struct Kinds<'a> {
    sizes: &'a [Amounts],
    counts: &'a [u32],
}

impl Kinds<'_> {
    /// Calls `found` with every maximal pattern that begins like `pattern`, most of the first kinds first.
    /// `None` where `found` or the work limit ended it.
    fn extend(
        self,
        kind: usize,
        free: Amounts,
        pattern: &mut Counts,
        work: &mut usize,
        found: &mut dyn FnMut(&[u32]) -> bool,
    ) -> Option<()> {
        *work = work.checked_sub(1)?;
        if kind == self.sizes.len() {
            let mut kinds = self.sizes.iter().zip(self.counts).zip(pattern.iter());
            let maximal =
                kinds.all(|((size, count), used)| used == count || fitting(size, &free) == 0);
            return if !maximal || found(pattern) { Some(()) } else { None };
        }
        let most = fitting(&self.sizes[kind], &free).min(self.counts[kind]);
        for used in (0..=most).rev() {
            let mut free = free;
            take(&mut free, &self.sizes[kind], used);
            pattern[kind] = used;
            let next = self.extend(kind + 1, free, pattern, work, found);
            pattern[kind] = 0;
            next?;
        }
        Some(())
    }
}

/// Depth-first: the largest kind that is left goes onto the next node, with a maximal pattern of what is
/// left around it. Some packing has that form: exchange nodes so that the kind's node comes first, then
/// move items from later nodes onto it while any fits.
struct Search {
    sizes: Vec<Amounts>,
    /// The order in which the sizes were given.
    order: Vec<usize>,
    capacity: Amounts,
    /// Leftovers that are known not to fit on so many nodes.
    failed: HashSet<(Counts, u32)>,
    work: usize,
}

impl Search {
    fn new(sizes: &[Amounts], capacity: Amounts) -> Search {
        let order = orders(sizes, capacity).swap_remove(0);
        let sizes = order.iter().map(|kind| sizes[*kind]).collect();
        Search { sizes, order, capacity, failed: HashSet::new(), work: WORK }
    }

    fn run(mut self, counts: &[u32], nodes: u32) -> Packing {
        let counts: Counts = self.order.iter().map(|kind| counts[*kind]).collect();
        let mut packed = Vec::new();
        match self.place(counts, nodes, &mut packed) {
            Some(true) => {
                let given = |pattern: Counts| {
                    let mut node = vec![0; pattern.len()];
                    for (place, count) in self.order.iter().zip(pattern) {
                        node[*place] = count;
                    }
                    node
                };
                Packing::Fits(packed.into_iter().map(given).collect())
            }
            Some(false) => Packing::Impossible,
            None => Packing::Unknown,
        }
    }

    /// Whether the leftovers fit on so many nodes, filling `packed`; `None` past the work limit.
    fn place(&mut self, left: Counts, nodes: u32, packed: &mut Vec<Counts>) -> Option<bool> {
        let Some(first) = left.iter().position(|count| *count > 0) else { return Some(true) };
        if self.least_nodes(&left) > u64::from(nodes)
            || self.failed.contains(&(left.clone(), nodes))
        {
            return Some(false);
        }
        let mut around = Vec::new();
        {
            let mut counts = left.clone();
            counts[first] -= 1;
            let mut free = self.capacity;
            take(&mut free, &self.sizes[first], 1);
            let mut pattern = vec![0; left.len()];
            let kinds = Kinds { sizes: &self.sizes, counts: &counts };
            kinds.extend(0, free, &mut pattern, &mut self.work, &mut |pattern| {
                around.push(pattern.to_vec());
                true
            })?;
        }
        for mut pattern in around {
            pattern[first] += 1;
            let rest: Counts = left.iter().zip(&pattern).map(|(left, used)| left - used).collect();
            packed.push(pattern);
            if self.place(rest, nodes - 1, packed)? {
                return Some(true);
            }
            packed.pop();
        }
        self.failed.insert((left, nodes));
        Some(false)
    }

    /// No fewer nodes hold this much, by each resource alone.
    fn least_nodes(&self, left: &[u32]) -> u64 {
        let total = |k: usize| -> u64 {
            self.sizes.iter().zip(left).map(|(size, count)| size[k] * u64::from(*count)).sum()
        };
        let each = (0..4).map(|k| match (total(k), self.capacity[k]) {
            (0, _) => 0,
            (_, 0) => u64::MAX,
            (total, capacity) => total.div_ceil(capacity),
        });
        each.max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GPU_NODE: Amounts = [8, 96_000, 1_000_000, 100];

    fn gpus(sizes: &[u64]) -> Vec<Amounts> {
        sizes.iter().map(|gpus| [*gpus, 0, 0, 1]).collect()
    }

    #[test]
    fn three_replicas_of_five_gpus_need_three_nodes() {
        assert_eq!(pack(&gpus(&[5]), &[3], GPU_NODE, 2), Packing::Impossible);
        assert_eq!(
            pack(&gpus(&[5]), &[3], GPU_NODE, 3),
            Packing::Fits(vec![vec![1], vec![1], vec![1]])
        );
    }

    #[test]
    fn search_finds_what_first_fit_misses() {
        // Twice 4+3+3 fills two nodes of 10; first fit puts both fours on the first.
        let node = [10, 0, 0, 100];
        let packed = pack(&gpus(&[4, 3]), &[2, 4], node, 2);
        assert_eq!(packed, Packing::Fits(vec![vec![1, 2], vec![1, 2]]));
        // Three sixes and a two would fill them too, but no two sixes share a node.
        assert_eq!(pack(&gpus(&[6, 2]), &[3, 1], node, 2), Packing::Impossible);
    }

    #[test]
    fn patterns_are_maximal_and_complete() {
        let found = patterns(&gpus(&[5, 3, 1]), &[3, 3, 9], GPU_NODE).expect("few");
        let expected: Vec<Counts> =
            vec![vec![1, 1, 0], vec![1, 0, 3], vec![0, 2, 2], vec![0, 1, 5], vec![0, 0, 8]];
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_and_too_much() {
        assert_eq!(pack(&gpus(&[1]), &[0], GPU_NODE, 0), Packing::Fits(vec![]));
        assert_eq!(pack(&gpus(&[9]), &[1], GPU_NODE, 5), Packing::Impossible);
        assert_eq!(pack(&[], &[], GPU_NODE, 0), Packing::Fits(vec![]));
    }
}

//! From parts of nodes to whole ones.
//!
//! What the linear program has of a content in whole is fixed, the largest parts are rounded up to one node
//! (cut down to the replicas that still lack a seat, and at the cheapest candidate that holds them), and
//! the rest is solved again, with new contents for what is left, until everything has a seat.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::compose::{Composing, ENTER, Entry, KNAPSACK, Pattern};
use super::formulation::Formulation;
use super::model::Sense;

/// What must be chosen before a seat may be taken, by the seat's column: the one site of a group.
pub(super) fn gates(form: &Formulation) -> HashMap<usize, usize> {
    let sites: BTreeSet<usize> = form.sites.iter().copied().collect();
    let mut gates = HashMap::new();
    for row in form.model.rows.iter().filter(|row| row.lazy) {
        if let Some((opener, factor)) = row.terms.last()
            && *factor < 0.0
            && !sites.contains(opener)
        {
            gates.extend(row.terms[..row.terms.len() - 1].iter().map(|(seat, _)| (*seat, *opener)));
        }
    }
    gates
}

/// The groups that have rules of their own.
pub(super) fn special(form: &Formulation) -> Vec<bool> {
    let demands = form.groups.iter().map(|group| &form.problem.demands[group.demands[0]]);
    let special = demands.map(|demand| {
        demand.together || demand.rules.spot.is_some() || !demand.rules.spread.is_empty()
    });
    special.collect()
}

impl Composing<'_> {
    /// Whole nodes near the optimum of the linear program: what is whole already is fixed, the
    /// largest parts are rounded up, and the rest is solved again, until everything has a seat.
    pub(super) fn dive(&mut self, rest: u32) -> Option<Vec<u32>> {
        let mut halfway = None;
        let mut left: Vec<u32> = self.form.groups.iter().map(|group| group.replicas).collect();
        let mut settled = vec![false; self.entries.len()];
        let mut used = vec![0.0; self.model.rows.len()];
        for round in 0..60 {
            if halfway.is_none() && left.iter().sum::<u32>() <= rest {
                halfway = Some(self.fixed.clone());
            }
            self.solve(3)?;
            if round > 0 {
                // Contents for what is left.
                for _ in 0..2 {
                    let trial = self.multipliers.clone();
                    let priced = self.price(&trial, &left, 4, KNAPSACK);
                    if self.let_in(priced, ENTER) == 0 {
                        break;
                    }
                    self.solve(3)?;
                }
            }
            settled.resize(self.entries.len(), false);
            let mut parts: Vec<(f64, usize, usize)> = Vec::new();
            let mut openers: Vec<(f64, usize)> = Vec::new();
            for (at, (entry, value)) in self.entries.iter().zip(&self.values).enumerate() {
                match entry {
                    Entry::Artificial(_) => {}
                    Entry::Other(column) => {
                        let is_open = self.model.columns[*column].integer && !settled[at];
                        if is_open && *value > 1e-6 {
                            openers.push((*value, at));
                        }
                    }
                    Entry::Pattern(index) => {
                        let over = value - f64::from(self.fixed[*index]);
                        if over > 1e-6 {
                            parts.push((over, at, *index));
                        }
                    }
                }
            }
            self.is_open = openers
                .iter()
                .map(|(_, at)| *at)
                .chain((0..settled.len()).filter(|at| settled[*at]))
                .filter_map(|at| match self.entries[at] {
                    Entry::Other(column) => Some(column),
                    _ => None,
                })
                .collect();
            // Which places are open is decided first, and then for all.
            openers.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            let many = openers.iter().filter(|(value, _)| *value > 0.5).count().max(1);
            for (_, at) in openers.into_iter().take(many) {
                let Entry::Other(column) = self.entries[at] else { continue };
                settled[at] = true;
                self.settled.insert(column);
                let upper = self.model.columns[column].upper;
                self.program.bounds(at, upper.min(1.0), upper);
            }
            parts.sort_by(|a, b| {
                let frac = |over: f64| if over >= 1.0 - 1e-6 { 2.0 } else { over };
                frac(b.0).total_cmp(&frac(a.0)).then(a.2.cmp(&b.2))
            });
            let least = parts.len().div_ceil(if halfway.is_none() { 12 } else { 5 });
            let mut up = 0;
            for (over, _, index) in parts {
                let mut more = (over + 1e-6).floor() as u32;
                let is_whole = more > 0;
                if !is_whole {
                    if up >= least && over < 0.8 {
                        break;
                    }
                    more = 1;
                }
                if !self.allowed(&self.patterns[index]) {
                    continue;
                }
                for _ in 0..more {
                    let mut pattern = self.patterns[index].clone();
                    for (group, count) in &mut pattern.counts {
                        *count = (*count).min(left[*group]);
                    }
                    pattern.counts.retain(|(_, count)| *count > 0);
                    if pattern.counts.is_empty() {
                        continue;
                    }
                    if !is_whole || pattern != self.patterns[index] {
                        pattern.place = self.home(&pattern, &used)?;
                    }
                    if !self.room(&pattern, &mut used) {
                        continue;
                    }
                    for (group, count) in &pattern.counts {
                        left[*group] -= count;
                    }
                    self.enter(pattern.clone());
                    let at = self.entry_of[&pattern];
                    let Entry::Pattern(index) = self.entries[at] else { continue };
                    self.fixed[index] += 1;
                    self.program.bounds(at, f64::from(self.fixed[index]), f64::INFINITY);
                    up += 1;
                }
            }
            if left.iter().all(|left| *left == 0) {
                break;
            }
            if up == 0 && round > 40 {
                return None;
            }
        }
        if left.iter().any(|left| *left > 0) {
            return None;
        }
        // What the dive ended with is where the integer program begins.
        let all = std::mem::replace(&mut self.fixed, halfway?);
        self.fixed.resize(all.len(), 0);
        Some(all)
    }

    /// Whether the limits have room for one more such node, which is then taken.
    fn room(&self, pattern: &Pattern, used: &mut [f64]) -> bool {
        let mut more: BTreeMap<usize, f64> = Default::default();
        for (column, count) in self.columns_of(pattern) {
            for (row, factor) in self.sparse.of(column) {
                if !self.model.rows[row].lazy && self.sense(row) == Sense::AtMost {
                    *more.entry(row).or_insert(0.0) += factor * count;
                }
            }
        }
        if more.iter().any(|(row, more)| used[*row] + more > self.model.rows[*row].right + 1e-6) {
            return false;
        }
        for (row, more) in more {
            used[row] += more;
        }
        true
    }

    /// Whether every group on it may be there, as far as is decided.
    fn allowed(&self, pattern: &Pattern) -> bool {
        let columns = self.columns_of(pattern);
        let mut gates = columns[1..].iter().filter_map(|(column, _)| self.gates.get(column));
        gates.all(|opener| self.settled.contains(opener))
    }

    /// The cheapest place for this content, as the multipliers see it.
    fn home(&self, pattern: &Pattern, used: &[f64]) -> Option<usize> {
        let mut needed = [0u64; 4];
        for &(group, count) in &pattern.counts {
            for (needed, size) in needed.iter_mut().zip(self.form.size(group)) {
                *needed += size * u64::from(count);
            }
        }
        let mut best: Option<(f64, usize)> = None;
        let (first, _) = *pattern.counts.first()?;
        for &(place, _) in &self.form.seats[first] {
            if needed.iter().zip(self.form.capacity(place)).any(|(needed, there)| *needed > there) {
                continue;
            }
            let there = |group: usize| {
                self.form.seats[group].binary_search_by_key(&place, |(place, _)| *place).is_ok()
            };
            if !pattern.counts.iter().all(|(group, _)| there(*group)) {
                continue;
            }
            let moved = Pattern { place, counts: pattern.counts.clone() };
            let mut cost = 0.0;
            for (column, count) in self.columns_of(&moved) {
                cost += self.cost[column] * count;
                for (row, factor) in self.sparse.of(column) {
                    if !self.is_filled[row] {
                        cost -= self.multipliers[row] * factor * count;
                    }
                }
            }
            if place != pattern.place {
                let site = self.form.site_of(place);
                let market = |place: usize| self.form.candidate(place).offering.market;
                let same = site == self.form.site_of(pattern.place)
                    && market(place) == market(pattern.place);
                if !same && pattern.counts.iter().any(|(group, _)| self.is_special[*group]) {
                    continue;
                }
                if !self.is_open.contains(&site) {
                    cost += self.cost[site];
                }
                if best.is_some_and(|best| best.0 <= cost) || !self.room(&moved, &mut used.to_vec())
                {
                    continue;
                }
            }
            if best.is_none_or(|best| cost < best.0 - 1e-9) {
                best = Some((cost, place));
            }
        }
        best.map(|(_, place)| place)
    }
}

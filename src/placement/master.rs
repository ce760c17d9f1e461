//! The integer program over whole nodes with known contents.

use std::collections::{BTreeMap, BTreeSet};

use super::compose::{Composed, Composing, Entry, NEARLY, Pattern, REST};
use super::model::{Effort, Model, Outcome, Sense};
use super::packing::Counts;
use crate::config::SpreadOver;
use crate::problem::Rule;

/// Up to this many columns the integer program is solved as well.
const MANY: usize = 6_000;
const EFFORT: Effort = Effort { gap: 1e-3, nodes: 50 };

impl Composing<'_> {
    /// Whole nodes for everything, in one or two ways; `is_sound` tells which of them keep every rule.
    pub fn whole(&mut self, is_sound: impl Fn(&Composed) -> bool) -> Vec<Composed> {
        let relaxed = (self.values.clone(), self.multipliers.clone());
        let all = self.dive(REST);
        (self.values, self.multipliers) = relaxed;
        let dived = all.as_ref().and_then(|counts| self.trimmed(counts));
        let dived = dived.filter(&is_sound);
        // The integer program grows faster than what it gains.
        let solved = match dived.is_none() || self.entries.len() <= MANY {
            true => self.master(EFFORT).and_then(|counts| self.trimmed(&counts)),
            false => None,
        };
        dived.into_iter().chain(solved.filter(is_sound)).collect()
    }

    /// Who has a seat too many gives it up where it is most alone.
    fn trimmed(&self, counts: &[u32]) -> Option<Composed> {
        let mut nodes: Vec<Pattern> = Vec::new();
        for (pattern, times) in self.patterns.iter().zip(counts) {
            nodes.extend((0..*times).map(|_| pattern.clone()));
        }
        let mut seated = vec![0; self.form.groups.len()];
        for (group, count) in nodes.iter().flat_map(|node| &node.counts) {
            seated[*group] += count;
        }
        for (group, seated) in seated.into_iter().enumerate() {
            let surplus = seated.checked_sub(self.form.groups[group].replicas)?;
            for _ in 0..surplus {
                let node = self.loneliest(&nodes, group)?;
                for (one, count) in &mut nodes[node].counts {
                    *count -= u32::from(*one == group);
                }
                nodes[node].counts.retain(|(_, count)| *count > 0);
            }
        }
        nodes.retain(|node| !node.counts.is_empty());
        self.spread(&mut nodes);
        Some(self.composed(&nodes))
    }

    /// Where a group is in fewer places than it must, replicas move to nodes of their own elsewhere, the
    /// cheapest that hold one.
    fn spread(&self, nodes: &mut Vec<Pattern>) {
        for limit in &self.form.problem.limits {
            let Rule::SpreadMin { demand, over, min } = limit.rule else { continue };
            let Some(group) = self.form.groups.iter().position(|one| one.demands == [demand])
            else {
                continue;
            };
            let part = |place: usize| {
                let candidate = self.form.candidate(place);
                match over {
                    SpreadOver::Cloud => candidate.offering.cloud.as_str(),
                    SpreadOver::Region | SpreadOver::Zone => candidate.site.as_str(),
                }
            };
            loop {
                let has = |node: &Pattern| node.counts.iter().any(|(one, _)| *one == group);
                let there: BTreeSet<&str> =
                    nodes.iter().filter(|node| has(node)).map(|node| part(node.place)).collect();
                if there.len() >= min as usize {
                    break;
                }
                let elsewhere = self.form.seats[group].iter().map(|(place, _)| *place);
                let elsewhere = elsewhere.filter(|place| !there.contains(part(*place)));
                // Nodes whose number is limited are left alone.
                let elsewhere = elsewhere
                    .filter(|place| self.form.candidate(*place).offering.max_nodes.is_none());
                let price = |place: usize| self.cost[self.form.nodes[place]];
                let Some(place) = elsewhere.min_by(|a, b| price(*a).total_cmp(&price(*b))) else {
                    return;
                };
                let Some(node) = self.loneliest(nodes, group) else { return };
                for (one, count) in &mut nodes[node].counts {
                    *count -= u32::from(*one == group);
                }
                nodes[node].counts.retain(|(_, count)| *count > 0);
                nodes.retain(|node| !node.counts.is_empty());
                nodes.push(Pattern { place, counts: vec![(group, 1)] });
            }
        }
    }

    /// The node with a replica of the group and little else; of a group with rules, in the cloud and at the
    /// site where it has most.
    fn loneliest(&self, nodes: &[Pattern], group: usize) -> Option<usize> {
        let has = |node: &Pattern| {
            node.counts.iter().find(|(one, _)| *one == group).map_or(0, |(_, count)| *count)
        };
        let mut by_cloud: BTreeMap<&str, u32> = BTreeMap::new();
        let mut by_site: BTreeMap<&str, u32> = BTreeMap::new();
        for node in nodes {
            let candidate = self.form.candidate(node.place);
            *by_cloud.entry(&candidate.offering.cloud).or_insert(0) += has(node);
            *by_site.entry(&candidate.site).or_insert(0) += has(node);
        }
        let crowd = |node: &Pattern| match self.is_special[group] {
            true => {
                let candidate = self.form.candidate(node.place);
                (by_cloud[candidate.offering.cloud.as_str()], by_site[candidate.site.as_str()])
            }
            false => (0, 0),
        };
        let size = |node: &Pattern| node.counts.iter().map(|(_, count)| count).sum::<u32>();
        let there = (0..nodes.len()).filter(|node| has(&nodes[*node]) > 0);
        there.min_by_key(|node| {
            (std::cmp::Reverse(crowd(&nodes[*node])), size(&nodes[*node]), *node)
        })
    }

    /// The best that whole nodes of the contents found so far can do, beside those that are fixed: by
    /// pattern, how many.
    fn master(&self, effort: Effort) -> Option<Vec<u32>> {
        let mut master = Model::default();
        let mut objective = Vec::new();
        let mut rows: BTreeMap<usize, (Vec<(usize, f64)>, f64)> = Default::default();
        let mut patterns = Vec::new();
        let is_site: BTreeSet<usize> = self.form.sites.iter().copied().collect();
        // A row that opens a site for one group, where it was not needed yet, is left to the sum of them.
        let together = |row: usize| {
            let last = self.model.rows[row].terms.last().map(|(column, _)| *column);
            last.filter(|column| {
                self.entries.len() > 8000 && self.row_at[row].is_none() && is_site.contains(column)
            })
        };
        for (at, entry) in self.entries.iter().enumerate() {
            let (columns, upper, integer, fixed) = match entry {
                Entry::Artificial(_) => continue,
                Entry::Other(column) => {
                    let column_ = self.model.columns[*column];
                    (vec![(*column, 1.0)], column_.upper, column_.integer, 0.0)
                }
                Entry::Pattern(index) => {
                    let columns = self.columns_of(&self.patterns[*index]);
                    let mut reduced = 0.0;
                    for (column, count) in &columns {
                        reduced +=
                            count * (self.cost[*column] - self.worth(*column, &self.multipliers));
                    }
                    let cost = self.cost_of(&self.patterns[*index]);
                    let fixed = f64::from(self.fixed[*index]);
                    let used = self.values.get(at).is_some_and(|value| *value > 1e-9);
                    if self.entries.len() > 2000 && fixed == 0.0 && !used && reduced > NEARLY * cost
                    {
                        continue;
                    }
                    patterns.push((*index, master.columns.len()));
                    (columns, 1000.0, true, fixed)
                }
            };
            let at = master.column(upper, integer);
            let mut cost = 0.0;
            let mut terms: BTreeMap<usize, f64> = Default::default();
            for (column, count) in columns {
                cost += self.cost[column] * count;
                for (row, factor) in self.sparse.of(column) {
                    *terms.entry(row).or_insert(0.0) += factor * count;
                }
            }
            objective.push(cost);
            for (row, factor) in terms {
                let row = rows.entry(row).or_default();
                row.0.push((at, factor));
                row.1 += factor * fixed;
            }
        }
        let mut sums: BTreeMap<usize, BTreeMap<usize, f64>> = Default::default();
        let mut fixed_sums: BTreeMap<usize, f64> = Default::default();
        for (row, (terms, fixed)) in rows {
            match together(row) {
                Some(site) => {
                    let sum = sums.entry(site).or_default();
                    for (at, factor) in terms {
                        *sum.entry(at).or_insert(0.0) += factor;
                    }
                    *fixed_sums.entry(site).or_insert(0.0) += fixed;
                }
                None => master.row(terms, self.sense(row), self.model.rows[row].right - fixed),
            }
        }
        for (site, terms) in sums {
            master.row(terms.into_iter().collect(), Sense::AtMost, -fixed_sums[&site]);
        }
        match master.minimise(&objective, None, effort) {
            Outcome::Solved { values, .. } => {
                let mut counts = self.fixed.clone();
                for (index, at) in &patterns {
                    counts[*index] += values[*at].round() as u32;
                }
                Some(counts)
            }
            Outcome::Infeasible | Outcome::Unsolved(_) => None,
        }
    }

    fn composed(&self, contents: &[Pattern]) -> Composed {
        let groups = self.form.groups.len();
        let mut nodes = vec![Vec::new(); self.form.kept.len()];
        let mut seats: Vec<Counts> =
            self.form.seats.iter().map(|seats| vec![0; seats.len()]).collect();
        for pattern in contents {
            let mut content = vec![0; groups];
            for &(group, count) in &pattern.counts {
                content[group] = count;
                let at = self.form.seats[group]
                    .binary_search_by_key(&pattern.place, |(place, _)| *place);
                seats[group][at.expect("a resident")] += count;
            }
            nodes[pattern.place].push(content);
        }
        Composed { bound: self.lowest, nodes, seats }
    }
}

//! What nodes are worth at given multipliers, and the bound that follows.
//!
//! **The bound.** Let `m` be multipliers of the rows, with the sign that the row's sense asks for. For every
//! solution `v`, `c·v ≥ m·b + (c − mA)·v` (Lagrange). The second part is a sum over nodes: a node of candidate *o*
//! that holds `a_g` replicas of group *g* adds `price_o − Σ a_g·value_g`, both at these multipliers. If no
//! content of any node is worth more than its node costs, that sum is not negative, and `m·b` is a bound. Where
//! the best content may be worth `bound_o > price_o`, every value there is brought down by the factor
//! `price_o / bound_o`: the multiplier of a group's own row falls by `value_g·(1 − factor)`, by the most of all
//! candidates. Lower multipliers of these rows make values lower everywhere, so afterwards no node
//! saves anything. Columns that are neither seats nor nodes count with `min(0, c − mA)·upper`. The solver's
//! tolerances are in none of it.

use super::compose::{Composing, Priced};
use super::knapsack::{self, Item};
use super::model::Sense;

impl Composing<'_> {
    /// What the best content of a node of each place would save, at these multipliers.
    pub(super) fn price(
        &mut self,
        multipliers: &[f64],
        most: &[u32],
        steps: u32,
        work: u32,
    ) -> Vec<Priced> {
        let mut priced = Vec::new();
        let mut items = Vec::new();
        for place in 0..self.form.kept.len() {
            let node = self.form.nodes[place];
            let price = self.cost[node] - self.worth(node, multipliers);
            items.clear();
            for &(group, column) in &self.residents[place] {
                let value = self.worth(column, multipliers) - self.cost[column];
                if value > 1e-9 && most[group] > 0 {
                    items.push(Item {
                        name: group,
                        value,
                        size: self.form.size(group),
                        most: most[group],
                    });
                }
            }
            if items.is_empty() {
                continue;
            }
            let capacity = self.form.capacity(place);
            let bound = knapsack::bound(&items, &capacity, &mut self.weights[place], steps);
            if bound <= price.max(0.0) {
                continue;
            }
            let filled = knapsack::fill(&items, &capacity, &self.weights[place], work);
            let mut counts = filled.counts;
            counts.sort_unstable();
            let bound = bound.min(filled.bound);
            priced.push(Priced { place, price, bound, value: filled.value, counts });
        }
        priced
    }

    pub(super) fn worth(&self, column: usize, multipliers: &[f64]) -> f64 {
        self.sparse.of(column).map(|(row, factor)| multipliers[row] * factor).sum()
    }

    /// By row: how much lower its multiplier has to be so that no node saves anything.
    pub(super) fn lowered(&self, multipliers: &[f64], priced: &[Priced]) -> Vec<f64> {
        let mut lowered = vec![0.0f64; self.model.rows.len()];
        for Priced { place, price, bound, .. } in priced {
            let factor = (price.max(0.0) / bound).min(1.0);
            if factor >= 1.0 {
                continue;
            }
            for &(group, column) in &self.residents[*place] {
                let value = self.worth(column, multipliers) - self.cost[column];
                if value > 0.0 {
                    let row = self.filled[group];
                    let each =
                        self.sparse.of(column).find(|(r, _)| *r == row).map_or(1.0, |(_, f)| f);
                    lowered[row] = lowered[row].max(value * (1.0 - factor) / each);
                }
            }
        }
        lowered
    }

    /// A lower bound on every placement.
    pub(super) fn lagrange(&self, multipliers: &[f64], priced: &[Priced]) -> f64 {
        let lowered = self.lowered(multipliers, priced);
        let mut bound = 0.0;
        for (index, row) in self.model.rows.iter().enumerate() {
            let multiplier = multipliers[index] - lowered[index];
            if multiplier < 0.0 && row.sense == Sense::AtLeast {
                return f64::NEG_INFINITY;
            }
            bound += multiplier * row.right;
        }
        for &column in &self.others {
            let reduced = self.cost[column] - self.worth(column, multipliers);
            bound += reduced.min(0.0) * self.model.columns[column].upper;
        }
        // A node that pays for being there would be rented as often as allowed.
        for &column in &self.form.nodes {
            let reduced = self.cost[column] - self.worth(column, multipliers);
            bound += reduced.min(0.0) * self.model.columns[column].upper;
        }
        bound
    }
}

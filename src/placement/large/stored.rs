//! Which models' weights are kept where, while replicas come and go.

use super::fill::Market;

pub(super) struct Copies {
    /// By model, by site: how many replicas need them there.
    needed: Vec<Vec<i64>>,
    /// What came to that, or went, since it was begun, as (model, site, replicas).
    turnover: Vec<(usize, usize, i64)>,
}

impl Copies {
    pub fn new(market: &Market) -> Copies {
        let scene = market.scene;
        let needed = vec![vec![0; scene.sites.len()]; scene.stored.len()];
        Copies { needed, turnover: Vec::new() }
    }

    /// From here on what comes and goes can be undone.
    pub fn begin(&mut self) {
        self.turnover.clear();
    }

    pub fn undo(&mut self) {
        for (model, site, replicas) in self.turnover.drain(..) {
            self.needed[model][site] -= replicas;
        }
    }

    /// What weights cost that a content brings to a site where nobody else needs them.
    pub fn come(&mut self, market: &Market, place: usize, content: &[(usize, u32)]) -> f64 {
        let cost = self.brought(market, place, content);
        self.turn(market, place, content, 1);
        cost
    }

    /// What weights cost that nobody else needs at a site that a content leaves.
    pub fn go(&mut self, market: &Market, place: usize, content: &[(usize, u32)]) -> f64 {
        self.turn(market, place, content, -1);
        self.brought(market, place, content)
    }

    /// What weights cost that a content would bring to a site.
    pub fn brought(&self, market: &Market, place: usize, content: &[(usize, u32)]) -> f64 {
        if self.needed.is_empty() {
            return 0.0;
        }
        let site = market.scene.places[place].site;
        let models = content.iter().filter_map(|(part, _)| market.parts[*part].stored);
        let mut models: Vec<usize> = models.filter(|one| self.needed[*one][site] == 0).collect();
        models.sort_unstable();
        models.dedup();
        models.into_iter().map(|model| market.scene.stored[model].by_site[site]).sum()
    }

    /// What all weights at a site cost.
    pub fn at(&self, market: &Market, site: usize) -> f64 {
        let models = self.needed.iter().zip(&market.scene.stored);
        models.filter(|(needed, _)| needed[site] > 0).map(|(_, stored)| stored.by_site[site]).sum()
    }

    fn turn(&mut self, market: &Market, place: usize, content: &[(usize, u32)], sign: i64) {
        let site = market.scene.places[place].site;
        for (part, count) in content {
            if let Some(model) = market.parts[*part].stored {
                let replicas = sign * i64::from(*count);
                self.needed[model][site] += replicas;
                self.turnover.push((model, site, replicas));
            }
        }
    }
}

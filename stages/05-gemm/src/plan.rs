//! Which configuration for which problem, and how its tiles are dealt.

use crate::config::{CONFIGS, Config};
use crate::problem::Problem;

/// How tiles are dealt to the workers. A worker is a cluster; it does a tile after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Every tile by one worker: nothing to add up, the last round may be all but empty.
    Whole,
    /// The tiles of the last round are cut along k into equal ranges, one a worker (stream-K).
    Tail,
    /// The tiles of the last two rounds are: longer ranges, so that fewer cuts fall within a tile.
    TwoRounds,
}

/// A configuration and how its tiles are dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plan {
    /// Tile sizes.
    pub config: Config,
    /// Who does which tiles.
    pub split: Split,
}

impl Plan {
    /// Workers of the launch on a GPU with `sms` multiprocessors, and the tiles that are not cut.
    pub fn deal(&self, problem: &Problem, sms: usize) -> (usize, usize) {
        let (tiles, steps) = self.config.tiles(problem);
        let most = (sms / self.config.cluster).max(1);
        match self.split {
            Split::Whole => (most.min(tiles), tiles),
            Split::Tail => (most.min(tiles * steps), tiles / most * most),
            Split::TwoRounds => (
                most.min(tiles * steps),
                (tiles / most).saturating_sub(1) * most,
            ),
        }
    }
}

impl Config {
    /// Tiles of the problem, counted in clusters, and k-steps of each.
    pub fn tiles(&self, problem: &Problem) -> (usize, usize) {
        let (p, q) = if self.swap {
            (problem.n, problem.m)
        } else {
            (problem.m, problem.n)
        };
        let tiles = p.div_ceil(self.bp * self.cluster) * q.div_ceil(self.bq);
        let steps = (problem.k * problem.element.bytes()).div_ceil(self.ks * 128);
        (tiles, steps)
    }

    /// Whether the problem leaves most of the tensor core's rows or columns empty where another configuration would not.
    fn wastes(&self, problem: &Problem) -> bool {
        match (self.swap, problem.m) {
            (true, m) => self.bq / 2 >= m.max(5) || self.bq * 4 < m.min(512),
            (false, m) => m <= 64,
        }
    }
}

/// All plans that make sense for the problem on a GPU with `sms` multiprocessors.
pub fn plans(problem: &Problem, sms: usize) -> Vec<Plan> {
    let mut found = Vec::new();
    for &config in CONFIGS.iter().filter(|config| !config.wastes(problem)) {
        let (tiles, _) = config.tiles(problem);
        let most = sms / config.cluster;
        found.push(Plan {
            config,
            split: Split::Whole,
        });
        if !tiles.is_multiple_of(most) {
            found.push(Plan {
                config,
                split: Split::Tail,
            });
            if tiles > most {
                found.push(Plan {
                    config,
                    split: Split::TwoRounds,
                });
            }
        }
    }
    found
}

/// The plan for the problem on a GPU with `sms` multiprocessors: what was measured best for this layer, at the next measured number of
/// tokens; for a layer that was not measured, the one that the cost model expects to be fastest.
pub fn plan(problem: &Problem, sms: usize) -> Plan {
    crate::tuned::find(problem).unwrap_or_else(|| {
        let all = plans(problem, sms).into_iter();
        let cost = |plan: &Plan| crate::cost::microseconds(problem, plan, sms);
        let best = all.min_by(|a, b| cost(a).total_cmp(&cost(b)));
        best.expect("some configuration suits every problem")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Element;

    #[test]
    fn every_problem_has_a_plan_that_covers_it() {
        for m in [1, 5, 8, 9, 31, 64, 65, 100, 128, 1000, 8192] {
            for (n, k) in [(8, 8), (4096, 4096), (2112, 7168), (32768, 512)] {
                let problem = Problem {
                    m,
                    n,
                    k,
                    element: Element::Bf16,
                };
                for plan in plans(&problem, 132) {
                    let (tiles, steps) = plan.config.tiles(&problem);
                    let (workers, whole) = plan.deal(&problem, 132);
                    assert!(workers >= 1 && workers * plan.config.cluster <= 132);
                    assert!(whole <= tiles && workers <= tiles * steps);
                }
                plan(&problem, 132);
            }
        }
    }
}

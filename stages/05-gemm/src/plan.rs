//! Which configuration for which problem.

use crate::config::{CONFIGS, Config};
use crate::problem::Problem;

/// A configuration and how its tiles are dealt to the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plan {
    /// Tile sizes.
    pub config: Config,
    /// Clusters that work.
    pub workers: usize,
    /// Tiles that one worker does alone; the k-steps of the others are cut into equal ranges.
    pub whole: usize,
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
}

/// All plans that make sense for the problem on a GPU with `sms` multiprocessors: each configuration with every tile done by one worker,
/// with the tiles of the last, partial wave shared, and with one full wave more shared.
pub fn plans(problem: &Problem, sms: usize) -> Vec<Plan> {
    let mut found = Vec::new();
    for &config in CONFIGS {
        // Columns of the instruction that no token fills are wasted; so are rows, where weights could have filled them.
        let wasteful = if config.swap {
            config.bq / 2 >= problem.m.max(5) || config.bq * 4 < problem.m.min(512)
        } else {
            problem.m <= 64
        };
        if wasteful {
            continue;
        }
        let (tiles, steps) = config.tiles(problem);
        let most = sms / config.cluster;
        let waves = tiles / most;
        let workers = most.min(tiles * steps);
        found.push(Plan {
            config,
            workers: most.min(tiles),
            whole: tiles,
        });
        if tiles % most != 0 {
            found.push(Plan {
                config,
                workers,
                whole: waves * most,
            });
            if waves > 0 {
                found.push(Plan {
                    config,
                    workers,
                    whole: (waves - 1) * most,
                });
            }
        }
    }
    found
}

/// The plan for the problem.
pub fn plan(problem: &Problem, sms: usize) -> Plan {
    let all = plans(problem, sms);
    all[0]
}

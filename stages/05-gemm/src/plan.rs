//! Which configuration for which problem, and how its tiles are dealt.

use crate::config::{CONFIGS, Config};
use crate::cost::{Machine, microseconds};
use crate::epilogue::Epilogue;
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

impl Split {
    /// How many of `tiles` are done whole where each of `workers` takes a tile a round.
    pub(crate) fn whole(self, tiles: usize, workers: usize) -> usize {
        match self {
            Self::Whole => tiles,
            Self::Tail => tiles / workers * workers,
            Self::TwoRounds => (tiles / workers).saturating_sub(1) * workers,
        }
    }
}

/// A configuration and how its tiles are dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Plan {
    /// Tile sizes.
    pub config: Config,
    /// Clusters that work.
    pub workers: usize,
    /// Tiles that one worker does alone; the k-steps of the others are cut into equal ranges.
    pub whole: usize,
}

impl Plan {
    /// Deals the tiles of `problem` on a GPU with `sms` multiprocessors.
    pub fn new(config: Config, split: Split, problem: &Problem, sms: usize) -> Self {
        let (tiles, steps) = config.tiles(problem);
        let most = config.most_workers(sms);
        let workers = match split {
            // Where the next launch begins beside this one, every multiprocessor gets a block: see `without_work` in stream_k.h.
            Split::Whole if config.occupancy > 1 => most,
            Split::Whole => most.min(tiles),
            Split::Tail | Split::TwoRounds => most.min(tiles * steps),
        };
        let whole = split.whole(tiles, most);
        Self {
            config,
            workers,
            whole,
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
        let tiles = p.div_ceil(self.bp * self.cluster) * q.div_ceil(self.bq * self.across);
        let steps = (problem.k * problem.element.bytes()).div_ceil(self.ks * 128);
        (tiles, steps)
    }

    /// Workers on a GPU with `sms` multiprocessors, a block on each.
    fn most_workers(&self, sms: usize) -> usize {
        (sms / self.blocks()).max(1)
    }

    /// The plans of this configuration: whole tiles only; where those leave the last round partial, also with it, or with the last two, cut.
    pub(crate) fn plans(&self, problem: &Problem, sms: usize) -> Vec<(Split, Plan)> {
        let (tiles, _) = self.tiles(problem);
        let most = self.most_workers(sms);
        let mut splits = vec![Split::Whole];
        if self.split == 1 && !tiles.is_multiple_of(most) {
            splits.push(Split::Tail);
            if tiles > most {
                splits.push(Split::TwoRounds);
            }
        }
        let deal = |split| (split, Plan::new(*self, split, problem, sms));
        splits.into_iter().map(deal).collect()
    }

    /// Whether each of the blocks that divide k has a step, and no cluster a second tile.
    fn divides(&self, problem: &Problem, sms: usize) -> bool {
        let (tiles, steps) = self.tiles(problem);
        self.split == 1 || (tiles <= self.most_workers(sms) && steps >= self.split)
    }

    /// Whether the problem leaves most of the tensor core's rows or columns empty where another configuration would not.
    fn wastes(&self, problem: &Problem) -> bool {
        match (self.swap, problem.m) {
            (true, m) => self.bq / 2 >= m.max(5) || self.bq * 4 < m.min(512),
            (false, m) => m <= self.bp / 2,
        }
    }
}

/// All plans that make sense for the problem on a GPU with `sms` multiprocessors, and how each came about.
pub fn plans(problem: &Problem, sms: usize) -> Vec<(Split, Plan)> {
    let suits = |config: &&Config| {
        config.suits(problem.element) && !config.wastes(problem) && config.divides(problem, sms)
    };
    let suiting = CONFIGS.iter().filter(suits);
    suiting
        .flat_map(|config| config.plans(problem, sms))
        .collect()
}

/// The plan for the problem on a GPU with `sms` multiprocessors: what was measured best for this layer, at the next measured number of
/// tokens; for a layer that was not measured, the one that the cost model expects to be fastest.
pub fn plan(problem: &Problem, sms: usize) -> Plan {
    plan_for(problem, Epilogue::None, sms)
}

/// [`plan`] for a product with an epilogue, which not every tile suits.
pub fn plan_for(problem: &Problem, epilogue: Epilogue, sms: usize) -> Plan {
    let tuned = crate::tuned::find(problem).filter(|(config, _)| epilogue.suits(config));
    if let Some((config, split)) = tuned {
        return Plan::new(config, split, problem, sms);
    }
    let machine = Machine {
        multiprocessors: sms,
        ..Machine::H200
    };
    let cost = |plan: &Plan| microseconds(problem, plan, &machine);
    let all = plans(problem, sms).into_iter().map(|(_, plan)| plan);
    let all = all.filter(|plan| epilogue.suits(&plan.config));
    let best = all.min_by(|a, b| cost(a).total_cmp(&cost(b)));
    best.expect("some configuration suits every problem")
}

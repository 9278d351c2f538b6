//! The configurations that the last step of the ladder, `kernels/gemm/k17_stream_k.cu`, is compiled in.

use crate::problem::Element;
use kernels::Values;

/// Sizes of a tile and of the ring that feeds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Config {
    /// Whether weights take the 64 rows of the tensor core's instruction and tokens its columns: for few tokens.
    pub swap: bool,
    /// Rows of the tall operand in a block's tile.
    pub bp: usize,
    /// Rows of the other operand in a tile.
    pub bq: usize,
    /// 128-byte columns of k in a stage of the ring.
    pub ks: usize,
    /// Stages of the ring.
    pub stages: usize,
    /// Blocks of a cluster along the tall operand; they share the other one's tile.
    pub cluster: usize,
    /// Blocks of a cluster along the other operand; they share the tall one's tile.
    pub across: usize,
    /// Blocks that a multiprocessor holds: 2 so that the next launch can begin while this one ends.
    pub occupancy: usize,
    /// Whether two warpgroups take whole tiles in turn, so that one multiplies while the other stores.
    pub turns: bool,
    /// Parts of k, each done by blocks of its own in a larger cluster, which add up through each other's shared memory. Beyond 1, a
    /// cluster does a single tile.
    pub split: usize,
    /// Stages' worth of weights, beyond the ring, that are brought as far as L2 before the launch ahead has ended.
    pub ahead: usize,
}

/// A configuration whose consumers share each tile.
pub(crate) const fn config(
    swap: bool,
    bp: usize,
    bq: usize,
    ks: usize,
    stages: usize,
    cluster: usize,
    occupancy: usize,
) -> Config {
    Config {
        swap,
        bp,
        bq,
        ks,
        stages,
        cluster,
        across: 1,
        occupancy,
        turns: false,
        split: 1,
        ahead: 0,
    }
}

const fn in_parts(split: usize, of: Config) -> Config {
    Config { split, ..of }
}

const fn in_turns(bp: usize, bq: usize, stages: usize, cluster: usize) -> Config {
    Config {
        turns: true,
        ..config(false, bp, bq, 1, stages, cluster, 1)
    }
}

const fn across(blocks: usize, of: Config) -> Config {
    Config {
        across: blocks,
        ..of
    }
}

const fn ahead(stages: usize, of: Config) -> Config {
    Config {
        ahead: stages,
        ..of
    }
}

/// All configurations that [`plan`](crate::plan) chooses from.
pub const CONFIGS: &[Config] = &[
    config(true, 64, 8, 2, 6, 1, 2),
    config(true, 64, 8, 4, 5, 1, 1),
    config(true, 64, 16, 4, 5, 1, 1),
    config(true, 64, 32, 4, 4, 1, 1),
    config(true, 64, 64, 2, 6, 1, 1),
    config(true, 64, 128, 1, 9, 1, 1),
    config(true, 64, 128, 1, 9, 2, 1),
    config(true, 128, 8, 2, 3, 1, 2),
    config(true, 128, 8, 2, 6, 1, 1),
    config(true, 128, 8, 4, 3, 1, 1),
    config(true, 128, 16, 1, 5, 1, 2),
    config(true, 128, 16, 4, 3, 1, 1),
    config(true, 128, 16, 2, 5, 1, 1),
    config(true, 128, 32, 2, 5, 1, 1),
    config(true, 128, 64, 2, 4, 1, 1),
    config(true, 128, 128, 1, 6, 1, 1),
    config(true, 128, 128, 1, 6, 2, 1),
    config(true, 128, 256, 1, 4, 1, 1),
    config(true, 128, 256, 1, 4, 2, 1),
    config(false, 64, 80, 1, 10, 2, 1),
    config(false, 64, 96, 1, 9, 2, 1),
    config(false, 64, 128, 1, 8, 2, 1),
    config(false, 64, 160, 1, 7, 2, 1),
    config(false, 128, 80, 1, 7, 1, 1),
    config(false, 128, 96, 1, 7, 1, 1),
    config(false, 128, 112, 1, 6, 1, 1),
    config(false, 128, 128, 1, 6, 1, 1),
    config(false, 128, 128, 1, 6, 2, 1),
    config(false, 128, 160, 1, 6, 1, 1),
    config(false, 128, 160, 1, 6, 2, 1),
    config(false, 128, 192, 1, 5, 1, 1),
    config(false, 128, 192, 1, 5, 2, 1),
    config(false, 128, 224, 1, 4, 1, 1),
    config(false, 128, 224, 1, 4, 2, 1),
    config(false, 128, 256, 1, 4, 1, 1),
    config(false, 128, 256, 1, 4, 2, 1),
    config(false, 128, 320, 1, 3, 2, 1),
    in_turns(64, 192, 6, 2),
    in_turns(64, 256, 5, 1),
    in_turns(64, 256, 5, 2),
    in_turns(128, 112, 6, 1),
    in_turns(128, 128, 6, 1),
    in_turns(128, 128, 6, 2),
    in_turns(128, 160, 5, 1),
    in_turns(128, 160, 5, 2),
    in_turns(128, 192, 5, 1),
    in_turns(128, 192, 5, 2),
    across(2, config(false, 128, 128, 1, 6, 1, 1)),
    across(2, config(false, 128, 160, 1, 6, 1, 1)),
    across(2, config(false, 128, 224, 1, 4, 1, 1)),
    across(2, config(true, 64, 64, 2, 6, 1, 1)),
    across(2, config(true, 64, 128, 1, 9, 1, 1)),
    across(2, in_turns(128, 128, 6, 1)),
    across(2, in_turns(128, 160, 5, 1)),
    across(2, in_turns(128, 192, 5, 1)),
    in_parts(2, config(true, 64, 8, 2, 6, 1, 2)),
    in_parts(4, config(true, 64, 8, 2, 6, 1, 2)),
    in_parts(2, config(true, 64, 16, 2, 5, 1, 2)),
    in_parts(2, config(true, 64, 32, 2, 4, 1, 2)),
    in_parts(2, config(true, 128, 32, 2, 5, 1, 1)),
    in_parts(2, config(true, 64, 64, 2, 6, 1, 1)),
    in_parts(2, config(true, 128, 64, 2, 4, 1, 1)),
    in_parts(2, config(true, 64, 128, 1, 9, 1, 1)),
    in_parts(2, config(true, 128, 128, 1, 6, 1, 1)),
    in_parts(2, config(true, 128, 128, 1, 6, 2, 1)),
    in_parts(2, config(true, 64, 256, 1, 5, 1, 1)),
    in_parts(2, config(false, 128, 96, 1, 7, 1, 1)),
    in_parts(2, config(false, 128, 128, 1, 6, 1, 1)),
    in_parts(2, config(false, 128, 128, 1, 6, 2, 1)),
    in_parts(2, config(false, 128, 160, 1, 6, 1, 1)),
    in_parts(2, config(false, 128, 256, 1, 4, 1, 1)),
    ahead(2, config(true, 64, 8, 2, 6, 1, 2)),
    ahead(2, config(true, 64, 8, 4, 5, 1, 1)),
    ahead(2, config(true, 64, 16, 2, 5, 1, 2)),
    ahead(2, config(true, 64, 16, 4, 5, 1, 1)),
    ahead(2, config(true, 64, 32, 2, 4, 1, 2)),
    ahead(2, config(true, 64, 32, 4, 4, 1, 1)),
    ahead(2, config(true, 64, 64, 2, 6, 1, 1)),
    ahead(2, config(true, 128, 8, 2, 6, 1, 1)),
    ahead(2, config(true, 128, 32, 2, 5, 1, 1)),
    ahead(2, config(true, 128, 64, 2, 4, 1, 1)),
    ahead(2, in_parts(2, config(true, 64, 8, 2, 6, 1, 2))),
    ahead(2, in_parts(2, config(true, 64, 64, 2, 6, 1, 1))),
];

impl Config {
    /// Rows of Q that a warp stores at a time.
    pub fn store_columns(&self) -> usize {
        let share = self.share();
        match (self.swap, self.occupancy) {
            (true, 1) => share.min(64),
            (true, _) => share.min(16),
            // Wide pieces take registers, and these have the most sums a thread.
            (false, 1) if share.is_multiple_of(64) && share * self.height() <= 256 => 64,
            (false, 1) if share.is_multiple_of(32) => 32,
            (false, _) => 16,
        }
    }

    /// Rows of Q of a tile that a block stores: all, or its share where blocks divide k.
    pub fn share(&self) -> usize {
        if self.bq / self.split >= 16 {
            self.bq / self.split
        } else {
            self.bq
        }
    }

    /// Whether the kernel fits into registers: int8's epilogue has two scales a sum, too many beside the sums of 128 rows.
    pub fn suits(&self, element: Element) -> bool {
        element != Element::Int8 || self.height() == 1
    }

    /// Blocks of a cluster.
    pub fn blocks(&self) -> usize {
        self.cluster * self.across * self.split
    }

    /// Warpgroups of a block that multiply.
    fn consumers(&self) -> usize {
        if self.turns { 2 } else { self.bp / 64 }
    }

    /// Blocks of 64 rows of a tile that each of them has.
    pub(crate) fn height(&self) -> usize {
        if self.turns { self.bp / 64 } else { 1 }
    }

    /// Shared memory of a block in bytes, as the kernel's metadata has it.
    pub fn shared_memory(&self) -> usize {
        1280 + self.stages * (self.bp + self.bq) * self.ks * 128
            + self.consumers() * 128 * self.store_columns()
    }

    /// The kernel's parameters.
    pub fn parameters(&self, element: Element) -> Values {
        let set = [
            ("BP", self.bp),
            ("BQ", self.bq),
            ("KS", self.ks),
            ("STAGES", self.stages),
            ("CL", self.cluster),
            ("CR", self.across),
            ("OCC", self.occupancy),
            ("SWAP", usize::from(self.swap)),
            ("CQ", self.store_columns()),
            ("EB", element.bytes()),
            ("TURNS", usize::from(self.turns)),
            ("KPARTS", self.split),
            ("PREFETCH", self.ahead),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value as i64));
        let mut values = Values::from(set);
        values.insert("TYPE".to_owned(), element.code());
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_memory_is_what_the_kernel_asks_for_and_what_the_chip_has() {
        for config in CONFIGS {
            let source =
                kernels::Source::load("gemm/k17_stream_k.cu", &config.parameters(Element::Bf16))
                    .unwrap();
            let (_, cluster, bytes) = source.metadata.block(&source.values).unwrap();
            assert_eq!(
                (bytes as usize, cluster as usize),
                (config.shared_memory(), config.blocks())
            );
            // 228 KB a multiprocessor, of which the system keeps 1 KB a block.
            assert!(
                config.occupancy * (config.shared_memory() + 1024) <= 228 * 1024,
                "{config:?}"
            );
        }
    }
}

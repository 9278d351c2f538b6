//! What an emulated kernel asked of memory.

use super::abi;
use std::fmt;

/// What one launch did, counted by the emulator on the host. **Emulated, not measured**: a GPU's caches, clocks and
/// compiler have no part in it, and no time can be read from it. What it does tell is exact and the same on every machine.
///
/// A warp instruction is one access in the source as the lanes of a warp execute it together. Its transactions are the sectors
/// of 32 bytes that it touches in global memory, or the wavefronts that it takes in shared memory: 32 banks of 4 bytes,
/// one word of each a wavefront, the same word for any number of lanes; 8 bytes a lane in two halves of the warp, 16 in four quarters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counts {
    /// Blocks of the grid.
    pub blocks: u64,
    /// Threads of a block.
    pub threads: u64,
    /// Loads from global memory.
    pub global_loads: Traffic,
    /// Stores to global memory.
    pub global_stores: Traffic,
    /// Loads from shared memory.
    pub shared_loads: Traffic,
    /// Stores to shared memory.
    pub shared_stores: Traffic,
    /// Block barriers, one for all threads of a block.
    pub barriers: u64,
    /// Warp barriers, one for all lanes of a warp.
    pub warp_barriers: u64,
    /// Shuffles, one for all lanes of a warp.
    pub shuffles: u64,
    /// The same traffic by access in the source, the most transactions first.
    pub sites: Vec<Site>,
}

/// Accesses of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Warp instructions.
    pub instructions: u64,
    /// Those of them in which some lanes idled that had not returned when the last block barrier opened: divergent branches,
    /// guards at an edge.
    pub partial: u64,
    /// Bytes that the lanes asked for, each lane's counted.
    pub bytes: u64,
    /// Sectors or wavefronts.
    pub transactions: u64,
    /// Sectors or wavefronts that the same bytes would have taken, lying together and free of conflicts.
    pub ideal: u64,
    /// Most transactions of one instruction.
    pub worst: u64,
}

/// One access in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The array's name in the kernel.
    pub array: String,
    /// The file, relative to `kernels/`.
    pub file: String,
    /// Line in that file.
    pub line: u32,
    /// Whether it is shared memory.
    pub shared: bool,
    /// Whether it writes.
    pub store: bool,
    /// What was done there.
    pub traffic: Traffic,
}

impl Traffic {
    /// Transactions beyond the ideal: for shared memory, its bank conflicts.
    pub fn excess(&self) -> u64 {
        self.transactions - self.ideal
    }

    fn add(&mut self, other: &Self) {
        self.instructions += other.instructions;
        self.partial += other.partial;
        self.bytes += other.bytes;
        self.transactions += other.transactions;
        self.ideal += other.ideal;
        self.worst = self.worst.max(other.worst);
    }
}

impl Counts {
    /// Bank conflicts: wavefronts of shared memory beyond those that the same bytes need.
    pub fn bank_conflicts(&self) -> u64 {
        self.shared_loads.excess() + self.shared_stores.excess()
    }

    /// Sectors that moved between global memory and the multiprocessors, were there no cache.
    pub fn sectors(&self) -> u64 {
        self.global_loads.transactions + self.global_stores.transactions
    }

    pub(super) fn read(report: &abi::Report, grid: [u32; 3], threads: u32) -> Self {
        let mut counts = Self {
            blocks: grid.iter().map(|size| u64::from(*size)).product(),
            threads: u64::from(threads),
            barriers: report.barriers,
            warp_barriers: report.warp_barriers,
            shuffles: report.shuffles,
            ..Self::default()
        };
        for raw in &report.sites[..report.site_count as usize] {
            let traffic = Traffic {
                instructions: raw.instructions,
                partial: raw.partial,
                bytes: raw.bytes,
                transactions: raw.transactions,
                ideal: raw.ideal,
                worst: raw.worst,
            };
            let total = match raw.kind {
                0 => &mut counts.global_loads,
                1 => &mut counts.global_stores,
                2 => &mut counts.shared_loads,
                _ => &mut counts.shared_stores,
            };
            total.add(&traffic);
            counts.sites.push(Site {
                array: abi::text(&raw.array),
                file: abi::text(&raw.file),
                line: raw.line as u32,
                shared: raw.kind >= 2,
                store: raw.kind % 2 == 1,
                traffic,
            });
        }
        let order = |site: &Site| std::cmp::Reverse(site.traffic.transactions);
        counts.sites.sort_by_key(order);
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "EMULATED on the host, not measured on a GPU: {} blocks of {} threads",
            self.blocks, self.threads
        )?;
        writeln!(
            to,
            "{} block barriers, {} warp barriers, {} shuffles, {} bank conflicts",
            self.barriers,
            self.warp_barriers,
            self.shuffles,
            self.bank_conflicts()
        )?;
        let head = (
            "access",
            "instructions",
            "partial",
            "bytes",
            "transactions",
            "ideal",
            "worst",
        );
        row(to, head.0, head.1, head.2, head.3, head.4, head.5, head.6)?;
        let totals = [
            ("global loads, in sectors", &self.global_loads),
            ("global stores, in sectors", &self.global_stores),
            ("shared loads, in wavefronts", &self.shared_loads),
            ("shared stores, in wavefronts", &self.shared_stores),
        ];
        for (name, traffic) in totals.iter().filter(|(_, t)| t.instructions > 0) {
            line(to, name, traffic)?;
        }
        for site in &self.sites {
            let verb = if site.store { "store" } else { "load" };
            let name = format!("  line {}: {verb} {}", site.line, site.array);
            line(to, &name, &site.traffic)?;
        }
        Ok(())
    }
}

fn line(to: &mut fmt::Formatter<'_>, name: &str, t: &Traffic) -> fmt::Result {
    row(
        to,
        name,
        t.instructions,
        t.partial,
        t.bytes,
        t.transactions,
        t.ideal,
        t.worst,
    )
}

fn row<T: fmt::Display>(
    to: &mut fmt::Formatter<'_>,
    name: &str,
    a: T,
    b: T,
    c: T,
    d: T,
    e: T,
    f: T,
) -> fmt::Result {
    writeln!(
        to,
        "{name:<32} {a:>12} {b:>10} {c:>14} {d:>12} {e:>12} {f:>6}"
    )
}

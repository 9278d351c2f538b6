//! How a product is cut into strips of rows, blocks of `k` and tasks of threads.
//!
//! The invariant: every strip meets every panel in exactly one task.

use super::panels::NR;
use super::tile::{K_BLOCK, X_STRIDE, height, span, tallest};
use std::ops::Range;

/// Strips in a group: with twelve rows each, a block of them fills half of an L2 cache of 1 MiB.
const GROUP_STRIPS: usize = 10;
/// Panels that a thread takes at a time, at most.
const GROUP_PANELS: usize = 8;
/// Multiply-adds below which a second thread costs more than it brings.
const SERIAL_WORK: usize = 128 * 1024;

/// The part of a product that is one task.
pub(super) struct Part {
    pub strips: Range<usize>,
    pub panels: Range<usize>,
}

/// How a product is cut up.
pub(super) struct Plan {
    pub rows: usize,
    pub n: usize,
    pub k: usize,
    /// Rows of all strips but the last.
    pub tall: usize,
    strips: usize,
    /// Rows of the last strip, padding included.
    last: usize,
    /// Rows of all strips.
    pub padded: usize,
    /// Steps of `k` that a tile goes at a time.
    pub block: usize,
    group_strips: usize,
    group_panels: usize,
    pub serial: bool,
}

impl Plan {
    /// For vectors of so many lanes.
    pub fn new(lanes: usize, rows: usize, n: usize, k: usize, threads: usize) -> Self {
        let tall = tallest(lanes);
        let strips = rows.div_ceil(tall);
        let last = height(rows - (strips - 1) * tall, lanes);
        let panels = n.div_ceil(NR);
        let serial = threads == 1 || rows * n * k < SERIAL_WORK;
        // Several tasks a thread, so that one that started late is not waited for; strips are parted where panels are too few.
        let wanted = if serial { 1 } else { threads * 4 };
        let across = span(if strips == 1 { last } else { tall }, lanes);
        let group_panels = panels
            .div_ceil(wanted)
            .next_multiple_of(across)
            .clamp(1, GROUP_PANELS.max(across));
        let row_groups = wanted
            .div_ceil(panels.div_ceil(group_panels))
            .max(strips.div_ceil(GROUP_STRIPS));
        let padded = (strips - 1) * tall + last;
        Self {
            rows,
            n,
            k,
            tall,
            strips,
            last,
            padded,
            block: if padded == 1 { k } else { K_BLOCK },
            group_strips: strips.div_ceil(row_groups.min(strips)),
            group_panels,
            serial,
        }
    }

    /// Rows of a strip, padding included.
    pub fn height(&self, strip: usize) -> usize {
        if strip + 1 == self.strips {
            self.last
        } else {
            self.tall
        }
    }

    fn row_groups(&self) -> usize {
        self.strips.div_ceil(self.group_strips)
    }

    /// Parts of the work.
    pub fn tasks(&self) -> usize {
        self.row_groups() * self.n.div_ceil(NR).div_ceil(self.group_panels)
    }

    /// Tasks that a thread takes at a time.
    pub fn chunk(&self) -> usize {
        if self.serial { self.tasks() } else { 1 }
    }

    /// What a task computes. Tasks that follow one another share panels, which are then still in L3.
    pub fn part(&self, task: usize) -> Part {
        // ANCHOR: solve-part
        let strip = task % self.row_groups() * self.group_strips;
        let panel = task / self.row_groups() * self.group_panels;
        Part {
            strips: strip..self.strips.min(strip + self.group_strips),
            panels: panel..self.n.div_ceil(NR).min(panel + self.group_panels),
        }
        // ANCHOR_END: solve-part
    }

    /// Elements of all packed rows.
    pub fn packed(&self) -> usize {
        self.at(0, self.k.max(1).next_multiple_of(K_BLOCK))
    }

    /// Where in the packed rows, `[k / K_BLOCK][row][X_STRIDE]`, the block lies that begins at `k` of the strip.
    pub fn at(&self, strip: usize, k: usize) -> usize {
        (k / K_BLOCK * self.padded + strip * self.tall) * X_STRIDE
    }
}

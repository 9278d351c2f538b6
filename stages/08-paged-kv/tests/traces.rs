//! The drawing of the chapter, made from a run: who holds which block, step by step.

use benches::trace::{Cell, Grid, check};
use paged_kv::{PageTable, PagedKv};

const BLOCKS: usize = 10;
const BLOCK_SIZE: usize = 4;
/// Colours of the drawing.
const LEGEND: [&str; 5] = [
    "held by A",
    "held by B",
    "held by C",
    "shared",
    "free, content kept",
];

struct Recorder {
    kv: PagedKv,
    tables: [Option<PageTable>; 3],
    /// Whether a block's content is full and indexed, by what was committed to it last.
    content: [bool; BLOCKS],
    columns: Vec<Vec<Option<Cell>>>,
}

impl Recorder {
    /// Stores `tokens` in the table of `who`, beginning with what is found stored.
    fn store(&mut self, who: usize, tokens: &[u32]) {
        let mut table = match self.tables[who].take() {
            Some(table) => table,
            None => self.kv.match_prefix(tokens, 0),
        };
        let before = table.blocks().to_vec();
        let missing = tokens.len() - table.len();
        self.kv.reserve(&mut table, missing).unwrap();
        for block in table
            .blocks()
            .iter()
            .filter(|block| !before.contains(block))
        {
            self.content[block.0 as usize] = false;
        }
        self.kv.commit(&mut table, tokens);
        for block in &table.blocks()[..tokens.len() / BLOCK_SIZE] {
            self.content[block.0 as usize] = true;
        }
        self.tables[who] = Some(table);
        self.look();
    }

    fn release(&mut self, who: usize) {
        let table = self.tables[who].take().unwrap();
        self.kv.release(table);
        self.look();
    }

    /// Draws a column.
    fn look(&mut self) {
        self.kv.check_tables(self.tables.iter().flatten());
        let cells: Vec<_> = (0..BLOCKS).map(|block| self.cell(block)).collect();
        let kept = cells
            .iter()
            .flatten()
            .filter(|cell| cell.class == 4)
            .count();
        assert_eq!(
            kept,
            self.kv.cached_blocks(),
            "the drawing and the cache agree on what is kept"
        );
        self.columns.push(cells);
    }

    fn cell(&self, block: usize) -> Option<Cell> {
        let holds = |table: &Option<PageTable>| {
            let table = table.as_ref()?;
            table
                .blocks()
                .iter()
                .position(|held| held.0 as usize == block)
        };
        let owners: Vec<_> = (0..3)
            .filter_map(|who| Some((who, holds(&self.tables[who])?)))
            .collect();
        match owners[..] {
            [] if self.content[block] => Cell::new(4, ""),
            [] => None,
            [(who, place)] => Cell::new(who, place),
            [(_, place), ..] => Cell::new(3, place),
        }
    }
}

#[test]
fn blocks_over_steps() {
    let mut run = Recorder {
        kv: PagedKv::new(BLOCKS, BLOCK_SIZE, true),
        tables: [None, None, None],
        content: [false; BLOCKS],
        columns: Vec::new(),
    };
    let text: Vec<u32> = (0..30).collect();
    let mut steps = vec!["A 6"];
    run.store(0, &text[..6]);
    steps.push("A 10");
    run.store(0, &text[..10]);
    // B answers the same prompt: a fork, whose first write parts the half full block.
    run.tables[1] = Some(run.kv.fork(run.tables[0].as_ref().unwrap()));
    run.look();
    steps.push("fork");
    run.store(1, &[&text[..10], &[90]].concat());
    steps.push("B 11");
    run.store(0, &text[..13]);
    steps.push("A 13");
    run.release(0);
    steps.push("A ends");
    // C asks about the same text: two blocks are held by B, one more is found stored.
    run.store(2, &[&text[..12], &[70, 71]].concat());
    steps.push("C 14");
    run.release(1);
    steps.push("B ends");
    run.release(2);
    steps.push("C ends");
    // Another text needs room: blocks without content go first, then what was used longest ago.
    run.store(0, &(500..526).collect::<Vec<_>>());
    steps.push("A 26");
    run.release(0);
    steps.push("A ends");
    assert!(run.kv.stats().copies == 1 && run.kv.stats().hit_tokens == 12);
    let grid = Grid {
        title: "Ten blocks of four tokens over time; the number in a cell is the block's place in its table".to_owned(),
        row_axis: "block".to_owned(),
        column_axis: "step".to_owned(),
        rows: (0..BLOCKS).map(|block| block.to_string()).collect(),
        columns: (1..=run.columns.len()).map(|step| step.to_string()).collect(),
        legend: LEGEND.map(str::to_owned).to_vec(),
        cells: (0..BLOCKS).map(|block| run.columns.iter().map(|column| column[block].clone()).collect()).collect(),
    };
    assert_eq!(steps.len(), grid.columns.len());
    check("08-blocks", &grid);
}

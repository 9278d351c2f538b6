//! The tuned table: the plans that were measured best, `tuned.csv`, written by `TUNE=FILE` of the bench `gemm`.

use crate::config::{CONFIGS, Config};
use crate::plan::Split;
use crate::problem::{Element, Problem};
use std::collections::BTreeMap;
use std::sync::OnceLock;

/// What was best, by layer (element, n, k), then by tokens.
type Table = BTreeMap<(Element, usize, usize), BTreeMap<usize, (Config, Split)>>;

/// What was best for the measured layer at the least measured number of tokens that is not below the problem's, or at the greatest.
pub(crate) fn find(problem: &Problem) -> Option<(Config, Split)> {
    static TABLE: OnceLock<Table> = OnceLock::new();
    let table = TABLE.get_or_init(|| match std::env::var("GEMM_TUNED") {
        // For a table that was written a moment ago by this very binary.
        Ok(path) => parse(&std::fs::read_to_string(path).expect("GEMM_TUNED names a table")),
        Err(_) => parse(include_str!("../tuned.csv")),
    });
    let layer = table.get(&(problem.element, problem.n, problem.k))?;
    let above = layer.range(problem.m..).next();
    above
        .or_else(|| layer.last_key_value())
        .map(|(_, best)| *best)
}

/// A line of the table.
pub fn line(problem: &Problem, config: &Config, split: Split) -> String {
    let Problem { m, n, k, element } = problem;
    let c = config;
    let swap = u8::from(c.swap);
    format!(
        "{element:?},{m},{n},{k},{split:?},{swap},{},{},{},{},{},{},{},{},{},{}",
        c.bp,
        c.bq,
        c.ks,
        c.stages,
        c.cluster,
        c.occupancy,
        u8::from(c.turns),
        c.split,
        c.ahead,
        c.across
    )
}

/// Lines that name no present configuration are passed over: the table outlives a configuration that was dropped.
fn parse(text: &str) -> Table {
    let mut table = Table::new();
    for fields in text.lines().map(|line| line.split(',').collect::<Vec<_>>()) {
        let [element, m, n, k, split, sizes @ ..] = &fields[..] else {
            continue;
        };
        let sizes: Vec<usize> = sizes.iter().filter_map(|size| size.parse().ok()).collect();
        let numbers: Vec<usize> = [m, n, k]
            .iter()
            .filter_map(|size| size.parse().ok())
            .collect();
        let (
            [m, n, k],
            [
                swap,
                bp,
                bq,
                ks,
                stages,
                cluster,
                occupancy,
                turns,
                parts,
                ahead,
                across,
            ],
        ) = (&numbers[..], &sizes[..])
        else {
            continue;
        };
        let config = Config {
            swap: *swap == 1,
            bp: *bp,
            bq: *bq,
            ks: *ks,
            stages: *stages,
            cluster: *cluster,
            occupancy: *occupancy,
            turns: *turns == 1,
            split: *parts,
            ahead: *ahead,
            across: *across,
        };
        let all = [Element::Bf16, Element::F16, Element::E4m3, Element::Int8];
        let element = all
            .into_iter()
            .find(|known| format!("{known:?}") == **element);
        let splits = [Split::Whole, Split::Tail, Split::TwoRounds];
        let split = splits
            .into_iter()
            .find(|known| format!("{known:?}") == **split);
        if let (Some(element), Some(split), true) = (element, split, CONFIGS.contains(&config)) {
            let layer = table.entry((element, *n, *k)).or_default();
            layer.insert(*m, (config, split));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_reads_back_and_answers_for_fewer_tokens() {
        let problem = |m| Problem {
            m,
            n: 4096,
            k: 1024,
            element: Element::E4m3,
        };
        let best = [(8, Split::Tail), (64, Split::Whole)].map(|(m, split)| {
            let config = *CONFIGS.iter().find(|config| config.bq == m).unwrap();
            (m, (config, split))
        });
        let text: String = best
            .iter()
            .map(|(m, (config, split))| line(&problem(*m), config, *split) + "\n")
            .collect();
        let table = parse(&text);
        let layer = &table[&(Element::E4m3, 4096, 1024)];
        assert_eq!(layer[&8], best[0].1);
        assert_eq!(layer.range(9..).next().unwrap().1, &best[1].1);
        assert!(parse("Bf16,1,8,8,Whole,1,3,3,3,3,3,3,0,1,1\nnonsense\n").is_empty());
    }
}

//! The tuned tables: the plans that were measured best. `TUNE=FILE` of the bench `gemm` writes `tuned.csv`, that of `fp8_block`
//! `tuned_block.csv`.

use crate::config::{CONFIGS, Config};
use crate::fp8_block::BLOCK_CONFIGS;
use crate::plan::Split;
use crate::problem::{Element, Problem};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What was best, by layer (element, n, k), then by tokens.
type Table = BTreeMap<(Element, usize, usize), BTreeMap<usize, (Config, Split)>>;

const TUNED: &str = include_str!("../tuned.csv");
const TUNED_BLOCK: &str = include_str!("../tuned_block.csv");

/// What was best for the measured layer at the least measured number of tokens that is not below the problem's, or at the greatest.
pub(crate) fn find(problem: &Problem) -> Option<(Config, Split)> {
    static TABLE: LazyLock<Table> = LazyLock::new(|| load("GEMM_TUNED", TUNED, CONFIGS));
    look_up(&TABLE, problem)
}

/// [`find`] for the GEMM with block scales.
pub(crate) fn find_block(problem: &Problem) -> Option<(Config, Split)> {
    static TABLE: LazyLock<Table> =
        LazyLock::new(|| load("GEMM_TUNED_BLOCK", TUNED_BLOCK, BLOCK_CONFIGS));
    look_up(&TABLE, problem)
}

/// The table in the file that `variable` names, for one that was written a moment ago by this very binary, else `text`.
fn load(variable: &str, text: &str, configs: &[Config]) -> Table {
    let Ok(path) = std::env::var(variable) else {
        return parse(text, configs);
    };
    let written = std::fs::read_to_string(path);
    let written = written.unwrap_or_else(|error| panic!("{variable} names no table: {error}"));
    parse(&written, configs)
}

fn look_up(table: &Table, problem: &Problem) -> Option<(Config, Split)> {
    let of = |element| table.get(&(element, problem.n, problem.k));
    let layer = of(problem.element).or_else(|| match problem.element {
        // As many bytes and as long in the tensor cores.
        Element::F16 => of(Element::Bf16),
        _ => None,
    })?;
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

/// Lines that name none of `configs` are passed over: the table outlives a configuration that was dropped.
fn parse(text: &str, configs: &[Config]) -> Table {
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
        if let (Some(element), Some(split), true) = (element, split, configs.contains(&config)) {
            let layer = table.entry((element, *n, *k)).or_default();
            layer.insert(*m, (config, split));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, block_plans, plans};

    fn problem(element: Element, m: usize) -> Problem {
        let (n, k) = (4096, 1024);
        Problem { m, n, k, element }
    }

    #[test]
    fn a_line_reads_back_and_answers_for_fewer_tokens() {
        let best = [(8, Split::Tail), (64, Split::Whole)].map(|(m, split)| {
            let config = *CONFIGS.iter().find(|config| config.bq == m).unwrap();
            (m, (config, split))
        });
        let text: String = best
            .iter()
            .map(|(m, (config, split))| line(&problem(Element::E4m3, *m), config, *split) + "\n")
            .collect();
        let table = parse(&text, CONFIGS);
        let found = |m| look_up(&table, &problem(Element::E4m3, m));
        assert_eq!(
            [8, 9, 64, 65].map(found),
            [0, 1, 1, 1].map(|i| Some(best[i].1))
        );
        assert!(parse("Bf16,1,8,8,Whole,1,3,3,3,3,3,3,0,1,1\nnonsense\n", CONFIGS).is_empty());
        assert!(parse(&text, &[]).is_empty());
    }

    #[test]
    fn f16_without_lines_of_its_own_takes_those_of_bf16() {
        let line = |element, split| line(&problem(element, 8), &CONFIGS[0], split) + "\n";
        let bf16 = line(Element::Bf16, Split::Tail);
        let both = bf16.clone() + &line(Element::F16, Split::Whole);
        let split = |text: &str, element| {
            look_up(&parse(text, CONFIGS), &problem(element, 8)).map(|(_, split)| split)
        };
        assert_eq!(split(&bf16, Element::F16), Some(Split::Tail));
        assert_eq!(split(&both, Element::F16), Some(Split::Whole));
        assert_eq!(split(&bf16, Element::E4m3), None);
    }

    /// No line of either file is passed over, and each names a plan that is offered for its problem.
    #[test]
    fn every_line_is_a_plan_of_its_problem() {
        type Plans = fn(&Problem, usize) -> Vec<(Split, Plan)>;
        let tables: [(&str, &[Config], Plans); 2] = [
            (TUNED, CONFIGS, plans),
            (TUNED_BLOCK, BLOCK_CONFIGS, block_plans),
        ];
        for (text, configs, offered) in tables {
            let table = parse(text, configs);
            let lines: usize = table.values().map(BTreeMap::len).sum();
            assert_eq!(lines, text.lines().count());
            for ((element, n, k), layer) in table {
                for (m, (config, split)) in layer {
                    let problem = Problem { m, n, k, element };
                    let plan = (split, Plan::new(config, split, &problem, 132));
                    assert!(
                        offered(&problem, 132).contains(&plan),
                        "{}",
                        line(&problem, &config, split)
                    );
                }
            }
        }
    }
}

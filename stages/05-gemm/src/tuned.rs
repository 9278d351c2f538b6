//! The tuned tables: what was measured best for a layer. `TUNE=FILE` of the bench `gemm` writes `tuned.csv`, that of `fp8_block`
//! `tuned_block.csv`, that of `w4` `tuned_w4.csv`.

use crate::config::{CONFIGS, Config};
use crate::fp8_block::BLOCK_CONFIGS;
use crate::plan::Split;
use crate::problem::{Element, Problem};
use crate::w4_plan::{W4Config, w4_builds};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What a line of a table names a kernel's build by.
pub(crate) trait Listed: Copy {
    /// The fields as numbers, which no other build shares.
    fn numbers(&self) -> Vec<usize>;
}

impl Listed for Config {
    fn numbers(&self) -> Vec<usize> {
        vec![
            usize::from(self.swap),
            self.bp,
            self.bq,
            self.ks,
            self.stages,
            self.cluster,
            self.occupancy,
            usize::from(self.turns),
            self.split,
            self.ahead,
            self.across,
        ]
    }
}

/// A configuration, and how many blocks each multiprocessor gets.
impl Listed for (W4Config, usize) {
    fn numbers(&self) -> Vec<usize> {
        let (config, beside) = *self;
        vec![
            config.strips,
            config.along,
            config.parts,
            config.tokens,
            config.occupancy,
            beside,
        ]
    }
}

/// What was best, by layer (element, n, k), then by tokens.
type Table<C> = BTreeMap<(Element, usize, usize), BTreeMap<usize, (C, Split)>>;

const TUNED: &str = include_str!("../tuned.csv");
const TUNED_BLOCK: &str = include_str!("../tuned_block.csv");
const TUNED_W4: &str = include_str!("../tuned_w4.csv");

/// What was best for the measured layer at the least measured number of tokens that is not below the problem's, or at the greatest.
pub(crate) fn find(problem: &Problem) -> Option<(Config, Split)> {
    static TABLE: LazyLock<Table<Config>> = LazyLock::new(|| load("GEMM_TUNED", TUNED, CONFIGS));
    look_up(&TABLE, problem)
}

/// [`find`] for the GEMM with block scales.
pub(crate) fn find_block(problem: &Problem) -> Option<(Config, Split)> {
    static TABLE: LazyLock<Table<Config>> =
        LazyLock::new(|| load("GEMM_TUNED_BLOCK", TUNED_BLOCK, BLOCK_CONFIGS));
    look_up(&TABLE, problem)
}

/// [`find`] for weights in 4 bits.
pub(crate) fn find_w4(problem: &Problem) -> Option<((W4Config, usize), Split)> {
    static TABLE: LazyLock<Table<(W4Config, usize)>> =
        LazyLock::new(|| load("GEMM_TUNED_W4", TUNED_W4, &w4_builds()));
    look_up(&TABLE, problem)
}

/// The table in the file that `variable` names, for one that was written a moment ago by this very binary, else `text`.
fn load<C: Listed>(variable: &str, text: &str, known: &[C]) -> Table<C> {
    let Ok(path) = std::env::var(variable) else {
        return parse(text, known);
    };
    let written = std::fs::read_to_string(path);
    let written = written.unwrap_or_else(|error| panic!("{variable} names no table: {error}"));
    parse(&written, known)
}

fn look_up<C: Copy>(table: &Table<C>, problem: &Problem) -> Option<(C, Split)> {
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

/// A line of the table for the bench `gemm`, or for `fp8_block`.
pub fn tuned_line(problem: &Problem, config: &Config, split: Split) -> String {
    line(problem, config, split)
}

pub(crate) fn line<C: Listed>(problem: &Problem, built: &C, split: Split) -> String {
    let Problem { m, n, k, element } = problem;
    let numbers: Vec<String> = built.numbers().iter().map(ToString::to_string).collect();
    format!("{element:?},{m},{n},{k},{split:?},{}", numbers.join(","))
}

/// Lines that name none of the `known` builds are passed over: the table outlives a configuration that was dropped.
fn parse<C: Listed>(text: &str, known: &[C]) -> Table<C> {
    let mut table = Table::new();
    for fields in text.lines().map(|line| line.split(',').collect::<Vec<_>>()) {
        let [element, m, n, k, split, built @ ..] = &fields[..] else {
            continue;
        };
        let numbers = |fields: &[&str]| -> Option<Vec<usize>> {
            fields.iter().map(|field| field.parse().ok()).collect()
        };
        let (Some(size), Some(built)) = (numbers(&[m, n, k]), numbers(built)) else {
            continue;
        };
        let all = [Element::Bf16, Element::F16, Element::E4m3, Element::Int8];
        let element = all
            .into_iter()
            .find(|known| format!("{known:?}") == **element);
        let splits = [Split::Whole, Split::Tail, Split::TwoRounds];
        let split = splits
            .into_iter()
            .find(|known| format!("{known:?}") == **split);
        let built = known.iter().find(|known| known.numbers() == built);
        if let (Some(element), Some(split), Some(built)) = (element, split, built) {
            let layer = table.entry((element, size[1], size[2])).or_default();
            layer.insert(size[0], (*built, split));
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Plan, W4Plan, block_plans, plans, w4_plans};

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
        assert!(parse::<Config>(&text, &[]).is_empty());
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

    /// No line of a file is passed over, and each names a plan that is offered for its problem.
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
    #[test]
    fn every_line_for_four_bits_is_a_plan_of_its_layer() {
        let table = parse(TUNED_W4, &w4_builds());
        let lines: usize = table.values().map(BTreeMap::len).sum();
        assert_eq!(lines, TUNED_W4.lines().count());
        for ((element, n, k), layer) in table {
            for (m, (built, split)) in layer {
                let problem = Problem { m, n, k, element };
                let offered = w4_plans(m, n, k, 132);
                let is = |plan: &W4Plan| ((plan.config, plan.beside), plan.split) == (built, split);
                assert!(offered.iter().any(is), "{}", line(&problem, &built, split));
            }
        }
    }
}

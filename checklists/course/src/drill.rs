//! The interview drill: a question, time to answer aloud, then the rubric with the proof of each point.

use crate::error::{Error, Result};
use crate::interview::{Question, questions};
use crate::workspace::Workspace;
use std::io::{BufRead, Write};
use std::time::{SystemTime, UNIX_EPOCH};

/// Asks the questions of one stage or of all, in a shuffled order that `seed` fixes, until they or the input end.
///
/// # Errors
/// If there is no question.
pub fn drill(
    workspace: &Workspace,
    number: Option<&str>,
    seed: Option<u64>,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> Result<()> {
    let stages = match number {
        Some(number) => vec![workspace.stage(number)?],
        None => workspace.stages()?,
    };
    let mut asked: Vec<(String, Question)> = Vec::new();
    for stage in &stages {
        let own = questions(workspace, stage)?;
        asked.extend(
            own.into_iter()
                .map(|question| (stage.number.clone(), question)),
        );
    }
    if asked.is_empty() {
        return Err(Error::new("there is no question of that stage"));
    }
    shuffle(&mut asked, seed.unwrap_or_else(now));
    let count = asked.len();
    for (index, (stage, question)) in asked.iter().enumerate() {
        let shown = ask(index + 1, count, stage, question, input, output);
        if !shown.map_err(Error::new)? {
            break;
        }
    }
    Ok(())
}

/// Asks one question; the answer is whether to go on.
fn ask(
    index: usize,
    count: usize,
    stage: &str,
    question: &Question,
    input: &mut impl BufRead,
    output: &mut impl Write,
) -> std::io::Result<bool> {
    writeln!(
        output,
        "\n[{index}/{count}] stage {stage}\n\n  {}\n\nAnswer aloud in ninety seconds; Enter shows the rubric, q ends.",
        question.question
    )?;
    if !wait(input)? {
        return Ok(false);
    }
    for point in &question.rubric {
        writeln!(output, "  [ ] {}\n      {}", point.point, point.proof)?;
    }
    writeln!(output, "\nThen they ask:")?;
    for follow_up in &question.follow_ups {
        writeln!(output, "  - {follow_up}")?;
    }
    writeln!(output, "\nEnter shows an answer, n goes on, q ends.")?;
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 || line.trim() == "q" {
        return Ok(false);
    }
    if line.trim() != "n" {
        writeln!(output, "\n{}", question.answer.trim())?;
        writeln!(output, "\nEnter goes on, q ends.")?;
        return wait(input);
    }
    Ok(true)
}

fn wait(input: &mut impl BufRead) -> std::io::Result<bool> {
    let mut line = String::new();
    Ok(input.read_line(&mut line)? > 0 && line.trim() != "q")
}

/// Fisher-Yates, driven by SplitMix64 (Steele, Lea and Flood, 2014).
fn shuffle<T>(items: &mut [T], mut state: u64) {
    for last in (1..items.len()).rev() {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        items.swap(last, ((mixed ^ (mixed >> 31)) % (last as u64 + 1)) as usize);
    }
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_nanos() as u64)
}

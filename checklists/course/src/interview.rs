//! Questions that an interviewer asks about a stage, from its `interview.toml`.

use crate::error::{Result, read_toml};
use crate::stage::Stage;
use crate::workspace::Workspace;
use serde::Deserialize;

/// One question with its answer and what a good answer must have.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// A name, unique in the stage.
    pub id: String,
    /// What is asked.
    pub question: String,
    /// What can be said in ninety seconds, in Markdown.
    pub answer: String,
    /// What is asked next.
    pub follow_ups: Vec<String>,
    /// The points of a good answer.
    pub rubric: Vec<Point>,
}

/// One point of a rubric.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    /// What is said.
    pub point: String,
    /// What shows it: a test id, or a section of a chapter.
    pub proof: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    question: Vec<Question>,
}

impl Point {
    /// Whether the proof is a section of a chapter, not a test.
    pub fn is_chapter(&self) -> bool {
        self.proof.contains(".md")
    }
}

/// The questions of a stage; none if it has no file of them.
///
/// # Errors
/// If the file does not fit the form.
pub fn questions(workspace: &Workspace, stage: &Stage) -> Result<Vec<Question>> {
    let path = workspace.root.join(&stage.folder).join("interview.toml");
    if !path.is_file() {
        return Ok(Vec::new());
    }
    Ok(read_toml::<File>(&path)?.question)
}

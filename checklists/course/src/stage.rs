//! A stage as the course sees it: tasks in order, each with its region, test target, hints and mutants.

use crate::error::{Error, Result, read, read_toml};
use crate::language::Language;
use crate::region::{Region, message, regions};
use crate::workspace::{Workspace, file_name, files};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A stage crate.
#[derive(Debug, Clone)]
pub struct Stage {
    /// Two digits.
    pub number: String,
    /// Folder relative to the checkout, `stages/08-paged-kv`.
    pub folder: PathBuf,
    /// Tasks in the order in which a learner meets them.
    pub tasks: Vec<Task>,
    /// What is wrong with the stage's exercises, a sentence each; empty on a sound stage.
    pub problems: Vec<String>,
}

/// One exercise.
#[derive(Debug, Clone)]
pub struct Task {
    /// Name of its region, after `solve-`.
    pub name: String,
    /// What the learner does, as an imperative.
    pub title: String,
    /// The test target that judges it.
    pub test: String,
    /// Graded hints, at least two.
    pub hints: Vec<String>,
    /// The file of its region, relative to the checkout.
    pub file: PathBuf,
    /// Plausible wrong solutions, at least two.
    pub mutants: Vec<Mutant>,
}

/// A plausible wrong solution: an edit of the reference that the task's tests must not let pass.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// The task whose region it edits.
    pub task: String,
    /// A name, unique in the stage.
    pub name: String,
    /// Text that occurs once in the region.
    pub find: String,
    /// What a mistaken reader would have written.
    pub replace: String,
    /// What goes wrong then, and for whom.
    pub effect: String,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Hints {
    /// Folders and files beside `src` that hold regions of the stage, relative to the checkout.
    #[serde(default)]
    sources: Vec<PathBuf>,
    #[serde(default)]
    task: Vec<TaskEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskEntry {
    name: String,
    test: String,
    title: String,
    hints: Vec<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Mutants {
    #[serde(default)]
    mutant: Vec<Mutant>,
}

impl Stage {
    /// Reads the stage in `folder`.
    ///
    /// # Errors
    /// If a file cannot be read. What is readable and unsound is listed in [`problems`](Self::problems).
    pub fn load(workspace: &Workspace, folder: &Path) -> Result<Self> {
        let number = file_name(folder).chars().take(2).collect();
        let hints: Hints = read_optional(&folder.join("hints.toml"))?.unwrap_or_default();
        let mutants: Mutants = read_optional(&folder.join("mutants.toml"))?.unwrap_or_default();
        let mut files_of = BTreeMap::new();
        let mut problems = Vec::new();
        let mut sources = files(&folder.join("src"), "rs");
        for source in &hints.sources {
            let found = source_files(&workspace.root.join(source));
            if found.is_empty() {
                problems.push(format!(
                    "hints.toml names {}, where there is no source",
                    source.display()
                ));
            }
            sources.extend(found);
        }
        for file in sources {
            let found = regions(&read(&file)?).map_err(|error| Error::at(&file, error))?;
            for region in found {
                let relative = file.strip_prefix(&workspace.root).unwrap_or(&file);
                if files_of
                    .insert(region.task.clone(), relative.to_path_buf())
                    .is_some()
                {
                    problems.push(format!("solve-{} stands twice", region.task));
                }
            }
        }
        let mut tasks = Vec::new();
        for entry in hints.task {
            let Some(file) = files_of.remove(&entry.name) else {
                problems.push(format!(
                    "hints.toml has task {}, but no source has the anchor solve-{0}",
                    entry.name
                ));
                continue;
            };
            let own = mutants
                .mutant
                .iter()
                .filter(|mutant| mutant.task == entry.name);
            tasks.push(Task {
                mutants: own.cloned().collect(),
                name: entry.name,
                title: entry.title,
                test: entry.test,
                hints: entry.hints,
                file,
            });
        }
        problems.extend(
            files_of
                .keys()
                .map(|task| format!("anchor solve-{task} has no task in hints.toml")),
        );
        for mutant in &mutants.mutant {
            if !tasks.iter().any(|task| task.name == mutant.task) {
                problems.push(format!(
                    "mutant {} is of an unknown task {}",
                    mutant.name, mutant.task
                ));
            }
        }
        let relative = folder.strip_prefix(&workspace.root).unwrap_or(folder);
        let mut stage = Self {
            number,
            folder: relative.to_path_buf(),
            tasks,
            problems: vec![],
        };
        problems.extend(stage.find_problems(workspace)?);
        stage.problems = problems
            .into_iter()
            .map(|problem| format!("stage {}: {problem}", stage.number))
            .collect();
        Ok(stage)
    }

    /// Its package, `stage-08`.
    pub fn package(&self) -> String {
        format!("stage-{}", self.number)
    }

    /// Its chapter, `08-paged-kv.md`.
    pub fn chapter(&self) -> String {
        format!("{}.md", file_name(&self.folder))
    }

    /// The task of that name.
    ///
    /// # Errors
    /// If the stage has none.
    pub fn task(&self, name: &str) -> Result<&Task> {
        let known: Vec<_> = self.tasks.iter().map(|task| task.name.as_str()).collect();
        let found = self.tasks.iter().find(|task| task.name == name);
        found.ok_or_else(|| {
            // A learner may have deleted the comments that mark the region.
            let anchor = format!("the anchor solve-{name}");
            let lost = self
                .problems
                .iter()
                .find(|problem| problem.ends_with(&anchor));
            lost.map(Error::new).unwrap_or_else(|| {
                let (number, known) = (&self.number, known.join(", "));
                Error(format!("stage {number} has no task {name}; it has {known}"))
            })
        })
    }

    fn find_problems(&self, workspace: &Workspace) -> Result<Vec<String>> {
        let mut problems = Vec::new();
        if self.tasks.len() < 4 {
            problems.push(format!(
                "{} tasks; a stage has at least four",
                self.tasks.len()
            ));
        }
        let targets: Vec<_> = self.tasks.iter().map(|task| &task.test).collect();
        if !targets.is_sorted_by(|a, b| a < b) {
            problems.push(
                "the tasks' test targets are not in the order of the tasks, one each".to_owned(),
            );
        }
        let mut names: Vec<_> = self
            .tasks
            .iter()
            .flat_map(|task| &task.mutants)
            .map(|mutant| &mutant.name)
            .collect();
        names.sort();
        problems.extend(
            names
                .windows(2)
                .filter(|pair| pair[0] == pair[1])
                .map(|pair| format!("two mutants are named {}", pair[0])),
        );
        for task in &self.tasks {
            let name = &task.name;
            let target = self.folder.join("tests").join(format!("{}.rs", task.test));
            if !workspace.root.join(&target).is_file() {
                problems.push(format!("task {name}: there is no {}", target.display()));
            }
            if task.hints.len() < 2 || task.hints.iter().any(|hint| hint.trim().is_empty()) {
                problems.push(format!("task {name}: fewer than two hints"));
            }
            if task.mutants.len() < 2 {
                problems.push(format!("task {name}: fewer than two mutants"));
            }
            let text = read(&workspace.root.join(&task.file))?;
            let region = Region::find(&text, name)?;
            if task.language() == Language::Kernel && region.is_in_macro(&text) {
                problems.push(format!("task {name}: the region is in a macro"));
            }
            if region.is_blank(&text, &self.number, task.language()) {
                continue;
            }
            let body = region.body(&text);
            if body.lines().filter(|line| !line.trim().is_empty()).count() < 2 {
                problems.push(format!(
                    "task {name}: the region is a single line, too little to be an idea"
                ));
            }
            for mutant in &task.mutants {
                let count = body.matches(&mutant.find).count();
                if count != 1 {
                    problems.push(format!(
                        "mutant {}: its text occurs {count} times in solve-{name}, not once",
                        mutant.name
                    ));
                }
                if mutant.find == mutant.replace {
                    problems.push(format!("mutant {} changes nothing", mutant.name));
                }
            }
        }
        Ok(problems)
    }
}

impl Workspace {
    /// All stages in the order of their numbers.
    ///
    /// # Errors
    /// If a stage's tasks cannot be read.
    pub fn stages(&self) -> Result<Vec<Stage>> {
        self.stage_folders()?
            .iter()
            .map(|folder| Stage::load(self, folder))
            .collect()
    }

    /// The stage of that number (`08` or `8`).
    ///
    /// # Errors
    /// If there is none, or its tasks cannot be read.
    pub fn stage(&self, number: &str) -> Result<Stage> {
        let number = format!("{number:0>2}");
        let folders = self.stage_folders()?;
        let found = folders.iter().find(|folder| {
            let name = file_name(folder);
            name.starts_with(&format!("{number}-"))
        });
        let known: Vec<_> = folders
            .iter()
            .map(|folder| file_name(folder)[..2].to_owned())
            .collect();
        let found = found.ok_or_else(|| {
            Error(format!(
                "there is no stage {number}; there are {}",
                known.join(", ")
            ))
        })?;
        Stage::load(self, found)
    }

    /// `stages/NN-topic`, in order.
    fn stage_folders(&self) -> Result<Vec<PathBuf>> {
        let stages = self.root.join("stages");
        let entries = stages
            .read_dir()
            .map_err(|error| Error::at(&stages, error))?;
        let mut folders: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join("Cargo.toml").is_file())
            .collect();
        folders.sort();
        Ok(folders)
    }
}

impl Task {
    /// What its region is written in.
    pub fn language(&self) -> Language {
        Language::of(&self.file)
    }

    /// What its test says as long as it is not solved.
    pub fn message(&self, stage: &Stage) -> String {
        message(&stage.number, &self.name)
    }

    /// Whether its region is blank in the checkout.
    ///
    /// # Errors
    /// If the file cannot be read or has lost the region.
    pub fn is_blank(&self, workspace: &Workspace, stage: &Stage) -> Result<bool> {
        let text = read(&workspace.root.join(&self.file))?;
        Ok(Region::find(&text, &self.name)?.is_blank(&text, &stage.number, self.language()))
    }
}

impl Mutant {
    /// `body` with the mistake in it.
    pub fn apply(&self, body: &str) -> String {
        body.replacen(&self.find, &self.replace, 1)
    }
}

/// The sources in a folder, or the one that the path names.
fn source_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let of = |ending: &&str| files(path, ending);
    Language::ENDINGS.iter().flat_map(of).collect()
}

fn read_optional<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.is_file() {
        read_toml(path).map(Some)
    } else {
        Ok(None)
    }
}

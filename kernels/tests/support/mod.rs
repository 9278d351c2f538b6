//! One compilation for an NVIDIA target, and the sentences on what is wrong with it.

// Each test target uses its part of this.
#![allow(dead_code)]

use kernels::{Cubin, Resources, Result, Sass, Source, Values, sources};
use std::path::Path;
use std::process::{Command, Output};

/// One compilation.
pub struct Case {
    /// `default`, or a variant that the metadata names.
    pub variant: String,
    /// The target, `sm_90a`.
    pub arch: String,
    /// The text, with the variant's parameters.
    pub source: Source,
}

impl Case {
    /// All of the tree.
    pub fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for path in sources() {
            let metadata = Source::load(path, &Values::new()).unwrap().metadata;
            for arch in metadata.archs.iter().filter(|arch| arch.starts_with("sm_")) {
                for (variant, values) in metadata.configurations() {
                    cases.push(Self {
                        variant,
                        arch: arch.clone(),
                        source: Source::load(path, &values).unwrap(),
                    });
                }
            }
        }
        cases
    }

    /// One of a text that is not in the tree.
    pub fn of(source: Source, arch: &str) -> Self {
        Self {
            variant: "default".to_owned(),
            arch: arch.to_owned(),
            source,
        }
    }

    /// File, variant and target: how sentences about it begin.
    pub fn name(&self) -> String {
        let path = &self.source.metadata.path;
        format!("{path} {} {}", self.variant, self.arch)
    }

    /// Compiles it, and says what is wrong with what comes out.
    pub fn examine(&self) -> Result<(Resources, Vec<String>)> {
        let cubin = Cubin::compile(&self.source, &self.arch)?;
        let metadata = &self.source.metadata;
        let found = cubin.resources();
        let mut wrong = Vec::new();
        if found.registers == 0 {
            wrong.push("the compiler's log says nothing of registers".to_owned());
        }
        if !metadata.spills && found.stack + found.spills > 0 {
            let Resources { stack, spills, .. } = found;
            wrong.push(format!(
                "a stack of {stack} bytes and {spills} bytes of spills, where the metadata has no `//@ spills: yes`"
            ));
        }
        // C7510 and its neighbours: products that should overlap wait for one another.
        let said = |line: &&str| line.contains("(C75") || line.contains("warning");
        wrong.extend(cubin.log.lines().filter(said).map(str::to_owned));
        wrong.extend(self.misfit(&found)?);
        if let Some(expected) = metadata.expect.get(&self.arch) {
            let sass = Sass::of(&cubin)?;
            for (mnemonic, least) in expected {
                let count = sass.count(mnemonic);
                if count < *least {
                    wrong.push(format!(
                        "{mnemonic} {count} times in the disassembly, {least} or more were expected"
                    ));
                }
            }
        }
        Ok((found, wrong))
    }

    /// Why a launch of it would be refused: a block has more threads, registers or shared memory than a multiprocessor can give it.
    fn misfit(&self, found: &Resources) -> Result<Vec<String>> {
        let (threads, _, dynamic) = self.source.metadata.block(&self.source.values)?;
        // Registers are dealt out to warps, in eights for each lane.
        let registers = found.registers.next_multiple_of(8) * threads.next_multiple_of(32) as usize;
        let shared = found.shared + dynamic as usize;
        // What a block may have of it: of 164 KiB on sm_80 and of 228 KiB since, less one that the system keeps.
        let most = if self.arch.starts_with("sm_8") {
            163
        } else {
            227
        } << 10;
        let limits = [
            ("threads", threads as usize, 1024),
            ("registers", registers, 65536),
            ("bytes of shared memory", shared, most),
        ];
        let over = limits.into_iter().filter(|(_, has, most)| has > most);
        Ok(over
            .map(|(what, has, most)| format!("a block of {has} {what}, {most} is the most"))
            .collect())
    }

    /// The sentences of [`Self::examine`], or the one of its error.
    pub fn complaints(&self) -> String {
        let wrong = match self.examine() {
            Ok((_, wrong)) => wrong,
            Err(error) => vec![error.to_string()],
        };
        let name = self.name();
        let lines = wrong.into_iter().map(|wrong| format!("{name}: {wrong}\n"));
        lines.collect()
    }
}

/// Runs a test of the calling target that is ignored by default in a process with other variables.
pub fn run(test: &str, variables: &[(&str, &Path)]) -> (bool, String) {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", test])
        .env_remove("CUDA_WHEELS");
    let command = command.envs(variables.iter().copied());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = [stdout, stderr].concat();
    (
        status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

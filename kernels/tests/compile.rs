//! What can be proved of the kernels for NVIDIA's GPUs with no such GPU: every file compiles, in every variant and for every `sm_` target
//! that its metadata names, into code that keeps all it holds in registers, multiplies without being serialised, uses the instructions
//! it is about, fits its launch, and takes what it took before.

use kernels::{Cubin, Resources, Result, Sass, Source, Values, nvrtc_version, sources};
use rayon::prelude::*;
use std::path::Path;
use std::process::{Command, Output};

/// One compilation.
struct Case {
    variant: String,
    arch: String,
    source: Source,
}

impl Case {
    /// All of the tree.
    fn all() -> Vec<Self> {
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
    fn of(source: Source, arch: &str) -> Self {
        Self {
            variant: "default".to_owned(),
            arch: arch.to_owned(),
            source,
        }
    }

    /// File, variant and target: how sentences about it begin.
    fn name(&self) -> String {
        let path = &self.source.metadata.path;
        format!("{path} {} {}", self.variant, self.arch)
    }

    /// Compiles it, and says what is wrong with what comes out.
    fn examine(&self) -> Result<(Resources, Vec<String>)> {
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
    fn complaints(&self) -> String {
        let wrong = match self.examine() {
            Ok((_, wrong)) => wrong,
            Err(error) => vec![error.to_string()],
        };
        let name = self.name();
        let lines = wrong.into_iter().map(|wrong| format!("{name}: {wrong}\n"));
        lines.collect()
    }
}

#[test]
#[ignore = "needs NVRTC"]
fn every_kernel_is_what_its_metadata_says() {
    nvrtc_version().unwrap_or_else(|error| panic!("{error}"));
    let cases = Case::all();
    let (mut wrong, mut rows) = (Vec::new(), String::new());
    let mut spilling = Vec::new();
    let examined: Vec<_> = cases.par_iter().map(|case| case.examine()).collect();
    for (case, examined) in cases.iter().zip(examined) {
        let name = case.name();
        match examined {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok((found, sentences)) => {
                wrong.extend(sentences.iter().map(|wrong| format!("{name}: {wrong}")));
                let (.., dynamic) = case.source.metadata.block(&case.source.values).unwrap();
                let Resources {
                    registers, shared, ..
                } = found;
                rows += &format!("{name} {registers} {shared} {dynamic}\n");
                if found.spills > 0 {
                    spilling.push(&case.source.metadata.path);
                }
            }
        }
    }
    for case in &cases {
        let metadata = &case.source.metadata;
        if metadata.spills && !spilling.contains(&&metadata.path) && case.variant == "default" {
            let name = case.name();
            wrong.push(format!("{name}: `//@ spills: yes`, but no variant does"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} compilations", cases.len());
    hold_to_snapshot(&rows);
}

/// Compares with `resources.txt`, or writes it where UPDATE_RESOURCES is set. Another compiler's numbers are not compared: it may choose
/// other registers for the same source.
fn hold_to_snapshot(rows: &str) {
    let empty = Source::load("micro/empty.cu", &Values::new()).unwrap();
    let cubin = Cubin::compile(&empty, "sm_90a").unwrap();
    let version = cubin.compiler().expect("an image names its compiler");
    let head = format!(
        "# NVRTC {version}: file, variant, target, registers, bytes of shared memory: static, dynamic\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources.txt");
    if std::env::var_os("UPDATE_RESOURCES").is_some() {
        std::fs::write(path, head + rows).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    if let Err(sentence) = compare(&kept, &(head + rows)) {
        panic!("{sentence}");
    }
}

fn compare(kept: &str, now: &str) -> std::result::Result<(), String> {
    let (head, rows) = now.split_once('\n').expect("there is a first line");
    let (kept_head, kept_rows) = kept.split_once('\n').unwrap_or_default();
    let again = "run this test again with UPDATE_RESOURCES=1 and read the difference";
    if head != kept_head {
        return Err(format!(
            "kernels/resources.txt begins with `{kept_head}`, this compiler's would with `{head}`: install that version, or {again}"
        ));
    }
    let missing = |from: &str, rows: &str| -> Vec<String> {
        let lines = rows
            .lines()
            .filter(|row| !from.lines().any(|line| line == *row));
        lines.map(str::to_owned).collect()
    };
    let (new, old) = (missing(kept_rows, rows), missing(rows, kept_rows));
    if new.is_empty() && old.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the compiler now gives {new:#?}, where kernels/resources.txt has {old:#?}; if that is meant, {again}"
    ))
}

#[test]
fn a_snapshot_differs_by_one_row_or_by_the_compiler() {
    let kept = "# 1\na 2\nb 3\n";
    assert!(compare(kept, kept).is_ok());
    for (now, word) in [
        ("# 1\na 2\nb 4\n", "b 4"),
        ("# 1\na 2\n", "b 3"),
        ("# 1\na 2\nb 3\nc 1\n", "c 1"),
        ("# 2\na 2\nb 3\n", "install that version"),
    ] {
        let said = compare(kept, now).unwrap_err();
        assert!(
            said.contains(word) && said.contains("UPDATE_RESOURCES=1"),
            "{said}"
        );
    }
    assert!(compare("", kept).is_err());
}

/// A kernel of the given body, whose first line is line 8 of `made_up.cu`.
fn made_up(metadata: &str, body: &str) -> Source {
    let text = format!(
        "//@ entry: made_up\n//@ arch: sm_90a\n//@ threads: 128\n//@ grid: 1\n//@ args: out\n{metadata}\n#include \"wgmma.h\"\n{body}\n"
    );
    Source::of_text("made_up.cu", &text, &Values::new()).unwrap()
}

#[test]
#[ignore = "needs NVRTC"]
fn spills_and_stacks_are_seen() {
    let fewer = Values::from([("REGISTERS".to_owned(), 32)]);
    let mut source = Source::load("micro/register_pressure.cu", &fewer).unwrap();
    assert_eq!(Case::of(source.clone(), "sm_90a").complaints(), "");
    source.metadata.spills = false;
    let said = Case::of(source, "sm_90a").complaints();
    let name = "micro/register_pressure.cu default sm_90a: a stack of ";
    assert!(
        said.starts_with(name) && !said.contains(" 0 bytes"),
        "{said}"
    );
    // An array indexed by what only the GPU knows has no registers: a stack and no spill.
    let body = "KERNEL void made_up(GLOBAL(int) out) { int own[64]; for (int i = 0; i < 64; ++i) own[out[i] & 63] = i; out[0] = own[out[1] & 63]; }";
    let said = Case::of(made_up("//", body), "sm_90a").complaints();
    assert!(
        said.contains("a stack of 256 bytes and 0 bytes of spills"),
        "{said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn a_serialised_wgmma_is_seen() {
    // The accumulators are changed between a product and the wait for it: the compiler must wait in between.
    let body = |between: &str| {
        format!(
            "KERNEL void made_up(GLOBAL(float) out, u64 a) {{ float d[4] = {{}}; wgmma_fence(); wgmma<8>(d, a, a, 1); {between} wgmma<8>(d, a, a, 1); wgmma_commit(); wgmma_wait<0>(); out[threadIdx.x] = d[0]; }}"
        )
    };
    let said = Case::of(made_up("//", &body("")), "sm_90a").complaints();
    assert_eq!(said, "");
    let said = Case::of(made_up("//", &body("d[1] *= out[0];")), "sm_90a").complaints();
    assert!(
        said.contains("(C75") && said.contains("serialized"),
        "{said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn an_instruction_that_is_not_there_is_missed() {
    let source = made_up(
        "//@ expect: sm_90a EXIT>=1 HGMMA>=2 STG>=1",
        "KERNEL void made_up(GLOBAL(int) out) { out[0] = 1; }",
    );
    let said = Case::of(source, "sm_90a").complaints();
    let expected =
        "made_up.cu default sm_90a: HGMMA 0 times in the disassembly, 2 or more were expected\n";
    assert_eq!(said, expected);
}

#[test]
#[ignore = "needs NVRTC"]
fn a_launch_that_does_not_fit_is_seen() {
    let mut source = Source::load("micro/empty.cu", &Values::new()).unwrap();
    source.metadata.smem = (227 * 1024 + 1).to_string();
    source.metadata.threads = "1056".to_owned();
    let said = Case::of(source, "sm_90a").complaints();
    assert!(said.contains("a block of 1056 threads"), "{said}");
    assert!(
        said.contains("a block of 232449 bytes of shared memory"),
        "{said}"
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    let mut source = Source::load("micro/register_pressure.cu", &Values::new()).unwrap();
    source.metadata.threads = "512".to_owned();
    let said = Case::of(source, "sm_90a").complaints();
    assert!(said.contains("a block of 86016 registers"), "{said}");
}

#[test]
#[ignore = "needs NVRTC"]
fn an_error_names_the_file_and_the_line() {
    let body = "KERNEL void made_up(GLOBAL(int) out) {\n    out[0] = nothing;\n}";
    let said = Case::of(made_up("//", body), "sm_90a").complaints();
    assert!(said.contains("made_up.cu(9): error"), "{said}");
    assert!(said.contains("does not compile for sm_90a"), "{said}");
    // In a header it is the header's line, wherever it was included.
    let said = Case::of(made_up("//@ param: wgmma_fence=1", body), "sm_90a").complaints();
    let header = kernels::read("include/sm90.h").unwrap();
    let line = header
        .lines()
        .position(|line| line.contains("wgmma_fence("));
    let place = format!("include/sm90.h({}): error", line.unwrap() + 1);
    assert!(
        said.contains(&place) && said.contains("made_up.cu(9)"),
        "{place}: {said}"
    );
}

#[test]
#[ignore = "needs NVRTC"]
fn another_generation_s_instructions_are_refused() {
    let source = Source::load("gemm/k17_stream_k.cu", &Values::new()).unwrap();
    for arch in ["sm_80", "sm_100a"] {
        let said = Case::of(source.clone(), arch).complaints();
        assert!(
            said.contains(&format!("does not compile for {arch}")),
            "{said}"
        );
        assert!(said.contains("not supported on .target"), "{said}");
    }
}

/// Runs a test of this file that is ignored by default in a process with other variables.
fn run(test: &str, variables: &[(&str, &Path)]) -> (bool, String) {
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

/// Without the compiler the tests above fail with a sentence that says what to install; they do not pass. Empty files under NVRTC's names
/// hide one that the system may have.
#[test]
fn a_missing_nvrtc_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", ".1", ".9", ".10", ".11", ".12", ".13"] {
        std::fs::write(folder.path().join(format!("libnvrtc.so{name}")), []).unwrap();
    }
    let (passed, said) = run(
        "every_kernel_is_what_its_metadata_says",
        &[("LD_LIBRARY_PATH", folder.path())],
    );
    assert!(!passed, "{said}");
    assert!(said.contains("NVRTC was not found"), "{said}");
    assert!(said.contains("pip install nvidia-cuda-nvrtc"), "{said}");
}

#[test]
#[ignore = "needs NVRTC"]
fn a_missing_nvdisasm_is_a_failure() {
    let mut variables = vec![("NVDISASM", Path::new("no-such-nvdisasm"))];
    let wheels = std::env::var_os("CUDA_WHEELS");
    if let Some(wheels) = &wheels {
        variables.push(("CUDA_WHEELS", Path::new(wheels)));
    }
    let (passed, said) = run("an_instruction_that_is_not_there_is_missed", &variables);
    assert!(!passed, "{said}");
    assert!(said.contains("no-such-nvdisasm cannot be run"), "{said}");
}

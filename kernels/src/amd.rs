//! The same sources to AMD code objects with clang alone, and what their disassembly shows.
//!
//! ROCm is not needed: `include/hip.h` gives the names that HIP's headers would, and nothing of the device library is called. No AMD GPU
//! is needed either, so what can be said of these kernels here is what the machine code shows: instructions, registers, spills.

use crate::cache::{Cache, scratch};
use crate::error::{Error, Result};
use crate::source::{Source, read};
use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// Machine code for one AMD architecture, and what the compiler said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmdObject {
    /// The ELF image that the driver loads.
    pub image: Vec<u8>,
    /// The compiler's warnings.
    pub log: String,
}

/// What a compiled kernel takes, from the code object's own notes: the largest of its kernels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AmdResources {
    /// Vector registers of a lane; on CDNA with the accumulation registers among them.
    pub vgprs: usize,
    /// Accumulation registers of a lane, which only CDNA has.
    pub agprs: usize,
    /// Scalar registers of a wave.
    pub sgprs: usize,
    /// Bytes of local data share of a block.
    pub lds: usize,
    /// Bytes of scratch memory of a lane; any means that an array has no fixed registers.
    pub scratch: usize,
    /// Registers spilled, vector and scalar.
    pub spills: usize,
    /// Lanes of a wave.
    pub wave: usize,
}

/// Compiler options of every kernel. The three on floating point are what NVRTC's `--use_fast_math` is: denormals flushed, division and
/// functions approximate, nothing assumed about infinities.
const OPTIONS: &[&str] = &[
    "--cuda-device-only",
    "--no-gpu-bundle-output",
    "-nogpuinc",
    "-nogpulib",
    "-std=c++17",
    "-O3",
    "-fgpu-flush-denormals-to-zero",
    "-fno-hip-fp32-correctly-rounded-divide-sqrt",
    "-fapprox-func",
    "-Wall",
    "-Wno-unused-function",
    "-Wno-pragma-once-outside-header",
];

/// Where `include/gpu.h` wants the names for HIP. Only here are they put in: the text that other compilers get, and with it the digest
/// that measurements are recorded under, does not change when they do.
const NAMES: &str = "# include \"hip.h\"\n";

impl AmdObject {
    /// Compiles `source` for `arch` (`gfx942`), or takes it from the cache.
    ///
    /// # Errors
    /// If clang is missing or refuses the source.
    pub fn of(source: &Source, arch: &str) -> Result<Self> {
        let names = read("include/hip.h")?;
        let key = source.digest(&[arch, &clang_version()?, &OPTIONS.join(" "), &names]);
        let cache = Cache::of("co");
        if let Some((image, log)) = cache.load(&key) {
            return Ok(Self { image, log });
        }
        let made = Self::compile(source, arch)?;
        // A cache that cannot be written costs time, not correctness.
        let _ = cache.store(&key, &made.image, &made.log);
        Ok(made)
    }

    /// Compiles `source` for `arch` with no look at the cache.
    ///
    /// # Errors
    /// If clang is missing or refuses the source.
    pub fn compile(source: &Source, arch: &str) -> Result<Self> {
        let (threads, ..) = source.metadata.block(&source.values)?;
        let made = scratch(&std::env::temp_dir(), "waveboost-co");
        // The size of a block decides how many registers a lane may have, and the metadata knows it.
        let own = [
            format!("--offload-arch={arch}"),
            format!("--gpu-max-threads-per-block={threads}"),
            format!("-o{}", made.display()),
        ];
        let own = own.iter().map(String::as_str);
        let options: Vec<_> = OPTIONS.iter().copied().chain(own).collect();
        let options = [&options[..], &["-c", "-xhip", "-"]].concat();
        let names = format!("#line 1 \"include/hip.h\"\n{}", read("include/hip.h")?);
        let text = source.text.replacen(NAMES, &names, 1);
        let outcome = run(Tool::Clang, &options, text.as_bytes());
        let image = std::fs::read(&made);
        let _ = std::fs::remove_file(&made);
        let outcome = outcome?;
        let log = String::from_utf8_lossy(&outcome.stderr).into_owned();
        match image {
            Ok(image) if outcome.status.success() => Ok(Self { image, log }),
            _ => Err(Error::Compile {
                path: source.metadata.path.clone(),
                arch: arch.to_owned(),
                log,
            }),
        }
    }

    /// Registers, memory and spills.
    ///
    /// # Errors
    /// If `llvm-readelf` is missing or finds no kernel.
    pub fn resources(&self) -> Result<AmdResources> {
        resources(&self.read(Tool::Readelf, &["--notes", "-"])?)
    }

    /// The machine code as text, one instruction a line.
    ///
    /// # Errors
    /// If `llvm-objdump` is missing or cannot read the image.
    pub fn disassembly(&self) -> Result<String> {
        self.read(Tool::Objdump, &["-d", "--no-show-raw-insn", "-"])
    }

    /// How many instructions have a mnemonic that begins with `prefix`.
    ///
    /// # Errors
    /// If `llvm-objdump` is missing or cannot read the image.
    pub fn count(&self, prefix: &str) -> Result<usize> {
        Ok(count(&self.disassembly()?, prefix))
    }

    fn read(&self, tool: Tool, options: &[&str]) -> Result<String> {
        let output = run(tool, options, &self.image)?;
        if !output.status.success() {
            return Err(Error::Program {
                program: tool.program().to_string_lossy().into_owned(),
                log: String::from_utf8_lossy(&output.stderr).into_owned(),
            });
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// What the compiler calls itself: `Debian clang version 22.1.8 (1~deb12u1)`.
///
/// # Errors
/// If it is not installed.
pub fn clang_version() -> Result<String> {
    let output = run(Tool::Clang, &["--version"], &[])?.stdout;
    let said = String::from_utf8_lossy(&output);
    Ok(said.lines().next().unwrap_or_default().to_owned())
}

/// Reads the notes: YAML, of which only `.key: number` lines are looked at. A code object without any kernel is an error.
fn resources(notes: &str) -> Result<AmdResources> {
    let most = |key: &str| {
        let values = notes.lines().filter_map(|line| {
            let line = line.trim_start_matches([' ', '-']);
            line.strip_prefix(key)?
                .strip_prefix(':')?
                .trim()
                .parse()
                .ok()
        });
        values.max()
    };
    let of = |key: &str| -> Result<usize> {
        most(key).ok_or_else(|| Error::Program {
            program: Tool::Readelf.program().to_string_lossy().into_owned(),
            log: format!("the code object's notes have no {key}:\n{notes}"),
        })
    };
    Ok(AmdResources {
        vgprs: of(".vgpr_count")?,
        // RDNA's notes do not name what RDNA does not have.
        agprs: most(".agpr_count").unwrap_or(0),
        sgprs: of(".sgpr_count")?,
        lds: of(".group_segment_fixed_size")?,
        scratch: of(".private_segment_fixed_size")?,
        spills: of(".vgpr_spill_count")? + of(".sgpr_spill_count")?,
        wave: of(".wavefront_size")?,
    })
}

/// Instructions are indented; labels and headings are not.
fn count(disassembly: &str, prefix: &str) -> usize {
    let instructions = disassembly.lines().filter(|line| line.starts_with('\t'));
    instructions
        .filter(|line| line.trim_start().starts_with(prefix))
        .count()
}

/// Programs of LLVM 22, by their Debian names; an environment variable names another.
#[derive(Clone, Copy)]
enum Tool {
    Clang,
    Readelf,
    Objdump,
}

impl Tool {
    fn program(self) -> OsString {
        let (variable, name) = match self {
            Self::Clang => ("CLANG", "clang-22"),
            Self::Readelf => ("LLVM_READELF", "llvm-readelf-22"),
            Self::Objdump => ("LLVM_OBJDUMP", "llvm-objdump-22"),
        };
        std::env::var_os(variable).unwrap_or_else(|| name.into())
    }
}

/// Runs a program on `input` to its end.
fn run(tool: Tool, options: &[&str], input: &[u8]) -> Result<Output> {
    let program = tool.program();
    let failed = |error: std::io::Error| Error::NoProgram {
        program: program.to_string_lossy().into_owned(),
        why: error.to_string(),
        install: "apt-get install clang-22 lld-22 llvm-22",
    };
    let mut command = Command::new(&program);
    command
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    std::thread::scope(|scope| {
        // Apart, since both pipes may fill. A program that stops reading says why on stderr; the broken pipe says nothing more.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().map_err(failed)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_and_instructions_are_read() {
        let notes = "  - .agpr_count:     8\n    .args:\n      - .offset: 0\n    .group_segment_fixed_size: 1024\n    .private_segment_fixed_size: 16\n    .sgpr_count:     18\n    .sgpr_spill_count: 1\n    .vgpr_count:     9\n    .vgpr_spill_count: 2\n    .wavefront_size: 64\n  - .vgpr_count: 30\n";
        let found = resources(notes).unwrap();
        let expected = AmdResources {
            vgprs: 30,
            agprs: 8,
            sgprs: 18,
            lds: 1024,
            scratch: 16,
            spills: 3,
            wave: 64,
        };
        assert_eq!(found, expected);
        let none = resources("amdhsa.kernels:  []\n").unwrap_err();
        assert!(none.to_string().contains(".vgpr_count"), "{none}");
        let text = "ds_read_b128:\n\tds_read_b128 v[0:3], v4 // 00: ds_read_b128\n\tds_read_b64 v[0:1], v4\n";
        assert_eq!(count(text, "ds_read_b128"), 1);
        assert_eq!(count(text, "ds_read"), 2);
    }
}

//! What a cubin's machine code shows: its instructions, as `nvdisasm` writes them.
//!
//! The program is one file of 6 MB that needs neither CUDA nor a GPU. It is taken from PyPI's wheels where `CUDA_WHEELS` names their
//! folder, and else from `PATH`; the environment variable `NVDISASM` names another.

use crate::cache::scratch;
use crate::error::{Error, Result};
use crate::nvrtc::Cubin;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The disassembly of a cubin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sass {
    text: String,
}

/// Letters by which a mnemonic tells the type of its operands: `HGMMA` is on 16-bit floats, `QGMMA` on 8-bit ones, `IGMMA` on integers.
const TYPES: &[char] = &['B', 'D', 'F', 'H', 'I', 'O', 'Q'];

impl Sass {
    /// Disassembles `cubin`.
    ///
    /// # Errors
    /// If `nvdisasm` is missing or cannot read the image.
    pub fn of(cubin: &Cubin) -> Result<Self> {
        Self::by(&program(), cubin)
    }

    fn by(program: &Path, cubin: &Cubin) -> Result<Self> {
        let image = scratch(&std::env::temp_dir(), "waveboost-cubin");
        std::fs::write(&image, &cubin.image).map_err(|error| Error::Io {
            path: image.clone(),
            error,
        })?;
        // Code sections alone; the data flow behind indirect branches would take longer than all else.
        let output = Command::new(program)
            .args(["-c", "-ndf"])
            .arg(&image)
            .output();
        let _ = std::fs::remove_file(&image);
        let program = program.display().to_string();
        let output = output.map_err(|error| Error::NoProgram {
            program: program.clone(),
            why: error.to_string(),
            install: "`pip install nvidia-cuda-nvdisasm` and set CUDA_WHEELS to the folder that holds `nvidia/`, or put CUDA's nvdisasm on PATH",
        })?;
        if !output.status.success() {
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            return Err(Error::Program { program, log });
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(Self { text })
    }

    /// All that the program wrote: labels, addresses, instructions.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The instructions in order, without their addresses: `@P0 LDG.E.128 R4, desc[UR4][R2.64] ;`.
    pub fn instructions(&self) -> impl Iterator<Item = &str> {
        self.text.lines().filter_map(|line| {
            let (address, rest) = line.trim_start().strip_prefix("/*")?.split_once("*/")?;
            let is_code = address.chars().all(|digit| digit.is_ascii_hexdigit());
            let rest = rest.trim();
            (is_code && !rest.starts_with('.')).then_some(rest)
        })
    }

    /// How many instructions have a mnemonic that begins with `prefix`, after one letter for the type of the operands or none.
    ///
    /// `LDG.E` is `LDG.E.128` and not `LDGSTS.E`, but `LDG` is both; `GMMA.64x` is `HGMMA.64x256x16`, `QGMMA.64x256x32` and
    /// `IGMMA.64x256x32`; `STS` is not `LDGSTS`. A predicate in front (`@!P0`) is passed over.
    pub fn count(&self, prefix: &str) -> usize {
        let is = |mnemonic: &str| {
            let untyped = mnemonic.strip_prefix(TYPES);
            mnemonic.starts_with(prefix) || untyped.is_some_and(|rest| rest.starts_with(prefix))
        };
        let mnemonics = self.instructions().filter_map(|instruction| {
            let mut words = instruction.split_whitespace();
            words.find(|word| !word.starts_with('@'))
        });
        mnemonics.filter(|mnemonic| is(mnemonic)).count()
    }
}

fn program() -> PathBuf {
    if let Some(program) = std::env::var_os("NVDISASM") {
        return program.into();
    }
    let wheels = std::env::var_os("CUDA_WHEELS").map(PathBuf::from);
    let wheels = wheels.map(|folder| folder.join("nvidia/cu13/bin/nvdisasm"));
    let found = wheels.filter(|program| program.is_file());
    found.unwrap_or_else(|| "nvdisasm".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_counted_by_the_start_of_their_mnemonic() {
        let text = "\t.target\tsm_90a\n.text.f:\n        /*0000*/                   LDC R1, c[0x0][0x28] ;\n        /*0010*/               @!P0 LDG.E.128 R4, desc[UR4][R2.64] ;\n        /*0020*/                   LDGSTS.E.128 [R5], desc[UR4][R2.64] ;\n.L_x_0:\n        /*0f50*/                   HGMMA.64x256x16.F32.BF16 R24, gdesc[UR8], R24, UP0 ;\n        /*0f60*/                   QGMMA.64x8x32.F32.E4M3.E4M3 R24, gdesc[UR8], R24 ;\n        /*0f70*/                   UMOV UR4, 0x400 ;\n        /*0f80*/                   .word 0x0\n        /*7bf0*/                   NOP;\n";
        let sass = Sass {
            text: text.to_owned(),
        };
        assert_eq!(sass.instructions().count(), 7);
        assert_eq!(sass.instructions().last(), Some("NOP;"));
        for (prefix, count) in [
            ("LDG", 2),
            ("LDG.E", 1),
            ("STS", 0),
            ("GMMA.64x", 2),
            ("HGMMA", 1),
            ("MOV", 0),
            ("R4", 0),
            ("NOP", 1),
        ] {
            assert_eq!(sass.count(prefix), count, "{prefix}");
        }
    }

    #[test]
    fn a_missing_program_is_one_clear_sentence() {
        let cubin = Cubin {
            image: Vec::new(),
            log: String::new(),
        };
        let error = Sass::by(Path::new("no-such-nvdisasm"), &cubin).unwrap_err();
        assert!(matches!(error, Error::NoProgram { .. }));
        let said = error.to_string();
        assert!(said.starts_with("no-such-nvdisasm cannot be run"), "{said}");
        assert!(said.contains("pip install nvidia-cuda-nvdisasm"), "{said}");
    }
}

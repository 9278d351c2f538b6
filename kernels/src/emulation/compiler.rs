//! A kernel's source to a library of the host, by the C++ compiler that is there, cached on disk.

use crate::cache;
use crate::error::{Error, Result};
use crate::source::{Source, read};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The emulator, and what a source includes that was not put together by [`Source::load`].
const HEADERS: &[&str] = &[
    "gpu.h",
    "emulation.h",
    "emulation_block.h",
    "emulation_device.h",
    "emulation_fiber.h",
    "emulation_memory.h",
    "emulation_report.h",
];

/// Names of one library stay its own (`-fvisibility`): several emulated kernels live in one process.
const OPTIONS: &[&str] = &[
    "-std=c++17",
    "-O2",
    "-fPIC",
    "-shared",
    "-pthread",
    "-fvisibility=hidden",
    "-Wno-unknown-pragmas",
];

/// A C++ compiler and what it says of itself.
#[derive(Debug, Clone)]
struct Compiler {
    program: OsString,
    version: String,
}

impl Compiler {
    /// The first of `candidates` that runs.
    fn among(candidates: &[OsString]) -> Result<Self> {
        let mut why = "none is named".to_owned();
        for program in candidates {
            match Command::new(program).arg("--version").output() {
                Ok(output) => {
                    return Ok(Self {
                        program: program.clone(),
                        version: String::from_utf8_lossy(&output.stdout).into_owned(),
                    });
                }
                Err(error) => why = error.to_string(),
            }
        }
        let names: Vec<_> = candidates
            .iter()
            .map(|name| name.to_string_lossy())
            .collect();
        Err(Error::NoProgram {
            program: names.join(", "),
            why,
            install: "install a C++17 compiler (Debian: g++) or set CXX to one; emulated kernels are compiled by it",
        })
    }

    /// `$CXX` alone if it is set, else the usual names.
    fn found() -> Result<&'static Self> {
        static FOUND: OnceLock<std::result::Result<Compiler, Vec<OsString>>> = OnceLock::new();
        let found = FOUND.get_or_init(|| {
            let candidates = match std::env::var_os("CXX") {
                Some(program) if !program.is_empty() => vec![program],
                _ => ["c++", "g++", "clang++"].map(OsString::from).to_vec(),
            };
            Self::among(&candidates).map_err(|_| candidates)
        });
        match found {
            Ok(compiler) => Ok(compiler),
            Err(candidates) => Err(Self::among(candidates).expect_err("it was not there before")),
        }
    }
}

/// The path of the library made of `source`.
pub fn library(source: &Source) -> Result<PathBuf> {
    let compiler = Compiler::found()?;
    let mut headers = Vec::new();
    for name in HEADERS {
        headers.push((*name, read(&format!("include/{name}"))?));
    }
    let options = OPTIONS.join(" ");
    let program = compiler.program.to_string_lossy();
    let mut parts = vec![
        &*program,
        &compiler.version,
        &options,
        &source.metadata.entry,
    ];
    parts.extend(headers.iter().map(|(_, text)| text.as_ref()));
    let key = source.digest(&parts);
    let folder = cache::folder("host");
    let made = folder.join(format!("{key}.so"));
    if made.is_file() {
        return Ok(made);
    }
    // A folder of this thread's own; what it makes is renamed, so that another process sees a whole library or none.
    let own = folder.join(format!(
        "{key}.{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    let outcome = compile(compiler, source, &headers, &own, &made);
    let _ = std::fs::remove_dir_all(&own);
    outcome.map(|()| made)
}

fn compile(
    compiler: &Compiler,
    source: &Source,
    headers: &[(&str, std::borrow::Cow<'_, str>)],
    folder: &Path,
    made: &Path,
) -> Result<()> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| Error::Io { path, error }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    for (name, text) in headers {
        // `#line` lets an access in a header be reported under the name that the tree has for it.
        let text = format!("#line 1 \"include/{name}\"\n{text}");
        std::fs::write(folder.join(name), text).map_err(io(folder))?;
    }
    let entry = format!("\nEMULATION_ENTRY({})\n", source.metadata.entry);
    std::fs::write(folder.join("kernel.cpp"), source.text.clone() + &entry).map_err(io(folder))?;
    let mut command = Command::new(&compiler.program);
    command
        .args(OPTIONS)
        .args(["-I.", "-o", "kernel.so", "kernel.cpp"]);
    let output = command.current_dir(folder).output().map_err(io(folder))?;
    if !output.status.success() {
        return Err(Error::Compile {
            path: source.metadata.path.clone(),
            arch: format!("host with {}", compiler.program.to_string_lossy()),
            log: String::from_utf8_lossy(&output.stderr).into_owned(),
        });
    }
    std::fs::rename(folder.join("kernel.so"), made).map_err(io(made))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_compiler_is_one_clear_sentence() {
        let error = Compiler::among(&["no-such-compiler".into()]).unwrap_err();
        assert!(matches!(error, Error::NoProgram { .. }));
        let text = error.to_string();
        assert!(
            text.contains("no-such-compiler") && text.contains("set CXX"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn the_list_of_headers_is_whole() {
        for name in HEADERS {
            for line in read(&format!("include/{name}")).unwrap().lines() {
                let line = line.replace("# include", "#include");
                let Some(name) = line.strip_prefix("#include \"") else {
                    continue;
                };
                // HIP's names are never read on the host.
                let name = name.trim_end_matches('"');
                assert!(name == "hip.h" || HEADERS.contains(&name), "{line}");
            }
        }
    }

    #[test]
    fn an_edit_of_the_emulator_leaves_the_digests_of_gpu_kernels() {
        let source = Source::load("gemm/k01_naive.cu", &crate::Values::new()).unwrap();
        assert!(source.text.contains("# include \"emulation.h\""));
        assert!(!source.text.contains("namespace emulation"));
    }
}

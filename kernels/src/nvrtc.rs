//! CUDA C++ to machine code with NVRTC, its log kept, the result cached on disk.
//!
//! cudarc's own wrapper stops at PTX and drops the log; the log holds the register counts and the warnings that a kernel's speed
//! hangs on, so the calls stand here.

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::source::Source;
use cudarc::nvrtc::sys;
use std::ffi::{CStr, CString, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Machine code for one architecture, and what the compiler said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cubin {
    /// The ELF image that the driver loads.
    pub image: Vec<u8>,
    /// Warnings and resource use, as `ptxas -v` prints them.
    pub log: String,
}

/// What a compiled kernel takes, read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Registers of a thread at entry.
    pub registers: usize,
    /// Bytes of shared memory of a block that the code itself declares; what a launch adds is not in it.
    pub shared: usize,
    /// Bytes of stack of a thread; any means that an array has no fixed registers.
    pub stack: usize,
    /// Bytes of spill stores and loads.
    pub spills: usize,
}

impl Cubin {
    /// Compiles `source` for `arch` (`sm_90a`), or takes it from the cache.
    ///
    /// # Errors
    /// If NVRTC is missing or refuses the source.
    pub fn of(source: &Source, arch: &str) -> Result<Self> {
        let version = version()?;
        let key = source.digest(&[arch, &version, &OPTIONS.join(" ")]);
        let cache = Cache::of("cubin");
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
    /// If NVRTC is missing or refuses the source.
    pub fn compile(source: &Source, arch: &str) -> Result<Self> {
        let include = library()?;
        let text = CString::new(source.text.as_str()).expect("a source has no zero byte");
        let name = CString::new(source.metadata.path.as_str()).expect("a path has no zero byte");
        let mut options = vec![format!("--gpu-architecture={arch}")];
        options.extend(OPTIONS.iter().map(|option| (*option).to_owned()));
        options.extend(include.iter().map(|path| format!("-I{}", path.display())));
        let options: Vec<_> = options
            .into_iter()
            .map(|option| CString::new(option).expect("an option has no zero byte"))
            .collect();
        let pointers: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program = std::ptr::null_mut();
        // SAFETY: all strings outlive the calls; the program is destroyed on every way out.
        unsafe {
            let (none, names) = (std::ptr::null(), std::ptr::null());
            check(sys::nvrtcCreateProgram(
                &mut program,
                text.as_ptr(),
                name.as_ptr(),
                0,
                none,
                names,
            ))?;
            let outcome =
                sys::nvrtcCompileProgram(program, pointers.len() as i32, pointers.as_ptr());
            let log = string(
                |size| sys::nvrtcGetProgramLogSize(program, size),
                |to| sys::nvrtcGetProgramLog(program, to),
            );
            let image = bytes(
                |size| sys::nvrtcGetCUBINSize(program, size),
                |to| sys::nvrtcGetCUBIN(program, to),
            );
            sys::nvrtcDestroyProgram(&mut program);
            if outcome != sys::nvrtcResult::NVRTC_SUCCESS {
                return Err(Error::Compile {
                    path: source.metadata.path.clone(),
                    arch: arch.to_owned(),
                    log: log?,
                });
            }
            Ok(Self {
                image: image?,
                log: log?,
            })
        }
    }

    /// What it takes, of each resource the most that a function of it does.
    pub fn resources(&self) -> Resources {
        Resources {
            registers: self.most("registers"),
            shared: self.most("bytes smem"),
            stack: self.most("bytes stack frame"),
            spills: self
                .most("bytes spill stores")
                .max(self.most("bytes spill loads")),
        }
    }

    /// The full version of the compiler, `13.0.88`, which it leaves as a note in the image.
    pub fn compiler(&self) -> Option<&str> {
        const BEFORE: &[u8] = b"Cuda compilation tools, release ";
        let mut windows = self.image.windows(BEFORE.len());
        let at = windows.position(|window| window == BEFORE)? + BEFORE.len();
        let note = CStr::from_bytes_until_nul(&self.image[at..]).ok()?;
        Some(note.to_str().ok()?.split_once(" V")?.1)
    }

    /// The largest `N` of all `N unit` in the log.
    fn most(&self, unit: &str) -> usize {
        let parts = self.log.lines().flat_map(|line| line.split(','));
        let numbers = parts.filter_map(|part| {
            // `ptxas info    : Used 58 registers`, `ptxas         .     696 bytes stack frame`: what stands before the number varies.
            let before = part.trim().strip_suffix(unit)?;
            before.split_whitespace().last()?.parse().ok()
        });
        numbers.max().unwrap_or(0)
    }
}

/// Compiler options of every kernel. `-v` is what writes registers and spills into the log.
const OPTIONS: &[&str] = &[
    "--std=c++17",
    "--ptxas-options=-v",
    "-default-device",
    "--use_fast_math",
];

/// NVRTC's version, `13.0`.
///
/// # Errors
/// If it is not installed.
pub fn version() -> Result<String> {
    library()?;
    let (mut major, mut minor) = (0, 0);
    // SAFETY: the library is loaded; both pointers are valid.
    unsafe { check(sys::nvrtcVersion(&mut major, &mut minor))? };
    Ok(format!("{major}.{minor}"))
}

/// Loads NVRTC and returns the folders of CUDA's headers.
fn library() -> Result<&'static [PathBuf]> {
    static LIBRARY: OnceLock<Option<Vec<PathBuf>>> = OnceLock::new();
    let found = LIBRARY.get_or_init(|| {
        let wheels =
            std::env::var_os("CUDA_WHEELS").map(|folder| PathBuf::from(folder).join("nvidia/cu13"));
        if let Some(root) = &wheels {
            preload(&root.join("lib"));
        }
        // SAFETY: looks for the library and runs its initialisers, which NVRTC's allow.
        if !unsafe { sys::is_culib_present() } {
            return None;
        }
        let system = std::env::var_os("CUDA_HOME")
            .map_or_else(|| PathBuf::from("/usr/local/cuda"), PathBuf::from);
        let folders = wheels
            .into_iter()
            .chain([system])
            .map(|root| root.join("include"));
        Some(folders.filter(|folder| folder.is_dir()).collect())
    });
    found.as_deref().ok_or(Error::NoNvrtc)
}

/// PyPI's wheels lie outside the loader's path: loaded once by their full names, they answer later to their bare ones.
fn preload(folder: &Path) {
    for prefix in ["libnvrtc-builtins.so", "libnvrtc.so"] {
        let entries = folder.read_dir().into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.path());
        let found = names.filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with(prefix))
        });
        for path in found {
            // SAFETY: NVIDIA's own libraries, whose initialisers have no conditions.
            if let Ok(library) = unsafe { libloading::Library::new(&path) } {
                std::mem::forget(library);
            }
        }
    }
}

fn check(result: sys::nvrtcResult) -> Result<()> {
    if result == sys::nvrtcResult::NVRTC_SUCCESS {
        return Ok(());
    }
    // SAFETY: NVRTC returns a static string for any code.
    let what = unsafe { CStr::from_ptr(sys::nvrtcGetErrorString(result)) };
    Err(Error::Driver {
        call: "NVRTC",
        what: what.to_string_lossy().into_owned(),
    })
}

fn bytes(
    size: impl FnOnce(*mut usize) -> sys::nvrtcResult,
    fill: impl FnOnce(*mut c_char) -> sys::nvrtcResult,
) -> Result<Vec<u8>> {
    let mut length = 0;
    check(size(&mut length))?;
    let mut bytes = vec![0_u8; length];
    check(fill(bytes.as_mut_ptr().cast()))?;
    Ok(bytes)
}

fn string(
    size: impl FnOnce(*mut usize) -> sys::nvrtcResult,
    fill: impl FnOnce(*mut c_char) -> sys::nvrtcResult,
) -> Result<String> {
    let bytes = bytes(size, fill)?;
    Ok(String::from_utf8_lossy(&bytes)
        .trim_end_matches('\0')
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_read() {
        // As ptxas 13.0.88 writes it, of two functions.
        let log = "ptxas info    : 0 bytes gmem\nptxas info    : Function properties for f\nptxas         .     696 bytes stack frame, 1312 bytes spill stores, 1308 bytes spill loads\nptxas info    : Used 32 registers, used 1 barriers, 696 bytes cumulative stack size\nptxas info    : Function properties for g\nptxas         .     0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\nptxas info    : Used 128 registers, used 1 barriers, 8448 bytes smem\n";
        let cubin = |image: &[u8], log: &str| Cubin {
            image: image.to_vec(),
            log: log.to_owned(),
        };
        let expected = Resources {
            registers: 128,
            shared: 8448,
            stack: 696,
            spills: 1312,
        };
        assert_eq!(cubin(&[], log).resources(), expected);
        let note = b"\x7fELF ptxas\0Cuda compilation tools, release 13.0, V13.0.88\0more\0";
        assert_eq!(cubin(note, "").compiler(), Some("13.0.88"));
        assert_eq!(cubin(b"\x7fELF", "").compiler(), None);
    }
}

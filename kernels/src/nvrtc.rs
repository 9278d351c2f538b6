//! CUDA C++ to machine code with NVRTC, its log kept, the result cached on disk.
//!
//! cudarc's own wrapper stops at PTX and drops the log; the log holds the register counts and the warnings that a kernel's speed
//! hangs on, so the calls stand here.

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

/// Registers, stack and spills of a compiled kernel, read from the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Registers of a thread at entry.
    pub registers: usize,
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
        let folder = cache_folder("cubin");
        if let Some(found) = Self::cached(&folder, &key) {
            return Ok(found);
        }
        let made = Self::compile(source, arch)?;
        // A cache that cannot be written costs time, not correctness.
        let _ = made.store(&folder, &key);
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

    /// Registers, stack and spills of the largest function.
    pub fn resources(&self) -> Resources {
        let most = |before: &str, after: &str| {
            let numbers = self.log.lines().flat_map(|line| {
                let mut words = line.split(',').map(str::trim);
                words.find_map(|part| {
                    part.split(before)
                        .nth(1)?
                        .split(after)
                        .next()?
                        .trim()
                        .parse()
                        .ok()
                })
            });
            numbers.max().unwrap_or(0)
        };
        let before = |suffix: &str| {
            let parts = self.log.lines().flat_map(|line| line.split(','));
            let numbers = parts.filter_map(|part| {
                part.trim()
                    .strip_suffix(suffix)?
                    .trim()
                    .parse::<usize>()
                    .ok()
            });
            numbers.max().unwrap_or(0)
        };
        Resources {
            registers: most("Used ", " registers"),
            stack: before("bytes stack frame"),
            spills: before("bytes spill stores").max(before("bytes spill loads")),
        }
    }

    fn cached(folder: &Path, key: &str) -> Option<Self> {
        let log = std::fs::read_to_string(folder.join(format!("{key}.log"))).ok()?;
        let image = std::fs::read(folder.join(format!("{key}.cubin"))).ok()?;
        Some(Self { image, log })
    }

    /// Written beside and renamed, image last: a process that starts meanwhile sees a whole entry or none.
    fn store(&self, folder: &Path, key: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(folder)?;
        for (suffix, content) in [("cubin", &self.image[..]), ("log", self.log.as_bytes())] {
            let partial = folder.join(format!(
                "{key}.{suffix}.{}-{:?}",
                std::process::id(),
                std::thread::current().id()
            ));
            std::fs::write(&partial, content)?;
            std::fs::rename(&partial, folder.join(format!("{key}.{suffix}")))?;
        }
        Ok(())
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

/// Where compiled kernels are kept: `WAVEBOOST_CACHE`, or `waveboost` in the user's cache folder.
pub(crate) fn cache_folder(kind: &str) -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    from("WAVEBOOST_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("waveboost")))
        .or_else(|| Some(from("HOME")?.join(".cache/waveboost")))
        .unwrap_or_else(|| std::env::temp_dir().join("waveboost"))
        .join(kind)
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

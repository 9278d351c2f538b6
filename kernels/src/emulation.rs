//! Kernels on the host: the same file, compiled by the C++ compiler against `include/emulation.h`, run with every access checked.
//!
//! For learners without a GPU, and for finding out why a kernel is wrong. What comes back as [`Counts`] is **emulated**: exact numbers
//! of instructions, sectors, wavefronts and bank conflicts by the rules that NVIDIA documents, and no word on time.
//!
//! Blocks run one after another and a thread runs until it comes to a barrier, so a kernel that waits in a loop for what another thread
//! or block will write never ends here.

mod abi;
mod argument;
mod compiler;
mod counts;
mod fault;

pub use argument::{Argument, HostElement};
pub use counts::{Counts, Site, Traffic};
pub use fault::{Element, Fault, FaultKind};

use crate::error::{Error, Result};
use crate::expression::Values;
use crate::metadata::Metadata;
use crate::source::Source;
use std::ffi::CString;

/// A kernel that was compiled for the host.
pub struct Emulated {
    metadata: Metadata,
    values: Values,
    threads: u32,
    run: abi::Run,
    /// Holds the code that `run` points to.
    _library: libloading::Library,
}

impl Emulated {
    /// Compiles the kernel in `path` with `changes` to its parameters, or takes it from the cache.
    ///
    /// # Errors
    /// If the file's `//@ arch:` does not list `host`, there is no C++ compiler, or it refuses the source.
    pub fn build(path: &str, changes: &Values) -> Result<Self> {
        Self::from_source(Source::load(path, changes)?)
    }

    /// Compiles a source that need not be one of this crate's files.
    ///
    /// # Errors
    /// As [`Emulated::build`].
    pub fn from_source(source: Source) -> Result<Self> {
        let refuse = |why: &str| Error::Launch {
            path: source.metadata.path.clone(),
            why: why.to_owned(),
        };
        if !source.metadata.archs.iter().any(|arch| arch == "host") {
            return Err(refuse(
                "it is not written for the emulator: its `//@ arch:` does not list host",
            ));
        }
        let (threads, cluster, smem) = source.metadata.block(&source.values)?;
        if cluster != 1 || smem != 0 || !source.metadata.maps.is_empty() {
            return Err(refuse(
                "the emulator has no clusters, no dynamic shared memory and no tensor maps",
            ));
        }
        if !(1..=1024).contains(&threads) {
            return Err(refuse(&format!(
                "a block has 1 to 1024 threads, not {threads}"
            )));
        }
        let path = compiler::library(&source)?;
        // SAFETY: the library was compiled from the emulator's headers and a kernel; its initialisers only build empty containers.
        let library = unsafe { libloading::Library::new(&path) }
            .map_err(|error| refuse(&format!("{} cannot be loaded: {error}", path.display())))?;
        // SAFETY: `EMULATION_ENTRY` defines the function with this signature.
        let run = unsafe { library.get::<abi::Run>(b"emulation_run") }
            .map(|run| *run)
            .map_err(|error| refuse(&format!("{} has no entry: {error}", path.display())))?;
        Ok(Self {
            metadata: source.metadata,
            values: source.values,
            threads,
            run,
            _library: library,
        })
    }

    /// What the kernel's file says of itself.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Runs the kernel over its whole grid and counts what it does.
    ///
    /// Launches of one kernel wait for each other; different kernels run side by side.
    ///
    /// # Errors
    /// If an argument is missing or of another type, or the kernel does one of the things that [`FaultKind`] lists. The arrays then hold
    /// what it had written so far.
    pub fn run(&self, arguments: &[Argument<'_>]) -> Result<Counts> {
        let refuse = |why: String| Error::Launch {
            path: self.metadata.path.clone(),
            why,
        };
        let mut values = self.values.clone();
        for argument in arguments {
            if !self
                .metadata
                .args
                .iter()
                .any(|name| name == argument.name())
            {
                return Err(refuse(format!(
                    "the kernel has no argument `{}`",
                    argument.name()
                )));
            }
            if let Some(value) = argument.value() {
                values.insert(argument.name().to_owned(), value);
            }
        }
        let names = self
            .metadata
            .args
            .iter()
            .map(|name| CString::new(name.as_str()));
        let names: Vec<CString> = names
            .map(|name| name.expect("a name has no zero byte"))
            .collect();
        let raw = self.metadata.args.iter().zip(&names).map(|(name, text)| {
            let mut found = arguments.iter().filter(|argument| argument.name() == name);
            match (found.next(), found.next()) {
                (Some(argument), None) => Ok(argument.raw(text)),
                (Some(_), Some(_)) => Err(refuse(format!("`{name}` was given twice"))),
                (None, _) => Err(refuse(format!("nothing was given for `{name}`"))),
            }
        });
        let raw = raw.collect::<Result<Vec<_>>>()?;
        let grid = self.metadata.blocks(&values)?;
        if grid.contains(&0) {
            return Err(refuse(format!("the grid is empty: {grid:?}")));
        }
        let request = abi::Request {
            grid,
            threads: self.threads,
            arguments: raw.as_ptr(),
            count: raw.len() as u64,
        };
        let mut report = abi::Report::empty();
        // SAFETY: names and arrays outlive the call, arrays that the kernel writes were lent as mutable, and the emulator checks every
        // index against the lengths given here.
        unsafe { (self.run)(&request, &mut *report) };
        match Fault::read(&report.fault) {
            None => Ok(Counts::read(&report, grid, self.threads)),
            Some(fault) => Err(Error::Emulation {
                path: self.metadata.path.clone(),
                fault: Box::new(fault),
            }),
        }
    }
}

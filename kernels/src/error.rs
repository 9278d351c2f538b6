//! What can go wrong between a kernel's source and its result, each with what to do about it.

use std::path::PathBuf;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No kernel file of that path.
    #[error("there is no kernel source {0}; kernels::sources() lists them")]
    UnknownSource(String),
    /// A `//@` line cannot be read.
    #[error("{path}:{line}: {why}")]
    Metadata {
        /// The kernel's file, relative to `kernels/`.
        path: String,
        /// Line in that file, from 1.
        line: usize,
        /// What does not fit.
        why: String,
    },
    /// An expression of the launch metadata names something that has no value, or divides by zero.
    #[error("{0}")]
    Expression(String),
    /// The library that turns CUDA C++ into machine code is not installed.
    #[error(
        "NVRTC was not found. Install CUDA 13, or `pip install nvidia-cuda-nvrtc nvidia-cuda-runtime nvidia-cuda-crt` and set CUDA_WHEELS to the folder that holds `nvidia/`"
    )]
    NoNvrtc,
    /// The driver's library is not there.
    #[error(
        "no CUDA driver was found (libcuda.so.1). An NVIDIA GPU with driver 580 or newer runs these kernels; without one, they can be compiled and emulated"
    )]
    NoDriver,
    /// The compiler refused the source.
    #[error("{path} does not compile for {arch}:\n{log}")]
    Compile {
        /// The kernel's file.
        path: String,
        /// The target.
        arch: String,
        /// The compiler's log.
        log: String,
    },
    /// The driver refused a call.
    #[error("{call}: {what}")]
    Driver {
        /// What was being done.
        call: &'static str,
        /// The driver's own words.
        what: String,
    },
    /// A launch lacks a value, or a value does not fit.
    #[error("{path}: {why}")]
    Launch {
        /// The kernel's file.
        path: String,
        /// What is missing or does not fit.
        why: String,
    },
    /// A program that checks or builds kernels cannot be run.
    #[error("{program} cannot be run ({why}); {install}")]
    NoProgram {
        /// The program.
        program: String,
        /// What the system said.
        why: String,
        /// How to get it.
        install: &'static str,
    },
    /// A program ran, but not to its end.
    #[error("{program} failed: {log}")]
    Program {
        /// The program.
        program: String,
        /// What it said.
        log: String,
    },
    /// An emulated kernel did what it must not.
    #[error("{path}, emulated on the host: {fault}")]
    Emulation {
        /// The kernel's file.
        path: String,
        /// What and where.
        fault: Box<crate::emulation::Fault>,
    },
    /// A file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
}

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

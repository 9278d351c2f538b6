//! WaveBoost's GPU kernels, and the thin layer between them and a GPU.
//!
//! The kernels lie beside this crate's `src/`, by operation, one step of a ladder a file. Each file says once, in `//@` lines, how it
//! is compiled and launched ([`Metadata`]). [`Source`] puts a file, its headers and its parameters together; [`Cubin`] compiles it with
//! NVRTC, keeps the compiler's log and caches the result; [`Sass`] is its disassembly; [`Kernel`] loads it and launches it with arguments by name. [`Emulated`] runs
//! the same files on the host, checks every access and counts what it would ask of a GPU's memory. Nothing here
//! needs CUDA to be built: the libraries are found when they are first used, and what is missing is said in a sentence.

mod amd;
mod cache;
mod device;
mod emulation;
mod error;
mod expression;
mod launch;
mod metadata;
mod nvrtc;
mod sass;
mod source;
mod tensor_map;

pub use amd::{AmdObject, AmdResources, clang_version};
pub use device::{Buffer, Device, Event, Graph, Plain};
pub use emulation::{
    Argument, Counts, Element, Emulated, Fault, FaultKind, HostElement, Site, Traffic,
};
pub use error::{Error, Result};
pub use expression::{Values, evaluate};
pub use launch::{Arguments, Kernel, Launch};
pub use metadata::{Map, Metadata};
pub use nvrtc::{Cubin, Resources, version as nvrtc_version};
pub use sass::Sass;
pub use source::{Source, read, sources};

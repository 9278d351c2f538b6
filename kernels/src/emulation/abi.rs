//! What passes between Rust and the emulator, field by field as in `include/emulation_report.h`.

use std::ffi::{CStr, c_char, c_void};

#[repr(C)]
pub struct Argument {
    pub name: *const c_char,
    pub data: *mut c_void,
    pub count: u64,
    pub integer: i64,
    pub real: f64,
    pub kind: i32,
    pub writable: i32,
}

#[repr(C)]
pub struct Request {
    pub grid: [u32; 3],
    pub threads: u32,
    pub arguments: *const Argument,
    pub count: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Site {
    pub array: [c_char; 32],
    pub file: [c_char; 64],
    pub line: i32,
    pub kind: i32,
    pub instructions: u64,
    pub partial: u64,
    pub bytes: u64,
    pub transactions: u64,
    pub ideal: u64,
    pub worst: u64,
}

#[repr(C)]
pub struct Fault {
    pub kind: i32,
    pub block: [u32; 3],
    pub thread: i32,
    pub other: i32,
    pub line: i32,
    pub other_line: i32,
    pub wrote: i32,
    pub other_wrote: i32,
    pub other_block: i32,
    pub padding: i32,
    pub index: i64,
    pub count: u64,
    pub array: [c_char; 32],
    pub file: [c_char; 64],
    pub detail: [c_char; 256],
}

#[repr(C)]
pub struct Report {
    pub barriers: u64,
    pub warp_barriers: u64,
    pub shuffles: u64,
    pub site_count: u64,
    pub sites: [Site; 256],
    pub fault: Fault,
}

/// The one function of an emulated kernel's library.
pub type Run = unsafe extern "C" fn(*const Request, *mut Report);

/// The text up to the first zero byte.
pub fn text(characters: &[c_char]) -> String {
    assert!(characters.contains(&0), "the emulator ends its texts");
    // SAFETY: there is a zero byte within the slice.
    let text = unsafe { CStr::from_ptr(characters.as_ptr()) };
    text.to_string_lossy().into_owned()
}

impl Report {
    /// A report in which nothing has happened.
    pub fn empty() -> Box<Self> {
        // SAFETY: all fields are integers and arrays of integers, for which zero bytes are values.
        unsafe { Box::new(std::mem::zeroed()) }
    }
}

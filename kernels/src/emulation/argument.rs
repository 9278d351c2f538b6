//! Arguments of an emulated launch: numbers and slices, by the names that `//@ args:` gives them.

use super::abi;
use crate::device::Plain;
use std::ffi::{CStr, c_void};
use std::marker::PhantomData;

/// One argument: its name and a number or a slice.
pub struct Argument<'a> {
    name: &'a str,
    data: *mut c_void,
    count: usize,
    integer: i64,
    real: f64,
    kind: i32,
    writable: bool,
    /// The slice stays borrowed.
    _slice: PhantomData<&'a mut [u8]>,
}

/// Types of which an emulated kernel takes arrays. A bf16 is a `u16` of its bits.
pub trait HostElement: Plain {
    /// The type's number in `include/emulation_report.h`.
    #[doc(hidden)]
    const KIND: i32;
}

impl HostElement for i8 {
    const KIND: i32 = 2;
}
impl HostElement for u8 {
    const KIND: i32 = 3;
}
impl HostElement for u16 {
    const KIND: i32 = 4;
}
impl HostElement for i32 {
    const KIND: i32 = 5;
}
impl HostElement for u32 {
    const KIND: i32 = 6;
}
impl HostElement for f32 {
    const KIND: i32 = 7;
}

impl<'a> Argument<'a> {
    fn new(name: &'a str, kind: i32) -> Self {
        Self {
            name,
            data: std::ptr::null_mut(),
            count: 0,
            integer: 0,
            real: 0.0,
            kind,
            writable: false,
            _slice: PhantomData,
        }
    }

    /// An array that the kernel reads.
    pub fn input<T: HostElement>(name: &'a str, slice: &'a [T]) -> Self {
        Self {
            data: slice.as_ptr().cast_mut().cast(),
            count: slice.len(),
            ..Self::new(name, T::KIND)
        }
    }

    /// An array that the kernel may write.
    pub fn output<T: HostElement>(name: &'a str, slice: &'a mut [T]) -> Self {
        Self {
            data: slice.as_mut_ptr().cast(),
            count: slice.len(),
            writable: true,
            ..Self::new(name, T::KIND)
        }
    }

    /// An integer; also what the grid is computed from.
    pub fn integer(name: &'a str, value: usize) -> Self {
        Self {
            integer: value as i64,
            ..Self::new(name, 0)
        }
    }

    /// A float.
    pub fn float(name: &'a str, value: f32) -> Self {
        Self {
            real: f64::from(value),
            ..Self::new(name, 1)
        }
    }

    pub(super) fn name(&self) -> &str {
        self.name
    }

    pub(super) fn value(&self) -> Option<i64> {
        (self.kind == 0).then_some(self.integer)
    }

    pub(super) fn raw(&self, name: &CStr) -> abi::Argument {
        abi::Argument {
            name: name.as_ptr(),
            data: self.data,
            count: self.count as u64,
            integer: self.integer,
            real: self.real,
            kind: self.kind,
            writable: i32::from(self.writable),
        }
    }
}

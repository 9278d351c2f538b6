//! What TMA is told of an array in memory.

use crate::error::{Error, Result};
use crate::expression::{Values, evaluate};
use crate::metadata::Map;
use cudarc::driver::sys;
use std::ffi::c_void;

/// The tensor map of an array at `address`, with zeros beyond the array's edges; `refuse` makes an error of what is wrong with it.
///
/// A box whose rows are 128 bytes has the 128-byte swizzle (16-byte column XOR row, over 8 rows), one of 64 bytes the 64-byte swizzle. L2
/// fetches lines of 128 bytes: told 256, it read a third more sectors for the same bytes, and products of few tokens were slower.
pub fn encode(
    map: &Map,
    address: u64,
    values: &Values,
    refuse: impl Fn(String) -> Error,
) -> Result<sys::CUtensorMap> {
    use sys::CUtensorMapDataType as Type;
    let (element, bytes) = match map.element.as_str() {
        "bf16" => (Type::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2),
        "f16" => (Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT16, 2),
        "f32" => (Type::CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4),
        "u8" => (Type::CU_TENSOR_MAP_DATA_TYPE_UINT8, 1),
        other => return Err(refuse(format!("{other} is no element type"))),
    };
    let size = |text: &String| evaluate(text, values);
    // The hardware counts dimensions from the innermost.
    let sizes = |texts: &[String]| -> Result<Vec<u64>> {
        let sizes = texts.iter().rev().map(|text| size(text).map(|n| n as u64));
        sizes.collect()
    };
    let shape = sizes(&map.shape)?;
    let tile: Vec<u32> = sizes(&map.tile)?.iter().map(|n| *n as u32).collect();
    let mut strides: Vec<u64> = sizes(&map.strides)?.iter().map(|n| n * bytes).collect();
    if strides.is_empty() {
        for size in &shape[..shape.len() - 1] {
            strides.push(strides.last().copied().unwrap_or(bytes) * size);
        }
    }
    if let Some(stride) = strides.iter().find(|stride| **stride % 16 != 0) {
        return Err(refuse(format!(
            "rows of {stride} bytes are no multiple of 16"
        )));
    }
    let swizzle = match u64::from(tile[0]) * bytes {
        128 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_128B,
        64 => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_64B,
        _ => sys::CUtensorMapSwizzle::CU_TENSOR_MAP_SWIZZLE_NONE,
    };
    let ones = vec![1_u32; shape.len()];
    let mut encoded = sys::CUtensorMap { opaque: [0; 16] };
    // SAFETY: all arrays have `shape.len()` entries, one less for the strides.
    let outcome = unsafe {
        sys::cuTensorMapEncodeTiled(
            &mut encoded,
            element,
            shape.len() as u32,
            address as *mut c_void,
            shape.as_ptr(),
            strides.as_ptr(),
            tile.as_ptr(),
            ones.as_ptr(),
            sys::CUtensorMapInterleave::CU_TENSOR_MAP_INTERLEAVE_NONE,
            swizzle,
            sys::CUtensorMapL2promotion::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
            sys::CUtensorMapFloatOOBfill::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
        )
    };
    match outcome.result() {
        Ok(()) => Ok(encoded),
        Err(error) => Err(refuse(format!(
            "{error:?} for shape {shape:?}, box {tile:?}"
        ))),
    }
}

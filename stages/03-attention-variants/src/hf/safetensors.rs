//! The safetensors format: eight bytes of header length, a JSON header, then the tensors' bytes.
//!
//! ```text
//! u64 n, little-endian | n bytes: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...} | data
//! ```
//!
//! The invariant that [`read_header`] establishes: names are unique, and the tensors' ranges cover the data part exactly, one
//! after the other, each as long as its type and shape say. So whoever slices by a range later needs no check.

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::LoadError;

/// The longest header that is read, as in the reference implementation: a lying length must not make anyone parse gigabytes.
const MAX_HEADER: u64 = 100_000_000;

/// A tensor as the header describes it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// Its name.
    pub name: String,
    /// Name of its element type.
    pub dtype: String,
    /// Its dimensions.
    pub shape: Vec<usize>,
    /// Its bytes, counted from the start of the file.
    pub range: Range<usize>,
}

/// Reads and checks the header of a safetensors file. `file` is its name in messages.
pub(super) fn read_header(file: &str, bytes: &[u8]) -> Result<Vec<Entry>, LoadError> {
    let data_start = header_end(file, bytes)?;
    let header = &bytes[8..data_start];
    let Header(fields) = serde_json::from_slice(header).map_err(|error| {
        invalid(
            file,
            format!("the header is not a JSON object of tensors: {error}"),
        )
    })?;
    let mut entries = Vec::with_capacity(fields.len());
    let mut names = HashSet::new();
    for (name, value) in fields {
        if !names.insert(name.clone()) {
            return Err(invalid(file, format!("`{name}` is there twice")));
        }
        if name != "__metadata__" {
            entries.push(entry(file, name, value, data_start, bytes.len())?);
        }
    }
    check_cover(file, &mut entries, data_start, bytes.len())?;
    Ok(entries)
}

/// Where the header ends and the data begins.
fn header_end(file: &str, bytes: &[u8]) -> Result<usize, LoadError> {
    let truncated = |what: &str, expected| LoadError::Truncated {
        file: file.to_string(),
        what: what.to_string(),
        expected,
        found: bytes.len() as u64,
    };
    let length = bytes
        .first_chunk::<8>()
        .ok_or_else(|| truncated("the header's length", 8))?;
    let length = u64::from_le_bytes(*length);
    if length > MAX_HEADER {
        return Err(invalid(
            file,
            format!("the header claims {length} bytes, more than {MAX_HEADER}"),
        ));
    }
    let end = 8 + length;
    if end > bytes.len() as u64 {
        return Err(truncated("the header", end));
    }
    Ok(end as usize)
}

/// Checks one tensor's own description.
fn entry(
    file: &str,
    name: String,
    value: Value,
    data_start: usize,
    file_len: usize,
) -> Result<Entry, LoadError> {
    let Info {
        dtype,
        shape,
        data_offsets: (begin, end),
    } = serde_json::from_value(value)
        .map_err(|error| invalid(file, format!("tensor `{name}`: {error}")))?;
    let Some(bits) = bits(&dtype) else {
        return Err(invalid(
            file,
            format!("tensor `{name}` has the unknown dtype `{dtype}`"),
        ));
    };
    let length = shape
        .iter()
        .try_fold(bits, |product, &dim| product.checked_mul(dim));
    let Some(length) = length
        .filter(|bits| bits.is_multiple_of(8))
        .map(|bits| (bits / 8) as u64)
    else {
        return Err(invalid(
            file,
            format!("tensor `{name}` of shape {shape:?} has no size in whole bytes"),
        ));
    };
    if begin > end || end - begin != length {
        let range = format!("data_offsets [{begin}, {end}]");
        return Err(invalid(
            file,
            format!("tensor `{name}` {dtype} {shape:?} takes {length} bytes, but has {range}"),
        ));
    }
    let expected = end.saturating_add(data_start as u64);
    if expected > file_len as u64 {
        let what = format!("tensor `{name}`");
        return Err(LoadError::Truncated {
            file: file.to_string(),
            what,
            expected,
            found: file_len as u64,
        });
    }
    let range = data_start + begin as usize..data_start + end as usize;
    Ok(Entry {
        name,
        dtype,
        shape,
        range,
    })
}

/// Checks that the tensors lie side by side from the header to the end of the file: no overlap, no hole, nothing behind.
fn check_cover(
    file: &str,
    entries: &mut [Entry],
    data_start: usize,
    file_len: usize,
) -> Result<(), LoadError> {
    entries.sort_by_key(|entry| (entry.range.start, entry.range.end));
    let mut covered = data_start;
    for Entry { name, range, .. } in entries.iter() {
        if range.start < covered {
            return Err(invalid(
                file,
                format!("tensor `{name}` overlaps the one before it"),
            ));
        }
        if range.start > covered {
            return Err(invalid(
                file,
                format!(
                    "{} bytes before tensor `{name}` are nobody's",
                    range.start - covered
                ),
            ));
        }
        covered = range.end;
    }
    if covered < file_len {
        return Err(invalid(
            file,
            format!(
                "{} bytes after the last tensor are nobody's",
                file_len - covered
            ),
        ));
    }
    Ok(())
}

/// Bits of an element of each type that the format knows.
fn bits(dtype: &str) -> Option<usize> {
    match dtype {
        "F4" => Some(4),
        "F6_E2M3" | "F6_E3M2" => Some(6),
        "BOOL" | "U8" | "I8" | "F8_E5M2" | "F8_E4M3" | "F8_E8M0" | "F8_E4M3FNUZ"
        | "F8_E5M2FNUZ" => Some(8),
        "I16" | "U16" | "F16" | "BF16" => Some(16),
        "I32" | "U32" | "F32" => Some(32),
        "I64" | "U64" | "F64" | "C64" => Some(64),
        _ => None,
    }
}

fn invalid(file: &str, problem: String) -> LoadError {
    LoadError::BadSafetensors {
        file: file.to_string(),
        problem,
    }
}

/// A tensor in the header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Info {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

/// The header's fields as they come. A map type would let a second tensor of the same name replace the first in silence.
struct Header(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of tensors by name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut fields = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Header(fields))
    }
}

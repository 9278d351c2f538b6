//! The header of a GGUF file (ggml's docs/gguf.md, versions 2 and 3), little-endian throughout:
//!
//! ```text
//! "GGUF" | u32 version | u64 tensors | u64 pairs
//! pair:   string key | u32 type | value          string: u64 length | bytes
//! tensor: string name | u32 dimensions | u64 each, innermost first | u32 type | u64 offset into the data
//! padding to the alignment | data
//! ```
//!
//! The invariant that [`read`] establishes: keys and names are unique, and every tensor's range lies within the file and is as
//! long as its type and shape say. Nothing is allocated that the file's own length does not pay for: a count is believed
//! only as far as that many of its items can follow, and [`MAX_VALUES`] bounds them all together.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::types;
use crate::hf::LoadError;
use crate::hf::checkpoint::Entry;

/// Values in the metadata at most. The largest vocabularies take a third of it, with scores, types and merges.
const MAX_VALUES: u64 = 1 << 22;
/// Dimensions of a tensor in GGML.
const MAX_DIMENSIONS: u32 = 4;
/// The key of the alignment, and what it is without that.
const ALIGNMENT: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// Reads and checks a header. `file` is its name in messages.
pub(super) fn read(
    file: &str,
    bytes: &[u8],
) -> Result<(Map<String, Value>, Vec<Entry>), LoadError> {
    let mut cursor = Cursor {
        file,
        bytes,
        at: 0,
        values: 0,
    };
    if cursor.array("the magic number")? != *b"GGUF" {
        return Err(cursor.invalid("it does not begin with `GGUF`".to_owned()));
    }
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        let problem = format!("its version is {version}, but 2 and 3 load");
        return Err(cursor.invalid(problem));
    }
    // At least a name's length, a count of dimensions, a type and an offset; a key's length, a type and a byte.
    let tensors = cursor.count("the tensors", 8 + 4 + 4 + 8)?;
    let pairs = cursor.count("the metadata", 8 + 4 + 1)?;
    let mut metadata = Map::new();
    for _ in 0..pairs {
        let key = cursor.string("a metadata key")?;
        let kind = cursor.u32(&key)?;
        let value = cursor.value(&key, kind)?;
        if metadata.insert(key.clone(), value).is_some() {
            return Err(cursor.invalid(format!("field `{key}` is there twice")));
        }
    }
    let alignment = alignment(&cursor, &metadata)?;
    let mut infos = Vec::with_capacity(tensors);
    for _ in 0..tensors {
        infos.push(cursor.info()?);
    }
    let data = (cursor.at as u64).next_multiple_of(alignment);
    let entries = place(&cursor, infos, data, alignment)?;
    Ok((metadata, entries))
}

fn alignment(cursor: &Cursor, metadata: &Map<String, Value>) -> Result<u64, LoadError> {
    let Some(value) = metadata.get(ALIGNMENT) else {
        return Ok(DEFAULT_ALIGNMENT);
    };
    let fits = |alignment: &u64| alignment.is_power_of_two() && *alignment <= 1 << 20;
    value.as_u64().filter(fits).ok_or_else(|| {
        let problem = format!("field `{ALIGNMENT}` is {value}, but must be a power of two");
        cursor.invalid(problem)
    })
}

/// A tensor as the header has it, its offset not yet checked.
struct Info {
    entry: Entry,
    offset: u64,
    length: u64,
}

/// Finds each tensor's bytes in the file.
fn place(
    cursor: &Cursor,
    infos: Vec<Info>,
    data: u64,
    alignment: u64,
) -> Result<Vec<Entry>, LoadError> {
    let mut names = HashSet::new();
    let mut entries = Vec::with_capacity(infos.len());
    for info in infos {
        let Info {
            mut entry,
            offset,
            length,
        } = info;
        if !names.insert(entry.name.clone()) {
            return Err(cursor.invalid(format!("tensor `{}` is there twice", entry.name)));
        }
        if !offset.is_multiple_of(alignment) {
            let name = &entry.name;
            let problem = format!("tensor `{name}` at {offset} is not aligned to {alignment}");
            return Err(cursor.invalid(problem));
        }
        let begin = data.saturating_add(offset);
        let end = begin.saturating_add(length);
        if end > cursor.bytes.len() as u64 {
            return Err(cursor.truncated(&format!("tensor `{}`", entry.name), end));
        }
        entry.range = begin as usize..end as usize;
        entries.push(entry);
    }
    Ok(entries)
}

/// A place in the file.
struct Cursor<'a> {
    file: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// Values read so far.
    values: u64,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, what: &str, length: u64) -> Result<&'a [u8], LoadError> {
        let rest = &self.bytes[self.at..];
        if length > rest.len() as u64 {
            return Err(self.truncated(what, (self.at as u64).saturating_add(length)));
        }
        self.at += length as usize;
        Ok(&rest[..length as usize])
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], LoadError> {
        let bytes = self.take(what, N as u64)?;
        Ok(bytes.try_into().expect("take gives what was asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, LoadError> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, LoadError> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A number of items that take at least `least` bytes each, which must be able to follow.
    fn count(&mut self, what: &str, least: u64) -> Result<usize, LoadError> {
        let count = self.u64(what)?;
        let end = count.saturating_mul(least).saturating_add(self.at as u64);
        if end > self.bytes.len() as u64 {
            return Err(self.truncated(what, end));
        }
        Ok(count as usize)
    }

    fn string(&mut self, what: &str) -> Result<String, LoadError> {
        let length = self.u64(what)?;
        let bytes = self.take(what, length)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => Err(self.invalid(format!("{what} is not UTF-8: {error}"))),
        }
    }

    /// A value of type `kind` of the field `key`.
    fn value(&mut self, key: &str, kind: u32) -> Result<Value, LoadError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            let problem = format!("field `{key}` makes its metadata more than {MAX_VALUES} values");
            return Err(self.invalid(problem));
        }
        Ok(match kind {
            0 => self.array::<1>(key)?[0].into(),
            1 => i8::from_le_bytes(self.array(key)?).into(),
            2 => u16::from_le_bytes(self.array(key)?).into(),
            3 => i16::from_le_bytes(self.array(key)?).into(),
            4 => u32::from_le_bytes(self.array(key)?).into(),
            5 => i32::from_le_bytes(self.array(key)?).into(),
            6 => float(f64::from(f32::from_le_bytes(self.array(key)?))),
            7 => (self.array::<1>(key)?[0] != 0).into(),
            8 => self.string(key)?.into(),
            9 => return self.list(key),
            10 => self.u64(key)?.into(),
            11 => i64::from_le_bytes(self.array(key)?).into(),
            12 => float(f64::from_le_bytes(self.array(key)?)),
            _ => return Err(self.invalid(format!("field `{key}` has the unknown type {kind}"))),
        })
    }

    fn list(&mut self, key: &str) -> Result<Value, LoadError> {
        let kind = self.u32(key)?;
        let least = match kind {
            9 => return Err(self.invalid(format!("field `{key}` is a list of lists"))),
            8 | 10..=12 => 8,
            4..=6 => 4,
            2 | 3 => 2,
            _ => 1,
        };
        let count = self.count(key, least)?;
        let items = (0..count).map(|_| self.value(key, kind));
        items.collect::<Result<Vec<_>, _>>().map(Value::Array)
    }

    fn info(&mut self) -> Result<Info, LoadError> {
        let name = self.string("a tensor's name")?;
        let dimensions = self.u32(&name)?;
        if dimensions > MAX_DIMENSIONS {
            let problem = format!("tensor `{name}` has {dimensions} dimensions");
            return Err(self.invalid(problem));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            shape.push(self.u64(&name)?);
        }
        let kind = self.u32(&name)?;
        let offset = self.u64(&name)?;
        let Some(dtype) = types::name(kind) else {
            return Err(self.invalid(format!("tensor `{name}` has the unknown type {kind}")));
        };
        let Some((elements, bytes)) = types::layout(dtype) else {
            return Err(LoadError::WrongDtype {
                file: self.file.to_owned(),
                name,
                found: dtype.to_owned(),
            });
        };
        let width = shape.first().copied().unwrap_or(1);
        if !width.is_multiple_of(elements as u64) {
            let problem = format!(
                "tensor `{name}` of {dtype} has rows of {width}, no multiple of {elements}"
            );
            return Err(self.invalid(problem));
        }
        let blocks = shape
            .iter()
            .skip(1)
            .try_fold(width / elements as u64, |product, &size| {
                product.checked_mul(size)
            });
        let length = blocks.and_then(|blocks| blocks.checked_mul(bytes as u64));
        // A length within a file bounds the product of the dimensions, but not each of them where another is 0.
        let (Some(length), true) = (length, shape.iter().all(|&size| size < 1 << 40)) else {
            let problem = format!("tensor `{name}` of shape {shape:?} has no size");
            return Err(self.invalid(problem));
        };
        let entry = Entry {
            name,
            dtype: dtype.to_owned(),
            shape: shape.iter().rev().map(|&size| size as usize).collect(),
            range: 0..0,
        };
        Ok(Info {
            entry,
            offset,
            length,
        })
    }

    fn truncated(&self, what: &str, expected: u64) -> LoadError {
        LoadError::Truncated {
            file: self.file.to_owned(),
            what: what.to_owned(),
            expected,
            found: self.bytes.len() as u64,
        }
    }

    fn invalid(&self, problem: String) -> LoadError {
        LoadError::BadGguf {
            file: self.file.to_owned(),
            problem,
        }
    }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

//! Typed access to the fields of a JSON object, with errors that name the file and the field.
//!
//! `null` is the same as absent, as in the library that writes these files.

use serde_json::{Map, Value};

use super::LoadError;

/// No model has a dimension as large; what is larger is a mistake, and products of two dimensions stay within 64 bits.
const MAX_SIZE: u64 = 1 << 30;

/// A JSON object and where it is.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    file: &'a str,
    /// What precedes a field's name in messages: empty, or the enclosing field and a dot.
    path: &'a str,
    object: &'a Map<String, Value>,
}

/// Parses a JSON file.
pub(super) fn parse_json(file: &str, bytes: &[u8]) -> Result<Value, LoadError> {
    serde_json::from_slice(bytes).map_err(|error| LoadError::Json {
        file: file.to_string(),
        message: error.to_string(),
    })
}

impl<'a> Fields<'a> {
    /// The fields of a file's top level.
    pub fn of(file: &'a str, value: &'a Value) -> Result<Self, LoadError> {
        let object = value.as_object().ok_or_else(|| LoadError::WrongType {
            file: file.to_string(),
            field: "(top level)".to_string(),
            expected: "an object",
            found: shorten(value),
        })?;
        Ok(Self::over(file, object))
    }

    /// The fields of an object that is the top level of a file.
    pub fn over(file: &'a str, object: &'a Map<String, Value>) -> Self {
        Self::at(file, "", object)
    }

    /// The fields of an object within a file; `path` is what leads to it, with a dot behind.
    pub fn at(file: &'a str, path: &'a str, object: &'a Map<String, Value>) -> Self {
        Self { file, path, object }
    }

    /// The name of the file.
    pub fn file(&self) -> &'a str {
        self.file
    }

    /// A field's value.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    /// Whether a field is there, be it null: some fields mean something by null that they do not mean by absence.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.object.keys().map(String::as_str)
    }

    /// A field that is an object itself; `path` is its name with a dot behind.
    pub fn object(&self, path: &'static str) -> Result<Option<Fields<'a>>, LoadError> {
        let name = path.trim_end_matches('.');
        self.read(name, "an object", Value::as_object).map(|found| {
            found.map(|object| Fields {
                path,
                object,
                ..*self
            })
        })
    }

    /// A dimension: a whole number from 1.
    pub fn size_opt(&self, name: &str) -> Result<Option<usize>, LoadError> {
        match self.count_opt(name)? {
            Some(0) => Err(self.bad(name, "at least 1")),
            size => Ok(size),
        }
    }

    /// A dimension that must be there.
    pub fn size(&self, name: &str) -> Result<usize, LoadError> {
        self.size_opt(name)?.ok_or_else(|| self.missing(name))
    }

    /// A whole number from 0.
    pub fn count_opt(&self, name: &str) -> Result<Option<usize>, LoadError> {
        match self.read(name, "a whole number from 0", Value::as_u64)? {
            Some(size) if size > MAX_SIZE => Err(self.bad(name, "at most 2^30")),
            size => Ok(size.map(|size| size as usize)),
        }
    }

    /// A whole number from 0 that must be there.
    pub fn count(&self, name: &str) -> Result<usize, LoadError> {
        self.count_opt(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number above 0 that an f32 can hold.
    pub fn positive_opt(&self, name: &str) -> Result<Option<f64>, LoadError> {
        match self.read(name, "a number", Value::as_f64)? {
            Some(number) if !(number as f32 > 0.0 && (number as f32).is_finite()) => {
                Err(self.bad(name, "above 0 and within the range of an f32"))
            }
            number => Ok(number),
        }
    }

    /// A number above 0 that must be there.
    pub fn positive(&self, name: &str) -> Result<f64, LoadError> {
        self.positive_opt(name)?.ok_or_else(|| self.missing(name))
    }

    /// A number from 0, where the field's own meaning of 0 is "none".
    pub fn number_opt(&self, name: &str) -> Result<Option<f64>, LoadError> {
        let number = self
            .read(name, "a number", Value::as_f64)?
            .filter(|number| *number != 0.0);
        if number.is_some() {
            self.positive_opt(name)
        } else {
            Ok(None)
        }
    }

    /// true or false.
    pub fn flag_opt(&self, name: &str) -> Result<Option<bool>, LoadError> {
        self.read(name, "true or false", Value::as_bool)
    }

    /// A string.
    pub fn text_opt(&self, name: &str) -> Result<Option<&'a str>, LoadError> {
        self.read(name, "a string", Value::as_str)
    }

    /// A list.
    pub fn list_opt(&self, name: &str) -> Result<Option<&'a Vec<Value>>, LoadError> {
        self.read(name, "a list", Value::as_array)
    }

    fn read<T>(
        &self,
        name: &str,
        expected: &'static str,
        cast: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, LoadError> {
        match self.get(name) {
            None => Ok(None),
            Some(value) => cast(value)
                .map(Some)
                .ok_or_else(|| self.wrong_type(name, expected)),
        }
    }

    /// The error of a field that must be there.
    pub fn missing(&self, name: &str) -> LoadError {
        LoadError::MissingField {
            file: self.file.to_string(),
            field: self.field(name),
        }
    }

    /// The error of a field of another type.
    pub fn wrong_type(&self, name: &str, expected: &'static str) -> LoadError {
        LoadError::WrongType {
            file: self.file.to_string(),
            field: self.field(name),
            expected,
            found: self.value(name),
        }
    }

    /// The error of a field whose value cannot be.
    pub fn bad(&self, name: &str, expected: impl Into<String>) -> LoadError {
        let (file, field) = (self.file.to_string(), self.field(name));
        LoadError::BadValue {
            file,
            field,
            value: self.value(name),
            expected: expected.into(),
        }
    }

    /// The error of a field whose value is not implemented.
    pub fn unsupported(&self, name: &str, why: &'static str) -> LoadError {
        let (file, field) = (self.file.to_string(), self.field(name));
        LoadError::Unsupported {
            file,
            field,
            value: self.value(name),
            why,
        }
    }

    fn field(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    fn value(&self, name: &str) -> String {
        self.object
            .get(name)
            .map_or_else(|| "absent".to_string(), shorten)
    }
}

/// A value for a message: long ones are cut.
fn shorten(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

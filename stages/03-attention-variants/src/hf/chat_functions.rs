//! What `transformers` adds to Jinja for chat templates, and where Python's Jinja prints or tests differently.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{Environment, Error, ErrorKind, Output, State};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// What a template said when it called `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(pub String);

/// Adds the functions and filters to an environment.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.add_function("raise_exception", raise_exception);
    environment.add_function("strftime_now", |format: String| {
        strftime(&format, SystemTime::now())
    });
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", |value: Value| python_string(&value));
    environment.add_test("iterable", is_iterable);
    environment.set_formatter(python_print);
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message.clone()).with_source(Refused(message)))
}

/// Python cannot iterate over None; templates rely on it to see whether there are tools.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && (value.kind() == ValueKind::String || value.try_iter().is_ok())
}

/// `{{ value }}`: lists and dictionaries as Python's `repr`, all else as it comes.
fn python_print(out: &mut Output, state: &State, value: &Value) -> Result<(), Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map => Ok(out.write_str(&python_string(value)?)?),
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// The filter `string`: the same text as printing.
fn python_string(value: &Value) -> Result<String, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Map => {
            let mut text = String::new();
            python_repr(&mut text, value)?;
            Ok(text)
        }
        _ => Ok(value.to_string()),
    }
}

fn python_repr(text: &mut String, value: &Value) -> Result<(), Error> {
    let (open, close) = match value.kind() {
        ValueKind::String => {
            python_quote(text, value.as_str().unwrap_or_default());
            return Ok(());
        }
        ValueKind::Map => ('{', '}'),
        ValueKind::Seq => ('[', ']'),
        _ => {
            *text += &value.to_string();
            return Ok(());
        }
    };
    text.push(open);
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            *text += ", ";
        }
        python_repr(text, &item)?;
        if open == '{' {
            *text += ": ";
            python_repr(text, &value.get_item(&item)?)?;
        }
    }
    text.push(close);
    Ok(())
}

/// A string in quotes: single ones unless it has single and no double ones itself.
fn python_quote(text: &mut String, content: &str) {
    let quote = if content.contains('\'') && !content.contains('"') {
        '"'
    } else {
        '\''
    };
    text.push(quote);
    for character in content.chars() {
        match character {
            '\n' => *text += "\\n",
            '\r' => *text += "\\r",
            '\t' => *text += "\\t",
            '\\' => *text += "\\\\",
            _ if character == quote => text.extend(['\\', quote]),
            _ if character.is_ascii_control() => *text += &format!("\\x{:02x}", character as u32),
            _ => text.push(character),
        }
    }
    text.push(quote);
}

/// The filter `tojson(ensure_ascii=False, indent=None, sort_keys=False)` of `transformers`: unlike Jinja's own it escapes nothing
/// for HTML, and it spaces as Python's `json.dumps` does.
fn tojson(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    let sorted: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    let failed =
        |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut value = serde_json::to_value(&value).map_err(failed)?;
    if sorted == Some(true) {
        value.sort_all_objects();
    }
    let mut bytes = Vec::new();
    match indent {
        Some(width) => {
            let spaces = " ".repeat(width.min(16));
            value.serialize(&mut Serializer::with_formatter(
                &mut bytes,
                PrettyFormatter::with_indent(spaces.as_bytes()),
            ))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonSpacing)),
    }
    .map_err(failed)?;
    let text = String::from_utf8(bytes)
        .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
    Ok(if ascii == Some(true) {
        escape_non_ascii(&text)
    } else {
        text
    })
}

/// `", "` and `": "` between items.
struct PythonSpacing;

impl Formatter for PythonSpacing {
    fn begin_array_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> std::io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
    ) -> std::io::Result<()> {
        writer.write_all(b": ")
    }
}

/// In JSON, what is not ASCII stands in strings only, where `\uXXXX` means the same.
fn escape_non_ascii(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii() {
            result.push(character);
        } else {
            let mut units = [0; 2];
            result.extend(
                character
                    .encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}")),
            );
        }
    }
    result
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A time by C's `strftime`, in UTC, for the conversions that chat templates use.
fn strftime(format: &str, time: SystemTime) -> Result<String, Error> {
    let seconds = time
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil_date(days);
    let (hour, minute, second) = (
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    );
    let (month_name, day_name) = (MONTHS[month as usize - 1], DAYS[(days as usize + 4) % 7]);
    let mut result = String::new();
    let mut characters = format.chars();
    while let Some(character) = characters.next() {
        if character != '%' {
            result.push(character);
            continue;
        }
        let conversion = characters.next();
        result += &match conversion {
            Some('Y') => year.to_string(),
            Some('y') => format!("{:02}", year % 100),
            Some('m') => format!("{month:02}"),
            Some('d') => format!("{day:02}"),
            Some('B') => month_name.to_string(),
            Some('b') => month_name[..3].to_string(),
            Some('A') => day_name.to_string(),
            Some('a') => day_name[..3].to_string(),
            Some('H') => format!("{hour:02}"),
            Some('I') => format!("{:02}", (hour + 11) % 12 + 1),
            Some('M') => format!("{minute:02}"),
            Some('S') => format!("{second:02}"),
            Some('p') => if hour < 12 { "AM" } else { "PM" }.to_string(),
            Some('%') => "%".to_string(),
            _ => {
                let found = conversion.map_or(String::new(), String::from);
                return Err(Error::new(
                    ErrorKind::InvalidOperation,
                    format!("strftime_now does not know %{found}"),
                ));
            }
        };
    }
    Ok(result)
}

/// Year, month and day of a number of days since 1970-01-01, by the algorithm of Howard Hinnant ("chrono-Compatible Low-Level
/// Date Algorithms", `civil_from_days`): years are counted from March, so that the leap day is a year's last.
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 {
        march_month + 3
    } else {
        march_month - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Expected values are Python's `datetime.fromtimestamp(t, UTC).strftime(...)`.
    #[test]
    fn strftime_agrees_with_python() {
        let format = "%Y-%m-%d %H:%M:%S %a %A %b %B %y %I %p %%";
        for (seconds, expected) in [
            (0, "1970-01-01 00:00:00 Thu Thursday Jan January 70 12 AM %"),
            (
                951_827_696,
                "2000-02-29 12:34:56 Tue Tuesday Feb February 00 12 PM %",
            ),
            (
                1_735_689_599,
                "2024-12-31 23:59:59 Tue Tuesday Dec December 24 11 PM %",
            ),
            (
                4_107_542_400,
                "2100-03-01 00:00:00 Mon Monday Mar March 00 12 AM %",
            ),
        ] {
            assert_eq!(
                strftime(format, UNIX_EPOCH + Duration::from_secs(seconds)).unwrap(),
                expected
            );
        }
        assert!(strftime("%Q", UNIX_EPOCH).is_err());
        assert!(strftime("50%", UNIX_EPOCH).is_err());
    }
}

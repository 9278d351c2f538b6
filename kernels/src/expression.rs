//! Integer expressions of the launch metadata: `STAGES*(BM+BN)*BK*2`, `cdiv(N,BN)`, `min(SMS,TILES)`.

use crate::error::{Error, Result};
use std::collections::BTreeMap;

/// Values by name: a kernel's parameters, the problem's sizes, and what the device is.
pub type Values = BTreeMap<String, i64>;

/// Evaluates `text` with `+ - * / %`, parentheses, `cdiv(a,b)` (division rounding up), `min` and `max`.
///
/// # Errors
/// If the text is no expression, a name has no value, or a divisor is zero.
pub fn evaluate(text: &str, values: &Values) -> Result<i64> {
    let mut parser = Parser {
        rest: text.trim(),
        values,
    };
    let value = parser.sum()?;
    if parser.rest.is_empty() {
        Ok(value)
    } else {
        Err(parser.error("an operator was expected"))
    }
}

struct Parser<'a> {
    rest: &'a str,
    values: &'a Values,
}

impl Parser<'_> {
    fn error(&self, why: &str) -> Error {
        Error::Expression(format!("{why} at `{}`", self.rest))
    }

    fn eat(&mut self, symbol: char) -> bool {
        let found = self.rest.starts_with(symbol);
        if found {
            self.rest = self.rest[symbol.len_utf8()..].trim_start();
        }
        found
    }

    fn sum(&mut self) -> Result<i64> {
        let mut value = self.product()?;
        loop {
            if self.eat('+') {
                value += self.product()?;
            } else if self.eat('-') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<i64> {
        let mut value = self.atom()?;
        loop {
            if self.eat('*') {
                value *= self.atom()?;
            } else if self.eat('/') {
                let divisor = self.atom()?;
                value = value
                    .checked_div(divisor)
                    .ok_or_else(|| self.error("division by zero"))?;
            } else if self.eat('%') {
                let divisor = self.atom()?;
                value = value
                    .checked_rem(divisor)
                    .ok_or_else(|| self.error("division by zero"))?;
            } else {
                return Ok(value);
            }
        }
    }

    fn atom(&mut self) -> Result<i64> {
        if self.eat('(') {
            let value = self.sum()?;
            return if self.eat(')') {
                Ok(value)
            } else {
                Err(self.error("`)` is missing"))
            };
        }
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            return word
                .parse()
                .map_err(|_| self.error(&format!("`{word}` is no number")));
        }
        if self.eat('(') {
            let first = self.sum()?;
            let second = if self.eat(',') { self.sum()? } else { 0 };
            if !self.eat(')') {
                return Err(self.error("`)` is missing"));
            }
            return match word {
                "cdiv" if second > 0 => Ok((first + second - 1) / second),
                "cdiv" => Err(self.error("division by zero")),
                "min" => Ok(first.min(second)),
                "max" => Ok(first.max(second)),
                _ => Err(self.error(&format!("there is no function `{word}`"))),
            };
        }
        let value = self.values.get(word).copied();
        value.ok_or_else(|| self.error(&format!("`{word}` has no value")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rules_of_arithmetic() {
        let values = Values::from([("BM".to_owned(), 128), ("N".to_owned(), 1000)]);
        for (text, expected) in [
            ("1024 + 4*(BM+256)*64*2", 1024 + 4 * 384 * 128),
            ("cdiv(N,BM)", 8),
            ("min(132, N/BM*2)", 14),
            ("max(N % BM, 3) - 4", 100),
        ] {
            assert_eq!(evaluate(text, &values).unwrap(), expected, "{text}");
        }
        for text in [
            "K",
            "1 +",
            "(2",
            "N/0",
            "cdiv(1,0)",
            "N N",
            "pow(2,3)",
            "7x",
            "",
        ] {
            assert!(evaluate(text, &values).is_err(), "{text}");
        }
    }
}

//! Launch metadata: the `//@` lines of a kernel file, the only place where they stand.
//!
//! ```text
//! //@ entry: gemm_tma                      the extern "C" function
//! //@ arch: sm_90a                         targets it is compiled for; `host` means that the emulator runs it
//! //@ param: BM=128 BN=128 STAGES=4        compile-time constants and their defaults
//! //@ variant: wide BN=256                 a named set of other values, compiled and checked as well
//! //@ threads: 128                         threads of a block, an expression over parameters
//! //@ cluster: 2                           blocks of a cluster along x (default 1)
//! //@ smem: 1024+STAGES*(BM+BN)*128        dynamic shared memory in bytes (default 0)
//! //@ grid: cdiv(N,BN), cdiv(M,BM)         blocks along x, y, z, over parameters, arguments and SMS
//! //@ map A: bf16 [M, K] box [BM, 64]      a TMA tensor map of buffer A, row-major, 128-byte swizzle
//! //@ map B: f32 [M, N] stride [K] box [8, 4]  elements from one index of a dimension to the next, of all but the innermost
//! //@ args: A B c M N K                    the function's parameters in order: maps, pointers, integers
//! //@ pdl: yes                             may start before the launch ahead of it has ended
//! //@ spills: yes                          some variant has fewer registers than it needs, which is its point
//! //@ expect: sm_90a HGMMA>=4 UTMALDG>=2   what the disassembly of every variant must show (see Sass::count)
//! ```

use crate::error::{Error, Result};
use crate::expression::{Values, evaluate};
use std::collections::BTreeMap;

/// What a kernel file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// The file, relative to `kernels/`.
    pub path: String,
    /// The prose at its head: what it changes, what that should gain.
    pub summary: String,
    /// The `extern "C"` function.
    pub entry: String,
    /// Targets: `sm_80`, `sm_90a`, `gfx942`, `host`, …
    pub archs: Vec<String>,
    /// Compile-time constants with their defaults.
    pub params: Values,
    /// Named sets of other values.
    pub variants: BTreeMap<String, Values>,
    /// Threads of a block.
    pub threads: String,
    /// Blocks of a cluster along x.
    pub cluster: String,
    /// Bytes of dynamic shared memory.
    pub smem: String,
    /// Blocks along x, y and z.
    pub grid: Vec<String>,
    /// Tensor maps by the name of their buffer.
    pub maps: BTreeMap<String, Map>,
    /// The function's parameters in order.
    pub args: Vec<String>,
    /// Whether launches may overlap the end of the launch before (programmatic dependent launch).
    pub pdl: bool,
    /// Whether values of it are meant to be kept in memory for want of registers.
    pub spills: bool,
    /// Disassembly checks by target: mnemonic and how often it must at least occur.
    pub expect: BTreeMap<String, Vec<(String, usize)>>,
}

/// A TMA tensor map: a box of an array, row-major unless it says its strides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Element type: `bf16`, `f16`, `f32` or `u8`.
    pub element: String,
    /// Sizes of the array, outermost first.
    pub shape: Vec<String>,
    /// Elements from one index to the next, of all dimensions but the innermost; empty for row-major.
    pub strides: Vec<String>,
    /// Sizes of the box that one copy moves, outermost first.
    pub tile: Vec<String>,
}

impl Metadata {
    /// Reads the `//@` lines of the file `path` with the content `text`.
    ///
    /// # Errors
    /// If a line cannot be read, or `entry`, `arch`, `threads`, `grid` or `args` is missing.
    pub fn parse(path: &str, text: &str) -> Result<Self> {
        let mut found = Self {
            path: path.to_owned(),
            cluster: "1".to_owned(),
            smem: "0".to_owned(),
            ..Self::default()
        };
        let at = |line: usize, why: String| Error::Metadata {
            path: path.to_owned(),
            line,
            why,
        };
        let mut in_summary = true;
        for (index, line) in text.lines().enumerate() {
            let Some(line) = line.strip_prefix("//") else {
                in_summary = false;
                continue;
            };
            let Some(line) = line.strip_prefix('@') else {
                if in_summary {
                    found.summary += line.strip_prefix(' ').unwrap_or(line);
                    found.summary.push('\n');
                }
                continue;
            };
            in_summary = false;
            found
                .line(line.trim())
                .map_err(|why| at(index + 1, why.to_string()))?;
        }
        for (name, missing) in [
            ("entry", found.entry.is_empty()),
            ("arch", found.archs.is_empty()),
            ("threads", found.threads.is_empty()),
            ("grid", found.grid.is_empty()),
            ("args", found.args.is_empty()),
        ] {
            if missing {
                return Err(at(1, format!("there is no line `//@ {name}:`")));
            }
        }
        Ok(found)
    }

    fn line(&mut self, line: &str) -> std::result::Result<(), String> {
        let (key, value) = line.split_once(':').ok_or("`key: value` was expected")?;
        let (value, words) = (value.trim(), || value.split_whitespace());
        match key.trim() {
            "entry" => self.entry = value.to_owned(),
            "arch" => self.archs = words().map(str::to_owned).collect(),
            "param" => self.params.extend(assignments(words())?),
            "variant" => {
                let name = words().next().ok_or("a variant has a name")?;
                let set = assignments(words().skip(1))?;
                if let Some(unknown) = set.keys().find(|key| !self.params.contains_key(*key)) {
                    return Err(format!("there is no parameter {unknown}"));
                }
                self.variants.insert(name.to_owned(), set);
            }
            "threads" => self.threads = value.to_owned(),
            "cluster" => self.cluster = value.to_owned(),
            "smem" => self.smem = value.to_owned(),
            "grid" => self.grid = arguments(value),
            "args" => self.args = words().map(str::to_owned).collect(),
            "pdl" => self.pdl = value == "yes",
            "spills" => self.spills = value == "yes",
            "expect" => {
                let arch = words().next().ok_or("`expect` begins with a target")?;
                let checks = words().skip(1).map(|word| {
                    let (mnemonic, count) = word.split_once(">=").ok_or("MNEMONIC>=COUNT")?;
                    let count = count.parse().map_err(|_| "MNEMONIC>=COUNT")?;
                    Ok((mnemonic.to_owned(), count))
                });
                let checks = checks.collect::<std::result::Result<_, &str>>()?;
                self.expect.insert(arch.to_owned(), checks);
            }
            key => match key.strip_prefix("map ") {
                Some(name) => {
                    self.maps.insert(name.trim().to_owned(), Map::parse(value)?);
                }
                None => return Err(format!("`{key}` is not known")),
            },
        }
        Ok(())
    }

    /// The parameters with `changes` in place of their defaults.
    ///
    /// # Errors
    /// If a change names no parameter.
    pub fn with(&self, changes: &Values) -> Result<Values> {
        let mut values = self.params.clone();
        for (name, value) in changes {
            if values.insert(name.clone(), *value).is_none() {
                return Err(Error::Launch {
                    path: self.path.clone(),
                    why: format!("there is no parameter {name}"),
                });
            }
        }
        Ok(values)
    }

    /// Threads, cluster size and shared memory under `values`.
    ///
    /// # Errors
    /// If an expression cannot be evaluated.
    pub fn block(&self, values: &Values) -> Result<(u32, u32, u32)> {
        let of = |text: &str| evaluate(text, values).map(|value| value as u32);
        Ok((of(&self.threads)?, of(&self.cluster)?, of(&self.smem)?))
    }

    /// Blocks along x, y and z under `values`.
    ///
    /// # Errors
    /// If an expression cannot be evaluated.
    pub fn blocks(&self, values: &Values) -> Result<[u32; 3]> {
        let mut grid = [1; 3];
        for (axis, text) in grid.iter_mut().zip(&self.grid) {
            *axis = evaluate(text, values)? as u32;
        }
        Ok(grid)
    }

    /// The default and every variant: name and parameters.
    pub fn configurations(&self) -> Vec<(String, Values)> {
        let variants = self.variants.iter().map(|(name, set)| {
            let mut values = self.params.clone();
            values.extend(set.clone());
            (name.clone(), values)
        });
        let default = ("default".to_owned(), self.params.clone());
        std::iter::once(default).chain(variants).collect()
    }
}

impl Map {
    fn parse(text: &str) -> std::result::Result<Self, String> {
        let form = "`ELEMENT [SHAPE] box [TILE]` was expected";
        let (element, rest) = text.split_once('[').ok_or(form)?;
        let (shape, mut rest) = rest.split_once(']').ok_or(form)?;
        let mut strides = Vec::new();
        if let Some(after) = rest.trim().strip_prefix("stride") {
            let after = after.trim().strip_prefix('[').ok_or(form)?;
            let (text, after) = after.split_once(']').ok_or(form)?;
            (strides, rest) = (arguments(text), after);
        }
        let tile = rest.trim().strip_prefix("box").ok_or(form)?.trim();
        let tile = tile.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
        let map = Self {
            element: element.trim().to_owned(),
            shape: arguments(shape),
            strides,
            tile: arguments(tile.ok_or(form)?),
        };
        if map.shape.len() != map.tile.len() {
            return Err("the box has as many sizes as the array".to_owned());
        }
        if !map.strides.is_empty() && map.strides.len() + 1 != map.shape.len() {
            return Err("all dimensions but the innermost have a stride".to_owned());
        }
        Ok(map)
    }
}

fn assignments<'a>(words: impl Iterator<Item = &'a str>) -> std::result::Result<Values, String> {
    words
        .map(|word| {
            let (name, value) = word.split_once('=').ok_or("NAME=VALUE was expected")?;
            let value = value
                .parse()
                .map_err(|_| format!("{value} is no integer"))?;
            Ok((name.to_owned(), value))
        })
        .collect()
}

/// Splits at commas that are not within parentheses.
fn arguments(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0;
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts
            .last_mut()
            .expect("there is one from the start")
            .push(c);
    }
    parts.iter().map(|part| part.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// Does it.\n// And more.\n//@ entry: f\n//@ arch: sm_90a host\n//@ param: BM=128 S=2\n//@ variant: tall BM=256\n//@ threads: BM\n//@ smem: S*BM*2\n//@ grid: cdiv(N,BM), 3\n//@ map A: bf16 [cdiv(K,64), M, 64] stride [64, K] box [2, BM, 64]\n//@ args: A N\n//@ spills: yes\n//@ expect: sm_90a HGMMA>=4\n\n// Not the summary.\n";

    #[test]
    fn a_file_says_how_it_is_launched() {
        let found = Metadata::parse("x.cu", TEXT).unwrap();
        assert_eq!(found.summary, "Does it.\nAnd more.\n");
        assert_eq!(found.block(&found.params).unwrap(), (128, 1, 512));
        let [_, (name, tall)] = &found.configurations()[..] else {
            panic!("one variant");
        };
        assert_eq!(
            (name.as_str(), found.block(tall).unwrap()),
            ("tall", (256, 1, 1024))
        );
        let mut sized = found.params.clone();
        sized.insert("N".to_owned(), 300);
        assert_eq!(found.blocks(&sized).unwrap(), [3, 3, 1]);
        let map = &found.maps["A"];
        assert_eq!(map.shape, ["cdiv(K,64)", "M", "64"]);
        assert_eq!(map.strides, ["64", "K"]);
        assert_eq!(map.tile, ["2", "BM", "64"]);
        assert!(found.spills && !found.pdl);
        assert_eq!(found.expect["sm_90a"], [("HGMMA".to_owned(), 4)]);
        assert!(found.with(&Values::from([("X".to_owned(), 1)])).is_err());
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (wrong, word) in [
            ("//@ gird: 1", "gird"),
            ("//@ variant: v XX=1", "XX"),
            ("//@ param: BM", "NAME=VALUE"),
            ("//@ map B: bf16 [M] box [1, 2]", "as many"),
            ("//@ map B: bf16 [M, K] stride [K, 1] box [1, 2]", "stride"),
        ] {
            let error = Metadata::parse("x.cu", &format!("{TEXT}{wrong}\n")).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("x.cu:16") && error.contains(word), "{error}");
        }
        let error = Metadata::parse("x.cu", "//@ entry: f\n").unwrap_err();
        assert!(error.to_string().contains("`//@ arch:`"));
    }
}

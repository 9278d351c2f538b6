//! What the system says of cores, caches and memory nodes.
//!
//! Linux publishes it as small text files. All of them are read below a root folder that is given, so that a made-up machine of two
//! sockets can be read on a laptop. The invariant: what a file does not say is absent from the answer. A virtual machine often hides its
//! caches, and a guessed size would be taken for a fact.

use std::path::Path;

/// A machine by its own account.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Logical CPUs that are online, in rising order.
    pub cpus: Vec<usize>,
    /// Caches of the first CPU that hold data, nearest first. Empty where the system is silent.
    pub caches: Vec<Cache>,
    /// Memory nodes. Empty where the system is silent; one where all memory is equally near.
    pub nodes: Vec<Node>,
}

/// A data or unified cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// 1 for the nearest.
    pub level: usize,
    /// Size in bytes.
    pub bytes: usize,
    /// Bytes that move together.
    pub line: usize,
    /// Logical CPUs that share it.
    pub shared_by: Vec<usize>,
}

/// Memory with the CPUs that are nearest to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: usize,
    /// Logical CPUs; none on a node that is memory alone.
    pub cpus: Vec<usize>,
    /// The firmware's distance to each node, in the order of [`Topology::nodes`]: 10 is local. A ratio of nothing in particular, to be
    /// measured before it is believed.
    pub distances: Vec<usize>,
}

/// A list of CPUs that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{list:?} is no list of CPUs: {part:?} is neither a number nor a rising range FIRST-LAST")]
pub struct CpuListError {
    /// The whole list.
    pub list: String,
    /// What cannot be read.
    pub part: String,
}

/// Reads a list as the Linux kernel writes it, `0-3,8`: numbers and inclusive ranges, and a line's end. An empty list is no CPU, as a
/// node without CPUs has it.
///
/// # Errors
/// If a part is neither a number below 65,536 nor a rising range of such numbers.
pub fn cpu_list(list: &str) -> Result<Vec<usize>, CpuListError> {
    // ANCHOR: solve-cpu-list
    let mut cpus = Vec::new();
    let list = list.trim();
    for part in list.split(',').filter(|_| !list.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        match (first.parse::<u16>(), last.parse::<u16>()) {
            (Ok(first), Ok(last)) if first <= last => cpus.extend((first..=last).map(usize::from)),
            _ => {
                return Err(CpuListError {
                    list: list.to_owned(),
                    part: part.to_owned(),
                });
            }
        }
    }
    Ok(cpus)
    // ANCHOR_END: solve-cpu-list
}

impl Topology {
    /// This machine. On a system without sysfs everything is empty.
    pub fn here() -> Self {
        Self::read(Path::new("/sys/devices/system"))
    }

    /// The machine whose files lie below `root`, which has the form of `/sys/devices/system`.
    pub fn read(root: &Path) -> Self {
        let cpus = list(&root.join("cpu/online")).unwrap_or_default();
        let first = cpus.first().copied().unwrap_or(0);
        Self {
            caches: caches(&root.join(format!("cpu/cpu{first}/cache"))),
            nodes: nodes(&root.join("node")),
            cpus,
        }
    }

    /// The cache of that level, if the system tells of it.
    pub fn cache(&self, level: usize) -> Option<&Cache> {
        self.caches.iter().find(|cache| cache.level == level)
    }

    /// Size in bytes of the largest cache that the first CPU reaches.
    pub fn last_level(&self) -> Option<usize> {
        self.caches.last().map(|cache| cache.bytes)
    }
}

fn caches(folder: &Path) -> Vec<Cache> {
    let mut caches: Vec<_> = (0..)
        .map(|index| folder.join(format!("index{index}")))
        .take_while(|cache| cache.exists())
        .filter_map(|cache| {
            let kind = text(&cache.join("type"))?;
            let found = Cache {
                level: number(&cache.join("level"))?,
                bytes: size(&text(&cache.join("size"))?)?,
                line: number(&cache.join("coherency_line_size"))?,
                shared_by: list(&cache.join("shared_cpu_list"))?,
            };
            (kind != "Instruction").then_some(found)
        })
        .collect();
    caches.sort_by_key(|cache| cache.level);
    caches
}

fn nodes(folder: &Path) -> Vec<Node> {
    let ids = list(&folder.join("online")).unwrap_or_default();
    ids.iter()
        .filter_map(|&id| {
            let node = folder.join(format!("node{id}"));
            let distances = text(&node.join("distance"))?;
            let distances: Vec<_> = distances
                .split_whitespace()
                .map_while(|distance| distance.parse().ok())
                .collect();
            (distances.len() == ids.len()).then_some(Node {
                id,
                cpus: list(&node.join("cpulist"))?,
                distances,
            })
        })
        .collect()
}

/// `48K`, `32M`, `1G` or plain bytes.
fn size(text: &str) -> Option<usize> {
    let digits = text.trim_end_matches(['K', 'M', 'G']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        _ => return None,
    };
    digits.parse::<usize>().ok()?.checked_mul(1 << shift)
}

fn text(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    Some(text.trim().to_owned())
}

fn number(file: &Path) -> Option<usize> {
    text(file)?.parse().ok()
}

fn list(file: &Path) -> Option<Vec<usize>> {
    cpu_list(&text(file)?).ok()
}

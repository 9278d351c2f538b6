//! What the emulator finds wrong with a kernel.

use super::abi;
use std::fmt;

/// The first error of an emulated kernel, and where it happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// Block along x, y, z.
    pub block: [u32; 3],
    /// Thread of that block; `None` where all of them are concerned.
    pub thread: Option<u32>,
    /// The source file, relative to `kernels/`.
    pub file: String,
    /// Line in that file.
    pub line: u32,
}

/// Kinds of errors. An element is named as `array[index]` of `count`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// An access beyond the ends of an array.
    OutOfBounds(Element),
    /// A vector access whose address is no multiple of its size, which stops a GPU with an error.
    Misaligned(Element, String),
    /// Two threads touch the same element, one of them writes, and no barrier lies between; for two blocks there is none.
    Race {
        /// What they touch.
        element: Element,
        /// Whether the thread of the fault wrote.
        wrote: bool,
        /// The other thread, which came first here; on a GPU either may.
        other: u32,
        /// Line of its access.
        other_line: u32,
        /// Whether it wrote.
        other_wrote: bool,
        /// Whether it is a thread of another block.
        other_block: bool,
    },
    /// A read of shared memory that no thread of the block has written.
    NeverWritten(Element),
    /// Some threads wait at a block barrier that others have passed by: the text says who waits where.
    BarrierDivergence(String),
    /// Lanes of a warp wait for others that never come: the text says who waits where.
    Deadlock(String),
    /// A shuffle asks for the value of a lane that takes no part in it.
    BadShuffle(String),
    /// Static shared memory of more than the 48 KiB that a block may have.
    SharedTooLarge(String),
    /// An argument does not fit the kernel's parameter.
    BadArgument(String),
    /// The emulator's own limits.
    Limit(String),
    /// A `TODO` of the kernel, which says what is to be written there.
    Unsolved(String),
}

/// An element of an array.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// The array's name in the kernel.
    pub array: String,
    /// Which element.
    pub index: i64,
    /// How many there are.
    pub count: u64,
}

impl Fault {
    pub(super) fn read(raw: &abi::Fault) -> Option<Self> {
        let element = Element {
            array: abi::text(&raw.array),
            index: raw.index,
            count: raw.count,
        };
        let detail = abi::text(&raw.detail);
        let kind = match raw.kind {
            0 => return None,
            1 => FaultKind::OutOfBounds(element),
            2 => FaultKind::Misaligned(element, detail),
            3 => FaultKind::Race {
                element,
                wrote: raw.wrote != 0,
                other: raw.other as u32,
                other_line: raw.other_line as u32,
                other_wrote: raw.other_wrote != 0,
                other_block: raw.other_block != 0,
            },
            4 => FaultKind::NeverWritten(element),
            5 => FaultKind::BarrierDivergence(detail),
            6 => FaultKind::Deadlock(detail),
            7 => FaultKind::BadShuffle(detail),
            8 => FaultKind::SharedTooLarge(detail),
            9 => FaultKind::BadArgument(detail),
            11 => FaultKind::Unsolved(detail),
            _ => FaultKind::Limit(detail),
        };
        Some(Self {
            kind,
            block: raw.block,
            thread: u32::try_from(raw.thread).ok(),
            file: abi::text(&raw.file),
            line: raw.line as u32,
        })
    }
}

impl fmt::Display for Element {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}[{}] of {}", self.array, self.index, self.count)
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = |wrote: &bool| if *wrote { "writes" } else { "reads" };
        match self {
            Self::OutOfBounds(element) => write!(to, "{element} is out of bounds"),
            Self::Misaligned(element, what) => {
                write!(to, "{element} is misaligned: an access of {what}")
            }
            Self::Race {
                element,
                wrote,
                other,
                other_line,
                other_wrote,
                other_block,
            } => write!(
                to,
                "race: it {} {element}, thread {other}{} {} it at line {other_line}, and no barrier lies between",
                verb(wrote),
                if *other_block {
                    " of another block"
                } else {
                    ""
                },
                verb(other_wrote)
            ),
            Self::NeverWritten(element) => {
                write!(to, "it reads shared {element}, which no thread has written")
            }
            Self::BarrierDivergence(who) => {
                write!(to, "not all threads come to the same barrier: {who}")
            }
            Self::Deadlock(who) => write!(to, "deadlock: {who}"),
            Self::BadShuffle(why) => write!(to, "it shuffles from a lane that is not there: {why}"),
            Self::SharedTooLarge(size) => write!(
                to,
                "{size} of static shared memory; a block has 48 KiB of it"
            ),
            Self::Unsolved(message) => write!(to, "not yet implemented: {message}"),
            Self::BadArgument(why) | Self::Limit(why) => write!(to, "{why}"),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let FaultKind::BadArgument(why) | FaultKind::Limit(why) = &self.kind {
            return write!(to, "{why}");
        }
        let [x, y, z] = self.block;
        write!(to, "{}:{}: block ({x}, {y}, {z})", self.file, self.line)?;
        if let Some(thread) = self.thread {
            write!(to, ", thread {thread}")?;
        }
        write!(to, ": {}", self.kind)
    }
}

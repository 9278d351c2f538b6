//! Intel's AMX: registers that are tiles of 16 rows of 64 bytes, and one instruction that multiplies two of them into a third.
//!
//! TDPBUSD does for 16 x 16 outputs and 16 words of `k` what VPDPBUSD does for 16 outputs and one word: 256 times as much. A block of
//! 32 x 32 outputs takes four tiles of sums, two of `x` and two of the panel, which is all eight; each loaded tile is used twice. Packed
//! rows and panels are as everywhere: a tile is loaded with a stride, so it can be cut from either.
//!
//! The compiler's intrinsics for AMX are not stable, so the block is written in assembly. The kernel's permission is asked for once
//! ([`available`]): the tiles' eight KiB make a thread's saved state larger than old programs expect.
//!
//! The invariant: `k` is whole tiles, since rows and panels are padded with zeros to 16 words.

use super::panels::NR;
use super::tile::{Micro, Operands, X_STRIDE};
use crate::simd::Element;
use crate::simd::dot::Narrow;
use std::arch::asm;
use std::marker::PhantomData;
use std::sync::OnceLock;

pub(super) struct Amx<N>(PhantomData<N>);

/// Palette 1, and for each of eight tiles 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = Config {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Calls `compute` with the tiles configured.
///
/// # Safety
/// The CPU must have AMX, and the kernel's permission must have been given.
pub(super) unsafe fn with_tiles(compute: impl FnOnce()) {
    // SAFETY: the caller's promise; the configuration is one that palette 1 allows.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly)) };
    compute();
    // SAFETY: as above. Tiles without content need not be saved when threads switch.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// A block of 32 columns by 16 or 32 rows, with the instruction named.
macro_rules! block {
    ($instruction:literal, $height:expr, $operands:expr) => {{
        let operands = $operands;
        let below = usize::from($height > 16) * 16;
        // SAFETY: the caller's: tiles are configured; `x`, `w` and `c` are valid for 32 columns, `$height` rows and `k` words, whole
        // tiles. With 16 rows, the second half is the first once more: computed twice, stored twice, with the same result.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                "test {resume}, {resume}",
                "jz 2f",
                "tileloadd tmm0, [{c} + {c_stride}]",
                "tileloadd tmm1, [{c} + {c_stride} + 64]",
                "tileloadd tmm2, [{c_below} + {c_stride}]",
                "tileloadd tmm3, [{c_below} + {c_stride} + 64]",
                "2:",
                "test {tiles}, {tiles}",
                "jz 4f",
                "3:",
                "tileloadd tmm4, [{x} + {x_stride}]",
                "tileloadd tmm6, [{w} + {w_stride}]",
                "tileloadd tmm7, [{w} + {w_stride} + 64]",
                concat!($instruction, " tmm0, tmm4, tmm6"),
                "tileloadd tmm5, [{x_below} + {x_stride}]",
                concat!($instruction, " tmm1, tmm4, tmm7"),
                concat!($instruction, " tmm2, tmm5, tmm6"),
                concat!($instruction, " tmm3, tmm5, tmm7"),
                "add {x}, 64",
                "add {x_below}, 64",
                "add {w}, 2048",
                "dec {tiles}",
                "jnz 3b",
                "4:",
                "tilestored [{c} + {c_stride}], tmm0",
                "tilestored [{c} + {c_stride} + 64], tmm1",
                "tilestored [{c_below} + {c_stride}], tmm2",
                "tilestored [{c_below} + {c_stride} + 64], tmm3",
                resume = in(reg) usize::from(operands.resume),
                c = in(reg) operands.c,
                c_below = in(reg) operands.c.add(below * operands.c_stride),
                c_stride = in(reg) operands.c_stride * 4,
                x = inout(reg) operands.x => _,
                x_below = inout(reg) operands.x.add(below * X_STRIDE) => _,
                x_stride = in(reg) X_STRIDE * 4,
                w = inout(reg) operands.w => _,
                w_stride = in(reg) NR * 4,
                tiles = inout(reg) operands.k / 16 => _,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }};
}

// SAFETY: used only where the CPU has AMX and tiles are configured; pointers are the caller's promise.
unsafe impl<N: Narrow> Micro for Amx<N> {
    const LANES: usize = NR;

    #[inline(always)]
    unsafe fn run<E: Element>(operands: &Operands<E>, height: usize, _panels: usize) {
        const { assert!(size_of::<E>() == 4 && NR == 32) };
        debug_assert!(operands.k.is_multiple_of(16));
        if N::INTEGER {
            block!("tdpbusd", height, operands);
        } else {
            block!("tdpbf16ps", height, operands);
        }
    }

    unsafe fn widen<E: Element>(_from: &[E], _to: *mut f32) {
        unreachable!("words are not widened");
    }
}

/// Whether this CPU multiplies tiles of `N` and the system lets this process use them.
pub(crate) fn available<N: Narrow>() -> bool {
    // Asked once: in a virtual machine CPUID is a trip to the hypervisor.
    static FOUND: [OnceLock<bool>; 2] = [OnceLock::new(), OnceLock::new()];
    *FOUND[usize::from(N::INTEGER)].get_or_init(look::<N>)
}

fn look<N: Narrow>() -> bool {
    let leaf = std::arch::x86_64::__cpuid_count(7, 0);
    let highest = std::arch::x86_64::__cpuid(0).eax;
    let product = if N::INTEGER { 25 } else { 22 };
    highest >= 7 && leaf.edx & (1 << 24) != 0 && leaf.edx & (1 << product) != 0 && permitted()
}

/// Asks the kernel for the use of tiles, which it gives to a process once and for all.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    // SAFETY: the call takes two numbers and touches no memory of ours.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

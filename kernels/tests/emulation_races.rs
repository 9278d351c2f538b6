//! Kernels with planted races: the emulator names the element, both threads and both lines. And sound ones beside them, which must pass:
//! a checker that cries at everything is as useless as one that never does.

mod emulated;

use emulated::{fault, fault_in, planted, planted_in};
use kernels::FaultKind;

const REVERSE: &str = "SHARED(float, tile, 64);
int t = threadIdx.x;
tile[t] = a[t];
BARRIER
c[t] = tile[63 - t];";

#[test]
fn a_missing_barrier_is_a_race() {
    let (counts, c) = planted(64, &REVERSE.replace("BARRIER", "__syncthreads();"), 64).unwrap();
    assert_eq!((counts.barriers, c[0], c[63]), (1, 63.0, 0.0));
    // Thread 0 runs first here and reads what thread 63 writes only later: a race all the same.
    let found = fault(64, &REVERSE.replace("BARRIER", ""), 64);
    let FaultKind::Race {
        element,
        wrote: true,
        other,
        other_line: 7,
        other_wrote: false,
        ..
    } = &found.kind
    else {
        panic!("{found}");
    };
    assert_eq!((element.index, found.line), (i64::from(63 - other), 5));
    // The other way round: the write first, then the read.
    let race =
        "SHARED(float, tile, 64);\nint t = threadIdx.x;\ntile[t] = a[t];\n\nc[t] = tile[t / 2];";
    let found = fault(64, race, 64);
    let FaultKind::Race {
        element,
        wrote,
        other,
        other_line,
        other_wrote,
        other_block: false,
    } = &found.kind
    else {
        panic!("{found}");
    };
    assert_eq!((element.array.as_str(), element.index), ("tile", 0));
    assert_eq!((found.thread, *wrote, found.line), (Some(1), false, 7));
    assert_eq!((*other, *other_wrote, *other_line), (0, true, 5));
    assert_eq!(
        (found.block, found.file.as_str()),
        ([0, 0, 0], "planted.cu")
    );
}

#[test]
fn a_write_after_a_read_needs_a_barrier_too() {
    let body = "SHARED(float, tile, 64);
int t = threadIdx.x;
tile[t] = a[t];
__syncthreads();
float next = tile[(t + 1) % 64];
BARRIER
tile[t] = next;
__syncthreads();
c[t] = tile[t];";
    let (_, c) = planted(64, &body.replace("BARRIER", "__syncthreads();"), 64).unwrap();
    assert_eq!((c[0], c[63]), (1.0, 0.0));
    let found = fault(64, &body.replace("BARRIER", ""), 64);
    let FaultKind::Race {
        element,
        wrote: true,
        other: 0,
        other_wrote: false,
        ..
    } = &found.kind
    else {
        panic!("{found}");
    };
    assert_eq!((element.index, found.thread, found.line), (1, Some(1), 9));
}

#[test]
fn two_writers_of_one_element_race() {
    let body = "SHARED(float, flag, 1);\nflag[0] = a[threadIdx.x];\n__syncthreads();\nc[threadIdx.x] = flag[0];";
    let found = fault(32, body, 32);
    let FaultKind::Race {
        wrote: true,
        other_wrote: true,
        ..
    } = found.kind
    else {
        panic!("{found}");
    };
}

#[test]
fn a_shuffle_is_no_barrier_for_memory() {
    let body = "SHARED(float, flag, 1);
if (threadIdx.x == 0) flag[0] = a[0];
__syncthreads();
float v = shuffle_xor(flag[0], 1);
BARRIER
if (threadIdx.x == 0) flag[0] = 2.0f;
c[threadIdx.x] = v;";
    planted(32, &body.replace("BARRIER", "__syncwarp();"), 32).unwrap();
    let found = fault(32, &body.replace("BARRIER", ""), 32);
    let FaultKind::Race {
        wrote: true,
        other_line: 6,
        other_wrote: false,
        ..
    } = found.kind
    else {
        panic!("{found}");
    };
    assert_eq!((found.thread, found.line), (Some(0), 8));
}

#[test]
fn threads_that_write_the_same_output_race() {
    // The grid's blocks each write their own part, or all the same.
    let body = "int i = PART + threadIdx.x;\nc[i] = a[i];";
    let own = body.replace("PART", "blockIdx.x * 32");
    planted_in(2, 32, &own, 64).unwrap();
    let found = fault_in(2, 32, &body.replace("PART", "0"), 64);
    let FaultKind::Race {
        element,
        wrote: true,
        other: 0,
        other_wrote: true,
        other_block: true,
        ..
    } = &found.kind
    else {
        panic!("{found}");
    };
    assert_eq!(
        (element.array.as_str(), element.index, found.block),
        ("c", 0, [1, 0, 0])
    );
    assert!(
        found
            .to_string()
            .contains("thread 0 of another block writes it"),
        "{found}"
    );
    let found = fault(32, "c[threadIdx.x / 2] = 1.0f;", 32);
    assert!(
        matches!(
            found.kind,
            FaultKind::Race {
                other_block: false,
                ..
            }
        ),
        "{found}"
    );
    // Each block reads, and one then writes what the other has read.
    let body = "float v = c[0];\nif (blockIdx.x == 1) c[0] = v + 1.0f;";
    let found = fault_in(2, 1, body, 1);
    assert!(
        matches!(
            found.kind,
            FaultKind::Race {
                other_wrote: false,
                other_block: true,
                ..
            }
        ),
        "{found}"
    );
    // One block reads what the other writes, in either order.
    for (reader, writer) in [(0, 1), (1, 0)] {
        let body = format!(
            "float v = 0.0f;\nif (blockIdx.x == {reader}) v = c[0];\nif (blockIdx.x == {writer}) c[0] = 1.0f;\nif (v > 2.0f) c[1] = v;"
        );
        let found = fault_in(2, 1, &body, 2);
        assert!(
            matches!(
                found.kind,
                FaultKind::Race {
                    other_block: true,
                    ..
                }
            ),
            "{found}"
        );
    }
}

#[test]
fn a_warp_barrier_orders_its_warp_and_no_other() {
    // Lanes of one warp exchange through shared memory; FIRST is the start of the part that a warp uses.
    let body = "SHARED(float, tile, 64);
int t = threadIdx.x, first = FIRST;
tile[t] = a[t];
__syncwarp();
c[t] = tile[first + (t + 1) % 32];";
    let (counts, c) = planted(64, &body.replace("FIRST", "t / 32 * 32"), 64).unwrap();
    assert_eq!(
        (counts.warp_barriers, c[0], c[31], c[32]),
        (2, 1.0, 0.0, 33.0)
    );
    // Each warp reads what the first has written: a race for the second warp alone.
    let found = fault(64, &body.replace("FIRST", "0"), 64);
    let FaultKind::Race {
        other: 1,
        other_wrote: true,
        ..
    } = found.kind
    else {
        panic!("{found}");
    };
    assert_eq!(found.thread, Some(32));
}

#[test]
fn arrays_of_one_name_in_two_scopes_are_two() {
    let body = "float v = 0.0f;
{ SHARED(float, tile, 32); tile[threadIdx.x] = 1.0f; v += tile[threadIdx.x]; }
{ SHARED(float, tile, 32);
  tile[31 - threadIdx.x] = 2.0f; v += tile[31 - threadIdx.x]; }
c[threadIdx.x] = v;";
    let (_, c) = planted(32, body, 32).unwrap();
    assert!(c.iter().all(|x| *x == 3.0));
}

#[test]
fn a_read_of_an_earlier_warp_is_not_forgotten() {
    // Lane 0 of each warp reads; the second then writes, and a barrier of its own warp is no excuse.
    let body = "SHARED(float, tile, 1);
if (threadIdx.x == 0) tile[0] = 1.0f;
__syncthreads();
if (threadIdx.x >= 32) __syncwarp();
float v = 0.0f;
if (threadIdx.x % 32 == 0) v = tile[0];
if (threadIdx.x == 32) tile[0] = v + 1.0f;";
    let found = fault(64, body, 64);
    let FaultKind::Race {
        wrote: true,
        other: 0,
        other_line: 8,
        other_wrote: false,
        ..
    } = found.kind
    else {
        panic!("{found}");
    };
    assert_eq!((found.thread, found.line), (Some(32), 9));
}

#[test]
fn a_barrier_of_half_a_warp_does_not_order_the_other_half() {
    let body = "SHARED(float, tile, 1);
if (threadIdx.x == 0) tile[0] = 1.0f;
if (threadIdx.x < 16) __syncwarp(0xffffu);
if (threadIdx.x == 20) c[0] = tile[0];";
    let found = fault(32, body, 32);
    assert!(matches!(found.kind, FaultKind::Race { .. }), "{found}");
    // Nor does it where the reader comes after the barrier has opened.
    // A shuffle of one lane with itself holds that lane back until then.
    let late = "SHARED(float, tile, 1);
if (threadIdx.x == 0) tile[0] = 1.0f;
if (threadIdx.x < 16) __syncwarp(0xffffu);
if (threadIdx.x == 20) __shfl_sync(1u << 20, 1.0f, 20);
if (threadIdx.x == 20) __shfl_sync(1u << 20, 1.0f, 20);
if (threadIdx.x == 20) c[0] = tile[0];";
    let found = fault(32, late, 32);
    assert!(matches!(found.kind, FaultKind::Race { .. }), "{found}");
}

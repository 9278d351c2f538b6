//! Kernels with planted bugs other than races: each is named with the threads, the element and the line.

mod emulated;

use emulated::{fault, fault_in, planted};
use kernels::FaultKind;

#[test]
fn accesses_out_of_bounds_are_named() {
    let found = fault(64, "int t = threadIdx.x;\nc[t] = a[t + 1];", 64);
    let FaultKind::OutOfBounds(element) = &found.kind else {
        panic!("{found}");
    };
    assert_eq!(
        (element.array.as_str(), element.index, element.count),
        ("a", 64, 64)
    );
    assert_eq!((found.thread, found.line), (Some(63), 4));
    let found = fault(64, "c[(int)threadIdx.x - 1] = 0.0f;", 64);
    let FaultKind::OutOfBounds(element) = &found.kind else {
        panic!("{found}");
    };
    assert_eq!(
        (element.array.as_str(), element.index, found.thread),
        ("c", -1, Some(0))
    );
    let found = fault(
        32,
        "SHARED(float, tile, 31);\ntile[threadIdx.x] = a[0];",
        32,
    );
    let FaultKind::OutOfBounds(element) = &found.kind else {
        panic!("{found}");
    };
    assert_eq!((element.array.as_str(), element.index), ("tile", 31));
    // The last of the four words lies beyond the end.
    let found = fault(1, "float4 v = vector_load<float4>(a + 4);\nc[0] = v.x;", 7);
    assert!(matches!(found.kind, FaultKind::OutOfBounds(element) if element.index == 7));
}

#[test]
fn a_vector_access_is_aligned_to_its_size() {
    planted(1, "float4 v = vector_load<float4>(a + 4);\nc[0] = v.x;", 8).unwrap();
    let found = fault(1, "float4 v = vector_load<float4>(a + 2);\nc[0] = v.x;", 8);
    assert!(matches!(found.kind, FaultKind::Misaligned(element, _) if element.index == 2));
}

#[test]
fn shared_memory_starts_with_nothing_in_every_block() {
    let found = fault(
        32,
        "SHARED(float, tile, 32);\nc[threadIdx.x] = tile[threadIdx.x];",
        32,
    );
    let FaultKind::NeverWritten(element) = &found.kind else {
        panic!("{found}");
    };
    assert_eq!(
        (element.array.as_str(), element.index, found.thread),
        ("tile", 0, Some(0))
    );
    // What the block before wrote is gone.
    let first =
        "SHARED(float, tile, 1);\nif (blockIdx.x == 0) tile[0] = 1.0f;\nc[blockIdx.x] = tile[0];";
    let found = fault_in(2, 1, first, 2);
    assert_eq!(found.block, [1, 0, 0]);
    assert!(matches!(found.kind, FaultKind::NeverWritten(_)), "{found}");
    let found = fault(32, "SHARED(float, big, 12289);\nbig[0] = 1.0f;", 32);
    assert!(
        matches!(found.kind, FaultKind::SharedTooLarge(_)),
        "{found}"
    );
}

#[test]
fn a_barrier_that_some_threads_miss_is_named() {
    let found = fault(
        64,
        "if (threadIdx.x >= 48) return;\n__syncthreads();\nc[threadIdx.x] = 1.0f;",
        64,
    );
    let FaultKind::BarrierDivergence(who) = &found.kind else {
        panic!("{found}");
    };
    assert_eq!(
        who,
        "threads 0..47 wait in __syncthreads at line 4; threads 48..63 have returned"
    );
    let found = fault(
        64,
        "if (threadIdx.x < 32)\n__syncthreads();\nelse\n__syncthreads();",
        64,
    );
    assert!(
        matches!(found.kind, FaultKind::BarrierDivergence(_)),
        "{found}"
    );
    let found = fault(
        32,
        "if (threadIdx.x < 16) __syncthreads();\nelse __syncwarp();",
        32,
    );
    let FaultKind::Deadlock(who) = &found.kind else {
        panic!("{found}");
    };
    assert!(
        who.contains("threads 16..31 wait in __syncwarp at line 4"),
        "{who}"
    );
}

#[test]
fn a_shuffle_from_a_lane_that_is_gone_is_named() {
    let sum = "float v = a[threadIdx.x];\nfor (int d = 16; d > 0; d /= 2) v += shuffle_xor(v, d);\nc[threadIdx.x] = v;";
    let (counts, c) = planted(64, sum, 64).unwrap();
    assert_eq!((counts.shuffles, c[5], c[40]), (10, 496.0, 1520.0));
    let found = fault(32, &format!("if (threadIdx.x == 3) return;\n{sum}"), 32);
    assert!(matches!(found.kind, FaultKind::BadShuffle(_)), "{found}");
    let found = fault(
        32,
        &format!("if (threadIdx.x < 16) {{\n{sum}\n}} else __syncthreads();"),
        32,
    );
    assert!(matches!(found.kind, FaultKind::Deadlock(_)), "{found}");
}

#[test]
fn a_thread_that_leaves_a_loop_early_misses_its_barrier() {
    let body = "for (int i = 0; i < (threadIdx.x < 32 ? 2 : 1); ++i) __syncthreads();";
    let found = fault(64, body, 64);
    let FaultKind::BarrierDivergence(who) = &found.kind else {
        panic!("{found}");
    };
    assert!(who.ends_with("threads 32..63 have returned"), "{who}");
}

#[test]
fn what_is_not_written_yet_says_so() {
    let found = fault(
        64,
        "float v = a[0];\nif (threadIdx.x == 40)\nTODO(\"task 05/sum: write it\");\nc[threadIdx.x] = v;",
        64,
    );
    assert_eq!(
        found.to_string(),
        "planted.cu:5: block (0, 0, 0), thread 40: not yet implemented: task 05/sum: write it"
    );
    assert!(matches!(found.kind, FaultKind::Unsolved(_)));
}

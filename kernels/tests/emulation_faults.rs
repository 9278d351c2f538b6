//! Kernels with planted bugs: the emulator names each, with the threads, the element and the line. And sound ones beside them, which
//! must pass: a checker that cries at everything is as useless as one that never does.

use kernels::{Argument, Counts, Emulated, Error, Fault, FaultKind, Metadata, Source, Values};

/// Runs `body` in one block.
fn planted(threads: usize, body: &str, n: usize) -> Result<(Counts, Vec<f32>), Error> {
    planted_in(1, threads, body, n)
}

/// Runs `body` as `void planted(GLOBAL(const float) a, GLOBAL(float) c, int N)`; its first line is line 3.
fn planted_in(
    blocks: usize,
    threads: usize,
    body: &str,
    n: usize,
) -> Result<(Counts, Vec<f32>), Error> {
    let text = format!(
        "#include \"gpu.h\"\nKERNEL void planted(GLOBAL(const float) a, GLOBAL(float) c, int N) {{\n{body}\n}}\n"
    );
    let head = format!(
        "//@ entry: planted\n//@ arch: host\n//@ threads: {threads}\n//@ grid: {blocks}\n//@ args: a c N\n"
    );
    let kernel = Emulated::from_source(Source {
        metadata: Metadata::parse("planted.cu", &head)?,
        values: Values::new(),
        text: format!("#line 1 \"planted.cu\"\n{text}"),
    })?;
    let a: Vec<f32> = (0..n).map(|i| i as f32).collect();
    let mut c = vec![f32::NAN; n];
    let counts = kernel.run(&[
        Argument::input("a", &a),
        Argument::output("c", &mut c),
        Argument::integer("N", n),
    ])?;
    Ok((counts, c))
}

fn fault(threads: usize, body: &str, n: usize) -> Fault {
    fault_in(1, threads, body, n)
}

fn fault_in(blocks: usize, threads: usize, body: &str, n: usize) -> Fault {
    match planted_in(blocks, threads, body, n) {
        Err(Error::Emulation { fault, path }) => {
            let text = Error::Emulation {
                fault: fault.clone(),
                path,
            }
            .to_string();
            eprintln!("{text}");
            assert!(text.contains("emulated"), "{text}");
            *fault
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("nothing was found wrong with it:\n{body}"),
    }
}

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
fn a_stride_of_32_words_is_a_conflict_of_all_32_lanes() {
    for (stride, ways) in [(1, 1), (2, 2), (3, 1), (8, 8), (32, 32), (33, 1), (0, 1)] {
        let body = format!(
            "SHARED(float, tile, 1057);\nfor (int i = threadIdx.x; i < 1057; i += 32) tile[i] = 1.0f;\n__syncthreads();\nc[threadIdx.x] = tile[threadIdx.x * {stride}];"
        );
        let (counts, _) = planted(32, &body, 32).unwrap();
        assert_eq!(counts.shared_loads.worst, ways, "stride {stride}");
        assert_eq!(counts.bank_conflicts(), ways - 1, "stride {stride}");
        // 33 full stores and one by a single lane.
        assert_eq!(
            (
                counts.shared_stores.instructions,
                counts.shared_stores.partial
            ),
            (34, 1)
        );
    }
}

#[test]
fn lanes_that_take_different_ways_make_partial_instructions() {
    let (counts, c) = planted(
        32,
        "int t = threadIdx.x;\nif (t % 2)\nc[t] = 1.0f;\nelse\nc[t] = 2.0f;",
        32,
    )
    .unwrap();
    assert_eq!((c[0], c[1]), (2.0, 1.0));
    let stores = counts.global_stores;
    assert_eq!((stores.instructions, stores.partial), (2, 2));
    // 16 values, every second one: all four sectors, twice.
    assert_eq!((stores.transactions, stores.ideal), (8, 4));
    // Lanes that do not exist do not idle; accesses of two widths are two instructions, even in one line.
    let both = "float4 v = vector_load<float4>(a); c[threadIdx.x] = v.y + a[threadIdx.x];";
    let (counts, c) = planted(16, both, 16).unwrap();
    assert_eq!(c[3], 4.0);
    assert_eq!(
        (
            counts.global_loads.instructions,
            counts.global_loads.partial
        ),
        (2, 0)
    );
    assert_eq!(counts.global_loads.bytes, 16 * (16 + 4));
    assert_eq!(counts.sites.len(), 3);
}

#[test]
fn arguments_are_held_to_the_kernel() {
    let kernel = Emulated::build("gemm/k01_naive.cu", &Values::new()).unwrap();
    let (a, mut c) = (vec![1.0_f32; 4], vec![0.0_f32; 4]);
    let [wrong, b] = [vec![1_u16; 4], vec![0; 4]];
    let sizes = || ["M", "N", "K"].map(|name| Argument::integer(name, 2));
    let refused = |first: Argument<'_>, third: Option<Argument<'_>>| {
        let mut all = vec![first, Argument::input("b", &a)];
        all.extend(third);
        all.extend(sizes());
        kernel.run(&all).unwrap_err().to_string()
    };
    let text = refused(
        Argument::input("a", &wrong),
        Some(Argument::output("c", &mut c)),
    );
    assert!(text.contains("argument a is of another type"), "{text}");
    let text = refused(Argument::input("a", &a), Some(Argument::input("c", &a)));
    assert!(text.contains("argument c is written"), "{text}");
    let text = refused(Argument::input("a", &a), None);
    assert!(text.contains("nothing was given for `c`"), "{text}");
    let text = refused(Argument::input("a", &a), Some(Argument::input("x", &b)));
    assert!(text.contains("no argument `x`"), "{text}");
}

#[test]
fn only_kernels_for_the_host_are_taken() {
    let text = "//@ entry: f\n//@ arch: sm_90a\n//@ threads: 32\n//@ grid: 1\n//@ args: c\n";
    let outcome = Emulated::from_source(Source {
        metadata: Metadata::parse("sm.cu", text).unwrap(),
        values: Values::new(),
        text: String::new(),
    });
    let error = outcome.err().unwrap().to_string();
    assert!(error.contains("does not list host"), "{error}");
}

#[test]
fn what_does_not_compile_is_said_with_its_line() {
    let error = planted(32, "int x = ;", 1).err().unwrap();
    assert!(matches!(error, Error::Compile { .. }));
    assert!(error.to_string().contains("planted.cu:3"), "{error}");
    // A float kept by `auto` would be read later than it looks.
    let error = planted(32, "auto x = c[0];\nfloat y = x + 1.0f;\nc[0] = y;", 1)
        .err()
        .unwrap();
    assert!(matches!(error, Error::Compile { .. }), "{error}");
}

//! What the tests of the emulator share: launches of the kernels, and small kernels written in the test itself.
#![allow(dead_code, reason = "each test target uses a part")]

use kernels::{Argument, Counts, Emulated, Error, Fault, Metadata, Source, Values};

/// Runs a GEMM kernel.
pub fn gemm(
    kernel: &Emulated,
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    [m, n, k]: [usize; 3],
) -> Counts {
    let outcome = kernel.run(&[
        Argument::input("a", a),
        Argument::input("b", b),
        Argument::output("c", c),
        Argument::integer("M", m),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    outcome.unwrap_or_else(|error| panic!("{m} x {n} x {k}: {error}"))
}

/// Runs the GEMV kernel.
pub fn gemv(kernel: &Emulated, b: &[u16], x: &[f32], y: &mut [f32], [n, k]: [usize; 2]) -> Counts {
    let outcome = kernel.run(&[
        Argument::input("b", b),
        Argument::input("x", x),
        Argument::output("y", y),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ]);
    outcome.unwrap_or_else(|error| panic!("{n} x {k}: {error}"))
}

/// Runs `body` in one block.
pub fn planted(threads: usize, body: &str, n: usize) -> Result<(Counts, Vec<f32>), Error> {
    planted_in(1, threads, body, n)
}

/// Runs `body` as `void planted(GLOBAL(const float) a, GLOBAL(float) c, int N)`; its first line is line 3.
pub fn planted_in(
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

/// The fault that `body` ends in, in one block.
pub fn fault(threads: usize, body: &str, n: usize) -> Fault {
    fault_in(1, threads, body, n)
}

/// The fault that `body` ends in.
pub fn fault_in(blocks: usize, threads: usize, body: &str, n: usize) -> Fault {
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

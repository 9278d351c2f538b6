//! The ladder's first five steps on the emulator, counted: `cargo run -p stage-05 --example ladder`. It needs a C++ compiler and no GPU.

use kernels::{Argument, Counts, Emulated, Result, Values};

const SIZE: [usize; 3] = [256, 128, 64];
const LADDER: [(&str, &str); 5] = [
    ("k01 naive", "gemm/k01_naive.cu"),
    ("k02 coalesced", "gemm/k02_coalesced.cu"),
    ("k03 shared tile", "gemm/k03_shared.cu"),
    ("k04 register tile", "gemm/k04_register_tile.cu"),
    ("k05 vectorised", "gemm/k05_vectorised.cu"),
];

fn main() -> Result<()> {
    let [m, n, k] = SIZE;
    println!("C[{m}, {n}] = A[{m}, {k}] * B[{n}, {k}]^T in f32, emulated: counts, no times");
    println!(
        "asked, moved: bytes of global memory that loads ask for and that their sectors hold, for each"
    );
    println!("multiplication; loads: from global and shared memory, for each multiplication\n");
    println!(
        "{:18} {:>9} {:>9} {:>9} {:>9} {:>10} {:>9}",
        "", "sectors", "asked", "moved", "loads", "conflicts", "barriers"
    );
    for (name, path) in LADDER {
        let kernel = Emulated::build(path, &Values::new())?;
        let counts = run(&kernel)?;
        let products = (m * n * k) as f64;
        let (loads, shared) = (counts.global_loads, counts.shared_loads);
        println!(
            "{name:18} {:>9} {:>9.3} {:>9.3} {:>9.3} {:>10} {:>9}",
            counts.sectors(),
            loads.bytes as f64 / products,
            loads.transactions as f64 * 32.0 / products,
            (loads.instructions + shared.instructions) as f64 * 32.0 / products,
            counts.bank_conflicts(),
            counts.barriers,
        );
    }
    println!("\nwithout padding:");
    for (name, path) in [LADDER[2], LADDER[4]] {
        let kernel = Emulated::build(path, &Values::from([("PAD".to_owned(), 0)]))?;
        let counts = run(&kernel)?;
        let most = counts.shared_loads.worst.max(counts.shared_stores.worst);
        println!(
            "{name:18} {} bank conflicts, {most} wavefronts where they are worst",
            counts.bank_conflicts()
        );
    }
    Ok(())
}

fn run(kernel: &Emulated) -> Result<Counts> {
    let [m, n, k] = SIZE;
    let (a, b, mut c) = (vec![1.0; m * k], vec![1.0; n * k], vec![f32::NAN; m * n]);
    let counts = kernel.run(&[
        Argument::input("a", &a),
        Argument::input("b", &b),
        Argument::output("c", &mut c),
        Argument::integer("M", m),
        Argument::integer("N", n),
        Argument::integer("K", k),
    ])?;
    assert!(c.iter().all(|x| *x == k as f32), "the product is wrong");
    Ok(counts)
}

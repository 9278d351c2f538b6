//! What can be said of memory without a clock: `cargo run -p stage-01 --example no_clock`.

use memory_hierarchy::cache_model::{CacheModel, Order};
use memory_hierarchy::probe::SplitMix;
use memory_hierarchy::probe::latency::single_cycle;
use memory_hierarchy::roofline::Roof;

fn main() {
    println!("lines fetched for each multiplication, cache of 32 KiB, 8 ways, lines of 64 bytes");
    println!(
        "{:>6} {:>10} {:>10} {:>10}",
        "size", "columns", "rows", "blocks"
    );
    for size in [96, 127, 128, 129, 192] {
        print!("{size:>6}");
        for order in [Order::Columns, Order::Rows, Order::Blocks(32)] {
            let fetched = order.fetches(size, &mut CacheModel::new(64, 8, 64));
            print!(" {:>10.4}", fetched as f64 / (size * size * size) as f64);
        }
        println!();
    }

    println!("\na random walk over 1,000 lines: lengths of its cycles");
    let lengths = |next: &[usize]| -> Vec<usize> {
        let mut seen = vec![false; next.len()];
        let mut lengths = Vec::new();
        for start in 0..next.len() {
            let (mut at, mut length) = (start, 0);
            while !seen[at] {
                seen[at] = true;
                at = next[at];
                length += 1;
            }
            lengths.extend((length > 0).then_some(length));
        }
        lengths
    };
    let mut random = SplitMix(1);
    let mut shuffled: Vec<usize> = (0..1000).collect();
    for i in (1..1000).rev() {
        shuffled.swap(i, random.below(i + 1));
    }
    println!("by a shuffle        {:?}", lengths(&shuffled));
    let cycle = single_cycle(1000, |bound| random.below(bound));
    println!("by Sattolo's change {:?}", lengths(&cycle));

    println!("\na layer of 4096 x 4096 in f32 on a made-up core: 100 operations and 20 bytes a ns");
    let roof = Roof {
        gflops: 100.0,
        gb_s: 20.0,
    };
    let side = 4096.0;
    for rows in [1, 4, 16, 64, 256] {
        let operations = 2.0 * f64::from(rows) * side * side;
        let bytes = 4.0 * (side * side + 2.0 * f64::from(rows) * side);
        println!(
            "{rows:>4} rows {:>8.2} operations a byte {:>8.1} operations a ns {:>8.2} ms at least",
            operations / bytes,
            roof.attainable(operations / bytes),
            roof.floor_ns(operations, bytes) / 1e6
        );
    }
}

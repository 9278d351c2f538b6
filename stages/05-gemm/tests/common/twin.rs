//! The scheduler of `kernels/include/stream_k.h` on the emulator: the text of one of its parts in a small kernel that writes down what it says.

use kernels::{Argument, Emulated, Metadata, Source, Values};

/// The part of the header from `first` to the line `end` that closes it.
fn part(first: &str, end: &str) -> String {
    let header = kernels::read("include/stream_k.h").expect("it is embedded");
    let from = header.find(first).expect("stream_k.h has it");
    let length = header[from..].find(end).expect("it is closed") + end.len();
    header[from..from + length].to_owned()
}

fn run(part: &str, body: &str, values: &[(&str, usize)], count: usize) -> Vec<i32> {
    let names: Vec<_> = values.iter().map(|(name, _)| *name).collect();
    let head = format!(
        "//@ entry: twin\n//@ arch: host\n//@ threads: 1\n//@ grid: 1\n//@ args: out {}\n",
        names.join(" ")
    );
    let parameters: String = names.iter().map(|name| format!(", int {name}")).collect();
    let text = format!(
        "#include \"gpu.h\"\n#define MEMBER\n{part}\nKERNEL void twin(GLOBAL(int) out{parameters}) {{\n{body}\n}}\n"
    );
    let kernel = Emulated::from_source(Source {
        metadata: Metadata::parse("twin.cu", &head).expect("the lines above are right"),
        values: Values::new(),
        text,
    });
    let kernel = kernel.unwrap_or_else(|error| panic!("{error}"));
    let mut out = vec![-1; count];
    let mut arguments = vec![Argument::output("out", &mut out)];
    let integers = values
        .iter()
        .map(|(name, value)| Argument::integer(name, *value));
    arguments.extend(integers);
    if let Err(error) = kernel.run(&arguments) {
        panic!("{error}");
    }
    out
}

/// `(p, q)` of every tile, as the device's `tile_place` has it.
pub fn places(tiles_p: usize, tiles_q: usize, group: usize) -> Vec<(usize, usize)> {
    let values = [("tiles_p", tiles_p), ("tiles_q", tiles_q), ("group", group)];
    let body = "for (int tile = 0; tile < tiles_p * tiles_q; ++tile) {
        int p, q;
        tile_place(tile, tiles_p, tiles_q, group, p, q);
        out[2 * tile] = p, out[2 * tile + 1] = q;
    }";
    let found = run(
        &part("DEVICE void tile_place", "\n}"),
        body,
        &values,
        2 * tiles_p * tiles_q,
    );
    let pairs = found.chunks(2);
    pairs
        .map(|pair| (pair[0] as usize, pair[1] as usize))
        .collect()
}

/// `(tile, k, k_end)` of every segment of a worker, as the device's `Schedule` has them.
pub fn segments([tiles, whole, steps, workers, worker]: [usize; 5]) -> Vec<(usize, usize, usize)> {
    let values = [
        ("tiles", tiles),
        ("whole", whole),
        ("ksteps", steps),
        ("workers", workers),
        ("worker", worker),
    ];
    let body = "Schedule at(tiles, whole, ksteps, worker, workers);
    int i = 0;
    while (at.next(workers)) out[3 * i] = at.tile, out[3 * i + 1] = at.k, out[3 * i + 2] = at.k_end, ++i;";
    let found = run(
        &part("struct Schedule", "\n};"),
        body,
        &values,
        3 * (tiles + 2),
    );
    let triples = found.chunks(3).take_while(|triple| triple[0] >= 0);
    triples
        .map(|t| (t[0] as usize, t[1] as usize, t[2] as usize))
        .collect()
}

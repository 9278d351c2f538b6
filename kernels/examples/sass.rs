//! What one kernel becomes: compiles it with chosen parameters, and prints what it takes and its instructions. Needs NVRTC and nvdisasm, and
//! no GPU.
//!
//! ```sh
//! cargo run -p kernels --example sass -- gemm/k17_stream_k.cu BQ=64
//! cargo run -p kernels --example sass -- gemm/k03_shared.cu conflicts sm_80
//! ```

use kernels::{Cubin, Sass, Source, Values};
use std::error::Error;
use std::io::{BufWriter, ErrorKind, Write, stdout};
use std::process::ExitCode;

const USAGE: &str = "sass PATH [VARIANT] [NAME=VALUE …] [sm_TARGET]";

fn main() -> ExitCode {
    match run() {
        Err(error) if !is_broken_pipe(&*error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        // A reader that closed the pipe, `head` for one, has seen enough.
        _ => ExitCode::SUCCESS,
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let path = words.next().ok_or(USAGE)?;
    let metadata = Source::load(&path, &Values::new())?.metadata;
    let mut arch = metadata.archs.iter().find(|arch| *arch == "sm_90a");
    arch = arch.or_else(|| metadata.archs.iter().find(|arch| arch.starts_with("sm_")));
    let mut arch = arch.cloned();
    let mut values = Values::new();
    for word in words {
        if word.starts_with("sm_") {
            arch = Some(word);
        } else if let Some((name, value)) = word.split_once('=') {
            values.insert(name.to_owned(), value.parse()?);
        } else {
            let variant = metadata.variants.get(&word);
            values.extend(
                variant
                    .ok_or(format!("{path} has no variant {word}; {USAGE}"))?
                    .clone(),
            );
        }
    }
    let arch = arch.ok_or(format!("{path} has no `sm_` target"))?;
    let source = Source::load(&path, &values)?;
    let cubin = Cubin::of(&source, &arch)?;
    let (threads, cluster, smem) = source.metadata.block(&source.values)?;
    let sass = Sass::of(&cubin)?;
    let mut out = BufWriter::new(stdout().lock());
    writeln!(out, "{path} {arch} {:?}", source.values)?;
    writeln!(out, "{:?}", cubin.resources())?;
    writeln!(
        out,
        "threads {threads}, cluster {cluster}, dynamic shared memory {smem} bytes"
    )?;
    writeln!(out, "{}\n{}", cubin.log.trim_end(), sass.text())?;
    Ok(out.flush()?)
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<std::io::Error>();
    error.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

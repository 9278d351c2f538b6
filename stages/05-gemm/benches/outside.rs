//! What programs that are not ours measured, as records: Triton's matrix products, and the hardware's counters by Nsight Compute.
//!
//! `TRITON=file` names the output of `kernels/gemm/triton_matmul.py`, `COUNTERS=file` that of `kernels/gemm/ncu_table.py --json` over what
//! `kernels/gemm/ncu.sh` collected. Each becomes a record, `05-gemm-triton` and `05-gemm-counters`.

use benches::Series;
use kernels::{Device, Result};
use serde_json::Value;

/// What the ladder's steps include.
const HEADERS: [&str; 11] = [
    "gpu",
    "sm80",
    "sm90",
    "wgmma",
    "direct",
    "stream_k",
    "cluster_sum",
    "cluster_tiles",
    "epilogue",
    "epilogue_tma",
    "w4",
];

fn main() -> Result<()> {
    let file = |name: &str| {
        let path = std::env::var(name).ok()?;
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let lines = text.lines().filter(|line| line.starts_with('{'));
        let parsed = lines.map(|line| serde_json::from_str(line).expect("a JSON object a line"));
        Some(parsed.collect::<Vec<Value>>())
    };
    if let Some(lines) = file("TRITON") {
        let command = "python kernels/gemm/triton_matmul.py >FILE; TRITON=FILE cargo bench -p stage-05 --bench outside";
        let sources = ["kernels/gemm/triton_matmul.py"];
        save(
            "05-gemm-triton",
            "Products in Triton beside torch, which is cuBLAS",
            command,
            &sources,
            triton(&lines),
        )?;
    }
    if let Some(lines) = file("COUNTERS") {
        let command = "kernels/gemm/ncu.sh and ncu_table.py --json, as their heads say; COUNTERS=FILE cargo bench -p stage-05 --bench outside";
        let names = lines.iter().filter_map(|line| line["kernel"].as_str());
        let mut sources: Vec<String> = names
            .map(|kernel| format!("kernels/gemm/{kernel}.cu"))
            .collect();
        sources.extend(HEADERS.map(|header| format!("kernels/include/{header}.h")));
        sources.push("kernels/src/tensor_map.rs".to_owned());
        let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
        save(
            "05-gemm-counters",
            "Hardware counters of one launch of the ladder's steps and of other products",
            command,
            &sources,
            counters(&lines),
        )?;
    }
    Ok(())
}

/// Times of both kernels and of torch at every shape, and the ratio of the medians' pairs.
fn triton(lines: &[Value]) -> Vec<Series> {
    let mut series = Vec::new();
    for line in lines {
        let sizes = line["shape"].as_array().expect("a shape").iter();
        let shape: Vec<String> = sizes.map(Value::to_string).collect();
        for name in ["torch", "pointers", "tma"] {
            let Some(samples) = line[name]["samples_us"].as_array() else {
                println!("{name} has no times at {shape:?}: {}", line[name]);
                continue;
            };
            assert!(line[name]["right"] == true, "{name} is wrong at {shape:?}");
            let ns = |value: &Value| value.as_f64().expect("a time") * 1e3;
            series.push(Series {
                name: format!("{name}/{}", shape.join("x")),
                unit: "ns".to_owned(),
                floor: None,
                samples: samples.iter().map(ns).collect(),
            });
        }
    }
    series
}

/// One series a counter and kernel.
fn counters(lines: &[Value]) -> Vec<Series> {
    let mut series = Vec::new();
    for line in lines {
        let kernel = line["kernel"].as_str().expect("a kernel");
        let (step, _) = kernel.split_once('_').unwrap_or((kernel, ""));
        for (name, value) in line.as_object().expect("an object") {
            let Some(value) = value.as_f64() else {
                continue;
            };
            // The table's names end in a unit, except that of a count.
            let (label, unit) = name.rsplit_once('-').unwrap_or((name, name));
            let unit = match unit {
                "m" => "million",
                "mb" => "MB",
                "percent" => "%",
                unit => unit,
            };
            series.push(Series {
                name: format!("{label}/{step}"),
                unit: unit.to_owned(),
                floor: None,
                samples: vec![value],
            });
        }
    }
    series
}

fn save(
    name: &str,
    title: &str,
    command: &str,
    sources: &[&str],
    series: Vec<Series>,
) -> Result<()> {
    let (device, driver) = (Device::open()?.name(), benches::gpu::driver());
    let mut record = benches::gpu::record(name, title, command, &device, &driver, sources);
    record.series = series;
    let path = record
        .save(&benches::gpu::root())
        .expect("the record can be written");
    println!("wrote {}", path.display());
    Ok(())
}

//! Draws this machine's roofline, with the kernels of the stage as they were recorded: `cargo run --release -p stage-01 --example
//! roofline -- out.svg`.
//!
//! Roofs are measured now; points come from the records `01-*`. A kernel is a point if a record has two series of it: its rate, named
//! `NAME` with the unit `GFLOP/s`, and `intensity/NAME` with the unit `FLOP/byte`.

use benches::Record;
use memory_hierarchy::probe::Machine;
use memory_hierarchy::roofline::{Chart, Point};
use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let out = std::env::args().nth(1).unwrap_or("roofline.svg".to_owned());
    let machine = Machine::measure();
    let mut chart = Chart {
        title: format!("One core of {}", benches::Machine::here().device),
        points: points(&benches::checkout())?,
        ..Chart::default()
    };
    for peak in &machine.peaks {
        let name = format!("{} {}", peak.dtype, peak.isa);
        println!("{name:<20} {:>8.1} GFLOP/s", peak.gflops);
        chart.peaks.push((name, peak.gflops));
    }
    for level in &machine.levels {
        println!(
            "{:<20} {:>8.1} GB/s, read by one core",
            level.name, level.read
        );
        chart.bandwidths.push((level.name.clone(), level.read));
    }
    let (threads, dram) = (machine.threads, machine.dram_read);
    println!("{:<20} {dram:>8.1} GB/s, read by {threads} threads", "DRAM");
    for level in &machine.levels {
        if let Some(roof) = machine.roof(&level.name) {
            let (name, ridge) = (&level.name, roof.ridge());
            println!("f32 from {name} is bound by arithmetic from {ridge:.1} operations a byte on");
        }
    }
    println!("{} kernels from records", chart.points.len());
    std::fs::write(&out, chart.svg())?;
    println!("wrote {out}");
    Ok(())
}

/// The kernels of all records of the stage. A record whose sources have changed since still shows what was measured; its label says so.
fn points(root: &Path) -> Result<Vec<Point>, Box<dyn std::error::Error>> {
    let mut points = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(root.join("benches/records"))?.collect::<Result<_, _>>()?;
    files.sort_by_key(|file| file.file_name());
    for file in files {
        let name = file.file_name().to_string_lossy().into_owned();
        let Some(name) = name
            .strip_suffix(".json")
            .filter(|name| name.starts_with("01-"))
        else {
            continue;
        };
        let record = Record::load(root, name)?;
        let stale = if record.is_stale(root) {
            " (stale)"
        } else {
            ""
        };
        for series in record
            .series
            .iter()
            .filter(|series| series.unit == "GFLOP/s")
        {
            if let Some(intensity) = record.series(&format!("intensity/{}", series.name)) {
                points.push(Point {
                    label: format!("{}{stale}", series.name),
                    intensity: intensity.median(),
                    gflops: series.median(),
                });
            }
        }
    }
    Ok(points)
}

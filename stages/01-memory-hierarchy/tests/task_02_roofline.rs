//! Task 2: what a roof lets a kernel reach, and the drawing of it.

mod common;

use memory_hierarchy::roofline::{Chart, Point, Roof};
use rand::RngExt;

#[test]
fn worked_by_hand() {
    let roof = Roof {
        gflops: 100.0,
        gb_s: 20.0,
    };
    // A sum of f32 does one addition for 4 bytes.
    assert_eq!(roof.attainable(0.25), 5.0);
    assert_eq!(roof.attainable(roof.ridge()), 100.0);
    assert_eq!(roof.attainable(64.0), 100.0);
    assert_eq!(roof.attainable(0.0), 0.0);
    // A product of a 1000 x 1000 matrix in f32 with a vector: 4 MB at 20 bytes a ns, and 2 million operations at 100.
    assert_eq!(roof.floor_ns(2e6, 4e6), 200_000.0);
    // The same with 32 vectors at once: now the operations take longer.
    assert_eq!(roof.floor_ns(64e6, 4e6), 640_000.0);
    assert_eq!(roof.floor_ns(0.0, 4e6), 200_000.0);
    assert_eq!(roof.floor_ns(2e6, 0.0), 20_000.0);
}

#[test]
fn the_floor_is_the_longer_of_two_times() {
    let mut rng = common::rng();
    for _ in 0..1000 {
        let mut random = || 10f64.powf(rng.random_range(-2.0..4.0));
        let roof = Roof {
            gflops: random(),
            gb_s: random(),
        };
        let (operations, bytes) = (random(), random());
        let expected = f64::max(operations / roof.gflops, bytes / roof.gb_s);
        let floor = roof.floor_ns(operations, bytes);
        assert!((floor / expected - 1.0).abs() < 1e-12, "{roof:?}");
        let rate = roof.attainable(operations / bytes);
        assert!(
            (rate * expected / operations - 1.0).abs() < 1e-12,
            "{roof:?}"
        );
    }
}

/// The value of an attribute at each of its places.
fn attributes(svg: &str, name: &str) -> Vec<f64> {
    svg.split(&format!(" {name}=\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
        .collect()
}

#[test]
fn every_point_is_drawn_within_the_frame_and_under_its_roof() {
    let mut rng = common::rng();
    for _ in 0..200 {
        let peak = 10f64.powf(rng.random_range(0.0..5.0));
        let gb_s = 10f64.powf(rng.random_range(0.0..4.0));
        let roof = Roof { gflops: peak, gb_s };
        let mut intensities: Vec<f64> = (0..5)
            .map(|_| 10f64.powf(rng.random_range(-2.0..4.0)))
            .collect();
        intensities.sort_by(f64::total_cmp);
        let chart = Chart {
            title: "a < b & c".to_owned(),
            peaks: vec![("peak".to_owned(), peak)],
            bandwidths: vec![("DRAM".to_owned(), gb_s)],
            points: intensities
                .iter()
                .map(|&intensity| Point {
                    label: "kernel".to_owned(),
                    intensity,
                    gflops: roof.attainable(intensity),
                })
                .collect(),
        };
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b &amp; c") && !svg.contains("NaN"));
        let (x, y) = (attributes(&svg, "cx"), attributes(&svg, "cy"));
        assert_eq!((x.len(), y.len()), (5, 5));
        assert!(x.iter().all(|x| (60.0..=840.0).contains(x)), "{x:?}");
        assert!(y.iter().all(|y| (40.0..=510.0).contains(y)), "{y:?}");
        // One slope of 45 degrees, and one level line: points on the roof rise by as much as they go to the right, and then no more.
        for i in 1..5 {
            let (right, up) = (x[i] - x[i - 1], y[i - 1] - y[i]);
            if intensities[i] <= roof.ridge() {
                assert!((right - up).abs() < 0.5, "{right} to the right, {up} up");
            } else if intensities[i - 1] >= roof.ridge() {
                assert!(up.abs() < 0.5, "{up} up beyond the ridge");
            }
        }
    }
}

#[test]
fn what_has_no_place_on_a_logarithmic_axis_is_left_out() {
    let point = |intensity, gflops| Point {
        label: "k".to_owned(),
        intensity,
        gflops,
    };
    let bad = [0.0, -1.0, f64::NAN, f64::INFINITY];
    let chart = Chart {
        peaks: bad.map(|bad| (String::new(), bad)).to_vec(),
        bandwidths: bad.map(|bad| (String::new(), bad)).to_vec(),
        points: bad
            .iter()
            .flat_map(|&bad| [point(bad, 1.0), point(1.0, bad)])
            .chain([point(1.0, 1.0)])
            .collect(),
        ..Chart::default()
    };
    let svg = chart.svg();
    assert_eq!(attributes(&svg, "cx").len(), 1);
    assert!(!svg.contains("NaN") && !svg.contains("inf"));
    assert!(Chart::default().svg().ends_with("</svg>\n"));
}

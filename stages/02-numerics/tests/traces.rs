//! The drawings of the chapter, made from runs: where the codes of a format lie, and what becomes of a row with an outlier.

use benches::trace::{Cell, Grid, check};
use numerics::float::{BF16, E4M3, E5M2, F16, SmallFloat};
use numerics::quant::{Calibration, Format, Mapping, Scheme, Step};

/// Octaves that are drawn, from the largest number of a format down.
const OCTAVES: usize = 20;

/// Every positive number of a format, over its largest.
fn positive(format: Format) -> Vec<f64> {
    let scheme = Scheme::of(format);
    let step = Step {
        scale: 1.0,
        zero_point: 0,
    };
    let codes = match format {
        Format::Float(float) => 1..=i32::from(float.largest_code()),
        _ => 1..=scheme.code_range()[1],
    };
    let values: Vec<f64> = codes
        .map(|code| f64::from(scheme.decode(code, step)))
        .collect();
    let largest = values.iter().copied().fold(0.0, f64::max);
    values.iter().map(|value| value / largest).collect()
}

#[test]
fn codes_by_octave() {
    let float = |format: SmallFloat| Format::Float(format);
    let rows = [
        ("f16", float(F16)),
        ("bf16", float(BF16)),
        ("e4m3", float(E4M3)),
        ("e5m2", float(E5M2)),
        ("int8", Format::Int(8)),
        ("int4", Format::Int(4)),
        ("int2", Format::Int(2)),
    ];
    let cells = rows.map(|(name, format)| {
        let mut counts = [0; OCTAVES];
        for value in positive(format) {
            // The largest lies in octave 0, and half of it in octave 1.
            let octave = (-value.log2()).floor() as usize;
            if octave < OCTAVES {
                counts[octave] += 1;
            }
        }
        let float = matches!(format, Format::Float(_));
        assert!(!float || counts[1] == counts[2], "{name}: as many in each");
        assert!(
            float || counts[0] >= 2 * counts[1],
            "{name}: half as many in the next"
        );
        let cell = |count: usize| match count {
            0 => None,
            1 => Cell::new(0, count),
            2..=3 => Cell::new(1, count),
            4..=7 => Cell::new(2, count),
            8..=63 => Cell::new(3, count),
            64..=255 => Cell::new(4, count),
            _ => Cell::new(5, count),
        };
        counts.map(cell).to_vec()
    });
    let grid = Grid {
        title: "How many positive codes lie in each octave below a format's largest number; empty: none, numbers there become zero".to_owned(),
        row_axis: "format".to_owned(),
        column_axis: "octaves below the largest number".to_owned(),
        rows: rows.map(|(name, _)| name.to_owned()).to_vec(),
        columns: (0..OCTAVES).map(|octave| octave.to_string()).collect(),
        legend: ["one", "2 or 3", "4 to 7", "8 to 63", "64 to 255", "more"]
            .map(str::to_owned)
            .to_vec(),
        cells: cells.to_vec(),
    };
    check("02-octaves", &grid);
}

/// Two blocks of eight: a weight of 4 in the second, all others below 1.
const ROW: [f32; 16] = [
    0.31, -0.62, 0.05, 0.88, -0.17, 0.44, -0.93, 0.02, 0.56, -0.29, 4.0, 0.71, -0.08, -0.77, 0.13,
    0.39,
];

#[test]
fn codes_of_a_row_with_an_outlier() {
    let rows = [
        ("int8", Scheme::int(8)),
        ("e4m3", Scheme::e4m3()),
        ("int4", Scheme::int(4)),
        (
            "int4, furthest takes -8",
            Scheme::int(4).mapped(Mapping::Furthest),
        ),
        ("int4 with a zero point", Scheme::int(4).asymmetric()),
        (
            "int4, least error",
            Scheme::int(4).calibrated(Calibration::Mse { tried: 40 }),
        ),
        (
            "int4, 75 % of the row",
            Scheme::int(4).calibrated(Calibration::Percentile(75.0)),
        ),
        ("int4, blocks of 8", Scheme::int(4).blocks(8)),
        ("int4, blocks of 4", Scheme::int(4).blocks(4)),
    ];
    let cells = rows.map(|(name, scheme)| {
        let made = scheme
            .quantise(&ROW, [1, ROW.len()])
            .expect("finite numbers");
        let cells = (0..ROW.len()).map(|at| {
            let (value, back) = (ROW[at], made.value(0, at));
            let step = made.step(0, at);
            let [lowest, highest] = scheme.code_range();
            let clipped = matches!(scheme.format, Format::Int(_))
                && (made.codes[at] == lowest || made.codes[at] == highest)
                && (back - value).abs() > 0.51 * step.scale.abs();
            let off = ((back - value) / value).abs();
            let class = match () {
                () if clipped => 4,
                () if back == 0.0 => 3,
                () if off < 0.05 => 0,
                () if off < 0.25 => 1,
                () => 2,
            };
            // A floating code is shown as its number.
            let text = match scheme.format {
                Format::Float(float) => float.decode(made.codes[at] as u16).to_string(),
                _ => made.codes[at].to_string(),
            };
            Cell::new(class, text)
        });
        let cells: Vec<_> = cells.collect();
        assert!(
            !name.contains("blocks")
                || cells
                    .iter()
                    .flatten()
                    .filter(|cell| cell.class == 3)
                    .count()
                    < 8
        );
        cells
    });
    let grid = Grid {
        title: "The codes of sixteen weights, one of them 4 and all others below 1, by scheme"
            .to_owned(),
        row_axis: "scheme".to_owned(),
        column_axis: "weight".to_owned(),
        rows: rows.map(|(name, _)| name.to_owned()).to_vec(),
        columns: ROW.map(|value| value.to_string()).to_vec(),
        legend: [
            "within a twentieth",
            "within a quarter",
            "further off",
            "has become zero",
            "clipped",
        ]
        .map(str::to_owned)
        .to_vec(),
        cells: cells.to_vec(),
    };
    check("02-codes", &grid);
}

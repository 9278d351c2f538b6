//! The roofline: what a machine can make of a kernel, by how much the kernel computes for each byte that it moves.
//!
//! The model is Williams, Waterman and Patterson's (Roofline, 2009). Below the ridge a kernel is bound by memory, above it by
//! arithmetic. The drawing is a function of numbers alone; `examples/roofline.rs` measures them. The invariant: both axes are logarithmic
//! with equally long decades, so every bandwidth is a line of the same slope, and every point given is within the frame.

use std::fmt::Write;

/// A memory and a core, or several, by two numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Roof {
    /// Operations in a ns.
    pub gflops: f64,
    /// Bytes in a ns.
    pub gb_s: f64,
}

impl Roof {
    /// Operations in a ns that a kernel of `intensity` operations a byte can at best do.
    pub fn attainable(&self, intensity: f64) -> f64 {
        // ANCHOR: solve-attainable
        // Moving a byte takes 1 / gb_s ns and brings `intensity` operations. Both go on at once, so the slower one rules.
        self.gflops.min(self.gb_s * intensity)
        // ANCHOR_END: solve-attainable
    }

    /// Operations a byte from which arithmetic is the bound.
    pub fn ridge(&self) -> f64 {
        self.gflops / self.gb_s
    }

    /// The time in ns that work of so many operations and bytes takes at least.
    pub fn floor_ns(&self, operations: f64, bytes: f64) -> f64 {
        if bytes == 0.0 {
            return operations / self.gflops;
        }
        // Without operations there is no rate to divide by; the bytes still have to move.
        (bytes / self.gb_s)
            .max(operations / self.attainable(operations / bytes).max(f64::MIN_POSITIVE))
    }
}

/// A kernel's place in the drawing.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// Name of the kernel.
    pub label: String,
    /// Operations a byte.
    pub intensity: f64,
    /// Operations in a ns, measured.
    pub gflops: f64,
}

/// What is drawn.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Chart {
    /// A heading.
    pub title: String,
    /// Peaks of the arithmetic units, in operations a ns.
    pub peaks: Vec<(String, f64)>,
    /// Bandwidths of the levels of memory, in bytes a ns.
    pub bandwidths: Vec<(String, f64)>,
    /// Kernels.
    pub points: Vec<Point>,
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 560.0;
/// Room for the axes' labels: left, top, right, below.
const MARGIN: [f64; 4] = [60.0, 40.0, 20.0, 50.0];
/// Middle tones, which stand out from white and from navy.
const COLOURS: [&str; 6] = [
    "#2f81c9", "#d96b1c", "#2f9e6b", "#b05fc4", "#c74a5a", "#8a853a",
];

/// The corner and scale of the logarithmic axes.
struct Frame {
    left: f64,
    below: f64,
    decade: f64,
    right: f64,
    above: f64,
}

impl Frame {
    fn x(&self, intensity: f64) -> f64 {
        MARGIN[0] + (intensity.log10() - self.left) * self.decade
    }
    fn y(&self, gflops: f64) -> f64 {
        HEIGHT - MARGIN[3] - (gflops.log10() - self.below) * self.decade
    }
}

impl Chart {
    /// The drawing as SVG, its text in the page's own colour, so that it reads in light and dark. Peaks, bandwidths and points that are no
    /// positive finite numbers have no place on a logarithmic axis and are left out.
    pub fn svg(&self) -> String {
        let frame = self.frame();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" \
             fill=\"currentColor\" stroke=\"none\">\n<text x=\"{}\" y=\"22\" text-anchor=\"middle\" font-size=\"15\">{}</text>\n",
            WIDTH / 2.0,
            escape(&self.title)
        );
        self.axes(&frame, &mut svg);
        self.roofs(&frame, &mut svg);
        self.dots(&frame, &mut svg);
        svg + "</svg>\n"
    }

    /// Decades around all that is drawn.
    fn frame(&self) -> Frame {
        let points = self.points.iter();
        let mut xs: Vec<_> = points.clone().map(|point| point.intensity).collect();
        let mut ys: Vec<_> = points.map(|point| point.gflops).collect();
        ys.extend(self.peaks.iter().map(|peak| peak.1));
        for bandwidth in &self.bandwidths {
            // Where each slope meets the highest and the lowest peak.
            xs.extend(self.peaks.iter().map(|peak| peak.1 / bandwidth.1));
        }
        let decades = |values: Vec<f64>| {
            let values: Vec<_> = values.into_iter().filter(|it| drawable(*it)).collect();
            let low = values.iter().copied().reduce(f64::min).unwrap_or(1.0);
            let high = values.iter().copied().reduce(f64::max).unwrap_or(1.0);
            // A third of a decade of air around what stands at the edges.
            let (low, high) = (low.log10() - 0.33, high.log10() + 0.33);
            (low, high.max(low + 1.0))
        };
        let ((left, right), (below, above)) = (decades(xs), decades(ys));
        let across = (WIDTH - MARGIN[0] - MARGIN[2]) / (right - left);
        let up = (HEIGHT - MARGIN[1] - MARGIN[3]) / (above - below);
        let decade = across.min(up);
        Frame {
            left,
            below,
            decade,
            right: left + (WIDTH - MARGIN[0] - MARGIN[2]) / decade,
            above: below + (HEIGHT - MARGIN[1] - MARGIN[3]) / decade,
        }
    }

    fn axes(&self, frame: &Frame, svg: &mut String) {
        let (bottom, side) = (HEIGHT - MARGIN[3], MARGIN[0]);
        for power in frame.left.ceil() as i32..=frame.right.floor() as i32 {
            let x = frame.x(10f64.powi(power));
            let label = decimal(power);
            rule(svg, (x, bottom), (x, MARGIN[1]), "currentColor", "0.15");
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>",
                bottom + 16.0
            );
        }
        for power in frame.below.ceil() as i32..=frame.above.floor() as i32 {
            let y = frame.y(10f64.powi(power));
            let label = decimal(power);
            rule(
                svg,
                (side, y),
                (WIDTH - MARGIN[2], y),
                "currentColor",
                "0.15",
            );
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{label}</text>",
                side - 6.0,
                y + 4.0
            );
        }
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">operations a byte</text>\n\
             <text x=\"{side}\" y=\"{:.1}\">operations a ns (GFLOP/s)</text>",
            (side + WIDTH - MARGIN[2]) / 2.0,
            HEIGHT - 12.0,
            MARGIN[1] - 6.0
        );
    }

    /// A slope for each bandwidth, up to the highest peak; a level line for each peak, from the steepest slope on.
    fn roofs(&self, frame: &Frame, svg: &mut String) {
        let positive = |all: &[(String, f64)]| -> Vec<(String, f64)> {
            all.iter().filter(|it| drawable(it.1)).cloned().collect()
        };
        let (mut peaks, bandwidths) = (positive(&self.peaks), positive(&self.bandwidths));
        peaks.sort_by(|a, b| b.1.total_cmp(&a.1));
        let highest = peaks.first().map(|peak| peak.1);
        let steepest = bandwidths.iter().map(|it| it.1).reduce(f64::max);
        let (first, last) = (10f64.powf(frame.left), 10f64.powf(frame.right));
        let lowest = 10f64.powf(frame.below);
        for (index, (label, gb_s)) in bandwidths.iter().enumerate() {
            let from = first.max(lowest / gb_s);
            let to = highest.map_or(last, |peak| last.min(peak / gb_s));
            let (start, end) = (
                (frame.x(from), frame.y(from * gb_s)),
                (frame.x(to), frame.y(to * gb_s)),
            );
            let colour = COLOURS[index % COLOURS.len()];
            rule(svg, start, end, colour, "1");
            let (x, y) = (start.0 + 8.0, start.1 - 14.0);
            let _ = writeln!(
                svg,
                "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\" transform=\"rotate(-45 {x:.1} {y:.1})\">{} {gb_s:.0} GB/s</text>",
                escape(label)
            );
        }
        // Peaks whose labels would stand on one another share one.
        let close = |a: &(String, f64), b: &(String, f64)| frame.y(b.1) - frame.y(a.1) < 13.0;
        for group in peaks.chunk_by(close) {
            for (_, gflops) in group {
                let from = steepest.map_or(first, |steepest| first.max(gflops / steepest));
                let y = frame.y(*gflops);
                let end = (WIDTH - MARGIN[2], y);
                rule(svg, (frame.x(from), y), end, "currentColor", "0.8");
            }
            let labels = group
                .iter()
                .map(|(label, gflops)| format!("{} {gflops:.0}", escape(label)));
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - MARGIN[2],
                frame.y(group[0].1) - 4.0,
                labels.collect::<Vec<_>>().join(", ")
            );
        }
    }

    fn dots(&self, frame: &Frame, svg: &mut String) {
        let points = self.points.iter();
        for point in points.filter(|it| drawable(it.intensity) && drawable(it.gflops)) {
            let (x, y) = (frame.x(point.intensity), frame.y(point.gflops));
            let label = escape(&point.label);
            // A label to the left of a point in the right half stays within the drawing.
            let (anchor, at) = if x > WIDTH * 0.6 {
                ("end", x - 7.0)
            } else {
                ("start", x + 7.0)
            };
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"><title>{label}: {:.1} GFLOP/s at {:.2} operations a byte</title></circle>\n\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" font-size=\"10\">{label}</text>",
                point.gflops,
                point.intensity,
                y + 14.0
            );
        }
    }
}

fn drawable(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn rule(svg: &mut String, from: (f64, f64), to: (f64, f64), colour: &str, opacity: &str) {
    let _ = writeln!(
        svg,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" stroke-opacity=\"{opacity}\"/>",
        from.0, from.1, to.0, to.1
    );
}

/// A power of ten as it is written in full.
fn decimal(power: i32) -> String {
    let decimals = usize::try_from(-power).unwrap_or(0);
    format!("{:.decimals$}", 10f64.powi(power))
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

//! Pictures of a digit as people may have them, in every format of PNG.

use fastserve::digits::picture::SIDE;
use png::{BitDepth, ColorType};

/// How a test draws a digit.
#[derive(Clone, Copy, Debug)]
pub struct Drawing {
    pub color: ColorType,
    pub depth: BitDepth,
    /// Times 28 pixels.
    pub size: usize,
    /// Paper above and to the left, to the right and below.
    pub margin: [usize; 2],
    /// Brightness of paper and ink.
    pub paper: f32,
    pub ink: f32,
}

pub const DARK_ON_LIGHT: Drawing = Drawing {
    color: ColorType::Grayscale,
    depth: BitDepth::Eight,
    size: 1,
    margin: [0, 0],
    paper: 255.0,
    ink: 0.0,
};

/// The digit as a PNG: between pixels the brightness is interpolated.
pub fn draw(image: &[f32], drawing: Drawing) -> Vec<u8> {
    let [before, after] = drawing.margin;
    let side = SIDE * drawing.size + before + after;
    let at = |y: usize, x: usize| {
        let place = |at: usize| (at as f32 + 0.5 - before as f32) / drawing.size as f32 - 0.5;
        let pixel = |y: f32, x: f32| {
            let inside = |at: f32| (0.0..SIDE as f32).contains(&at);
            if inside(y) && inside(x) {
                image[y as usize * SIDE + x as usize]
            } else {
                0.0
            }
        };
        let (y, x) = (place(y), place(x));
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = (y - top, x - left);
        let upper = pixel(top, left) * (1.0 - right) + pixel(top, left + 1.0) * right;
        let lower = pixel(top + 1.0, left) * (1.0 - right) + pixel(top + 1.0, left + 1.0) * right;
        let ink = upper * (1.0 - down) + lower * down;
        (drawing.paper + (drawing.ink - drawing.paper) * ink).round() as u8
    };
    let grey: Vec<u8> = (0..side * side)
        .map(|pixel| at(pixel / side, pixel % side))
        .collect();
    encode(&grey, side, drawing)
}

/// Grey pixels in any colour type. With alpha, darkness becomes opacity: black ink on nothing.
pub fn encode(grey: &[u8], side: usize, Drawing { color, depth, .. }: Drawing) -> Vec<u8> {
    let data: Vec<u8> = match (color, depth) {
        (ColorType::Grayscale | ColorType::Indexed, BitDepth::One) => grey
            .chunks(side)
            .flat_map(|row| row.chunks(8))
            .map(|bits| {
                bits.iter().enumerate().fold(0, |byte, (at, grey)| {
                    byte | u8::from(*grey > 127) << (7 - at)
                })
            })
            .collect(),
        (ColorType::Grayscale, BitDepth::Sixteen) => {
            grey.iter().flat_map(|grey| [*grey, 77]).collect()
        }
        (ColorType::Grayscale | ColorType::Indexed, _) => grey.to_vec(),
        (ColorType::GrayscaleAlpha, _) => grey.iter().flat_map(|grey| [0, 255 - grey]).collect(),
        (ColorType::Rgb, _) => grey.iter().flat_map(|grey| [*grey; 3]).collect(),
        (ColorType::Rgba, _) => grey.iter().flat_map(|grey| [0, 0, 0, 255 - grey]).collect(),
    };
    let mut png = Vec::new();
    let mut encoder = png::Encoder::new(&mut png, side as u32, side as u32);
    encoder.set_color(color);
    encoder.set_depth(depth);
    if color == ColorType::Indexed {
        // Dark blue on yellow, by way of shades between.
        let shades = if depth == BitDepth::One { 2 } else { 256 };
        let shade = |at: usize, of: usize| (at * of / (shades - 1)) as u8;
        encoder.set_palette(
            (0..shades)
                .flat_map(|at| [shade(at, 255), shade(at, 230), 90])
                .collect::<Vec<u8>>(),
        );
    }
    encoder
        .write_header()
        .unwrap()
        .write_image_data(&data)
        .unwrap();
    png
}

/// How a person may have the digit: larger, off the centre, on other paper, in every format.
pub fn drawings() -> Vec<Drawing> {
    use ColorType::{Grayscale, GrayscaleAlpha, Indexed, Rgb, Rgba};
    let larger = Drawing {
        size: 4,
        margin: [3, 40],
        ..DARK_ON_LIGHT
    };
    vec![
        DARK_ON_LIGHT,
        Drawing {
            paper: 0.0,
            ink: 255.0,
            ..DARK_ON_LIGHT
        },
        Drawing {
            color: Rgb,
            paper: 30.0,
            ink: 200.0,
            ..larger
        },
        Drawing {
            color: Rgb,
            paper: 210.0,
            ink: 90.0,
            margin: [70, 0],
            ..larger
        },
        Drawing {
            color: Rgba,
            size: 3,
            ..larger
        },
        Drawing {
            color: GrayscaleAlpha,
            size: 2,
            ..larger
        },
        Drawing {
            color: Indexed,
            size: 9,
            ..larger
        },
        Drawing {
            color: Indexed,
            depth: BitDepth::One,
            ..larger
        },
        Drawing {
            color: Grayscale,
            depth: BitDepth::One,
            size: 8,
            ..larger
        },
        Drawing {
            color: Grayscale,
            depth: BitDepth::Sixteen,
            size: 1,
            margin: [1, 0],
            ..larger
        },
    ]
}

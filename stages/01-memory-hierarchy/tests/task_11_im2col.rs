//! Task 11: a convolution becomes a product.

mod common;
mod convolution;

use convolution::{Case, POOLS};
use memory_hierarchy::Isa;
use memory_hierarchy::conv::{Conv, Im2col, direct, im2col};

/// Height, width, inputs, outputs, size, stride, padding and batch: odd ones, images that the filter does not fit into, more padding
/// than image, strips that end within an image, no image at all.
const CASES: [[usize; 8]; 12] = [
    [1, 1, 1, 1, 1, 1, 0, 1],
    [2, 2, 1, 1, 3, 1, 0, 2],
    [3, 3, 2, 5, 3, 1, 0, 1],
    [5, 7, 3, 4, 3, 1, 1, 0],
    [5, 7, 3, 4, 3, 1, 1, 2],
    [9, 8, 5, 33, 3, 2, 1, 3],
    [11, 6, 2, 7, 5, 3, 2, 1],
    [4, 9, 3, 2, 2, 2, 0, 2],
    [1, 2, 1, 3, 3, 1, 4, 1],
    [28, 28, 1, 16, 3, 1, 1, 3],
    [20, 19, 40, 9, 3, 1, 1, 2],
    [7, 7, 17, 40, 1, 1, 0, 2],
];

fn cases() -> impl Iterator<Item = Case> {
    let mut rng = common::rng();
    CASES.into_iter().map(
        move |[height, width, inputs, outputs, size, stride, padding, batch]| {
            let conv = Conv {
                height,
                width,
                inputs,
                outputs,
                size,
                stride,
                padding,
            };
            Case::new(&mut rng, conv, batch)
        },
    )
}

#[test]
fn the_definition_is_right() {
    for case in cases() {
        let mut out = case.poisoned();
        direct(
            &case.conv,
            &case.images,
            &case.filters,
            &case.bias,
            &mut out,
        );
        case.check(&out, case.conv.patch_len() as f64 + 2.0, "direct");
    }
}

#[test]
fn a_row_is_what_lies_beneath_the_filter() {
    for case in cases() {
        let conv = case.conv;
        let pixels = case.batch * conv.out_pixels();
        for range in [0..pixels, pixels / 3..pixels / 3 * 2] {
            let mut columns = vec![f32::NAN; range.len() * conv.patch_len()];
            im2col(&conv, &case.images, range.clone(), &mut columns);
            let rows = columns.chunks_exact(conv.patch_len());
            for (pixel, row) in range.zip(rows) {
                let (image, place) = (pixel / conv.out_pixels(), pixel % conv.out_pixels());
                let (top, left) = (
                    place / conv.out_width() * conv.stride,
                    place % conv.out_width() * conv.stride,
                );
                for (at, value) in row.iter().enumerate() {
                    let (tap, c) = (at / conv.inputs, at % conv.inputs);
                    let y = (top + tap / conv.size) as isize - conv.padding as isize;
                    let x = (left + tap % conv.size) as isize - conv.padding as isize;
                    let inside = (0..conv.height as isize).contains(&y)
                        && (0..conv.width as isize).contains(&x);
                    let expected = if inside {
                        let pixel = (image * conv.height + y as usize) * conv.width + x as usize;
                        case.images[pixel * conv.inputs + c]
                    } else {
                        0.0
                    };
                    assert_eq!(
                        *value, expected,
                        "{conv:?} pixel {pixel}, tap {tap}, channel {c}"
                    );
                }
            }
        }
    }
}

#[test]
fn one_product_is_the_convolution() {
    for case in cases() {
        for pool in &*POOLS {
            let layer = Im2col::new(case.conv, &case.filters, &case.bias, pool);
            for isa in Isa::available() {
                let mut out = case.poisoned();
                layer.forward(pool, isa, &case.images, &mut out);
                case.check(
                    &out,
                    case.conv.patch_len() as f64 + 2.0,
                    &format!("{isa:?}"),
                );
            }
        }
    }
}

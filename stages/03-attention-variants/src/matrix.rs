//! Weights on their way from a file to a device: a row-major matrix in the element type it was stored in.

use half::{bf16, f16};

/// The elements of a [`Matrix`].
#[derive(Clone, Debug, PartialEq)]
pub enum Elements {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// IEEE half precision.
    F16(Vec<f16>),
    /// bfloat16.
    Bf16(Vec<bf16>),
}

/// A row-major `[rows, cols]` matrix. A linear layer's weight is `[out_features, in_features]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// `rows * cols` elements.
    pub elements: Elements,
}

/// Runs `$body` with `$values` bound to the elements, whatever their type, and wraps the result in the same variant.
macro_rules! map_elements {
    ($elements:expr, $values:ident => $body:expr) => {
        match $elements {
            Elements::F32($values) => Elements::F32($body),
            Elements::F16($values) => Elements::F16($body),
            Elements::Bf16($values) => Elements::Bf16($body),
        }
    };
}

impl Matrix {
    /// A matrix of 32-bit floats.
    ///
    /// # Panics
    /// If `values` has not `rows * cols` elements.
    pub fn from_f32(rows: usize, cols: usize, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), rows * cols, "a {rows} x {cols} matrix");
        Self {
            rows,
            cols,
            elements: Elements::F32(values),
        }
    }

    /// The matrices one below another. Those of one element type keep it; a mixture becomes f32.
    ///
    /// # Panics
    /// If there are none, or their widths differ.
    pub fn stack(mut parts: Vec<Matrix>) -> Self {
        if parts.len() == 1 {
            return parts.remove(0);
        }
        let cols = parts[0].cols;
        assert!(
            parts.iter().all(|part| part.cols == cols),
            "stacked matrices must be equally wide"
        );
        let rows = parts.iter().map(|part| part.rows).sum();
        let elements = if parts
            .iter()
            .all(|part| matches!(part.elements, Elements::Bf16(_)))
        {
            Elements::Bf16(
                parts
                    .iter()
                    .flat_map(|part| part.bf16().iter().copied())
                    .collect(),
            )
        } else if parts
            .iter()
            .all(|part| matches!(part.elements, Elements::F16(_)))
        {
            Elements::F16(
                parts
                    .iter()
                    .flat_map(|part| part.f16().iter().copied())
                    .collect(),
            )
        } else {
            Elements::F32(parts.iter().flat_map(Matrix::to_f32).collect())
        };
        Self {
            rows,
            cols,
            elements,
        }
    }

    /// `[cols, rows]`, rows and columns exchanged.
    pub fn transposed(&self) -> Self {
        fn transpose<T: Copy>(values: &[T], rows: usize, cols: usize) -> Vec<T> {
            (0..cols)
                .flat_map(|c| (0..rows).map(move |r| values[r * cols + c]))
                .collect()
        }
        let elements =
            map_elements!(&self.elements, values => transpose(values, self.rows, self.cols));
        Self {
            rows: self.cols,
            cols: self.rows,
            elements,
        }
    }

    /// Rows `from..to`.
    pub fn slice_rows(&self, from: usize, to: usize) -> Self {
        let range = from * self.cols..to * self.cols;
        let elements = map_elements!(&self.elements, values => values[range].to_vec());
        Self {
            rows: to - from,
            cols: self.cols,
            elements,
        }
    }

    /// The elements, widened.
    pub fn to_f32(&self) -> Vec<f32> {
        match &self.elements {
            Elements::F32(values) => values.clone(),
            Elements::F16(values) => values.iter().map(|value| value.to_f32()).collect(),
            Elements::Bf16(values) => values.iter().map(|value| value.to_f32()).collect(),
        }
    }

    /// Element `(row, col)`, widened.
    pub fn get(&self, row: usize, col: usize) -> f32 {
        let at = row * self.cols + col;
        match &self.elements {
            Elements::F32(values) => values[at],
            Elements::F16(values) => values[at].to_f32(),
            Elements::Bf16(values) => values[at].to_f32(),
        }
    }

    fn bf16(&self) -> &[bf16] {
        match &self.elements {
            Elements::Bf16(values) => values,
            _ => &[],
        }
    }

    fn f16(&self) -> &[f16] {
        match &self.elements {
            Elements::F16(values) => values,
            _ => &[],
        }
    }
}

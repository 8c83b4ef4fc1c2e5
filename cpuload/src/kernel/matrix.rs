//! `matrix`: products of 32 × 32 matrices in double precision, as numerical code has them: loads,
//! multiplications and additions that the compiler turns into vectors. One operation is one product,
//! 32 768 multiplications and additions. It touches 24 KiB, which a first-level cache holds.

use std::hint::black_box;

use meter::Result;

use super::Work;

const SIZE: usize = 32;
/// Columns that are summed up at once: as many as vector registers hold everywhere.
const BLOCK: usize = 16;
/// One product is about 3 µs already.
const SLICE: u64 = 1;

type Square = [[f64; SIZE]; SIZE];

pub(super) struct Matrix {
    left: Box<Square>,
    right: Box<Square>,
    product: Box<Square>,
}

impl Matrix {
    pub(super) fn new() -> Self {
        let filled = |step: f64| {
            let value = |row: usize, column: usize| ((row * SIZE + column) as f64 * step).fract();
            Box::new(std::array::from_fn(|row| std::array::from_fn(|column| value(row, column))))
        };
        Self { left: filled(0.37), right: filled(0.73), product: filled(0.0) }
    }
}

impl Work for Matrix {
    fn slice(&self) -> u64 {
        SLICE
    }

    fn run(&mut self, operations: u64) -> Result<()> {
        for _ in 0..operations {
            let (left, right) = (black_box(&*self.left), black_box(&*self.right));
            for (row, product) in left.iter().zip(self.product.iter_mut()) {
                for (block, product) in product.as_chunks_mut::<BLOCK>().0.iter_mut().enumerate() {
                    let mut sums = [0.0; BLOCK];
                    for (&factor, line) in row.iter().zip(right) {
                        for (sum, &value) in sums.iter_mut().zip(&line.as_chunks::<BLOCK>().0[block]) {
                            *sum += factor * value;
                        }
                    }
                    *product = sums;
                }
            }
            black_box(&*self.product);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_right() {
        let mut matrix = Matrix::new();
        matrix.run(1).unwrap();
        for (row, column) in [(3, 5), (0, 0), (31, 31), (16, 15), (15, 16)] {
            let expected: f64 = (0..SIZE).map(|k| matrix.left[row][k] * matrix.right[k][column]).sum();
            assert!((matrix.product[row][column] - expected).abs() < 1e-9, "row {row}, column {column}");
        }
    }
}

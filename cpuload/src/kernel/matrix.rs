//! `matrix`: products of 32 × 32 matrices in double precision, as numerical code has them: loads,
//! multiplications and additions that the compiler turns into vectors. One operation is one product,
//! 32 768 multiplications and additions. It touches 24 KiB, which a first-level cache holds.

use std::hint::black_box;

use meter::Result;

use super::Work;

const SIZE: usize = 32;
/// One product is about 5 µs already.
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
                *product = [0.0; SIZE];
                for (&factor, line) in row.iter().zip(right) {
                    for (sum, &value) in product.iter_mut().zip(line) {
                        *sum += factor * value;
                    }
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
        let expected: f64 = (0..SIZE).map(|k| matrix.left[3][k] * matrix.right[k][5]).sum();
        assert!((matrix.product[3][5] - expected).abs() < 1e-9);
    }
}

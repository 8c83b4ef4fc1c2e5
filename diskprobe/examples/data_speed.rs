//! How fast random data is made and compared, in GB/s on one CPU: it must never be what limits a measurement.

use diskprobe::data::{check, stamp};
use meter::clock;

const BLOCK: usize = 128 << 10;
const BLOCKS: u64 = 40_000;

fn main() {
    let mut block = vec![0; BLOCK];
    let rate = |begin_ns: u64| (BLOCKS * BLOCK as u64) as f64 / (clock::now_ns() - begin_ns) as f64;
    for _ in 0..3 {
        let begin_ns = clock::now_ns();
        for index in 0..BLOCKS {
            stamp(&mut block, index * BLOCK as u64, 1);
            std::hint::black_box(&block);
        }
        let made = rate(begin_ns);
        stamp(&mut block, 0, 1);
        let begin_ns = clock::now_ns();
        for _ in 0..BLOCKS {
            assert_eq!(check(std::hint::black_box(&block), 0, 1).0, 0);
        }
        println!("made {made:.1} GB/s, compared {:.1} GB/s", rate(begin_ns));
    }
}

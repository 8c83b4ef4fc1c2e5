//! Benchmarks of the hot paths: see the files under `benches/`.

//! What the programs write, read into figures: one file a program, tested on captured output.

pub mod criterion;
pub mod dd;
pub mod fio;
pub mod iperf3;
pub mod ours;
pub mod reference;
pub mod rt_tests;
pub mod sockperf;
pub mod stress_ng;
pub mod valgrind;

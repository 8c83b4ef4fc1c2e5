//! Statistics of runs. Pure: numbers in, numbers out; no file, no clock, no global state.
//!
//! The unit is the run: one trial gives one number per metric, and only runs are resampled,
//! compared and counted, never the operations inside one. What the runs can't support is `None`.
//! `docs/statistics.md` says which method is used where, and why.

pub mod blocks;
mod bootstrap;
pub mod contrast;
pub mod control;
pub mod cost;
mod describe;
pub mod distribution;
pub mod drift;
pub mod effect;
pub mod family;
pub mod flags;
mod flip;
pub mod modes;
pub mod power;
pub mod series;
mod spread;
pub mod verdict;

pub use bootstrap::{CONFIDENCE_PERCENT, Interval, LEAST_RUNS};
pub use describe::{describe, distribution, percentile};
pub use drift::{change_point, trend};
pub use spread::spread_intervals;

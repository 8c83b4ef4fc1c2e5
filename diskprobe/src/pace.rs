//! An intended load: how it is typed, and which schedule it means.

use std::str::FromStr;

use meter::{
    Error, Result,
    pacer::{Arrivals, Schedule},
    rate::{ByteRate, Rate},
};
use serde::Serialize;

/// An intended load as typed: operations/s or bytes/s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateText {
    /// `5000/s`, `50k`, `2/min`.
    Operations(Rate),
    /// `200MB/s`, `64MiB/s`.
    Bytes(ByteRate),
}

impl FromStr for RateText {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rate = if text.ends_with("B/s") {
            text.parse().map(Self::Bytes)
        } else {
            text.parse().map(Self::Operations)
        };
        rate.map_err(|why| format!("{why}; write `5000/s` for operations or `200MB/s` for bytes"))
    }
}

impl RateText {
    /// The load in operations of `block_size` bytes.
    ///
    /// # Errors
    /// When it can't be kept exactly (exit code 2).
    pub fn resolve(self, block_size: u64, poisson: bool) -> Result<Pace> {
        let rate = match self {
            Self::Operations(rate) => rate,
            Self::Bytes(ByteRate(rate)) => rate.scaled(1, block_size).map_err(Error::bad_arguments)?,
        };
        Ok(Pace { rate, poisson })
    }
}

/// An intended load, of all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pace {
    /// The rate of operations.
    #[serde(flatten)]
    pub rate: Rate,
    /// Whether arrivals are exponential instead of even.
    pub poisson: bool,
}

impl Pace {
    /// The schedule of one of `workers` workers, and how long after the start it begins: together
    /// they are even.
    #[must_use]
    pub fn schedule(self, worker: u64, workers: u64, seed: u64) -> (Schedule, u64) {
        let arrivals = if self.poisson { Arrivals::Poisson } else { Arrivals::Fixed };
        self.rate.schedule(worker, workers, 1, arrivals, seed)
    }
}

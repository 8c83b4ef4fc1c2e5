//! Results: a folder for each matrix with the plan as run and the journal of its trials.

pub mod facts;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod folder;
pub mod journal;
pub mod outcome;
mod reading;
mod remaining;
pub mod replace;

pub use remaining::{Retry, finished, remaining};

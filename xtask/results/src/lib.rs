//! Results: a folder for each matrix with the plan as run and the journal of its trials.

#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod folder;
pub mod journal;
pub mod outcome;
mod remaining;

pub use remaining::{is_final, remaining};

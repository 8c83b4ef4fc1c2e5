//! Disk probe: how long a guest's I/O takes, how much that varies, and what it costs.
//!
//! What was typed ([`args`]) becomes a [`config`]; [`measure`] conducts its runs on a [`target`];
//! each [`worker`] drives an [`engine`], of which the [`ring`] is the usual one.

pub mod args;
pub mod blocks;
pub mod buffer;
pub mod config;
pub mod data;
pub mod disk;
pub mod engine;
pub mod measure;
pub mod outcome;
pub mod precondition;
pub mod ring;
pub mod setup;
pub mod stage;
pub mod target;
pub mod worker;

pub use args::Args;

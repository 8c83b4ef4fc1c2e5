//! Interrupt counts: /proc/interrupts and /proc/softirqs, read and compared.
//!
//! [`Table`] is a snapshot of one of the two files, [`difference`] and [`Differ`] tell what grew
//! between two of them, and [`InterruptMeter`] counts the interrupts of one device.

mod growth;
mod measure;
mod scan;
mod table;

pub use growth::{Differ, difference};
pub use measure::{InterruptCount, InterruptMeter, Sources};
pub use table::{MASKED, Reader, Row, Table};

//! Sources of interrupts as records show them: what grew, on which CPUs, of which class.

use std::fmt;

use meter::interrupts::Row;
use serde::Serialize;

use crate::class::Class;

/// How many CPUs of a source its text names; JSON has them all.
const CPUS_SHOWN: usize = 8;

/// Interrupts of one source on one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OnCpu {
    /// The CPU; `null` for counts that the kernel keeps for all together.
    pub cpu: Option<usize>,
    /// How many.
    pub count: u64,
}

/// One source and what it raised.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Source {
    /// Number of the IRQ, or short name such as `LOC` or `NET_RX`.
    pub name: String,
    /// Its class.
    pub class: Class,
    /// Name of the device, or the kernel's description.
    pub device: String,
    /// Interrupts of all CPUs.
    pub count: u64,
    /// The same per second.
    pub per_s: f64,
    /// Each CPU that had any.
    pub cpus: Vec<OnCpu>,
}

/// Name of what a row stands for: of a numbered row the devices, else the description.
pub(crate) fn device_of(row: &Row) -> &str {
    if row.name.starts_with(|c: char| c.is_ascii_digit()) { row.device() } else { &row.label }
}

impl Source {
    /// `row` with what it raised on `cpus` in that time.
    pub(crate) fn new(row: &Row, class: Class, cpus: Vec<OnCpu>, elapsed_s: f64) -> Self {
        let count = cpus.iter().fold(0, |sum: u64, on| sum.wrapping_add(on.count));
        Self {
            name: row.name.clone(),
            class,
            device: device_of(row).to_owned(),
            count,
            per_s: rate(count, elapsed_s),
            cpus,
        }
    }
}

/// `count` in that time, per second.
pub(crate) fn rate(count: u64, elapsed_s: f64) -> f64 {
    if elapsed_s > 0.0 { count as f64 / elapsed_s } else { 0.0 }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let class = self.class.name();
        write!(
            f,
            "{:>9} {:>11} {:>12.1}/s  {class:<9} {}  ",
            self.name, self.count, self.per_s, self.device
        )?;
        for (number, OnCpu { cpu, count }) in self.cpus.iter().take(CPUS_SHOWN).enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            match cpu {
                Some(cpu) => write!(f, "{comma}CPU {cpu}: {count}")?,
                None => write!(f, "{comma}all: {count}")?,
            }
        }
        match self.cpus.len().checked_sub(CPUS_SHOWN) {
            Some(more) if more > 0 => write!(f, " and {more} more CPUs"),
            _ => Ok(()),
        }
    }
}

/// Interrupts of one class.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClassCount {
    /// The class.
    pub class: Class,
    /// How many of all sources and CPUs.
    pub count: u64,
    /// The same per second.
    pub per_s: f64,
}

/// Hard interrupts of one CPU.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuCount {
    /// The CPU.
    pub cpu: usize,
    /// Hard interrupts of all sources; `null` where /proc/interrupts is masked.
    pub interrupts: Option<u64>,
    /// The same per second.
    pub interrupts_per_s: Option<f64>,
    /// Soft interrupts of all kinds; `null` where /proc/softirqs is masked.
    pub softirqs: Option<u64>,
}

//! Frequency and heat of the CPUs: what a load's speed depends on, before and after.

use std::fs;

use meter::sysfs::read_line;
use serde::Serialize;

/// What sysfs tells of one CPU. A fact that the machine hides is `null`: guests hide most.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CpuFacts {
    /// The CPU.
    pub cpu: usize,
    /// Its frequency governor.
    pub governor: Option<String>,
    /// Driver of its frequency.
    pub driver: Option<String>,
    /// Its frequency before the load, in Hz.
    pub frequency_before_hz: Option<u64>,
    /// Its frequency at the end of the load, in Hz.
    pub frequency_after_hz: Option<u64>,
    /// Its highest frequency, in Hz.
    pub frequency_max_hz: Option<u64>,
    /// How often it was slowed down because of heat meanwhile.
    pub throttled: Option<u64>,
}

/// One sensor of the machine.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Temperature {
    /// What the sensor is at, such as `x86_pkg_temp`.
    pub sensor: String,
    /// Before the load, in degrees Celsius.
    pub before_celsius: Option<f64>,
    /// At the end of the load, in degrees Celsius.
    pub after_celsius: Option<f64>,
}

/// The facts at one moment, to be compared with those of a later one.
pub struct Facts {
    cpus: Vec<CpuFacts>,
    temperatures: Vec<(String, Temperature)>,
}

impl Facts {
    /// The facts of these CPUs, and of every sensor, now.
    #[must_use]
    pub fn collect(cpus: &[usize]) -> Self {
        let facts = |&cpu: &usize| CpuFacts {
            cpu,
            governor: read_line(frequency_file(cpu, "scaling_governor")),
            driver: read_line(frequency_file(cpu, "scaling_driver")),
            frequency_before_hz: frequency_hz(cpu, "scaling_cur_freq"),
            frequency_after_hz: None,
            frequency_max_hz: frequency_hz(cpu, "cpuinfo_max_freq"),
            throttled: throttle_count(cpu),
        };
        let zones = fs::read_dir("/sys/class/thermal").into_iter().flatten().flatten();
        let sensor = |path: String| {
            let sensor = read_line(format!("{path}/type"))?;
            let before_celsius = celsius(&path);
            Some((path, Temperature { sensor, before_celsius, after_celsius: None }))
        };
        let mut temperatures: Vec<_> = zones
            .map(|zone| zone.path().to_string_lossy().into_owned())
            .filter(|path| path.contains("thermal_zone"))
            .filter_map(sensor)
            .collect();
        temperatures.sort_by(|a, b| a.0.cmp(&b.0));
        Self { cpus: cpus.iter().map(facts).collect(), temperatures }
    }

    /// The same with what holds now beside it.
    #[must_use]
    pub fn compare(self) -> (Vec<CpuFacts>, Vec<Temperature>) {
        let cpus = self.cpus.into_iter().map(|facts| CpuFacts {
            frequency_after_hz: frequency_hz(facts.cpu, "scaling_cur_freq"),
            throttled: throttle_count(facts.cpu)
                .zip(facts.throttled)
                .map(|(now, before)| now.saturating_sub(before)),
            ..facts
        });
        let temperatures = self
            .temperatures
            .into_iter()
            .map(|(path, before)| Temperature { after_celsius: celsius(&path), ..before });
        (cpus.collect(), temperatures.collect())
    }
}

fn frequency_file(cpu: usize, name: &str) -> String {
    format!("/sys/devices/system/cpu/cpu{cpu}/cpufreq/{name}")
}

/// cpufreq tells kHz.
fn frequency_hz(cpu: usize, name: &str) -> Option<u64> {
    read_line(frequency_file(cpu, name))?.parse::<u64>().ok()?.checked_mul(1000)
}

fn throttle_count(cpu: usize) -> Option<u64> {
    read_line(format!("/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count"))?.parse().ok()
}

/// Thermal zones tell thousandths of a degree.
fn celsius(zone: &str) -> Option<f64> {
    read_line(format!("{zone}/temp"))?.parse::<i64>().ok().map(|thousandths| thousandths as f64 / 1000.0)
}

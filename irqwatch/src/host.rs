//! `irqwatch host`: what a hypervisor's host knows of its guests, where it can be read: the counters of
//! KVM and the times of Xen's virtual CPUs.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf, process::Command};

use meter::{Error, Result, clock, session::Session, units, wait::Waiter};
use serde::Serialize;

use crate::source::rate;

/// A resolved look at the host.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Folder of KVM's counters.
    pub kvm: PathBuf,
    /// Length of the measurement, in nanoseconds.
    pub duration_ns: u64,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the host's counters over {}", units::duration(self.duration_ns as f64))
    }
}

/// One counter of KVM, all guests together (Documentation/virt/kvm, `/sys/kernel/debug/kvm`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KvmCounter {
    /// Its name, such as `exits` or `irq_injections`.
    pub name: String,
    /// By how much it grew.
    pub count: u64,
    /// The same per second.
    pub per_s: f64,
}

/// One virtual CPU of Xen (`xl vcpu-list`).
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Vcpu {
    /// Name of the domain.
    pub domain: String,
    /// Number of the domain.
    pub domain_id: u32,
    /// Number of the virtual CPU in it.
    pub vcpu: u32,
    /// Physical CPU that it was on at the end; `null` where it was on none.
    pub pcpu: Option<u32>,
    /// CPU time that it had since its start, in nanoseconds (steps of 0.1 s).
    pub cpu_ns: u64,
}

/// What the host knows.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Length of the measurement, in seconds.
    pub elapsed_s: f64,
    /// Counters of KVM that grew; `null` where this is no KVM host or they can't be read.
    pub kvm: Option<Vec<KvmCounter>>,
    /// Virtual CPUs of Xen with the CPU time that they had meanwhile; `null` where there is no `xl`.
    pub xen_vcpus: Option<Vec<Vcpu>>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "=== {:.3} s", self.elapsed_s)?;
        for counter in self.kvm.iter().flatten() {
            write!(f, "\nkvm {:<28} {:>12} {:>14.1}/s", counter.name, counter.count, counter.per_s)?;
        }
        for vcpu in self.xen_vcpus.iter().flatten() {
            let time = units::duration(vcpu.cpu_ns as f64);
            write!(
                f,
                "\nxen {} (domain {}) vCPU {}: {time} of CPU time",
                vcpu.domain, vcpu.domain_id, vcpu.vcpu
            )?;
        }
        Ok(())
    }
}

/// Looks twice and tells the difference.
///
/// # Errors
/// When neither KVM's counters nor `xl` are there (exit code 3).
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let stop = session.stop();
    let start_ns = clock::now_ns();
    let (kvm, vcpus) = (kvm_counters(config), xen_vcpus());
    if let (Err(kvm), Err(xen)) = (&kvm, &vcpus) {
        return Err(Error::unavailable(format!(
            "neither KVM nor Xen can be read here: {}: {kvm}; xl vcpu-list: {xen}",
            config.kvm.display()
        )));
    }
    session.ready()?;
    let now = Waiter { margin_ns: 0 }.until(start_ns + config.duration_ns, &stop);
    let elapsed_s = (now - start_ns) as f64 / 1e9;
    let kvm = kvm.ok().zip(kvm_counters(config).ok()).map(|(before, after)| grown(&before, after, elapsed_s));
    let xen_vcpus = vcpus.ok().zip(xen_vcpus().ok()).map(|(before, after)| times_between(&before, after));
    session.summary(&Summary { elapsed_s, kvm, xen_vcpus }, Vec::new(), Vec::new())
}

/// All counters of the folder: one number in each file.
fn kvm_counters(config: &Config) -> io::Result<BTreeMap<String, u64>> {
    let mut counters = BTreeMap::new();
    for entry in fs::read_dir(&config.kvm)? {
        let entry = entry?;
        // Folders are single guests, and some files are no counters.
        if let Some(value) = fs::read_to_string(entry.path()).ok().and_then(|text| text.trim().parse().ok()) {
            counters.insert(entry.file_name().to_string_lossy().into_owned(), value);
        }
    }
    if counters.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "no counters"));
    }
    Ok(counters)
}

fn grown(before: &BTreeMap<String, u64>, after: BTreeMap<String, u64>, elapsed_s: f64) -> Vec<KvmCounter> {
    let growth = |(name, now): (String, u64)| {
        let count = now.checked_sub(before.get(&name).copied().unwrap_or(0)).unwrap_or(now);
        (count > 0).then(|| KvmCounter { name, count, per_s: rate(count, elapsed_s) })
    };
    after.into_iter().filter_map(growth).collect()
}

fn xen_vcpus() -> io::Result<Vec<Vcpu>> {
    let output = Command::new("xl").arg("vcpu-list").output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    Ok(parse_vcpus(&String::from_utf8_lossy(&output.stdout)))
}

/// The table of `xl vcpu-list`: name (which may have spaces), domain, vCPU, CPU, state, seconds, affinity.
fn parse_vcpus(text: &str) -> Vec<Vcpu> {
    let parse = |line: &str| -> Option<Vcpu> {
        let words: Vec<&str> = line.split_whitespace().collect();
        // The time is the only word with a point between digits; what stands before it is fixed.
        let time_at = words.iter().rposition(|word| tenths(word).is_some())?;
        let [domain_id, vcpu, pcpu] = words.get(time_at.checked_sub(4)?..time_at - 1)? else { return None };
        Some(Vcpu {
            domain: words[..time_at - 4].join(" "),
            domain_id: domain_id.parse().ok()?,
            vcpu: vcpu.parse().ok()?,
            pcpu: pcpu.parse().ok(),
            cpu_ns: tenths(words[time_at])? * 100_000_000,
        })
    };
    text.lines().skip(1).filter_map(parse).collect()
}

/// `12.3` as 123.
fn tenths(word: &str) -> Option<u64> {
    let (whole, tenth) = word.split_once('.')?;
    let (whole, tenth): (u64, u64) = (whole.parse().ok()?, tenth.parse().ok()?);
    (tenth < 10).then(|| whole.checked_mul(10)?.checked_add(tenth)).flatten()
}

fn times_between(before: &[Vcpu], after: Vec<Vcpu>) -> Vec<Vcpu> {
    let earlier = |vcpu: &Vcpu| {
        let same = |old: &&Vcpu| (old.domain_id, old.vcpu) == (vcpu.domain_id, vcpu.vcpu);
        before.iter().find(same).map_or(0, |old| old.cpu_ns)
    };
    after
        .into_iter()
        .map(|vcpu| Vcpu { cpu_ns: vcpu.cpu_ns.saturating_sub(earlier(&vcpu)), ..vcpu })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_xl_is_understood() {
        let text = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
                    Domain-0                             0     0    0   r--      98.3  0 / all\n\
                    my guest                             3     1    -   --p       0.0  all / all\n";
        let vcpus = parse_vcpus(text);
        let short: Vec<_> =
            vcpus.iter().map(|v| (v.domain.as_str(), v.domain_id, v.vcpu, v.pcpu, v.cpu_ns)).collect();
        assert_eq!(short, [("Domain-0", 0, 0, Some(0), 98_300_000_000), ("my guest", 3, 1, None, 0)]);
    }

    #[test]
    fn nonsense_is_passed_over() {
        assert_eq!(parse_vcpus("x\n1.5\na 1 2.5\n\n"), []);
    }
}

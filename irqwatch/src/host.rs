//! `irqwatch host`: what a hypervisor's host knows of its guests, where it can be read: the counters of
//! KVM and the times of Xen's virtual CPUs.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf, process::Command};

use meter::{
    Error, Result, clock,
    session::Session,
    units,
    wait::Waiter,
    xen::{self, VcpuList},
};
use serde::Serialize;

use crate::{
    observer::{Observer, OwnCost},
    source::rate,
};

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
    /// What the looking itself cost, `xl` and its children left out.
    pub own: OwnCost,
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
        write!(f, "\n{}", self.own)
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
    let (kvm, vcpus) = (kvm_counters(config), xen_vcpus());
    if let (Err(kvm), Err(xen)) = (&kvm, &vcpus) {
        return Err(Error::unavailable(format!(
            "neither KVM nor Xen can be read here: {}: {kvm}; xl vcpu-list: {xen}",
            config.kvm.display()
        )));
    }
    session.ready()?;
    let mut observer = Observer::new();
    let start_ns = clock::now_ns();
    // Anew: whoever says `go` may have taken their time.
    let (kvm, vcpus) = (kvm.and_then(|_| kvm_counters(config)), vcpus.and_then(|_| xen_vcpus()));
    let now = Waiter { margin_ns: 0 }.until(start_ns + config.duration_ns, &stop);
    observer.woke();
    let elapsed_s = (now - start_ns) as f64 / 1e9;
    let kvm = kvm.ok().zip(kvm_counters(config).ok()).map(|(before, after)| grown(&before, after, elapsed_s));
    let mut notes = Vec::new();
    let xen_vcpus = vcpus.ok().zip(xen_vcpus().ok()).map(|((before, _), (after, unread))| {
        notes = unread;
        times_between(&before, after)
    });
    session.summary(&Summary { elapsed_s, kvm, xen_vcpus, own: observer.own_cost() }, notes, Vec::new())
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

/// The virtual CPUs, and lines of the table that can't be read.
fn xen_vcpus() -> io::Result<(Vec<Vcpu>, Vec<String>)> {
    let output = Command::new("xl").arg("vcpu-list").output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let list = VcpuList::parse(&String::from_utf8_lossy(&output.stdout));
    let vcpu = |vcpu: xen::Vcpu| Vcpu {
        domain: vcpu.domain,
        domain_id: vcpu.domain_id,
        vcpu: vcpu.number,
        pcpu: vcpu.pcpu,
        cpu_ns: vcpu.time_ns,
    };
    let unread = |line: String| format!("a line of `xl vcpu-list` that makes no sense: `{}`", line.trim());
    Ok((list.vcpus.into_iter().map(vcpu).collect(), list.unread.into_iter().map(unread).collect()))
}

fn times_between(before: &[Vcpu], after: Vec<Vcpu>) -> Vec<Vcpu> {
    let earlier = |vcpu: &Vcpu| {
        let same = |old: &&Vcpu| (old.domain_id, old.vcpu) == (vcpu.domain_id, vcpu.vcpu);
        before.iter().find(same).map_or(0, |old| old.cpu_ns)
    };
    after
        .into_iter()
        // A vCPU that was taken offline and came back may have begun anew.
        .map(|vcpu| {
            let cpu_ns = vcpu.cpu_ns.checked_sub(earlier(&vcpu)).unwrap_or(vcpu.cpu_ns);
            Vcpu { cpu_ns, ..vcpu }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vcpu_that_came_counts_from_zero_and_one_that_restarted_is_not_negative() {
        let vcpu = |domain_id, vcpu, cpu_ns| Vcpu { domain: "a".into(), domain_id, vcpu, pcpu: None, cpu_ns };
        let before = [vcpu(1, 0, 500), vcpu(1, 1, 900), vcpu(2, 0, 7)];
        let after = vec![vcpu(1, 0, 800), vcpu(1, 1, 100), vcpu(3, 0, 40)];
        let times: Vec<u64> = times_between(&before, after).iter().map(|vcpu| vcpu.cpu_ns).collect();
        assert_eq!(times, [300, 100, 40]);
    }
}

//! Xen's toolstack: `xl` in the control domain, every call with a limit and its words kept (xl(1)).

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use meter::xen::VcpuList;

use crate::domain::shell::{Shell, quote};

/// Longest that a question may take.
pub const QUESTION: Duration = Duration::from_secs(20);
/// Longest that attaching or detaching one device may take.
const SWITCH: Duration = Duration::from_secs(60);
/// Longest that creating a guest may take.
const CREATE: Duration = Duration::from_secs(120);
/// Longest that destroying one may take: 10 s for each device that is passed through, in an emulator.
/// It is never cut short: a guest half destroyed keeps its name and its devices.
const DESTROY: Duration = Duration::from_secs(180);

/// One virtual CPU, as `xl vcpu-list` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vcpu {
    /// Name of its guest.
    pub guest: String,
    /// Its number in it.
    pub number: usize,
    /// Time it has run, in seconds.
    pub time_s: f64,
    /// CPUs that it may run on, in Xen's notation.
    pub affinity: String,
}

/// The toolstack, spoken to in the control domain.
pub struct Xl<'a>(pub &'a dyn Shell);

impl Xl<'_> {
    /// All virtual CPUs.
    pub fn vcpus(&self) -> Result<Vec<Vcpu>> {
        parse_vcpus(&self.0.ask("xl vcpu-list", QUESTION)?)
    }

    /// What `xl info` tells.
    pub fn info(&self) -> Result<BTreeMap<String, String>> {
        let text = self.0.ask("xl info", QUESTION)?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// Lets a virtual CPU run on these CPUs only, and reads back that it does.
    pub fn pin(&self, guest: &str, vcpu: usize, cpus: &str) -> Result<()> {
        self.0.ask(&format!("xl vcpu-pin {} {vcpu} {cpus}", quote(guest)), QUESTION)?;
        let shown = self.vcpus()?.into_iter().find(|shown| shown.guest == guest && shown.number == vcpu);
        let shown = shown.with_context(|| format!("`xl vcpu-list` does not show vCPU {vcpu} of {guest}"))?;
        ensure!(
            shown.affinity == cpus,
            "vCPU {vcpu} of {guest} was pinned to CPU {cpus}, but `xl vcpu-list` shows {}",
            shown.affinity
        );
        Ok(())
    }

    /// Whether a guest of that name exists.
    pub fn exists(&self, guest: &str) -> Result<bool> {
        let id = self.0.ask(&format!("xl domid {} 2>/dev/null || true", quote(guest)), QUESTION)?;
        Ok(!id.is_empty())
    }

    /// Makes a guest.
    pub fn create(&self, config: &str) -> Result<()> {
        self.0.ask(&format!("xl create -q {}", quote(config)), CREATE).map(drop)
    }

    /// Ends a guest at once, and checks that it is gone.
    pub fn destroy(&self, guest: &str) -> Result<()> {
        if self.exists(guest)? {
            self.0.ask(&format!("xl destroy {}", quote(guest)), DESTROY)?;
            ensure!(!self.exists(guest)?, "{guest} is still there after `xl destroy`");
        }
        Ok(())
    }

    /// Takes a PCI function from the control domain's driver, to be passed through.
    pub fn make_assignable(&self, function: &str) -> Result<()> {
        if !self.is_assignable(function)? {
            self.0.ask(&format!("xl pci-assignable-add {function}"), SWITCH)?;
        }
        Ok(())
    }

    /// Gives it back to the control domain's driver.
    pub fn make_own(&self, function: &str) -> Result<()> {
        if self.is_assignable(function)? {
            self.0.ask(&format!("xl pci-assignable-remove -r {function}"), SWITCH)?;
        }
        Ok(())
    }

    /// Whether xen-pciback holds the function.
    pub fn is_assignable(&self, function: &str) -> Result<bool> {
        let driver = format!("readlink /sys/bus/pci/devices/{function}/driver || true");
        Ok(self.0.ask(&driver, QUESTION)?.ends_with("/pciback"))
    }

    /// Passes the function through to a guest.
    pub fn pci_attach(&self, guest: &str, function: &str) -> Result<()> {
        self.0.ask(&format!("xl pci-attach {} {function},permissive=1", quote(guest)), SWITCH).map(drop)
    }

    /// Takes the function from the guest.
    pub fn pci_detach(&self, guest: &str, function: &str) -> Result<()> {
        self.0.ask(&format!("xl pci-detach {} {function}", quote(guest)), SWITCH).map(drop)
    }

    /// The functions that are passed through to a guest.
    pub fn pci_list(&self, guest: &str) -> Result<Vec<String>> {
        let text = self.0.ask(&format!("xl pci-list {}", quote(guest)), QUESTION)?;
        Ok(text.split_whitespace().filter(|word| word.starts_with("0000:")).map(str::to_owned).collect())
    }

    /// Any other command that changes a guest.
    pub fn switch(&self, command: &str) -> Result<()> {
        self.0.ask(&format!("xl {command}"), SWITCH).map(drop)
    }
}

/// Reads `xl vcpu-list`; a line that can't be read is an error.
fn parse_vcpus(text: &str) -> Result<Vec<Vcpu>> {
    let list = VcpuList::parse(text);
    if let Some(line) = list.unread.first() {
        bail!("`xl vcpu-list` shows a line that can't be read: {line}");
    }
    let vcpu = |vcpu: meter::xen::Vcpu| Vcpu {
        guest: vcpu.domain,
        number: vcpu.number as usize,
        time_s: vcpu.time_ns as f64 / 1e9,
        affinity: vcpu.hard_affinity,
    };
    Ok(list.vcpus.into_iter().map(vcpu).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_waiting_and_unpinned_vcpus_are_read() {
        let text = "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n\
                    Domain-0                             0     0    0   r--      12.3  0 / all\n\
                    B                                    2     0    3   -b-       4.5  3 / all\n\
                    my guest                             3     0    3   -b-       1.0  2 / all\n\
                    new                                  4     1    -   --p       0.0  all / 0-3\n";
        let vcpus = parse_vcpus(text).unwrap();
        assert_eq!(vcpus.len(), 4);
        let expected = Vcpu { guest: "B".into(), number: 0, time_s: 4.5, affinity: "3".into() };
        assert_eq!(vcpus[1], expected);
        assert_eq!((vcpus[2].guest.as_str(), vcpus[2].affinity.as_str()), ("my guest", "2"));
        assert_eq!((vcpus[3].number, vcpus[3].affinity.as_str()), (1, "all"));
        assert!(parse_vcpus("Name\nnothing of the kind\n").is_err());
    }
}

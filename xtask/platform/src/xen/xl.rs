//! Xen's toolstack: `xl` in the control domain, every call with a limit and its words kept (xl(1)).

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use meter::xen::VcpuList;

use domain::shell::{Shell, quote};

/// Longest that a question may take.
pub const QUESTION: Duration = Duration::from_secs(20);
/// Longest that attaching or detaching one device may take.
const SWITCH: Duration = Duration::from_secs(60);
/// Longest that creating a guest may take.
const CREATE: Duration = Duration::from_secs(120);
/// Longest that destroying one may take: 10 s for each device that is passed through, in an emulator.
/// It is never cut short: a guest half destroyed keeps its name and its devices.
const DESTROY: Duration = Duration::from_secs(180);

/// How much longer than the toolstack its caller waits.
const MARGIN: Duration = Duration::from_secs(10);

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
    /// One call that the toolstack itself gives up after `limit`, so that a hanging one does not hold its
    /// lock against all later ones; the words must be quoted already.
    fn call(&self, limit: Duration, words: &str) -> Result<String> {
        let script = format!("timeout {} xl {words}", limit.as_secs());
        let said = self.0.script(&script, &[], limit + MARGIN)?;
        match said.code {
            Some(0) => Ok(said.stdout_text()),
            // timeout(1)
            Some(124) => bail!("`xl {words}` has not ended after {} s and was ended", limit.as_secs()),
            _ => bail!("`xl {words}` failed: {}", said.complaint()),
        }
    }

    /// All virtual CPUs.
    pub fn vcpus(&self) -> Result<Vec<Vcpu>> {
        parse_vcpus(&self.call(QUESTION, "vcpu-list")?)
    }

    /// What `xl info` tells.
    pub fn info(&self) -> Result<BTreeMap<String, String>> {
        let text = self.call(QUESTION, "info")?;
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        Ok(pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect())
    }

    /// The states of all guests by name: what of `rbpscd` is set (xl(1), `list`).
    pub fn states(&self) -> Result<BTreeMap<String, String>> {
        parse_states(&self.call(QUESTION, "list")?)
    }

    /// Lets a virtual CPU run on these CPUs only, and reads back that it does.
    pub fn pin(&self, guest: &str, vcpu: usize, cpus: &str) -> Result<()> {
        self.call(QUESTION, &format!("vcpu-pin {} {vcpu} {}", quote(guest), quote(cpus)))?;
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
        Ok(self.states()?.contains_key(guest))
    }

    /// Makes a guest.
    pub fn create(&self, config: &str) -> Result<()> {
        self.call(CREATE, &format!("create -q {}", quote(config))).map(drop)
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
            self.call(SWITCH, &format!("pci-assignable-add {function}"))?;
        }
        Ok(())
    }

    /// Gives it back to the control domain's driver.
    pub fn make_own(&self, function: &str) -> Result<()> {
        if self.is_assignable(function)? {
            self.call(SWITCH, &format!("pci-assignable-remove -r {function}"))?;
        }
        Ok(())
    }

    /// Whether xen-pciback holds the function.
    pub fn is_assignable(&self, function: &str) -> Result<bool> {
        let driver = format!("readlink /sys/bus/pci/devices/{function}/driver || true");
        Ok(self.0.ask(&driver, QUESTION)?.ends_with("/pciback"))
    }

    /// The functions that xen-pciback holds for guests.
    pub fn assignable(&self) -> Result<Vec<String>> {
        Ok(functions(&self.call(QUESTION, "pci-assignable-list")?))
    }

    /// Passes the function through to a guest.
    pub fn pci_attach(&self, guest: &str, function: &str) -> Result<()> {
        self.call(SWITCH, &format!("pci-attach {} {function},permissive=1", quote(guest))).map(drop)
    }

    /// Takes the function from the guest.
    pub fn pci_detach(&self, guest: &str, function: &str) -> Result<()> {
        self.call(SWITCH, &format!("pci-detach {} {function}", quote(guest))).map(drop)
    }

    /// The functions that are passed through to a guest.
    pub fn pci_list(&self, guest: &str) -> Result<Vec<String>> {
        Ok(functions(&self.call(QUESTION, &format!("pci-list {}", quote(guest)))?))
    }

    /// Whether `xl COMMAND GUEST`, a list of virtual devices, shows a line with `mark`.
    pub fn shows(&self, command: &str, guest: &str, mark: &str) -> Result<bool> {
        let text = self.call(QUESTION, &format!("{command} {}", quote(guest)))?;
        Ok(text.lines().any(|line| line.split_whitespace().any(|word| word.eq_ignore_ascii_case(mark))))
    }

    /// Attaches or detaches a virtual device of a guest.
    pub fn switch(&self, command: &str, guest: &str, device: &[String]) -> Result<()> {
        let device: Vec<_> = device.iter().map(|word| quote(word)).collect();
        self.call(SWITCH, &format!("{command} {} {}", quote(guest), device.join(" "))).map(drop)
    }
}

/// The PCI functions in a list of the toolstack's.
fn functions(text: &str) -> Vec<String> {
    let is_function = |word: &&str| {
        let form: Vec<usize> = word.split([':', '.']).map(str::len).collect();
        form == [4, 2, 2, 1]
    };
    text.split_whitespace().filter(is_function).map(str::to_owned).collect()
}

/// Reads `xl list`: name, domain, memory, vCPUs, state, time. A name may have spaces in it.
fn parse_states(text: &str) -> Result<BTreeMap<String, String>> {
    let parse = |line: &str| -> Option<(String, String)> {
        let (line, _time) = line.trim_end().rsplit_once(char::is_whitespace)?;
        let (line, state) = line.trim_end().rsplit_once(char::is_whitespace)?;
        let mut name = line;
        for _ in ["vCPUs", "memory", "domain"] {
            name = name.trim_end().rsplit_once(char::is_whitespace)?.0;
        }
        Some((name.trim().to_owned(), state.replace('-', "")))
    };
    let unread = |line: &str| format!("`xl list` shows a line that can't be read: {line}");
    text.lines().skip(1).map(|line| parse(line).with_context(|| unread(line))).collect()
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
    fn states_are_read_also_of_guests_with_spaces_in_their_names() {
        let text = "Name                                        ID   Mem VCPUs\tState\tTime(s)\n\
                    Domain-0                                     0   640     2     r-----      61.8\n\
                    A guest                                      1   256     1     --p---       4.1\n\
                    B                                            2   320     1     -b----       3.9\n";
        let states = parse_states(text).unwrap();
        assert_eq!(states["A guest"], "p");
        assert_eq!(states["B"], "b");
        assert_eq!(states.len(), 3);
        assert!(parse_states("Name\nnothing\n").is_err());
    }

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

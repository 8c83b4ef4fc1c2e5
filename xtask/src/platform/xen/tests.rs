//! Switching, healing and restoring on a faked host: `xl` and the kernels answer as a small model does.

use std::{cell::RefCell, rc::Rc, time::Duration};

use meter::cpulist::CpuList;

use super::*;
use crate::{
    domain::{Process, ToolCommand, shell::Said},
    matrix::plans_folder,
    plan::Overrides,
};

/// What the faked host knows.
struct Host {
    /// PCI functions: driver's owner (`Domain-0`, `pciback` or a guest), the class, the kernel's name.
    disk: String,
    nic: String,
    virtual_disk: bool,
    virtual_nic: bool,
    b_answers: bool,
    /// What `xl list` shows as B's state; nothing where there is no B.
    b_state: Option<&'static str>,
    /// Whether the control domain answers at all; counted down to 0 by every question that fails.
    control_fails: u32,
    /// Where the control domain has its lock.
    lock: Rc<tempfile::TempDir>,
    /// Whether the disk's controller gets no interrupts, until it is found again.
    without_interrupts: bool,
    /// Whether the disk is seen by nobody.
    stays_away: bool,
    /// What the control domain's kernel says of its memory.
    out_of_memory: String,
    /// Every command that changes something.
    log: Vec<String>,
    /// A part of a command that fails from now on.
    broken: Option<&'static str>,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            disk: "Domain-0".into(),
            nic: "Domain-0".into(),
            virtual_disk: false,
            virtual_nic: false,
            b_answers: true,
            b_state: Some("-b----"),
            control_fails: 0,
            lock: Rc::new(tempfile::tempdir().unwrap()),
            without_interrupts: false,
            stays_away: false,
            out_of_memory: String::new(),
            log: Vec::new(),
            broken: None,
        }
    }
}

const DISK: &str = "0000:00:08.0";
const NIC: &str = "0000:00:07.0";
const VCPUS: &str = "Name ID VCPU CPU State Time(s) Affinity (Hard / Soft)\n\
                     Domain-0 0 0 0 r-- 12.3 0 / all\nDomain-0 0 1 0 r-- 1.0 1 / all\n\
                     A 1 0 2 -b- 4.5 2 / all\nB 2 0 3 -b- 4.5 3 / all\n";

impl Host {
    /// The answer to a script in `domain`.
    fn answer(&mut self, domain: &str, script: &str) -> Result<String> {
        if domain == "b" && !(self.b_answers && self.b_state == Some("-b----")) {
            bail!("the connection to `b` broke");
        }
        if domain == "dom0" && self.control_fails > 0 {
            self.control_fails -= 1;
            bail!("the connection to `dom0` broke");
        }
        let script = script
            .strip_prefix("timeout ")
            .and_then(|call| call.split_once(' '))
            .map_or(script, |call| call.1);
        if self.broken.is_some_and(|broken| script.contains(broken)) {
            bail!("`{script}` failed: libxl: error");
        }
        let owner = |name: &str| if domain == "dom0" { name == "Domain-0" } else { name == "B" };
        let shown = |there: bool, name: &str| if there { name.to_owned() } else { String::new() };
        if let Some(command) = script.strip_prefix("xl ") {
            return self.xl(command);
        }
        Ok(match script {
            _ if script.contains("dmesg") => self.out_of_memory.clone(),
            _ if domain == "native" && script.contains("/sys/block/*") => "sda".into(),
            _ if domain == "native" && script.contains("/sys/class/net/*") => "eth2".into(),
            _ if script.contains("/sys/block/*") => shown(owner(&self.disk) && !self.stays_away, "sda"),
            _ if script.contains("69:6f:6d") => shown(domain == "b" && self.virtual_nic, "eth1"),
            _ if script.contains("iflag=direct") && self.without_interrupts => {
                bail!("dd: Input/output error")
            }
            _ if script.contains("/remove") => {
                self.without_interrupts = false;
                String::new()
            }
            _ if script.contains("/sys/class/net/*/statistics") => String::new(),
            _ if script.contains("/sys/class/net/*") => shown(owner(&self.nic), "eth2"),
            _ if script.contains("-b /dev/") => shown(self.virtual_disk, "xvdm"),
            _ if script.contains("class/block") => format!("/sys/devices/pci0000:00/{DISK}/ata1/host0"),
            _ if script.contains("class/net") && script.contains("readlink") => {
                format!("/sys/devices/pci0000:00/{NIC}")
            }
            _ if script.contains("/driver") => {
                let holder = if script.contains(DISK) { &self.disk } else { &self.nic };
                if holder == "pciback" {
                    "../bus/pci/drivers/pciback".into()
                } else {
                    "../drivers/own".into()
                }
            }
            _ if script.contains("/carrier") => "1".into(),
            _ => String::new(),
        })
    }

    fn xl(&mut self, command: &str) -> Result<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        if let [
            "pci-attach"
            | "pci-detach"
            | "pci-assignable-add"
            | "pci-assignable-remove"
            | "block-attach"
            | "block-detach"
            | "network-attach"
            | "network-detach"
            | "destroy"
            | "create"
            | "vcpu-pin",
            ..,
        ] = words[..]
        {
            self.log.push(words.iter().take(3).copied().collect::<Vec<_>>().join(" "));
        }
        let holder = if command.contains(DISK) { &mut self.disk } else { &mut self.nic };
        match words[0] {
            "vcpu-list" => return Ok(VCPUS.into()),
            "pci-assignable-list" => {
                let held = [(&self.disk, DISK), (&self.nic, NIC)];
                let held = held.into_iter().filter(|(holder, _)| *holder == "pciback");
                return Ok(held.map(|(_, function)| function).collect::<Vec<_>>().join("\n"));
            }
            "list" => {
                let b = self.b_state.map(|state| format!("B 2 320 1 {state} 3.9\n")).unwrap_or_default();
                return Ok(format!(
                    "Name ID Mem VCPUs State Time(s)\nDomain-0 0 640 2 r----- 61.8\nA 1 256 1 -b---- 4.1\n{b}"
                ));
            }
            "destroy" => {
                self.b_state = None;
                (self.virtual_disk, self.virtual_nic) = (false, false);
                for holder in [&mut self.disk, &mut self.nic] {
                    if holder == "B" {
                        *holder = "pciback".into();
                    }
                }
            }
            "pci-assignable-add" => *holder = "pciback".into(),
            "pci-attach" => *holder = "B".into(),
            "pci-detach" => *holder = "pciback".into(),
            "pci-assignable-remove" => *holder = "Domain-0".into(),
            "block-attach" => self.virtual_disk = true,
            "block-detach" => self.virtual_disk = false,
            "network-attach" => self.virtual_nic = true,
            "network-detach" => self.virtual_nic = false,
            "create" => (self.b_answers, self.b_state) = (true, Some("-b----")),
            "block-list" if self.virtual_disk => return Ok("Vdev BE\n51904 0".into()),
            "network-list" if self.virtual_nic => return Ok("Idx BE Mac\n1 0 00:16:3e:69:6f:6d".into()),
            "pci-list" => {
                let held =
                    [(&self.disk, DISK), (&self.nic, NIC)].into_iter().filter(|(holder, _)| *holder == "B");
                return Ok(held.map(|(_, function)| format!("05.0 {function}\n")).collect());
            }
            _ => {}
        }
        Ok(String::new())
    }
}

struct FakePlace {
    name: String,
    host: Rc<RefCell<Host>>,
}

impl Shell for FakePlace {
    fn script(&self, script: &str, _: &[u8], _: Duration) -> Result<Said> {
        let stdout = self.host.borrow_mut().answer(&self.name, script)?.into_bytes();
        Ok(Said { code: Some(0), stdout, stderr: Vec::new() })
    }
}

impl Domain for FakePlace {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        bail!("no test starts {command}")
    }
}

impl Place for FakePlace {
    fn ensure_alive(&self) -> Result<()> {
        self.host.borrow_mut().answer(&self.name, "true").map(drop)
    }

    fn disconnect(&self) {}

    fn hold(&self, script: &str) -> Result<Box<dyn Process>> {
        let lock = self.host.borrow().lock.path().join("lock");
        let script = script.replace(health::LOCK, &lock.display().to_string()).replace("-w 5", "-n");
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &script]);
        let pipe = std::process::Stdio::piped;
        command.stdin(pipe()).stdout(pipe()).stderr(pipe());
        Ok(Box::new(crate::domain::local::LocalProcess::watch(command.spawn()?, "sh")?))
    }

    fn cpus(&self) -> Result<CpuList> {
        Ok(CpuList::new([0]))
    }
}

fn fake() -> (Plan, Xen, Rc<RefCell<Host>>) {
    let host = Rc::new(RefCell::new(Host::default()));
    let (plan, xen) = on(&host);
    host.borrow_mut().log.clear();
    (plan, xen.unwrap(), host)
}

/// The platform on that host.
fn on(host: &Rc<RefCell<Host>>) -> (Plan, Result<Xen>) {
    let plan = plans_folder().join("xen-lab-quick.toml");
    let plan = crate::plan::load(&plan, &Overrides::default()).unwrap();
    let place = |name: &String| -> Box<dyn Place> {
        Box::new(FakePlace { name: name.clone(), host: Rc::clone(host) })
    };
    let places = plan.domains.keys().map(|name| (name.clone(), place(name))).collect();
    let xen = Xen::with_places(&plan, places);
    (plan, xen)
}

fn attach(plan: &Plan, xen: &mut Xen, name: &str, device: Device) -> Result<BTreeMap<String, String>> {
    xen.attach(&plan.attachments[name], device)
}

fn taken(host: &Rc<RefCell<Host>>) -> Vec<String> {
    std::mem::take(&mut host.borrow_mut().log)
}

#[test]
fn a_disk_goes_from_virtual_to_passthrough_and_home_at_the_end() {
    let (plan, mut xen, host) = fake();
    let words = attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/xvdm");
    assert_eq!(taken(&host), ["block-attach B vdev=xvdm,access=rw,script=/lab/block,target=/dev/sda"]);
    let words = attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/sda");
    let expected =
        ["block-detach B xvdm", "pci-assignable-add 0000:00:08.0", "pci-attach B 0000:00:08.0,permissive=1"];
    assert_eq!(taken(&host), expected);
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    assert!(taken(&host).is_empty(), "it is there already");
    drop(xen);
    assert_eq!(taken(&host), ["pci-detach B 0000:00:08.0", "pci-assignable-remove -r 0000:00:08.0"]);
    assert_eq!(host.borrow().disk, "Domain-0");
}

#[test]
fn only_one_function_is_passed_through_at_a_time() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    attach(&plan, &mut xen, "passthrough", Device::Network).unwrap();
    assert_eq!((host.borrow().disk.as_str(), host.borrow().nic.as_str()), ("Domain-0", "B"));
}

#[test]
fn the_machine_beside_the_host_has_its_own_devices() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "native", Device::Disk).unwrap();
    let words = attach(&plan, &mut xen, "native", Device::Network).unwrap();
    assert_eq!((words["peer"].as_str(), words["address.native"].as_str()), ("10.77.1.1", "10.77.0.5"));
    assert!(taken(&host).is_empty());
    assert!(xen.lacks(&plan.attachments["native"], Device::Disk).is_none());
}

#[test]
fn a_guest_that_does_not_answer_is_made_again_and_its_devices_come_home() {
    for state in [None, Some("--p---"), Some("-b----")] {
        let (plan, mut xen, host) = fake();
        attach(&plan, &mut xen, "passthrough", Device::Network).unwrap();
        taken(&host);
        host.borrow_mut().b_state = state;
        host.borrow_mut().b_answers = false;
        if state.is_none() {
            host.borrow_mut().nic = "pciback".into();
        }
        let troubles = xen.troubles();
        match state {
            None => assert_eq!(troubles, ["guest B is gone"]),
            Some("--p---") => assert_eq!(troubles, ["guest B is paused"]),
            _ => assert!(troubles.is_empty(), "{troubles:?}"),
        }
        attach(&plan, &mut xen, "virtual", Device::Network).unwrap();
        let mut expected = vec!["destroy B"; usize::from(state.is_some())];
        expected.extend(["pci-assignable-remove -r 0000:00:07.0", "create -q /lab/b.cfg"]);
        expected.push("network-attach B mac=00:16:3e:69:6f:6d");
        assert_eq!(taken(&host), expected, "{state:?}");
    }
}

#[test]
fn a_guest_that_can_not_be_made_again_is_taken_out_and_the_rest_goes_on() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().b_state = None;
    host.borrow_mut().broken = Some("xl create");
    let error = attach(&plan, &mut xen, "virtual", Device::Disk).unwrap_err();
    assert!(format!("{error:#}").contains("libxl: error"), "{error:#}");
    let reason = xen.lacks(&plan.attachments["virtual"], Device::Network).unwrap();
    assert!(reason.contains("lost"), "{reason}");
    attach(&plan, &mut xen, "native", Device::Disk).unwrap();
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
}

#[test]
fn at_the_start_a_missing_guest_is_made_and_one_that_refuses_us_is_left_alone() {
    let host = Rc::new(RefCell::new(Host { b_state: None, ..Host::default() }));
    on(&host).1.unwrap();
    assert_eq!(taken(&host), ["create -q /lab/b.cfg"]);
    let host = Rc::new(RefCell::new(Host { b_answers: false, ..Host::default() }));
    let error = on(&host).1.err().unwrap();
    assert!(format!("{error:#}").contains("domain `b` can't be used"), "{error:#}");
    assert!(taken(&host).is_empty(), "a guest that runs is not destroyed for want of a key");
}

#[test]
fn a_second_matrix_on_the_same_host_is_refused_and_told_who_runs_the_first() {
    let (_, first, host) = fake();
    let error = format!("{:#}", on(&host).1.err().unwrap());
    let who = format!("another matrix runs on this Xen host: process {} on ", std::process::id());
    assert!(error.contains(&who), "{error}");
    assert!(taken(&host).is_empty());
    drop(first);
    on(&host).1.unwrap();
}

#[test]
fn the_parts_of_a_switch_have_their_times_and_what_stays_where_it_is_has_none() {
    let (plan, mut xen, _host) = fake();
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(xen.attach_parts().into_keys().collect::<Vec<_>>(), ["appear", "check", "switch"]);
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert_eq!(xen.attach_parts().into_keys().collect::<Vec<_>>(), ["appear", "check"]);
}

#[test]
fn the_toolstack_alone_is_asked_whether_a_guest_still_runs() {
    let (_, xen, host) = fake();
    host.borrow_mut().b_answers = false;
    assert_eq!(xen.halted("b").unwrap(), None, "it does not answer, but it runs");
    host.borrow_mut().b_state = Some("--p---");
    assert_eq!(xen.halted("b").unwrap().unwrap(), "guest B is paused");
    host.borrow_mut().b_state = None;
    assert_eq!(xen.halted("b").unwrap().unwrap(), "guest B is gone");
    assert_eq!(xen.halted("native").unwrap(), None, "nobody stands beside it");
}

#[test]
fn a_control_domain_that_stays_away_is_the_end_and_one_that_comes_back_is_not() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().control_fails = 1;
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
    assert_eq!(xen.lost(), None);
    host.borrow_mut().control_fails = u32::MAX;
    let error = format!("{:#}", attach(&plan, &mut xen, "dom0", Device::Disk).unwrap_err());
    assert!(error.contains("the control domain `dom0` does not answer"), "{error}");
    assert!(xen.lost().unwrap().contains("does not answer"), "{:?}", xen.lost());
}

#[test]
fn a_device_that_does_not_come_back_fails_the_switch_with_its_name() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    // The toolstack says that all went well; no kernel has the disk any more.
    host.borrow_mut().stays_away = true;
    let error = attach(&plan, &mut xen, "dom0", Device::Disk).unwrap_err();
    assert!(
        format!("{error:#}").contains("no disk with the serial number IOMATRIX-XEN appeared"),
        "{error:#}"
    );
    host.borrow_mut().stays_away = false;
    attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
}

#[test]
fn a_disk_that_comes_back_without_interrupts_is_found_again_before_anything_builds_on_it() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    host.borrow_mut().without_interrupts = true;
    attach(&plan, &mut xen, "virtual", Device::Disk).unwrap();
    assert!(!host.borrow().without_interrupts);
    let creations = taken(&host).iter().filter(|line| line.starts_with("create")).count();
    assert_eq!(creations, 0, "the guest needed not be made again");
}

#[test]
fn what_ran_out_of_memory_is_told_once() {
    let (_, mut xen, host) = fake();
    assert!(xen.troubles().is_empty());
    let first = "[ 12.3] Out of memory: Killed process 99 (cpuload)\n";
    host.borrow_mut().out_of_memory = first.into();
    assert!(xen.troubles()[0].ends_with("Killed process 99 (cpuload)"));
    assert!(xen.troubles().is_empty());
    let later = "[ 12.4] Memory cgroup out of memory: Killed process 100 (dd)\n[ 12.5] Out of memory: Killed process 7 (sh)";
    host.borrow_mut().out_of_memory = format!("{first}{later}");
    let troubles = xen.troubles();
    assert!(troubles.len() == 2 && troubles[0].ends_with("100 (dd)") && troubles[1].ends_with("7 (sh)"));
}

#[test]
fn everything_is_put_back_also_when_the_connection_was_just_cut_or_the_guest_is_gone() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    taken(&host);
    host.borrow_mut().control_fails = 2;
    drop(xen);
    assert_eq!(host.borrow().disk, "Domain-0");
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap();
    host.borrow_mut().xl("destroy B").unwrap();
    drop(xen);
    assert_eq!(host.borrow().disk, "Domain-0");
}

#[test]
fn devices_of_others_stay_where_they_are() {
    // B has a function of its own, and pciback holds one that is none of ours.
    let host = Rc::new(RefCell::new(Host { nic: "pciback".into(), ..Host::default() }));
    drop(on(&host).1.unwrap());
    assert_eq!(host.borrow().nic, "pciback", "it is given back to whom it was taken from");
}

#[test]
fn a_switch_that_fails_is_told_and_the_next_one_begins_from_a_known_state() {
    let (plan, mut xen, host) = fake();
    host.borrow_mut().broken = Some("xl pci-attach");
    let error = attach(&plan, &mut xen, "passthrough", Device::Disk).unwrap_err();
    assert!(format!("{error:#}").contains("libxl: error"), "{error:#}");
    assert_eq!(host.borrow().disk, "pciback");
    assert_eq!(
        taken(&host).iter().filter(|line| line.starts_with("pci-assignable-add")).count(),
        2,
        "tried twice"
    );
    host.borrow_mut().broken = None;
    let words = attach(&plan, &mut xen, "dom0", Device::Disk).unwrap();
    assert_eq!(words["disk"], "/dev/sda");
}

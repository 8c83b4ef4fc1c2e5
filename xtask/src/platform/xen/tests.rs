//! Switching, healing and restoring on a faked host: `xl` and the kernels answer as a small model does.

use std::{cell::RefCell, rc::Rc};

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
        if domain == "b" && !self.b_answers {
            bail!("the connection to `b` broke");
        }
        if self.broken.is_some_and(|broken| script.contains(broken)) {
            bail!("`{script}` failed: libxl: error");
        }
        let owner = |name: &str| if domain == "dom0" { name == "Domain-0" } else { name == "B" };
        let shown = |there: bool, name: &str| if there { name.to_owned() } else { String::new() };
        if let Some(command) = script.strip_prefix("xl ") {
            return self.xl(command);
        }
        Ok(match script {
            _ if domain == "native" && script.contains("/sys/block/*") => "sda".into(),
            _ if domain == "native" && script.contains("/sys/class/net/*") => "eth2".into(),
            _ if script.contains("/sys/block/*") => shown(owner(&self.disk), "sda"),
            _ if script.contains("69:6f:6d") => shown(domain == "b" && self.virtual_nic, "eth1"),
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
            "domid" => return Ok("2".into()),
            "pci-assignable-add" => *holder = "pciback".into(),
            "pci-attach" => *holder = "B".into(),
            "pci-detach" => *holder = "pciback".into(),
            "pci-assignable-remove" => *holder = "Domain-0".into(),
            "block-attach" => self.virtual_disk = true,
            "block-detach" => self.virtual_disk = false,
            "network-attach" => self.virtual_nic = true,
            "network-detach" => self.virtual_nic = false,
            "create" => self.b_answers = true,
            "block-list" | "network-list" => return Ok("0".into()),
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

    fn cpus(&self) -> Result<CpuList> {
        Ok(CpuList::new([0]))
    }
}

fn fake() -> (Plan, Xen, Rc<RefCell<Host>>) {
    let plan = plans_folder().join("xen-lab-quick.toml");
    let plan = crate::plan::load(&plan, &Overrides::default()).unwrap();
    let host = Rc::new(RefCell::new(Host::default()));
    let place = |name: &String| -> Box<dyn Place> {
        Box::new(FakePlace { name: name.clone(), host: Rc::clone(&host) })
    };
    let places = plan.domains.keys().map(|name| (name.clone(), place(name))).collect();
    let xen = Xen::with_places(&plan, places).unwrap();
    host.borrow_mut().log.clear();
    (plan, xen, host)
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
fn a_guest_that_does_not_answer_is_made_again() {
    let (plan, mut xen, host) = fake();
    attach(&plan, &mut xen, "passthrough", Device::Network).unwrap();
    taken(&host);
    host.borrow_mut().b_answers = false;
    host.borrow_mut().nic = "pciback".into();
    let error = attach(&plan, &mut xen, "virtual", Device::Network).unwrap_err();
    // The fake's `domid` says that B is still there after `xl destroy`: such a guest is given up.
    assert!(format!("{error:#}").contains("is still there"), "{error:#}");
    assert_eq!(taken(&host), ["destroy B"]);
    let reason = xen.lacks(&plan.attachments["virtual"], Device::Network).unwrap();
    assert!(reason.contains("lost"), "{reason}");
    attach(&plan, &mut xen, "native", Device::Disk).unwrap();
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

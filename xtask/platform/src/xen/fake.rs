//! A faked Xen host of the tests: `xl` and the kernels answer as a small model does.

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{Result, bail};
use meter::cpulist::CpuList;

use super::health;
use crate::place::Place;
use domain::{
    Domain, Process, ToolCommand,
    shell::{Said, Shell},
};

/// What the faked host knows.
pub struct Host {
    /// PCI functions: driver's owner (`Domain-0`, `pciback` or a guest), the class, the kernel's name.
    pub disk: String,
    pub nic: String,
    pub virtual_disk: bool,
    pub virtual_nic: bool,
    pub b_answers: bool,
    /// What `xl list` shows as B's state; nothing where there is no B.
    pub b_state: Option<&'static str>,
    /// Whether the control domain answers at all; counted down to 0 by every question that fails.
    pub control_fails: u32,
    /// Where the control domain has its lock.
    pub lock: Rc<tempfile::TempDir>,
    /// Whether the disk's controller gets no interrupts, until it is found again.
    pub without_interrupts: bool,
    /// Whether the disk is seen by nobody.
    pub stays_away: bool,
    /// What the control domain's kernel says of its memory.
    pub out_of_memory: String,
    /// Every command that changes something.
    pub log: Vec<String>,
    /// A part of a command that fails from now on.
    pub broken: Option<&'static str>,
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

    /// What `xl` answers.
    pub fn xl(&mut self, command: &str) -> Result<String> {
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

/// A domain of the faked host.
pub struct FakePlace {
    pub name: String,
    pub host: Rc<RefCell<Host>>,
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
        Ok(Box::new(domain::process::LocalProcess::watch(
            command.spawn()?,
            "sh",
            meter::control::Stop::new(),
        )?))
    }

    fn cpus(&self) -> Result<CpuList> {
        Ok(CpuList::new([0]))
    }
}

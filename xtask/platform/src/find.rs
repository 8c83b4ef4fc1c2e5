//! Devices by what they are, never by the names that a kernel happened to give: a disk by its serial
//! number, an interface by its MAC address.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use domain::shell::{Shell, quote};

/// Longest that a question may take.
const QUESTION: Duration = Duration::from_secs(20);
/// How long a kernel may take to see a device that was just attached.
const APPEAR: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 40 });

/// Longest that reading one block may take before its kernel gives up.
const READ: Duration = Duration::from_secs(45);

/// What a device is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The serial number of a disk: SCSI and SATA (VPD page 0x80), NVMe and virtio.
    Serial(String),
    /// The MAC address of an interface.
    Mac(String),
    /// The name that whoever attached a virtual disk gave it, such as `xvdb`.
    Named(String),
}

impl Mark {
    /// A script that writes the kernel's name of the device, or nothing.
    fn script(&self) -> String {
        match self {
            Self::Serial(serial) => format!(
                "for d in /sys/block/*; do for f in device/vpd_pg80 device/serial serial; do [ -r $d/$f ] || continue; \
                 if tr '\\000' ' ' 2>/dev/null <$d/$f | grep -qF {}; then echo ${{d##*/}}; exit; fi; done; done",
                quote(serial)
            ),
            Self::Mac(mac) => format!(
                "for d in /sys/class/net/*; do [ -e $d/device ] || continue; \
                 if grep -qixF {} $d/address 2>/dev/null; then echo ${{d##*/}}; exit; fi; done",
                quote(mac)
            ),
            // Its node is there before its back end: only a disk with a size can be used, or detached again.
            Self::Named(name) => format!(
                "s=$(cat /sys/block/{name}/size 2>/dev/null); [ -b /dev/{name} ] && [ \"${{s:-0}}\" -gt 0 ] && echo {name} || true"
            ),
        }
    }

    /// A script that says that the device is here and can be used: of a disk it reads a block past the kernel's
    /// cache. It fails where that is not so.
    pub fn examination(&self) -> String {
        let find = self.script();
        let here = format!("n=$({find}); [ -n \"$n\" ] || {{ echo 'it is not here' >&2; exit 1; }}; ");
        match self {
            Self::Mac(_) => here + "echo \"$n\"",
            _ => {
                here + "if words=$(timeout 10 dd if=/dev/$n of=/dev/null bs=4096 count=1 iflag=direct 2>&1); \
                        then echo \"$n, read with O_DIRECT\"; else echo \"$n is here, but: $words\" >&2; exit 1; fi"
            }
        }
    }

    /// What it is, for messages.
    pub fn describe(&self) -> String {
        match self {
            Self::Serial(serial) => format!("disk with the serial number {serial}"),
            Self::Mac(mac) => format!("interface with the address {mac}"),
            Self::Named(name) => format!("virtual disk {name}"),
        }
    }
}

/// The kernel's name of the device in `place`, if it is there.
pub fn look(place: &dyn Shell, mark: &Mark) -> Result<Option<String>> {
    let name = place.ask(&mark.script(), QUESTION)?;
    Ok((!name.is_empty()).then_some(name))
}

/// Waits until `place` has the device; gives the kernel's name of it.
pub fn wait(place: &dyn Shell, mark: &Mark) -> Result<String> {
    wait_for(place, mark, APPEAR)
}

/// Reads a block of the disk `name` past the kernel's cache: its interrupts arrive.
pub fn prove_readable(place: &dyn Shell, name: &str) -> Result<()> {
    let script = format!("timeout 10 dd if=/dev/{name} of=/dev/null bs=4096 count=1 iflag=direct");
    // A kernel waits 30 s for a command without an interrupt, and nothing ends who waits in it.
    place.ask(&script, READ).map(drop).with_context(|| format!("{name} can't be read"))
}

/// The same, for at most `limit`.
pub fn wait_for(place: &dyn Shell, mark: &Mark, limit: Duration) -> Result<String> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(name) = look(place, mark)? {
            return Ok(name);
        }
        if Instant::now() > deadline {
            bail!("no {} appeared within {} s", mark.describe(), limit.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// The PCI function that a device of `place` belongs to, such as `0000:00:07.0`.
pub fn pci_function(place: &dyn Shell, class: &str, name: &str) -> Result<String> {
    let path = place.ask(&format!("readlink -f /sys/class/{class}/{name}/device"), QUESTION)?;
    let is_function = |part: &&str| {
        let form: Vec<usize> = part.split([':', '.']).map(str::len).collect();
        form == [4, 2, 2, 1]
    };
    match path.split('/').rfind(is_function) {
        Some(function) => Ok(function.to_owned()),
        None => bail!("{name} is on no PCI bus ({path}); it can't be passed through"),
    }
}

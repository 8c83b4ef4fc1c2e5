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
            // Whole numbers only, without the header of a VPD page and the blanks that pad them.
            Self::Serial(serial) => only_one(&format!(
                "for d in /sys/block/*; do for f in device/vpd_pg80 device/serial serial; do [ -r $d/$f ] || continue; \
                 from=1; [ $f != device/vpd_pg80 ] || from=5; \
                 s=$(tail -c +$from $d/$f 2>/dev/null | tr -d '\\000' | sed 's/^[[:space:]]*//; s/[[:space:]]*$//'); \
                 [ \"$s\" != {} ] || {{ found=\"$found ${{d##*/}}\"; break; }}; done; done",
                quote(serial)
            )),
            Self::Mac(mac) => only_one(&format!(
                "for d in /sys/class/net/*; do [ -e $d/device ] || continue; \
                 ! grep -qixF {} $d/address 2>/dev/null || found=\"$found ${{d##*/}}\"; done",
                quote(mac)
            )),
            // Its node is there before its back end: only a disk with a size can be used, or detached again.
            Self::Named(name) => {
                let name = quote(name);
                format!(
                    "s=$(cat /sys/block/{name}/size 2>/dev/null); [ -b /dev/{name} ] && [ \"${{s:-0}}\" -gt 0 ] && echo {name} || true"
                )
            }
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

/// A script that collects names in `found` with `search`, and writes the one that it found. Several are an error:
/// to take the first would be to take any.
fn only_one(search: &str) -> String {
    format!(
        "found=; {search}; set -- $found; \
         [ $# -le 1 ] || {{ echo \"more than one device has it: $*\" >&2; exit 1; }}; [ $# -eq 0 ] || echo $1"
    )
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    use super::*;

    /// What the script of `mark` writes where /sys is `folder`, and whether it succeeds.
    fn found(folder: &Path, mark: &Mark) -> (String, bool) {
        let script = mark.script().replace("/sys/", &format!("{}/", folder.display()));
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        (String::from_utf8(output.stdout).unwrap().trim().to_owned(), output.status.success())
    }

    fn write(folder: &Path, path: &str, bytes: &[u8]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    #[test]
    fn a_disk_is_found_by_its_whole_serial_number_and_only_if_it_is_the_only_one() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "block/sda/device/vpd_pg80", b"\0\x80\0\x14            LAB-DISK-12");
        write(folder, "block/nvme0n1/device/serial", b"LAB-DISK-1          \n");
        write(folder, "block/vda/serial", b"twin");
        write(folder, "block/vdb/serial", b"twin");
        let serial = |text: &str| found(folder, &Mark::Serial(text.into()));
        assert_eq!(serial("LAB-DISK-12"), ("sda".into(), true));
        assert_eq!(serial("LAB-DISK-1"), ("nvme0n1".into(), true));
        for part in ["LAB-DISK", "DISK-12", "LAB-DISK-123", "*", ".", "$(echo twin)"] {
            assert_eq!(serial(part), (String::new(), true), "{part}");
        }
        assert_eq!(serial("twin"), (String::new(), false), "which of the two?");
    }

    #[test]
    fn an_interface_is_found_by_its_whole_address() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        write(folder, "class/net/eth0/address", b"52:54:00:aa:00:01\n");
        write(folder, "class/net/eth0/device/x", b"");
        write(folder, "class/net/bridge/address", b"52:54:00:aa:00:02\n");
        let mac = |text: &str| found(folder, &Mark::Mac(text.into()));
        assert_eq!(mac("52:54:00:AA:00:01"), ("eth0".into(), true));
        assert_eq!(mac("52:54:00:aa:00:0"), (String::new(), true));
        assert_eq!(mac("52:54:00:aa:00:02"), (String::new(), true), "no device of its own");
    }
}

//! From disks through the device tree in sysfs to the rows of /proc/interrupts.

use std::path::{Path, PathBuf};

use meter::interrupts::{Sources, Table};

use crate::{
    disk::{self, Devices},
    sysfs::{entries, read_line},
};

/// Whose interrupts to count for I/O on `devices`.
#[must_use]
pub fn sources(devices: &Devices) -> Sources {
    let names = devices.clone().and_then(|devices| {
        let table = Table::interrupts().map_err(|error| error.full_text())?;
        if table.rows.is_empty() {
            return Err("/proc/interrupts has no rows: a container masks it, for example".into());
        }
        of_devices(Path::new("/sys"), &devices, &table)
    });
    match names {
        Ok(names) => Sources::Interrupts(names),
        Err(reason) => Sources::Unknown(reason),
    }
}

/// IRQ numbers of all disks under `devices`, where sysfs is mounted on `root`.
fn of_devices(
    root: &Path,
    devices: &[crate::sysfs::DeviceNumber],
    table: &Table,
) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for disk in disk::hardware(root, devices)? {
        for name in of_disk(root, &disk, table)? {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    Ok(names)
}

/// IRQ numbers of a disk.
fn of_disk(root: &Path, disk: &Path, table: &Table) -> Result<Vec<String>, String> {
    let name = name_of(disk);
    let device = disk
        .join("device")
        .canonicalize()
        .map_err(|_| format!("{name} has no hardware behind it and so no interrupts"))?;
    let controllers = controllers(&device)?;
    let mut found = Vec::new();
    for controller in controllers.as_ref().unwrap_or(&vec![device]) {
        found.extend(of_controller(root, &name, controller, table)?);
    }
    Ok(found)
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The controllers of an NVMe subsystem: a namespace that several of them may reach hangs below the subsystem, which
/// is no hardware. `None` for any other device.
fn controllers(device: &Path) -> Result<Option<Vec<PathBuf>>, String> {
    let subsystem = name_of(device);
    if !device.join("subsysnqn").exists() || !subsystem.starts_with("nvme-subsys") {
        return Ok(None);
    }
    let controllers: Vec<PathBuf> = entries(device)
        .into_iter()
        .filter(|entry| entry.join("transport").exists())
        .filter_map(|entry| entry.canonicalize().ok())
        .collect();
    if controllers.is_empty() {
        Err(format!("{subsystem} shows no controllers"))
    } else {
        Ok(Some(controllers))
    }
}

/// IRQ numbers of what a disk is attached to: those of the nearest ancestor in the device tree that has some.
fn of_controller(root: &Path, name: &str, device: &Path, table: &Table) -> Result<Vec<String>, String> {
    let own = name_of(device);
    if let Some(transport) = read_line(device.join("transport")).filter(|transport| transport != "pcie") {
        return Err(format!(
            "{name} is reached through {own} over {transport}, which has no interrupts of its own"
        ));
    }
    let tree = root.join("devices");
    // A bridge's interrupts are of its own doing, such as hot plug.
    let hardware = device
        .ancestors()
        .take_while(|folder| folder.starts_with(&tree) && *folder != tree && !is_bridge(folder));
    let Some(numbers) = hardware.into_iter().find_map(irqs_in) else {
        // Xen's front end has event channels instead of PCI interrupts; they bear the driver's name.
        let xen: Vec<String> =
            table.rows.iter().filter(|row| row.device() == "blkif").map(|row| row.name.clone()).collect();
        return if xen.is_empty() {
            Err(format!("the driver of {name} shows no interrupts"))
        } else {
            Ok(xen)
        };
    };
    // A virtio function serves one device; its configuration interrupt says nothing about I/O.
    let serves_io = |number: &String| table.row(number).is_some_and(|row| !row.device().ends_with("-config"));
    let shown: Vec<String> = numbers.iter().filter(|number| serves_io(number)).cloned().collect();
    if shown.is_empty() {
        Err(format!("/proc/interrupts shows no interrupt of {name} ({own})"))
    } else {
        Ok(shown)
    }
}

/// Whether a folder of the device tree is a PCI bridge (base class 06 of the PCI Code and ID Assignment).
fn is_bridge(folder: &Path) -> bool {
    read_line(folder.join("class")).is_some_and(|class| class.starts_with("0x06"))
}

/// Message-signalled interrupts of a PCI function, or its one line interrupt.
fn irqs_in(folder: &Path) -> Option<Vec<String>> {
    let messages: Vec<String> = entries(folder.join("msi_irqs")).iter().map(|entry| name_of(entry)).collect();
    if !messages.is_empty() {
        return Some(messages);
    }
    read_line(folder.join("irq")).filter(|number| number != "0").map(|number| vec![number])
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;
    use crate::sysfs::DeviceNumber;

    #[test]
    fn a_file_leads_to_interrupts_or_to_a_reason() {
        let path = std::env::current_exe().unwrap();
        let metadata = fs::metadata(&path).unwrap();
        match sources(&disk::devices_of(&path, &metadata)) {
            Sources::Interrupts(names) => assert!(!names.is_empty()),
            Sources::Unknown(reason) => assert!(!reason.is_empty()),
            Sources::Softirqs(_) => panic!("disks have interrupts, not softirqs"),
        }
    }

    /// A made-up sysfs.
    struct Tree(tempfile::TempDir);

    impl Tree {
        fn new() -> Self {
            let tree = Self(tempfile::tempdir().unwrap());
            tree.folder("dev/block");
            tree
        }

        fn folder(&self, name: &str) -> PathBuf {
            let folder = self.0.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            folder
        }

        fn file(&self, name: &str, content: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{content}\n")).unwrap();
        }

        /// A link, both names from the root on.
        fn link(&self, name: &str, to: &str) {
            let path = self.0.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(self.0.path().join(to), path).unwrap();
        }

        /// A block device in that folder of `devices`.
        fn block(&self, folder: &str, number: &str) {
            self.file(&format!("devices/{folder}/dev"), number);
            self.link(&format!("dev/block/{number}"), &format!("devices/{folder}"));
        }

        /// An NVMe controller that is a PCI function behind a bridge with an interrupt of its own.
        fn controller(&self, name: &str, interrupts: &[&str]) -> String {
            let function = format!("pci0000:00/0000:00:0{0}.0/0000:0{0}:00.0", &name[4..]);
            self.file(&format!("devices/pci0000:00/0000:00:0{}.0/class", &name[4..]), "0x060400");
            self.folder(&format!("devices/pci0000:00/0000:00:0{}.0/msi_irqs/24", &name[4..]));
            self.file(&format!("devices/{function}/class"), "0x010802");
            for number in interrupts {
                self.file(&format!("devices/{function}/msi_irqs/{number}"), "msix");
            }
            self.file(&format!("devices/{function}/nvme/{name}/transport"), "pcie");
            format!("devices/{function}/nvme/{name}")
        }

        fn find(&self, number: &str) -> Result<Vec<String>, String> {
            let root = self.0.path().canonicalize().unwrap();
            let mut found = of_devices(&root, &[DeviceNumber::parse(number).unwrap()], &table())?;
            found.sort();
            Ok(found)
        }
    }

    fn table() -> Table {
        Table::parse(concat!(
            "           CPU0\n",
            " 24:          1 PCI-MSIX-0000:00:01.0   0-edge      pciehp\n",
            " 36:          5 PCI-MSIX-0000:01:00.0   0-edge      nvme0q0\n",
            " 37:          5 PCI-MSIX-0000:01:00.0   1-edge      nvme0q1\n",
            " 38:          5 PCI-MSIX-0000:02:00.0   0-edge      nvme1q0\n",
        ))
    }

    #[test]
    fn a_namespace_of_a_multipath_subsystem_has_the_interrupts_of_all_its_controllers() {
        let tree = Tree::new();
        let subsystem = "virtual/nvme-subsystem/nvme-subsys0";
        tree.file(&format!("devices/{subsystem}/subsysnqn"), "nqn.2014.08.org.nvmexpress:uuid:1");
        tree.block(&format!("{subsystem}/nvme0n1"), "259:0");
        tree.block(&format!("{subsystem}/nvme0n1/nvme0n1p1"), "259:1");
        tree.file(&format!("devices/{subsystem}/nvme0n1/nvme0n1p1/partition"), "1");
        tree.link(&format!("devices/{subsystem}/nvme0n1/device"), &format!("devices/{subsystem}"));
        assert!(tree.find("259:0").unwrap_err().contains("nvme-subsys0 shows no controllers"));
        for (name, interrupts) in [("nvme1", &["36", "37"][..]), ("nvme2", &["38"])] {
            let controller = tree.controller(name, interrupts);
            tree.link(&format!("devices/{subsystem}/{name}"), &controller);
        }
        assert_eq!(tree.find("259:0").unwrap(), ["36", "37", "38"]);
        assert_eq!(tree.find("259:1").unwrap(), ["36", "37", "38"], "a partition of it");
        // One path over a network: the count would not be of all I/O.
        tree.file("devices/virtual/nvme-fabrics/ctl/nvme3/transport", "tcp");
        tree.link(&format!("devices/{subsystem}/nvme3"), "devices/virtual/nvme-fabrics/ctl/nvme3");
        assert!(tree.find("259:0").unwrap_err().contains("nvme3 over tcp"));
    }

    #[test]
    fn a_namespace_of_one_controller_has_its_interrupts() {
        let tree = Tree::new();
        let controller = tree.controller("nvme1", &["36", "37"]);
        let folder = format!("{}/nvme1n1", controller.strip_prefix("devices/").unwrap());
        tree.block(&folder, "259:0");
        tree.link(&format!("devices/{folder}/device"), &controller);
        assert_eq!(tree.find("259:0").unwrap(), ["36", "37"]);
    }

    #[test]
    fn members_of_stacked_devices_count_once_and_a_member_without_interrupts_is_told() {
        let tree = Tree::new();
        let controller = tree.controller("nvme1", &["36"]);
        for (disk, number) in [("nvme1n1", "259:0"), ("nvme1n2", "259:1")] {
            let folder = format!("{}/{disk}", controller.strip_prefix("devices/").unwrap());
            tree.block(&folder, number);
            tree.link(&format!("devices/{folder}/device"), &controller);
            tree.link(&format!("devices/virtual/block/md0/slaves/{disk}"), &format!("devices/{folder}"));
        }
        tree.block("virtual/block/md0", "9:0");
        tree.block("virtual/block/dm-0", "253:0");
        tree.link("devices/virtual/block/dm-0/slaves/md0", "devices/virtual/block/md0");
        assert_eq!(tree.find("253:0").unwrap(), ["36"]);
        tree.block("virtual/block/zram0", "254:0");
        tree.link("devices/virtual/block/dm-0/slaves/zram0", "devices/virtual/block/zram0");
        assert!(tree.find("253:0").unwrap_err().contains("zram0 has no hardware behind it"));
    }

    #[test]
    fn a_bridges_interrupts_are_not_taken_for_the_disks() {
        let tree = Tree::new();
        let controller = tree.controller("nvme1", &[]);
        let folder = format!("{}/nvme1n1", controller.strip_prefix("devices/").unwrap());
        tree.block(&folder, "259:0");
        tree.link(&format!("devices/{folder}/device"), &controller);
        assert_eq!(tree.find("259:0").unwrap_err(), "the driver of nvme1n1 shows no interrupts");
        tree.file("devices/pci0000:00/0000:00:01.0/0000:01:00.0/irq", "11");
        let reason = tree.find("259:0").unwrap_err();
        assert!(reason.contains("/proc/interrupts shows no interrupt of nvme1n1"), "{reason}");
    }
}

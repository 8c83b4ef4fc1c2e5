//! The two machines as QEMU sees them: a Xen host, and the same hardware and kernel without Xen.

use std::{
    fs::File,
    os::fd::AsRawFd,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};

use super::wires::Wires;
use domain::local::enter;
use lab::folder::Folder;

/// Loopback ports that lead to the machines' SSH.
pub struct Ports {
    /// Domain-0.
    pub dom0: u16,
    /// The machine without Xen.
    pub native: u16,
}

/// Serial number of the Xen host's measured disk.
pub const XEN_DISK: &str = "IOMATRIX-XEN";
/// Serial number of the other machine's.
pub const NATIVE_DISK: &str = "IOMATRIX-NATIVE";

/// A clock whose reading does not leave the guest: 100 ns in place of 40 µs.
const CLOCK: &str = "clocksource=tsc tsc=reliable net.ifnames=0 panic=5";

/// Starts the Xen host.
pub fn start_xen(folder: &Folder, wires: &Wires, ports: &Ports) -> Result<Child> {
    let kernel = format!(
        "console=hvc0 {CLOCK} lab.net=52:54:00:00:00:01,10.0.2.15/24 lab.net=52:54:00:00:00:02,10.77.0.2/24,load"
    );
    // Between modules stands a comma, so that one inside of arguments is doubled.
    let modules =
        format!("{} {},{}", folder.text("vmlinuz"), kernel.replace(',', ",,"), folder.text("dom0-initrd"));
    let mut command = machine(folder, "xen", "1536");
    command
        // Domain-0's kernel does not survive the emulator's SMAP.
        .args(["-cpu", "max,-smap", "-device", "intel-iommu,intremap=on"])
        .args(["-kernel", &folder.text("xen"), "-initrd", &modules, "-append"])
        .arg("console=com1 com1=115200,8n1 dom0_mem=640M,max:640M dom0_max_vcpus=2 spec-ctrl=no xpti=0")
        .arg("-drive")
        .arg(format!("file={},if=none,id=root,format=raw,snapshot=on", folder.text("dom0.img")))
        .args(["-device", "virtio-blk-pci,drive=root,addr=0x2"]);
    devices(&mut command, folder, "disk-xen.img", XEN_DISK, ports.dom0, &["01", "02", "03"]);
    plugs(&mut command, wires.xen[0].as_raw_fd(), wires.xen[1].as_raw_fd());
    spawn(command, folder, "xen")
}

/// Starts the machine without Xen.
pub fn start_native(folder: &Folder, wires: &Wires, ports: &Ports) -> Result<Child> {
    let kernel = format!(
        "console=ttyS0 {CLOCK} lab.name=native lab.net=52:54:00:00:01:01,10.0.2.15/24 \
         lab.net=52:54:00:00:01:02,10.77.0.5/24"
    );
    let mut command = machine(folder, "native", "512");
    command.args(["-cpu", "max", "-kernel", &folder.text("vmlinux")]);
    command.args(["-initrd", &folder.text("guest-initrd"), "-append", &kernel]);
    devices(&mut command, folder, "disk-native.img", NATIVE_DISK, ports.native, &["01:01", "01:02", "01:03"]);
    plugs(&mut command, wires.native[0].as_raw_fd(), wires.native[1].as_raw_fd());
    spawn(command, folder, "native")
}

fn machine(folder: &Folder, name: &str, mebibytes: &str) -> Command {
    let mut command = Command::new("qemu-system-x86_64");
    command
        .args(["-name", &format!("iomatrix-{name},debug-threads=on"), "-machine", "q35"])
        .args(["-accel", "tcg,thread=multi,tb-size=256", "-smp", "4", "-m", mebibytes])
        .args(["-display", "none", "-vga", "none", "-nodefaults", "-no-reboot"])
        .args(["-serial", &format!("file:{}", folder.text(&format!("{name}.log")))])
        .env("TMPDIR", folder.as_ref());
    command
}

/// The same devices for both machines; `macs` are the ends of their addresses.
fn devices(command: &mut Command, folder: &Folder, disk: &str, serial: &str, port: u16, macs: &[&str; 3]) {
    let mac =
        |end: &str| format!("52:54:00:00:{}", if end.len() == 2 { format!("00:{end}") } else { end.into() });
    let [control, load, link] = macs.map(mac);
    let drive = format!("file={},if=none,id=measured,format=raw,cache=unsafe", folder.text(disk));
    for (key, value) in [
        ("-netdev", format!("user,id=control,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22")),
        ("-device", format!("virtio-net-pci,netdev=control,mac={control},addr=0x5")),
        ("-device", format!("e1000,netdev=load,mac={load},addr=0x6")),
        ("-device", format!("e1000e,netdev=link,mac={link},addr=0x7")),
        ("-drive", drive),
        ("-device", "ich9-ahci,id=ahci,addr=0x8".to_owned()),
        // A full disk here is an I/O error there, and not a machine that stands still.
        ("-device", format!("ide-hd,drive=measured,bus=ahci.0,serial={serial},werror=report")),
    ] {
        command.args([key, &value]);
    }
}

fn plugs(command: &mut Command, load: i32, link: i32) {
    command.args([
        "-netdev",
        &format!("tap,id=load,fd={load}"),
        "-netdev",
        &format!("tap,id=link,fd={link}"),
    ]);
}

fn spawn(mut command: Command, folder: &Folder, name: &str) -> Result<Child> {
    let words = File::create(folder.path(&format!("{name}.qemu")))?;
    let _ = std::fs::remove_file(folder.path(&format!("{name}.log")));
    command.stdin(Stdio::null()).stdout(words.try_clone()?).stderr(words);
    // It dies with the supervisor, whatever ends that.
    enter(&mut command, None, &[]);
    command.spawn().context("start qemu-system-x86_64")
}

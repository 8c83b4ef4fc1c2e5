//! What the lab boots: kernels, the root image of Domain-0, and the initramfs that is a whole guest.

use std::{
    fs,
    fs::{File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use meter::stderr::print_status;

use super::debian;
use domain::shell::{LocalShell, Shell, run};
use domain::space::free_bytes;
use lab::{archive::Archive, folder::Folder};
use tools::sha256;

const DOM0_INITRD: &str = include_str!("guest/dom0-initrd");
const DOM0_INIT: &str = include_str!("guest/dom0-init");
const GUEST_INIT: &str = include_str!("guest/init");
const BLOCK: &str = include_str!("guest/block");
const VIF: &str = include_str!("guest/vif");
const A_CONFIG: &str = include_str!("guest/a.cfg");
const B_CONFIG: &str = include_str!("guest/b.cfg");

/// What a guest may find: Xen's devices, and those that are passed through or emulated.
const GUEST_MODULES: [&str; 9] = [
    "xen-blkfront",
    "xen-netfront",
    "xen-pcifront",
    "ahci",
    "sd_mod",
    "e1000",
    "e1000e",
    "virtio_pci",
    "virtio_net",
];
/// Size of each measured disk, in bytes: the image is sparse.
const DISK: u64 = 1 << 30;
/// Free space that making the images takes, packages included, in bytes: 1.6 GiB, and room to run.
const TO_MAKE: u64 = 3 << 30;
/// Free space that running takes, in bytes: what Domain-0 changes on its disk, and what is measured.
const TO_RUN: u64 = 1 << 30;
const SHORT: Duration = Duration::from_secs(120);

/// Makes what is not there or was made from other sources than these.
pub fn ensure(folder: &Folder) -> Result<()> {
    let stamp_path = folder.path("made-from");
    check_space(folder, if stamp_path.exists() { TO_RUN } else { TO_MAKE })?;
    let root = debian::ensure_root(folder)?;
    let sources =
        [DOM0_INITRD, DOM0_INIT, GUEST_INIT, BLOCK, VIF, A_CONFIG, B_CONFIG, &GUEST_MODULES.join(" ")];
    let stamp = sha256(sources.join("\0").as_bytes());
    if fs::read_to_string(&stamp_path).is_ok_and(|made_from| made_from == stamp) {
        return Ok(());
    }
    print_status(format_args!("lab: making the images"));
    let _ = fs::remove_file(&stamp_path);
    keys(folder, &root)?;
    let kernel = kernels(folder, &root)?;
    let initrd = dom0_initrd(&root, &kernel)?;
    fs::write(folder.path("dom0-initrd"), initrd)?;
    fs::write(folder.path("guest-initrd"), guest_initrd(folder, &root, &kernel)?)?;
    dom0_image(folder, &root)?;
    for disk in ["disk-xen.img", "disk-native.img"] {
        File::create(folder.path(disk))?.set_len(DISK)?;
    }
    fs::write(stamp_path, stamp).context("write made-from")
}

/// Refuses to begin what would fill the disk.
fn check_space(folder: &Folder, needed: u64) -> Result<()> {
    let free = free_bytes(folder.as_ref()).context("ask for the free space")?;
    if free >= needed {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes >> 20;
    Err(meter::Error::unavailable(format!(
        "the lab needs {} MiB in {}, and {} are free; XDG_CACHE_HOME can name another place",
        mebibytes(needed),
        folder.as_ref().display(),
        mebibytes(free)
    ))
    .into())
}

/// Keys of the lab's own: one to enter its machines, one that they show.
fn keys(folder: &Folder, root: &Path) -> Result<()> {
    if !folder.path("key").exists() {
        LocalShell.ask(
            &format!("ssh-keygen -q -t ed25519 -N '' -C iomatrix-lab -f '{}'", folder.text("key")),
            SHORT,
        )?;
    }
    fs::create_dir_all(root.join("etc/dropbear"))?;
    if !root.join("etc/dropbear/lab_host_key").exists() {
        debian::inside(root, "dropbearkey -t ed25519 -f /etc/dropbear/lab_host_key")?;
    }
    let told = debian::inside(root, "dropbearkey -y -f /etc/dropbear/lab_host_key")?;
    let public =
        told.lines().find(|line| line.starts_with("ssh-ed25519")).context("dropbearkey tells no key")?;
    let names = "xen-lab-dom0,xen-lab-a,xen-lab-b,xen-lab-native";
    fs::write(folder.path("known_hosts"), format!("{names} {public}\n")).context("write known_hosts")
}

/// Unpacks hypervisor and kernel; gives the kernel's version.
fn kernels(folder: &Folder, root: &Path) -> Result<String> {
    let find = |start: &str, end: &str| -> Result<String> {
        let mut names: Vec<String> = fs::read_dir(root.join("boot"))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.starts_with(start) && name.ends_with(end))
            .collect();
        names.sort();
        names.pop().with_context(|| format!("no {start}*{end} in {}/boot", root.display()))
    };
    let xen = fs::read(root.join("boot").join(find("xen-", "-amd64.gz")?))?;
    fs::write(folder.path("xen"), debian::unpack("gzip", &xen)?)?;
    let name = find("vmlinuz-", "-amd64")?;
    let packed = fs::read(root.join("boot").join(&name))?;
    fs::write(folder.path("vmlinux"), vmlinux(&packed)?)?;
    fs::write(folder.path("vmlinuz"), packed)?;
    Ok(name.trim_start_matches("vmlinuz-").to_owned())
}

/// The ELF kernel inside of a bzImage: libxl would take 20 s for it in an emulator.
/// See the kernel's Documentation/arch/x86/boot.rst for the header.
fn vmlinux(image: &[u8]) -> Result<Vec<u8>> {
    let word = |at: usize| -> Option<usize> {
        Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize)
    };
    let header = || Some((usize::from(*image.get(0x1f1)?), word(0x248)?, word(0x24c)?));
    let (sectors, offset, length) = header().context("the kernel is too short")?;
    let start = (if sectors == 0 { 5 } else { sectors + 1 }) * 512 + offset;
    // The last four bytes are the size of what is packed.
    let payload = image.get(start..start + length.saturating_sub(4)).context("the kernel is cut off")?;
    let kernel = match payload {
        [0xfd, b'7', b'z', b'X', b'Z', ..] => debian::unpack("xz", payload)?,
        [0x1f, 0x8b, ..] => debian::unpack("gzip", payload)?,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => debian::unpack("zstd", payload)?,
        _ => bail!("the kernel is packed in a way that is not known here"),
    };
    ensure!(kernel.starts_with(b"\x7fELF"), "the kernel is no ELF file");
    Ok(kernel)
}

/// An archive with busybox, its applets and these modules.
fn busybox_archive(root: &Path, kernel: &str, wanted: &[&str]) -> Result<Archive> {
    let mut archive = Archive::default();
    for folder in ["dev", "proc", "sys", "tmp", "run", "newroot"] {
        archive.folder(folder);
    }
    archive.file("bin/busybox", &fs::read(root.join("bin/busybox"))?, 0o755);
    for applet in debian::inside(root, "busybox --list")?.lines().filter(|&applet| applet != "busybox") {
        archive.link(&format!("bin/{applet}"), "busybox");
    }
    let modules = debian::modules(root, kernel, wanted)?;
    for module in &modules {
        archive.file(module, &fs::read(root.join(module))?, 0o644);
    }
    let list: String = modules.iter().map(|module| format!("/{module}\n")).collect();
    archive.file("modules", list.as_bytes(), 0o644);
    Ok(archive)
}

fn dom0_initrd(root: &Path, kernel: &str) -> Result<Vec<u8>> {
    let mut archive = busybox_archive(root, kernel, &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"])?;
    archive.file("init", DOM0_INITRD.as_bytes(), 0o755);
    Ok(archive.finish())
}

/// A whole guest: busybox, dropbear with its libraries, modules.
fn guest_initrd(folder: &Folder, root: &Path, kernel: &str) -> Result<Vec<u8>> {
    let mut archive = busybox_archive(root, kernel, &GUEST_MODULES)?;
    archive.file("init", GUEST_INIT.as_bytes(), 0o755);
    archive.file("bin/dropbear", &fs::read(root.join("usr/sbin/dropbear"))?, 0o755);
    let libraries = debian::inside(root, "ldd /usr/sbin/dropbear")?;
    for path in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
        archive.file(path, &fs::read(root.join(path.trim_start_matches('/')))?, 0o755);
    }
    let key = root.join("etc/dropbear/lab_host_key");
    archive.file("etc/dropbear/lab_host_key", &fs::read(key)?, 0o600);
    archive.file("root/.ssh/authorized_keys", &fs::read(folder.path("key.pub"))?, 0o600);
    archive.file("etc/passwd", b"root::0:0:root:/root:/bin/sh\n", 0o644);
    archive.file("etc/group", b"root:x:0:\n", 0o644);
    archive.file("etc/shells", b"/bin/sh\n", 0o644);
    Ok(archive.finish())
}

/// The root file system of Domain-0, with the guests' kernel and configuration in it.
fn dom0_image(folder: &Folder, root: &Path) -> Result<()> {
    let put = |path: &str, bytes: &[u8], permissions: u32| -> Result<()> {
        let path = root.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, bytes).with_context(|| format!("write {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(permissions))?;
        Ok(())
    };
    put("sbin/lab-init", DOM0_INIT.as_bytes(), 0o755)?;
    put("lab/block", BLOCK.as_bytes(), 0o755)?;
    put("lab/vif", VIF.as_bytes(), 0o755)?;
    put("lab/a.cfg", A_CONFIG.as_bytes(), 0o644)?;
    put("lab/b.cfg", B_CONFIG.as_bytes(), 0o644)?;
    put("lab/vmlinux", &fs::read(folder.path("vmlinux"))?, 0o644)?;
    put("lab/guest-initrd", &fs::read(folder.path("guest-initrd"))?, 0o644)?;
    put("root/.ssh/authorized_keys", &fs::read(folder.path("key.pub"))?, 0o600)?;
    fs::set_permissions(root.join("root/.ssh"), Permissions::from_mode(0o700))?;
    for unused in ["usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt"]
    {
        let _ = fs::remove_dir_all(root.join(unused));
    }
    let _ = LocalShell.ask(&format!("rm -f '{}'/boot/initrd.img-*", root.display()), SHORT);
    let image = folder.path("dom0.img");
    let _ = fs::remove_file(&image);
    File::create(&image)?.set_len(2 << 30)?;
    let mut command = Command::new("mkfs.ext4");
    command.args(["-q", "-F", "-O", "^has_journal", "-E", "lazy_itable_init=1", "-d"]).arg(root).arg(&image);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let said = run(&mut command, &[], SHORT)?;
    ensure!(said.code == Some(0), "mkfs.ext4: {}", said.complaint());
    Ok(())
}

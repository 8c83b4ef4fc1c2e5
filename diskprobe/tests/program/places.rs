//! Places to measure on that go with the test, however it ends: mounts live in a mount namespace of the
//! test's own thread, and a loop device goes with the last descriptor of it.
#![allow(unsafe_code)] // mount(2), unshare(2) and the loop device's ioctls.

use std::{
    ffi::CString,
    fs,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{folder, is_root, output_of, skip, text};

/// Gives this thread, and what it starts, mounts of its own: nobody else sees what is mounted from now on,
/// and the kernel removes it when the thread ends. `false`, with the reason told, where that is not allowed.
pub fn private_mounts() -> bool {
    // SAFETY: no pointers; it concerns the calling thread only.
    let own = unsafe { libc::unshare(libc::CLONE_NEWNS) } == 0
        && mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "");
    if !own {
        skip("mounting needs root");
    }
    own
}

/// mount(2); says whether it worked.
pub fn mount(source: &str, place: &Path, kind: &str, flags: libc::c_ulong, options: &str) -> bool {
    let [source, place, kind, options] =
        [source, text(place), kind, options].map(|text| CString::new(text).unwrap());
    // SAFETY: four strings that live until the call returns.
    let result = unsafe {
        libc::mount(source.as_ptr(), place.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
    };
    result == 0
}

/// Puts `content` in the place of a file or folder that exists, for this thread only. A folder gets one entry.
pub fn pretend(folder: &Path, place: &str, content: &str) -> bool {
    let stand_in = folder.join("stand-in");
    if Path::new(place).is_dir() {
        fs::create_dir(&stand_in).unwrap();
        fs::write(stand_in.join(content), "").unwrap();
    } else {
        fs::write(&stand_in, content).unwrap();
    }
    private_mounts() && mount(text(&stand_in), Path::new(place), "", libc::MS_BIND, "")
}

/// A folder on which something is mounted, for this thread only; unmounted when dropped.
pub struct Mounted {
    pub place: PathBuf,
}

impl Mounted {
    /// Mounts below `folder`; `None`, with the reason told, where that is not allowed.
    pub fn new(folder: &Path, source: &str, kind: &str, options: &str) -> Option<Self> {
        if !private_mounts() {
            return None;
        }
        let place = folder.join("mount");
        fs::create_dir_all(&place).unwrap();
        if !mount(source, &place, kind, 0, options) {
            skip(&format!("{kind} can't be mounted here"));
            return None;
        }
        Some(Self { place })
    }
}

impl Mounted {
    /// Asks the file system to give up what it waits for (`MNT_FORCE`): FUSE ends its connection.
    pub fn abort(&self) {
        let place = CString::new(text(&self.place)).unwrap();
        // SAFETY: a string that lives until the call returns. It stays mounted while it is in use.
        unsafe { libc::umount2(place.as_ptr(), libc::MNT_FORCE) };
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let place = CString::new(text(&self.place)).unwrap();
        // SAFETY: a string that lives until the call returns. What is still in use goes with its last user.
        unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
    }
}

/// A loop device on a sparse file. The device is told to clear itself at its last close, so that the
/// descriptor here is what keeps it.
pub struct Loop {
    pub device: String,
    pub folder: tempfile::TempDir,
    // Unmounted before the device goes.
    mounted: Option<Mounted>,
    opened: Option<fs::File>,
}

/// `LOOP_CTL_GET_FREE` and `LOOP_CONFIGURE` (linux/loop.h).
const GET_FREE: libc::c_ulong = 0x4c82;
const CONFIGURE: libc::c_ulong = 0x4c0a;
/// Where `struct loop_config` has its flags: two numbers, then 52 bytes into `struct loop_info64`.
const FLAGS_AT: usize = 8 + 52;
const FLAG_AUTOCLEAR: u32 = 4;
/// Look for partitions (`LO_FLAGS_PARTSCAN`).
pub const FLAG_PARTITIONS: u32 = 8;
const CONFIG_SIZE: usize = 304;

impl Loop {
    /// With logical blocks of 512 bytes. `None`, with the reason told, where there are no loop devices.
    pub fn new(size: u64) -> Option<Self> {
        Self::with(size, 512, 0)
    }

    /// With logical blocks of that size and flags beyond the automatic end.
    pub fn with(size: u64, block_size: u32, flags: u32) -> Option<Self> {
        let folder = folder();
        let image = folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        Self::on(folder, &image, block_size, flags)
    }

    /// A device on `image`, which may lie anywhere.
    pub fn on(folder: tempfile::TempDir, image: &Path, block_size: u32, flags: u32) -> Option<Self> {
        if !is_root() {
            skip("loop devices need root");
            return None;
        }
        let open = |path: &str| fs::File::options().read(true).write(true).open(path);
        let Ok(control) = open("/dev/loop-control") else {
            skip("this kernel has no loop devices");
            return None;
        };
        let image = open(text(image)).unwrap();
        let mut config = [0_u8; CONFIG_SIZE];
        config[..4].copy_from_slice(&image.as_raw_fd().to_ne_bytes());
        config[4..8].copy_from_slice(&block_size.to_ne_bytes());
        config[FLAGS_AT..FLAGS_AT + 4].copy_from_slice(&(flags | FLAG_AUTOCLEAR).to_ne_bytes());
        for _ in 0..100 {
            // SAFETY: no argument.
            let number = unsafe { libc::ioctl(control.as_raw_fd(), GET_FREE) };
            let device = format!("/dev/loop{number}");
            let Ok(opened) = open(&device) else { continue };
            // SAFETY: the argument is a `struct loop_config` of full size. Another process may have been faster.
            if unsafe { libc::ioctl(opened.as_raw_fd(), CONFIGURE, config.as_ptr()) } == 0 {
                return Some(Self { device, folder, mounted: None, opened: Some(opened) });
            }
        }
        skip("this machine has no free loop device");
        None
    }

    /// Makes an ext4 file system and mounts it for this thread.
    pub fn mount(&mut self) -> Option<PathBuf> {
        self.mount_as("ext4")
    }

    /// Makes a file system of that type and mounts it for this thread. XFS needs 300 MiB, btrfs 110 MiB.
    pub fn mount_as(&mut self, kind: &str) -> Option<PathBuf> {
        let force = if kind == "ext4" { "-F" } else { "-f" };
        let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
        if !known.lines().any(|line| line.split('\t').next_back() == Some(kind)) {
            skip(&format!("this kernel has no {kind}"));
            return None;
        }
        let program = format!("mkfs.{kind}");
        if output_of(&program, &["-q", force, &self.device]).is_none() {
            skip(&format!("{program} is missing"));
            return None;
        }
        self.mounted = Some(Mounted::new(self.folder.path(), &self.device, kind, "")?);
        self.mounted.as_ref().map(|mounted| mounted.place.clone())
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    /// Lets the test's own hold of the device go: it clears itself once nobody else has it open.
    pub fn detach(&mut self) {
        self.opened = None;
    }
}

/// `/dev/zram0`, if nobody uses it, with a size while this lives. Tests take turns through a lock.
pub struct Zram {
    _lock: fs::File,
}

impl Zram {
    pub const DEVICE: &'static str = "/dev/zram0";

    pub fn new(size: &str) -> Option<Self> {
        let lock = fs::File::create(std::env::temp_dir().join("diskprobe-zram.lock")).unwrap();
        lock.lock().unwrap();
        let free = fs::read_to_string("/sys/block/zram0/disksize").is_ok_and(|size| size.trim() == "0");
        if !free || fs::write("/sys/block/zram0/disksize", size).is_err() {
            skip("this machine has no free /dev/zram0");
            return None;
        }
        Some(Self { _lock: lock })
    }
}

impl Drop for Zram {
    fn drop(&mut self) {
        // Whoever looked at the new device may still have it open for a moment.
        for _ in 0..50 {
            if fs::write("/sys/block/zram0/reset", "1").is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

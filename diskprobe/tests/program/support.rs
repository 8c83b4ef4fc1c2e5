//! What the tests share: running the real program, reading its records, and devices that clean up.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

/// A command for the program with those arguments.
pub fn diskprobe(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diskprobe"));
    command.args(arguments);
    command
}

/// The program's output and its records.
pub struct Ran {
    pub code: i32,
    pub records: Vec<Value>,
    pub errors: String,
}

impl Ran {
    pub fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout);
        Self {
            code: output.status.code().unwrap_or(-1),
            records: text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    pub fn all(&self, kind: &str) -> Vec<&Value> {
        self.records.iter().filter(|record| record["record"] == kind).collect()
    }

    #[track_caller]
    pub fn summary(&self) -> &Value {
        self.all("summary").first().copied().unwrap_or_else(|| panic!("no summary: {}", self.errors))
    }

    /// The one error, with its exit code.
    #[track_caller]
    pub fn fails(&self, code: i32, part: &str) -> &Self {
        assert_eq!(self.code, code, "{}", self.errors);
        assert!(self.errors.contains(part), "`{part}` is not in: {}", self.errors);
        self
    }

    #[track_caller]
    pub fn succeeds(&self) -> &Self {
        assert_eq!(self.code, 0, "{}", self.errors);
        self
    }
}

/// Runs the program with `--json` to its end.
pub fn run(arguments: &[&str]) -> Ran {
    Ran::of(&diskprobe(arguments).arg("--json").output().unwrap())
}

pub fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").unwrap().lines().any(|line| line.starts_with("Uid:\t0\t"))
}

/// A folder on a disk's file system: the temporary folder may be in memory.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// Says why a test does nothing here.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// What a program printed; `None` when it failed or is missing.
pub fn output_of(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A loop device on a sparse file; both go with it.
pub struct Loop {
    pub device: String,
    pub folder: tempfile::TempDir,
    mounted: Option<PathBuf>,
}

impl Loop {
    /// `None`, with the reason told, where there are no loop devices.
    pub fn new(size: u64) -> Option<Self> {
        if !is_root() {
            skip("loop devices need root");
            return None;
        }
        let folder = folder();
        let image = folder.path().join("image");
        fs::File::create(&image).unwrap().set_len(size).unwrap();
        let Some(device) = output_of("losetup", &["--find", "--show", image.to_str().unwrap()]) else {
            skip("losetup gives no device");
            return None;
        };
        Some(Self { device, folder, mounted: None })
    }

    /// Makes an ext4 file system and mounts it.
    pub fn mount(&mut self) -> Option<PathBuf> {
        if output_of("mkfs.ext4", &["-q", "-F", &self.device]).is_none() {
            skip("mkfs.ext4 is missing");
            return None;
        }
        let place = self.folder.path().join("mount");
        fs::create_dir(&place).unwrap();
        if output_of("mount", &[&self.device, place.to_str().unwrap()]).is_none() {
            skip("mounting is not allowed");
            return None;
        }
        self.mounted = Some(place.clone());
        Some(place)
    }

    pub fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        if let Some(place) = &self.mounted {
            // The kernel may still hold a file of a program that has just ended.
            for _ in 0..100 {
                if output_of("umount", &[place.to_str().unwrap()]).is_some() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        output_of("losetup", &["--detach", &self.device]);
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
            skip("there is no free /dev/zram0, or no right to size it");
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
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
}

/// The path as text.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A figure of a record.
#[track_caller]
pub fn number(record: &Value, key: &str) -> f64 {
    let value = key.split('.').fold(record, |value, part| &value[part]);
    value.as_f64().unwrap_or_else(|| panic!("no number {key} in {record}"))
}

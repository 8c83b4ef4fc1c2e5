//! Where the lab keeps its images and what it knows of its running machines.

use std::{
    env, fs,
    fs::{File, TryLockError},
    io::Write,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result};
use meter::stderr::print_status;
use serde::{Deserialize, Serialize};

/// The folder of the lab NAME: `$XDG_CACHE_HOME/iomatrix/NAME-lab`, else under `~/.cache`.
#[derive(Clone, Debug)]
pub struct Folder(PathBuf);

/// The machines that run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Running {
    /// The process that watches over them, and holds the namespace of the world outside.
    pub supervisor: u32,
    /// When that process began, in clock ticks since boot: no other process is taken for it.
    pub began: u64,
    /// The descriptor of the namespace in that process.
    pub network: i32,
}

impl Folder {
    /// The folder, made if need be.
    pub fn open(lab: &str) -> Result<Self> {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .or_else(|| env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set")?;
        let folder = cache.join(format!("iomatrix/{lab}-lab"));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// A file of it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file of it, as an argument.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Waits until no other process makes images or boots; the turn ends when the result is dropped.
    pub fn take_turn(&self) -> Result<File> {
        let path = self.path("turn");
        let failed = || format!("lock {}", path.display());
        let options = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = options.with_context(failed)?;
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            let owner = fs::read_to_string(&path).unwrap_or_default();
            print_status(format_args!("lab: process {} makes or boots it; waiting for that", owner.trim()));
            file.lock().with_context(failed)?;
        }
        file.set_len(0).with_context(failed)?;
        write!(file, "{}", std::process::id()).with_context(failed)?;
        Ok(file)
    }

    /// The machines that run, if any do.
    pub fn running(&self) -> Option<Running> {
        let text = fs::read_to_string(self.path("running.json")).ok()?;
        let running: Running = serde_json::from_str(&text).ok()?;
        (began(running.supervisor) == Some(running.began)).then_some(running)
    }

    /// Says that this process watches over machines now.
    pub fn announce(&self, network: i32) -> Result<()> {
        let supervisor = std::process::id();
        let running =
            Running { supervisor, began: began(supervisor).context("read /proc/self/stat")?, network };
        // One path for all boots: a resolved plan names it, and an interrupted matrix goes on with that plan.
        let aside = self.path("outside.part");
        let _ = fs::remove_file(&aside);
        symlink(running.network_path(), &aside).context("link the namespace")?;
        fs::rename(aside, self.path("outside")).context("rename the namespace's link")?;
        let aside = self.path("running.json.part");
        fs::write(&aside, serde_json::to_string(&running)?)?;
        fs::rename(aside, self.path("running.json")).context("write running.json")
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Running {
    /// A path under which the namespace of the world outside can be opened.
    pub fn network_path(&self) -> String {
        format!("/proc/{}/fd/{}", self.supervisor, self.network)
    }

    /// The namespace of the world outside.
    pub fn open_network(&self) -> Result<Arc<OwnedFd>> {
        let path = self.network_path();
        Ok(Arc::new(File::open(&path).with_context(|| format!("open {path}"))?.into()))
    }
}

/// When a process that lives began, in clock ticks since boot (proc(5), fields 3 and 22 of `stat`).
fn began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // One that was killed and not yet waited for has its entry still.
    let lives = !matches!(fields.next()?, "Z" | "X");
    fields.nth(18)?.parse().ok().filter(|_| lives)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_killed_process_that_nobody_waited_for_does_not_live() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        assert!(began(child.id()).is_some());
        child.kill().unwrap();
        // Its end, not its entry: that stays until it is waited for.
        let stat = format!("/proc/{}/stat", child.id());
        while !fs::read_to_string(&stat).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        assert_eq!(began(child.id()), None);
        child.wait().unwrap();
    }

    #[test]
    fn the_turn_names_its_owner_and_passes_on() {
        let folder = tempfile::tempdir().unwrap();
        let folder = Folder(folder.path().to_owned());
        let turn = folder.take_turn().unwrap();
        assert_eq!(fs::read_to_string(folder.path("turn")).unwrap(), std::process::id().to_string());
        let later = folder.clone();
        let second = std::thread::spawn(move || later.take_turn().map(drop));
        drop(turn);
        second.join().unwrap().unwrap();
    }
}

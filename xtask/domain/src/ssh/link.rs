//! One multiplexed OpenSSH connection: opened once, and every command a channel of it.

use std::{
    fs,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use crate::{
    local::enter,
    shell::{Said, Shell, run},
};

/// What `ssh` exits with when the connection, not the command, failed.
pub const EXIT_BROKEN: i32 = 255;

/// Longest that opening a connection may take.
const CONNECT: Duration = Duration::from_secs(30);
/// Longest that the connection's own process may take to answer.
const CHECK: Duration = Duration::from_secs(5);

/// Which machine, as `ssh` is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A host of the user's own configuration, or `user@host`.
    pub host: String,
    /// Another configuration file than the user's own.
    pub config: Option<PathBuf>,
}

/// An open connection; dropping it closes it, and with it the standard input of everything that
/// runs through it.
pub struct Link {
    target: Target,
    folder: PathBuf,
    master: Child,
}

impl Link {
    /// Opens the connection and waits until commands can use it.
    ///
    /// # Errors
    /// In the words of `ssh`: unknown host key, no permission, no route, no `ssh`.
    pub fn open(target: Target) -> Result<Self> {
        let folder = private_folder()?;
        let words = folder.join("words");
        let stderr = fs::File::create(&words).with_context(|| format!("create {}", words.display()))?;
        let mut command = base(&target, &folder);
        command
            .args(["-M", "-N", "-T", "-o", "ControlPersist=no", "-o", "ConnectTimeout=20"])
            .args(["-o", "ExitOnForwardFailure=no", "--"])
            .arg(&target.host)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr);
        enter(&mut command, None, &[]);
        let master = command.spawn().context("run `ssh`; install openssh-client")?;
        let mut link = Self { target, folder, master };
        let deadline = Instant::now() + CONNECT;
        loop {
            if link.is_open() {
                return Ok(link);
            }
            let ended = link.master.try_wait().context("wait for `ssh`")?.is_some();
            if ended || Instant::now() > deadline {
                let said = fs::read_to_string(words).unwrap_or_default();
                let why = if ended { said.trim() } else { "no answer in time" };
                bail!("connect to `{}` with ssh: {why}", link.target.host);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Breaks the connection off, as a network would.
    #[cfg(test)]
    pub fn break_off(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
    }

    /// Whether the connection's own process is there and takes commands. Sends nothing to the machine.
    pub fn is_open(&self) -> bool {
        if !self.folder.join("socket").exists() {
            return false;
        }
        let mut command = base(&self.target, &self.folder);
        command.args(["-O", "check", "--"]).arg(&self.target.host);
        run(&mut command, &[], CHECK).is_ok_and(|said| said.code == Some(0))
    }

    /// An `ssh` that runs `script` over this connection, and never opens one of its own.
    pub fn command(&self, script: &str) -> Command {
        let mut command = base(&self.target, &self.folder);
        command.args(["-T", "-o", "ControlMaster=no", "-o", "ProxyCommand=false", "--"]);
        command.arg(&self.target.host).arg(script);
        command
    }
}

impl Shell for Link {
    fn script(&self, script: &str, input: &[u8], limit: Duration) -> Result<Said> {
        let said = run(&mut self.command(script), input, limit)
            .with_context(|| format!("on `{}`", self.target.host))?;
        if said.code == Some(EXIT_BROKEN) {
            bail!("the connection to `{}` broke: {}", self.target.host, said.complaint());
        }
        Ok(said)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.master.kill();
        let _ = self.master.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What all calls of `ssh` share: nothing is asked, an unknown host key is refused, no keep-alive
/// disturbs a measurement.
fn base(target: &Target, folder: &Path) -> Command {
    let mut command = Command::new("ssh");
    if let Some(config) = &target.config {
        command.arg("-F").arg(config);
    }
    command.args(["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ServerAliveInterval=0"]);
    command.args(["-o", "ForwardAgent=no", "-o", "ForwardX11=no", "-o", "LogLevel=ERROR"]);
    command.arg("-o").arg(format!("ControlPath={}", folder.join("socket").display()));
    command
}

/// A new folder that only this user can enter, with a path short enough for a socket.
fn private_folder() -> Result<PathBuf> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let parent = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_dir())
        .unwrap_or_else(|| PathBuf::from("/tmp"));
    loop {
        let number = COUNT.fetch_add(1, Relaxed);
        let folder = parent.join(format!("iomatrix-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("create {}", folder.display())),
        }
    }
}

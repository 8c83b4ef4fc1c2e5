//! Places in which scripts run as well as tools: machines behind SSH, and this one, perhaps in another
//! network namespace.

use std::{
    fs::File,
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use domain::{
    Domain, Process, RunContext, ToolCommand,
    local::{LocalDomain, enter},
    process::LocalProcess,
    shell::{LocalShell, Said, Shell, run},
    ssh::{Link, SshDomain, Target},
};
use meter::cpulist::CpuList;

/// A domain in which scripts run as well as tools.
pub trait Place: Domain + Shell {
    /// Makes sure that it answers.
    fn ensure_alive(&self) -> Result<()>;

    /// Forgets its connection: it is about to go.
    fn disconnect(&self);

    /// Starts `script`, which holds something for as long as its standard input is open.
    fn hold(&self, script: &str) -> Result<Box<dyn Process>>;

    /// The CPUs of its own that tools may use.
    fn cpus(&self) -> Result<CpuList>;
}

/// The place of a domain on `ssh`, a host as OpenSSH knows it by its configuration file or the user's own; on this
/// machine where it is on none, in the network namespace at that path. A connection is opened by its first use.
pub fn open(
    ssh: Option<&str>,
    namespace: Option<&str>,
    config: Option<&str>,
    context: &RunContext,
) -> Result<Box<dyn Place>> {
    if let Some(host) = ssh {
        let target = Target { host: host.to_owned(), config: config.map(Into::into) };
        return Ok(Box::new(SshDomain::new(target, context.clone())));
    }
    let network = match namespace {
        Some(path) => {
            let file = File::open(path).with_context(|| format!("open the namespace {path}"))?;
            Some(Arc::new(OwnedFd::from(file)))
        }
        None => None,
    };
    let cpus = CpuList::allowed()?.cpus().to_vec();
    Ok(Box::new(Here(LocalDomain { context: context.clone(), cpus, network })))
}

/// A shell on `ssh`, else on this machine: for questions, without a tool.
pub fn shell(ssh: Option<&str>, config: Option<&str>) -> Result<Box<dyn Shell>> {
    match ssh {
        Some(host) => {
            let target = Target { host: host.to_owned(), config: config.map(Into::into) };
            Ok(Box::new(Link::open(target)?))
        }
        None => Ok(Box::new(LocalShell)),
    }
}

impl Place for SshDomain {
    fn ensure_alive(&self) -> Result<()> {
        Self::ensure_alive(self)
    }

    fn disconnect(&self) {
        Self::disconnect(self);
    }

    fn hold(&self, script: &str) -> Result<Box<dyn Process>> {
        self.open(script)
    }

    fn cpus(&self) -> Result<CpuList> {
        let list = self.ask("cat /sys/devices/system/cpu/online", Duration::from_secs(15))?;
        list.parse().map_err(anyhow::Error::msg)
    }
}

/// This machine, perhaps in another network namespace.
struct Here(LocalDomain);

impl Domain for Here {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        self.0.start(command)
    }
}

impl Shell for Here {
    fn script(&self, script: &str, input: &[u8], limit: Duration) -> Result<Said> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        enter(&mut command, self.0.network.as_ref(), &[]);
        run(&mut command, input, limit)
    }
}

impl Place for Here {
    fn ensure_alive(&self) -> Result<()> {
        Ok(())
    }

    fn disconnect(&self) {}

    fn hold(&self, script: &str) -> Result<Box<dyn Process>> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        enter(&mut command, self.0.network.as_ref(), &[]);
        Ok(Box::new(LocalProcess::watch(
            command.spawn().context("run `sh`")?,
            "sh",
            self.0.context.stop.clone(),
        )?))
    }

    fn cpus(&self) -> Result<CpuList> {
        Ok(CpuList::new(self.0.cpus.iter().copied()))
    }
}

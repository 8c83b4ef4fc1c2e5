//! Tools as processes of this machine: on some CPUs, perhaps in another network namespace.
#![allow(unsafe_code)] // Between fork and exec only raw system calls are allowed.

use std::{
    fs::File,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};

use super::{Domain, Process, RunContext, ToolCommand, process::LocalProcess};

/// A place on this machine.
pub struct LocalDomain {
    /// The tools, and the wish to end.
    pub context: RunContext,
    /// The CPUs that its tools may use.
    pub cpus: Vec<usize>,
    /// Its network namespace; this process's own where missing.
    pub network: Option<Arc<OwnedFd>>,
}

impl Domain for LocalDomain {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        let binary = self.context.binaries.get(&command.tool)?;
        let mut system_command = Command::new(binary.executable());
        system_command
            .arg0(binary.path())
            .args(&command.args)
            .args(["--json", "--controlled"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        enter(&mut system_command, self.network.as_ref(), &self.cpus);
        if let Some(descriptor) = binary.inherited() {
            inherit(&mut system_command, descriptor);
        }
        let child = system_command.spawn().with_context(|| format!("start `{command}`"))?;
        Ok(Box::new(LocalProcess::watch(child, &command.tool, self.context.stop.clone())?))
    }
}

/// Lets a descriptor of this process stay open in `command`.
fn inherit(command: &mut Command, descriptor: i32) {
    let keep = move || {
        // SAFETY: fcntl with integer arguments touches no memory.
        if unsafe { libc::fcntl(descriptor, libc::F_SETFD, 0) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes one system call and nothing else.
    unsafe { command.pre_exec(keep) };
}

/// Lets `command` run in a network namespace and on some CPUs (all where none are named), in a process
/// group of its own, so that Ctrl-C on the terminal reaches only the coordinator, and die with it.
pub fn enter(command: &mut Command, network: Option<&Arc<OwnedFd>>, cpus: &[usize]) {
    let network = network.map(Arc::clone);
    let cpus = cpus.to_vec();
    command.process_group(0);
    let in_child = move || {
        if let Some(network) = &network {
            // SAFETY: the descriptor is open: `network` keeps it, here and in the parent.
            if unsafe { libc::setns(network.as_raw_fd(), libc::CLONE_NEWNET) } < 0 {
                return Err(std::io::Error::last_os_error());
            }
        }
        if !cpus.is_empty() {
            meter::sys::sched_setaffinity(&cpus)?;
        }
        // SAFETY: prctl with an integer argument touches no memory.
        unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
        Ok(())
    };
    // SAFETY: between fork and exec the closure makes only system calls on what it owns: it neither
    // allocates nor takes a lock.
    unsafe { command.pre_exec(in_child) };
}

/// A new network namespace that lives as long as its descriptor: nothing of it stays behind, even
/// after a SIGKILL. IPv6 is off in it: its neighbour discovery would be traffic that nobody asked for.
pub fn new_network_namespace() -> Result<OwnedFd> {
    let maker = thread::Builder::new().name("namespace".into()).spawn(|| -> Result<OwnedFd> {
        // SAFETY: no memory is passed; only this thread, which ends right after, changes its namespace.
        if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
            return Err(std::io::Error::last_os_error())
                .context("create a network namespace; run as root, or allow unprivileged user namespaces");
        }
        for scope in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6");
            if Path::new(&path).exists() {
                std::fs::write(&path, "1").with_context(|| format!("write {path}"))?;
            }
        }
        Ok(File::open("/proc/thread-self/ns/net").context("open /proc/thread-self/ns/net")?.into())
    })?;
    maker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

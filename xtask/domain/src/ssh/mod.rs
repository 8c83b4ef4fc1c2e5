//! Tools on another machine, over the system's OpenSSH.
//!
//! One connection a domain is opened before the first trial and carries everything; the user's own
//! configuration (keys, jump hosts, ports) holds, and an unknown host key is refused. Binaries are
//! pushed once, under the name of their SHA-256 digest, and checked there. When the connection or
//! this program ends, the tools' input closes, and they stop by themselves.

mod link;
#[cfg(test)]
mod tests;

use std::{
    cell::{Ref, RefCell},
    collections::BTreeMap,
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
pub use link::{Link, Target};

use super::{
    Domain, Event, Exit, Process, RunContext, ToolCommand,
    local::enter,
    process::LocalProcess,
    shell::{Said, Shell, quote},
};

/// Longest that a machine may take for a trivial command.
const ANSWER: Duration = Duration::from_secs(15);
/// Longest that pushing one binary may take.
const PUSH: Duration = Duration::from_secs(60);

/// Ends every tool that was pushed to this user's cache there.
const END_TOOLS: &str = "d=$(cd \"${XDG_CACHE_HOME:-$HOME/.cache}\" && pwd -P)/iomatrix/\n\
                         for p in /proc/[0-9]*/exe; do case $(readlink \"$p\" 2>/dev/null) in\n\
                         \"$d\"*) p=${p%/exe}; kill -9 \"${p##*/}\" ;; esac; done; true";

/// A machine behind SSH.
pub struct SshDomain {
    context: RunContext,
    target: Target,
    state: RefCell<State>,
}

/// What ends with the connection.
struct State {
    link: Option<Link>,
    /// The tools that are there, by name, with their paths.
    pushed: BTreeMap<String, String>,
}

impl SshDomain {
    /// A domain whose connection is opened by the first use.
    pub fn new(target: Target, context: RunContext) -> Self {
        Self { context, target, state: RefCell::new(State { link: None, pushed: BTreeMap::new() }) }
    }

    /// Opens the connection unless it is open.
    ///
    /// # Errors
    /// When the machine can't be reached.
    pub fn connect(&self) -> Result<()> {
        let mut state = self.state.borrow_mut();
        if !state.link.as_ref().is_some_and(Link::is_open) {
            *state = State { link: None, pushed: BTreeMap::new() };
            state.link = Some(Link::open(self.target.clone())?);
        }
        Ok(())
    }

    /// Closes the connection and forgets what was pushed: the machine is about to go or has gone.
    pub fn disconnect(&self) {
        *self.state.borrow_mut() = State { link: None, pushed: BTreeMap::new() };
    }

    /// Makes sure that the machine answers: over the connection that there is, else over a new one.
    ///
    /// # Errors
    /// When it does not, and why.
    pub fn ensure_alive(&self) -> Result<()> {
        if self.link().is_ok_and(|link| link.ask("true", ANSWER).is_ok()) {
            return Ok(());
        }
        let had_link = self.state.borrow().link.is_some();
        self.disconnect();
        self.connect()?;
        // What was started over a connection that vanished without a word may not know that yet.
        self.link()?.ask(if had_link { END_TOOLS } else { "true" }, ANSWER).map(drop)
    }

    fn link(&self) -> Result<Ref<'_, Link>> {
        let closed = || format!("the connection to `{}` is closed", self.target.host);
        Ref::filter_map(self.state.borrow(), |state| state.link.as_ref()).ok().with_context(closed)
    }

    /// Starts `script` as a channel of the connection that there is; its input closes with that.
    ///
    /// # Errors
    /// When the connection is closed.
    pub fn open(&self, script: &str) -> Result<Box<dyn Process>> {
        let mut command = self.link()?.command(script);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        enter(&mut command, None, &[]);
        let process = LocalProcess::watch(
            command.spawn().context("run `ssh`")?,
            &self.target.host,
            self.context.stop.clone(),
        )?;
        Ok(Box::new(SshProcess { process, host: self.target.host.clone() }))
    }

    /// The path of `tool` there; it is pushed unless a file with its digest is there already.
    fn push(&self, tool: &str) -> Result<String> {
        if let Some(path) = self.state.borrow().pushed.get(tool) {
            return Ok(path.clone());
        }
        let binary = self.context.binaries.get(tool)?;
        let digest = binary.sha256();
        let link = self.link()?;
        let folder = format!("iomatrix/{}", &digest[..16]);
        let look = format!(
            "d=\"${{XDG_CACHE_HOME:-$HOME/.cache}}\"/{folder}; echo \"$d/{tool}\"; \
             sha256sum <\"$d/{tool}\" 2>/dev/null || true"
        );
        let answer = link.ask(&look, ANSWER)?;
        let path = answer.lines().next().unwrap_or_default().to_owned();
        if !answer.contains(digest) {
            let name = quote(&path);
            let store = format!(
                "umask 077; mkdir -p \"$(dirname {name})\" && cat >{name}.part && chmod 700 {name}.part \
                 && mv {name}.part {name} && sha256sum <{name}"
            );
            let said = link.script(&store, &binary.bytes()?, PUSH)?;
            ensure!(said.code == Some(0), "push {tool} to `{}`: {}", self.target.host, said.complaint());
            ensure!(
                said.stdout_text().contains(digest),
                "{tool} did not arrive on `{}` as it was sent",
                self.target.host
            );
        }
        drop(link);
        self.state.borrow_mut().pushed.insert(tool.to_owned(), path.clone());
        Ok(path)
    }
}

impl Shell for SshDomain {
    fn script(&self, script: &str, input: &[u8], limit: Duration) -> Result<Said> {
        self.link()?.script(script, input, limit)
    }
}

impl Domain for SshDomain {
    fn start(&self, command: &ToolCommand) -> Result<Box<dyn Process>> {
        self.connect()?;
        let path = self.push(&command.tool)?;
        let (name, digest) = (quote(&path), self.context.binaries.get(&command.tool)?.sha256());
        // What lies there is checked at each start: somebody may have exchanged it since it was pushed.
        let mut script = format!(
            "case $(sha256sum <{name}) in {digest}*) ;; *) echo \"$(hostname): the file \"{name}\" is not the \
             {tool} that was sent there: it was changed during the run\" >&2; exit 1 ;; esac; exec {name}",
            tool = command.tool
        );
        for arg in command.args.iter().map(String::as_str).chain(["--json", "--controlled"]) {
            script.push(' ');
            script.push_str(&quote(arg));
        }
        self.open(&script).with_context(|| format!("start `{command}` over ssh"))
    }
}

/// A tool behind a channel of the connection.
struct SshProcess {
    process: LocalProcess,
    host: String,
}

impl Process for SshProcess {
    fn say(&mut self, line: &str) -> Result<()> {
        self.process.say(line)
    }

    fn close(&mut self) {
        self.process.close();
    }

    fn next(&mut self, deadline: Instant) -> Event {
        match self.process.next(deadline) {
            Event::Ended(exit) => Event::Ended(told_by_ssh(exit, &self.host)),
            event => event,
        }
    }
}

/// What the exit of `ssh` says of the tool: 255 is not the tool's own.
fn told_by_ssh(exit: Exit, host: &str) -> Exit {
    if exit.code != Some(link::EXIT_BROKEN) {
        return exit;
    }
    let words = if exit.stderr.is_empty() { "it was killed, or the link dropped" } else { &exit.stderr };
    Exit { code: None, stderr: format!("ssh to `{host}`: {words}"), ..exit }
}

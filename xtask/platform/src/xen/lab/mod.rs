//! `cargo xtask lab xen`: a real Xen host under QEMU's emulation, made from Debian's packages.
//!
//! Two machines with the same devices: one runs Xen with Domain-0 and the guests A and B, the other the
//! same kernel without Xen. The world outside is a network namespace with taps to both. Everything is
//! held by one supervising process: when that ends, nothing is left but the images in the cache.

mod debian;
mod images;
mod machines;
mod supervisor;
mod wires;

use std::{
    env,
    fs::{self, File},
    io::{IsTerminal, Write},
    os::unix::process::CommandExt,
    process::{ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use domain::{
    local::enter,
    shell::{Shell, quote},
    ssh::{Link, Target},
};
use lab::{Lab, LabAction, folder::Folder};
use meter::stderr::print_status;
use plan::Plan;

/// Its name on the command line.
const NAME: &str = "xen";
/// What the lab's names for `ssh` begin with.
const HOST_PREFIX: &str = "xen-lab-";
/// Longest that a machine may take to boot.
const BOOT: Duration = Duration::from_secs(420);
/// Longest that `xl create` may take.
const CREATE: Duration = Duration::from_secs(90);
/// Longest that the machines may take to end.
const END: Duration = Duration::from_secs(15);

/// A Xen host with two guests, and the same machine without Xen, in QEMU's emulation.
pub(super) struct XenLab;

impl Lab for XenLab {
    fn name(&self) -> &'static str {
        NAME
    }

    fn plan(&self, quick: bool) -> &'static str {
        if quick { "xen-lab-quick.toml" } else { "xen-lab.toml" }
    }

    fn run(&self, action: LabAction) -> Result<u8> {
        let folder = Folder::open(NAME)?;
        match action {
            LabAction::Up { minutes } => {
                if let Some(mut hold) = up(&folder, minutes)? {
                    writeln!(hold, "{}", supervisor::STAY).context("let the machines stay")?;
                }
                println!("the lab is up: `cargo xtask lab xen ssh dom0|a|b|native|generator`");
            }
            LabAction::Run { domain, command } => return enter_domain(&folder, &domain, &command),
            LabAction::Ssh { domain } => return enter_domain(&folder, &domain, &[]),
            LabAction::Down => {
                println!("{}", if down(&folder)? { "the lab is down" } else { "the lab was not up" });
            }
            LabAction::Supervise { minutes } => supervisor::run(&folder, Duration::from_secs(60 * minutes))?,
        }
        Ok(0)
    }

    fn open(&self, plan: &mut Plan) -> Result<Box<dyn lab::Session>> {
        check_plan(plan)?;
        let folder = Folder::open(NAME)?;
        let hold = up(&folder, 180)?;
        fill_in(plan, &folder);
        Ok(Box::new(Session { folder, hold }))
    }

    fn complete(&self, plan: &mut Plan) -> Result<()> {
        check_plan(plan)?;
        let folder = Folder::open(NAME)?;
        folder.running().ok_or_else(not_up)?;
        fill_in(plan, &folder);
        Ok(())
    }
}

/// The lab for a matrix: booted if it was not, and then ended when dropped.
struct Session {
    folder: Folder,
    /// Keeps the machines that were started here: they end with this process, whatever ends it.
    hold: Option<ChildStdin>,
}

impl lab::Session for Session {
    fn ended(&self) -> Option<String> {
        if self.folder.running().is_some() {
            return None;
        }
        let words = fs::read_to_string(self.folder.path("supervisor.log")).unwrap_or_default();
        words.lines().last().map(|last| format!("the lab: {last}"))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.hold.is_some()
            && let Err(error) = down(&self.folder)
        {
            print_status(format_args!("warning: the lab: {error:#}"));
        }
    }
}

fn not_up() -> meter::Error {
    meter::Error::unavailable("the lab is not up; run `cargo xtask lab xen up`")
}

/// Refuses a plan whose domains are elsewhere.
fn check_plan(plan: &Plan) -> Result<()> {
    let places = plan.domains.values().filter_map(|domain| domain.at.get("ssh")?.as_str());
    let strangers: Vec<&str> = places.filter(|host| !host.starts_with(HOST_PREFIX)).collect();
    if plan.platform.kind.get_ref() == NAME && strangers.is_empty() {
        return Ok(());
    }
    let why = match strangers.first() {
        Some(host) => format!("its domain on `{host}` is elsewhere"),
        None => format!("its platform is `{}`", plan.platform.kind.get_ref()),
    };
    Err(meter::Error::bad_arguments(format!(
        "the plan `{}` is none of the lab: {why}; begin with plans/xen-lab-quick.toml",
        plan.name
    ))
    .into())
}

fn fill_in(plan: &mut Plan, folder: &Folder) {
    plan.platform.settings.insert("ssh_config".into(), folder.text("ssh_config").into());
    if let Some(outside) = plan.domains.get_mut(plan.platform.outside.get_ref()) {
        outside.at.insert("namespace".into(), folder.text("outside").into());
    }
}

/// Boots the lab unless it is up; what is started here lasts as long as what is given back.
fn up(folder: &Folder, minutes: u64) -> Result<Option<ChildStdin>> {
    debian::check_machine()?;
    let began = Instant::now();
    let tell =
        |what: &str| print_status(format_args!("lab: {:5.1} s  {what}", began.elapsed().as_secs_f64()));
    // Who comes second waits, and finds it up.
    let _turn = folder.take_turn()?;
    if folder.running().is_some() {
        // Whoever began it may not have come to its end.
        boot(folder, tell)?;
        return Ok(None);
    }
    images::ensure(folder)
        .with_context(|| format!("make the lab's images in {}", folder.as_ref().display()))?;
    tell("images");
    let hold = start(folder, minutes)?;
    let booted = boot(folder, tell);
    if booted.is_err() {
        down(folder)?;
    }
    booted.map(|()| hold)
}

/// Starts the supervisor, and waits until it has started the machines.
fn start(folder: &Folder, minutes: u64) -> Result<Option<ChildStdin>> {
    let words = folder.path("supervisor.log");
    let log = File::create(&words)?;
    let mut child = Command::new(env::current_exe().context("find this program")?)
        .args(["lab", NAME, "supervise", "--minutes", &minutes.to_string()])
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the lab's supervisor")?;
    let deadline = Instant::now() + END;
    loop {
        if folder.running().is_some_and(|running| running.supervisor == child.id()) {
            return Ok(child.stdin.take());
        }
        let ended = child.try_wait()?.is_some();
        if ended || Instant::now() > deadline {
            let _ = child.kill();
            bail!("the machines did not start: {}", fs::read_to_string(words).unwrap_or_default().trim());
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for both machines and creates the guests.
fn boot(folder: &Folder, tell: impl Fn(&str)) -> Result<()> {
    wait_for_log(folder, "xen")?;
    tell("Domain-0 is ready");
    let dom0 = wait_for_ssh(folder, "dom0")?;
    let create = "for name in A B; do xl domid $name >/dev/null 2>&1 || xl create -q /lab/$(echo $name | tr AB ab).cfg \
                  || exit; done";
    dom0.ask(create, CREATE).context("create the guests")?;
    tell("guests created");
    wait_for_log(folder, "native")?;
    for name in ["native", "a", "b"] {
        wait_for_ssh(folder, name)?;
        tell(&format!("{name} answers"));
    }
    Ok(())
}

/// Waits until a machine's console says that it is ready.
fn wait_for_log(folder: &Folder, machine: &str) -> Result<()> {
    let log = folder.path(&format!("{machine}.log"));
    let deadline = Instant::now() + BOOT;
    loop {
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        if text.contains("LAB-READY") {
            return Ok(());
        }
        let panicked =
            text.lines().find(|line| line.contains("Panic on CPU") || line.contains("Kernel panic"));
        if let Some(line) = panicked {
            bail!("the machine `{machine}` does not boot: {line}; see {}", log.display());
        }
        if folder.running().is_none() {
            let why = fs::read_to_string(folder.path("supervisor.log")).unwrap_or_default();
            bail!("{}", why.lines().last().unwrap_or("the lab's supervisor ended without a word"));
        }
        if Instant::now() > deadline {
            let words = supervisor::last_words(folder, machine);
            bail!("the machine `{machine}` is not ready after {} s{words}", BOOT.as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

/// Opens a connection as soon as the domain takes one.
fn wait_for_ssh(folder: &Folder, name: &str) -> Result<Link> {
    let deadline = Instant::now() + BOOT;
    loop {
        match Link::open(target(folder, name)) {
            Ok(link) => return Ok(link),
            Err(error) if Instant::now() > deadline || folder.running().is_none() || is_final(&error) => {
                return Err(error.context(format!("domain `{name}` of the lab does not answer")));
            }
            Err(_) => thread::sleep(Duration::from_millis(200)),
        }
    }
}

/// Whether waiting can't help: the machine answers, and is the wrong one.
fn is_final(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["Host key verification failed", "Permission denied"].iter().any(|cause| text.contains(cause))
}

fn target(folder: &Folder, name: &str) -> Target {
    Target { host: format!("{HOST_PREFIX}{name}"), config: Some(folder.path("ssh_config")) }
}

/// Ends the machines, and checks that they have ended; tells whether there were any.
fn down(folder: &Folder) -> Result<bool> {
    let Some(running) = folder.running() else { return Ok(false) };
    let id = running.supervisor.to_string();
    let status = Command::new("sh").args(["-c", &format!("kill {id}")]).status()?;
    let deadline = Instant::now() + END;
    while folder.running().is_some() {
        if !status.success() || Instant::now() > deadline {
            return Err(anyhow!("the lab's supervisor, process {id}, does not end"));
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(true)
}

/// Runs a command, or a shell where there is none, in a domain of the lab.
fn enter_domain(folder: &Folder, domain: &str, words: &[String]) -> Result<u8> {
    let running = folder.running().ok_or_else(not_up)?;
    let mut command = match domain {
        "generator" => {
            let shell = [env::var("SHELL").unwrap_or_else(|_| "sh".into())];
            let words = if words.is_empty() { &shell } else { words };
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            enter(&mut command, Some(&running.open_network()?), &[]);
            command.process_group(0);
            command
        }
        "dom0" | "a" | "b" | "native" => {
            let mut command = Command::new("ssh");
            command.arg("-F").arg(folder.path("ssh_config"));
            if words.is_empty() && std::io::stdin().is_terminal() {
                command.arg("-t");
            }
            command.arg("--").arg(format!("xen-lab-{domain}"));
            if !words.is_empty() {
                command.arg(words.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" "));
            }
            command
        }
        _ => {
            let message =
                format!("no domain of the lab is named `{domain}`; there are dom0, a, b, native, generator");
            return Err(meter::Error::bad_arguments(message).into());
        }
    };
    let status = command.status().with_context(|| format!("enter `{domain}`"))?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::Overrides;
    use plan::plans_folder;

    #[test]
    fn only_plans_of_the_lab_are_run_in_it() {
        let checked = |name: &str, from: &str, to: &str| {
            let mut plan = plan::load(&plans_folder().join(name), &Overrides::default()).unwrap().0;
            let b = plan.domains.get_mut("b").unwrap();
            if let Some(toml::Value::String(host)) = b.at.get_mut("ssh") {
                *host = host.replace(from, to);
            }
            check_plan(&plan)
        };
        checked("xen-lab.toml", "", "").unwrap();
        checked("xen-lab-quick.toml", "", "").unwrap();
        for error in [checked("quick.toml", "", ""), checked("xen-lab.toml", "xen-lab-b", "bench-b")] {
            let error = error.unwrap_err();
            assert!(error.to_string().contains("is none of the lab"), "{error}");
            let kind = error.downcast_ref::<meter::Error>().unwrap().kind();
            assert_eq!(kind.exit_code(), 2);
        }
    }
}

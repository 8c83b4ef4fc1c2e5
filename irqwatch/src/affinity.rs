//! `irqwatch affinity`: which CPUs serve an interrupt; shown, or changed for the length of a command.
//!
//! What was changed is put back by a guard: a second process that holds the old lists and waits for
//! the end of its input. That end comes whatever happens to this process, SIGKILL included.

use std::{
    fmt, fs,
    io::{self, BufRead, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
};

use meter::{Error, Result, cpulist::CpuList, interrupts::Table, session::Session};
use serde::Serialize;

use crate::{
    class::Class,
    command::{Outcome, Running},
    filter::Filter,
    observer::{Difference, Observer, OwnCost},
    source::device_of,
};

/// Name of the hidden subcommand that is the guard.
pub const GUARD: &str = "guard-affinity";

/// A resolved request.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Which interrupts.
    pub filter: Filter,
    /// What to change; `null` to show only.
    pub change: Option<Change>,
}

/// A change for the length of a command.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Change {
    /// The CPUs that shall serve the interrupts.
    pub to: CpuList,
    /// The command and its arguments.
    pub command: Vec<String>,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.change {
            Some(change) => {
                write!(f, "interrupts on CPUs {} while `{}` runs", change.to, change.command.join(" "))
            }
            None => f.write_str("affinity of interrupts"),
        }
    }
}

/// Which CPUs serve one interrupt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Affinity {
    /// Number of the IRQ.
    pub irq: u32,
    /// Its class.
    pub class: Class,
    /// Name of the device.
    pub device: String,
    /// CPUs that may serve it (`smp_affinity_list`), in the kernel's notation.
    pub allowed: String,
    /// CPUs that it is really sent to (`effective_affinity_list`); `null` where the kernel does not tell.
    pub effective: Option<String>,
    /// The same while the command ran; `null` where nothing was changed.
    pub effective_changed: Option<String>,
}

/// The answer.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Each interrupt, as it is outside of the command.
    pub interrupts: Vec<Affinity>,
    /// Interrupts of the machine while the command ran; `null` where nothing was changed.
    pub difference: Option<Difference>,
    /// How the command ended; `null` where nothing was changed.
    pub command: Option<Outcome>,
    /// What `irqwatch` itself cost.
    pub own: OwnCost,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.interrupts {
            let effective = one.effective.as_deref().unwrap_or("?");
            write!(f, "{:>6} allowed {:<10} effective {effective:<8}", one.irq, one.allowed)?;
            if let Some(changed) = &one.effective_changed {
                write!(f, " meanwhile {changed:<8}")?;
            }
            writeln!(f, "  {}", one.device)?;
        }
        self.difference.as_ref().map_or(Ok(()), |difference| write!(f, "{difference}"))?;
        self.command.as_ref().map_or(Ok(()), |command| write!(f, "\n{command}"))
    }
}

/// Shows, or changes, runs, and puts back.
///
/// # Errors
/// When no interrupt is chosen, the kernel refuses a change (nothing is run then), or the command
/// can't be started.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let mut observer = Observer::new();
    observer.require_interrupts()?;
    let mut interrupts = chosen(&config.filter)?;
    if interrupts.is_empty() {
        return Err(Error::bad_arguments("no interrupt that can be steered is among those chosen"));
    }
    let Some(change) = &config.change else {
        session.ready()?;
        let own = observer.own_cost();
        return session.summary(
            &Summary { interrupts, difference: None, command: None, own },
            Vec::new(),
            Vec::new(),
        );
    };
    // Not only where this process may run: interrupts have no cpuset.
    change.to.check_online()?;
    let stop = session.stop();
    if !session.ready()? {
        return Err(Error::failed("stopped before anything was changed"));
    }
    let guard = Guard::start(&interrupts)?;
    for one in &mut interrupts {
        set(one.irq, &change.to.to_string())?;
        one.effective_changed =
            read(one.irq, "effective_affinity_list").or_else(|| Some(change.to.to_string()));
    }
    let before = observer.snapshot()?;
    let outcome = Running::start(&change.command)?.wait(&stop, || observer.woke())?;
    let after = observer.snapshot()?;
    let difference = observer.compare(&before, &after, &config.filter);
    guard.restore()?;
    let warnings = interrupts.iter().filter_map(not_restored).collect();
    let summary = Summary {
        interrupts,
        difference: Some(difference),
        command: Some(outcome),
        own: observer.own_cost(),
    };
    session.summary(&summary, after.unread(), warnings)
}

/// The interrupts that the filter lets through and that have an affinity.
fn chosen(filter: &Filter) -> Result<Vec<Affinity>> {
    let table = Table::interrupts()?;
    let numbered = table.rows.iter().filter_map(|row| Some((row, row.name.parse::<u32>().ok()?)));
    let affinity = |(row, irq)| {
        let (class, device) = (Class::of(row), device_of(row));
        if !filter.wants(&row.name, device, class) {
            return None;
        }
        let allowed = read(irq, "smp_affinity_list")?;
        let effective = read(irq, "effective_affinity_list");
        Some(Affinity { irq, class, device: device.to_owned(), allowed, effective, effective_changed: None })
    };
    Ok(numbered.filter_map(affinity).collect())
}

fn path(irq: u32, file: &str) -> PathBuf {
    format!("/proc/irq/{irq}/{file}").into()
}

fn read(irq: u32, file: &str) -> Option<String> {
    let text = fs::read_to_string(path(irq, file)).ok()?;
    Some(text.trim().to_owned()).filter(|list| !list.is_empty())
}

/// Whether two lists name the same CPUs: `1,0` and `0-1` do.
fn same_cpus(one: &str, other: &str) -> bool {
    let set = |list: &str| {
        let mut cpus = list.parse::<CpuList>().ok()?.cpus().to_vec();
        cpus.sort_unstable();
        cpus.dedup();
        Some(cpus)
    };
    one == other || set(one).zip(set(other)).is_some_and(|(one, other)| one == other)
}

/// Sets the CPUs of one interrupt and reads them back.
fn set(irq: u32, list: &str) -> Result<()> {
    let file = path(irq, "smp_affinity_list");
    fs::write(&file, list).map_err(|error| {
        Error::system(
            format!("steer interrupt {irq} to CPUs {list} (some can't be steered; see --matching)"),
            error,
        )
        .with_kind(meter::ErrorKind::Unavailable)
    })?;
    match read(irq, "smp_affinity_list") {
        Some(found) if same_cpus(&found, list) => Ok(()),
        found => Err(Error::failed(format!(
            "interrupt {irq} was steered to CPUs {list}, but the kernel says {}",
            found.unwrap_or_default()
        ))),
    }
}

fn not_restored(one: &Affinity) -> Option<String> {
    let now = read(one.irq, "smp_affinity_list");
    // An interrupt that is gone needs no affinity.
    let wrong = now.filter(|now| !same_cpus(now, &one.allowed))?;
    Some(format!("interrupt {} is on CPUs {wrong} and not again on {}", one.irq, one.allowed))
}

/// The process that puts the affinities back.
struct Guard {
    process: Child,
    input: Option<ChildStdin>,
}

impl Guard {
    fn start(interrupts: &[Affinity]) -> Result<Self> {
        let failed = |error| Error::system("start the guard that puts affinities back", error);
        // This very program, wherever its file is by now.
        let mut process = Command::new("/proc/self/exe")
            .arg(GUARD)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // A Ctrl-C is for the command and for this process, not for the guard.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        let mut input = process.stdin.take();
        let lines: String = interrupts.iter().map(|one| format!("{} {}\n", one.irq, one.allowed)).collect();
        input.as_mut().map_or(Ok(()), |input| input.write_all(lines.as_bytes())).map_err(failed)?;
        Ok(Self { process, input })
    }

    /// Lets it do its work now.
    fn restore(mut self) -> Result<()> {
        self.input = None;
        let status = self.process.wait().map_err(|error| Error::system("wait for the guard", error))?;
        if status.success() {
            Ok(())
        } else {
            Err(Error::failed("the guard could not put every affinity back"))
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.input = None;
        let _: io::Result<std::process::ExitStatus> = self.process.wait();
    }
}

/// The guard: learns the affinities from standard input and sets them at its end.
///
/// # Errors
/// Names the interrupts that could not be set.
pub fn guard() -> Result<()> {
    let lines: Vec<String> = io::stdin().lock().lines().map_while(io::Result::ok).collect();
    let mut failed = Vec::new();
    for (irq, list) in lines.iter().filter_map(|line| line.split_once(' ')) {
        let Ok(irq) = irq.parse() else { continue };
        // One that is gone, or was never changed, needs nothing.
        let changed = read(irq, "smp_affinity_list").is_some_and(|now| !same_cpus(&now, list));
        if changed && set(irq, list).is_err() {
            failed.push(irq.to_string());
        }
    }
    if failed.is_empty() {
        Ok(())
    } else {
        Err(Error::failed(format!("could not put back the affinity of interrupts {}", failed.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared_as_sets() {
        assert!(same_cpus("1,0", "0-1") && same_cpus("0,2-3,1", "0-3") && same_cpus("3", "3"));
        assert!(!same_cpus("0", "0-1") && !same_cpus("", "0") && !same_cpus("x", "0"));
    }
}

//! Doctor: what the domains of a plan can do, before anything runs. What every platform asks is here; what
//! only one knows to ask is in its own folder.
//!
//! One short script in every domain, one block read from every measured disk with O_DIRECT. Nothing is changed
//! anywhere. What is lacking is told with the cells that it would spoil and a suggested fix.

mod survey;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use domain::shell::Shell;
use meter::cpulist::CpuList;
use plan::Cell;
pub use survey::Survey;

use crate::find::Mark;

/// Longest that the questions to one domain may take.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How far a domain's wall clock may be off, in seconds, before times in the journal mislead.
const MOST_OFFSET_S: f64 = 60.0;

/// What is asked of a domain: lines of `key=value`. Only what a POSIX shell and /proc have.
const QUESTIONS: &str = "\
echo user=$(id -u)
echo kernel=$(uname -sr)
echo machine=$(uname -m)
echo clocksource=$(cat /sys/devices/system/clocksource/clocksource0/current_clocksource 2>/dev/null)
echo io_uring=$(cat /proc/sys/kernel/io_uring_disabled 2>/dev/null || grep -c ' io_uring_setup$' /proc/kallsyms)
echo uring_knob=$([ -e /proc/sys/kernel/io_uring_disabled ] && echo yes)
echo cpus=$(cat /sys/devices/system/cpu/online)
echo sha256sum=$(command -v sha256sum)
echo time=$(date +%s)";

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The domain in which.
    pub domain: String,
    /// What was found.
    pub what: String,
    /// What to do about it; nothing where all is well.
    pub fix: Option<Fix>,
}

/// What to do about something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fix {
    /// In words.
    pub words: String,
    /// The cells that would be skipped or fail without it; none where it is only worth knowing.
    pub spoiled: Vec<Cell>,
}

impl Finding {
    /// All is well.
    pub fn good(domain: &str, what: impl Into<String>) -> Self {
        Self { domain: domain.to_owned(), what: what.into(), fix: None }
    }

    /// Something is wrong, and spoils these cells.
    pub fn bad(domain: &str, what: impl Into<String>, fix: impl Into<String>, spoiled: Vec<Cell>) -> Self {
        let fix = Some(Fix { words: fix.into(), spoiled });
        Self { domain: domain.to_owned(), what: what.into(), fix }
    }

    /// A domain that could not be reached over SSH.
    pub fn unreachable(survey: &Survey<'_>, domain: &str, error: &anyhow::Error) -> Self {
        Self::bad(
            domain,
            format!("can't be reached: {error:#}"),
            "`ssh HOST true` must work without a question: key, known_hosts, ~/.ssh/config; a guest that is \
             gone is made again by `matrix`",
            survey.all_of(domain),
        )
    }
}

/// What a script says, or a suggested fix where it fails.
pub fn asked(
    domain: &str,
    shell: &dyn Shell,
    what: &str,
    script: &str,
    fix: &str,
    spoiled: impl FnOnce() -> Vec<Cell>,
) -> Finding {
    match shell.script(script, &[], LIMIT) {
        Ok(said) if said.code == Some(0) => Finding::good(domain, format!("{what}: {}", said.stdout_text())),
        Ok(said) => Finding::bad(domain, format!("{what}: {}", said.complaint()), fix, spoiled()),
        Err(error) => Finding::bad(domain, format!("{what}: {error:#}"), fix, spoiled()),
    }
}

/// Looks for a measured device; of a disk a block is read as a probe would: past the kernel's cache. `who_else`
/// says who else may have it.
pub fn device(
    domain: &str,
    shell: &dyn Shell,
    mark: &Mark,
    who_else: &str,
    spoiled: impl FnOnce() -> Vec<Cell>,
) -> Finding {
    let what = format!("measured {}", mark.describe());
    let fix = match mark {
        Mark::Mac(_) => format!("`ip -br link` shows what there is{who_else}"),
        _ => format!(
            "`lsblk -o NAME,SERIAL` shows what there is{who_else}; or root's rights or the controller's \
             interrupts are missing (`dmesg`)"
        ),
    };
    asked(domain, shell, &what, &mark.examination(), &fix, spoiled)
}

/// What every domain must have. Where the CPUs are `its_own`, and no toolstack's to give, the plan's must be
/// there.
pub fn examine(survey: &Survey<'_>, name: &str, shell: &dyn Shell, its_own: bool) -> Vec<Finding> {
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let asked_s = now_s();
    match shell.ask(QUESTIONS, LIMIT) {
        // Its clock was asked somewhere between.
        Ok(answer) => judge(survey, name, its_own, &pairs(&answer), f64::midpoint(asked_s, now_s())),
        Err(error) => {
            vec![Finding::bad(name, format!("{error:#}"), "it needs a POSIX shell", survey.all_of(name))]
        }
    }
}

fn pairs(answer: &str) -> BTreeMap<&str, &str> {
    answer.lines().filter_map(|line| line.split_once('=')).collect()
}

/// What the answers mean; `now_s` is this machine's clock when they were asked for.
fn judge(
    survey: &Survey<'_>,
    name: &str,
    its_own: bool,
    facts: &BTreeMap<&str, &str>,
    now_s: f64,
) -> Vec<Finding> {
    let fact = |key: &str| facts.get(key).copied().unwrap_or_default();
    let finding = |what: String, good: bool, fix: &str, spoiled: Vec<Cell>| match good {
        true => Finding::good(name, what),
        false => Finding::bad(name, what, fix, spoiled),
    };
    let all = || survey.all_of(name);
    // A fast clock is a matter of precision: no cell fails without it.
    let clocks = ["tsc", "kvm-clock", "xen", "arch_sys_counter", "hyperv_clocksource_tsc_page"];
    // With the knob (since 6.6) 0 is good; without it, the system call must exist.
    let uring = if fact("uring_knob") == "yes" { fact("io_uring") == "0" } else { fact("io_uring") != "0" };
    let offset_s = fact("time").parse::<f64>().map_or(f64::INFINITY, |time| time - now_s);
    let online = fact("cpus").parse::<CpuList>();
    let asked_for = &survey.plan.domains[name].cpus;
    let wanted = asked_for.parse::<CpuList>().ok().filter(|_| its_own);
    let missing = wanted
        .zip(online.as_ref().ok())
        .is_some_and(|(wanted, online)| wanted.cpus().iter().any(|cpu| !online.cpus().contains(cpu)));
    vec![
        Finding::good(name, fact("kernel")),
        finding(
            format!("CPUs {}, of the plan's {}", fact("cpus"), asked_for),
            online.is_ok() && !missing,
            "CPUs that are missing are shared: name in the plan's `cpus` those that there are",
            Vec::new(),
        ),
        finding(
            format!("machine {}", fact("machine")),
            fact("machine") == std::env::consts::ARCH,
            "build the tools for it: `cargo xtask dist` on such a machine, then `matrix --binaries DIR`",
            all(),
        ),
        finding(
            format!("user id {}", fact("user")),
            fact("user") == "0",
            "addresses, block devices and the toolstack need root: `User root` for this host",
            all(),
        ),
        finding(
            format!("clock source {}", fact("clocksource")),
            clocks.contains(&fact("clocksource")),
            "reading this clock is slow: `clocksource=tsc` on the kernel's command line, if the CPU's is steady",
            Vec::new(),
        ),
        finding(
            format!("io_uring {}", if uring { "works" } else { "is unavailable" }),
            uring,
            "`sysctl kernel.io_uring_disabled=0`, or a kernel from 5.1",
            survey.disks_of(name),
        ),
        finding(
            format!("sha256sum {}", fact("sha256sum")),
            !fact("sha256sum").is_empty(),
            "install coreutils: binaries are checked after they were sent",
            all(),
        ),
        // No figure depends on it: every tool measures with its own monotonic clock. The log's times do.
        finding(
            format!("its wall clock differs by {offset_s:+.0} s"),
            offset_s.abs() <= MOST_OFFSET_S,
            "set its clock (`timedatectl set-ntp true`): times in the journal would not agree",
            Vec::new(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use domain::shell::LocalShell;

    use super::*;

    fn judged(text: &str) -> Vec<String> {
        let path = plan::plans_folder().join("quick.toml");
        let (plan, _) = plan::load(&path, &plan::Overrides::default()).unwrap();
        let survey = Survey::new(&plan, &[], Default::default());
        let findings = judge(&survey, "b", false, &pairs(text), 1000.0);
        findings.into_iter().filter(|finding| finding.fix.is_some()).map(|finding| finding.what).collect()
    }

    const GOOD: &str = "user=0\nkernel=Linux 6.1\nmachine=x86_64\nclocksource=tsc\nio_uring=1\nuring_knob=\n\
                        cpus=0\nsha256sum=/bin/sha256sum\ntime=1001";

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_good_guest_needs_no_fix() {
        assert_eq!(judged(GOOD), [] as [&str; 0]);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_lack_is_named() {
        let bad = GOOD
            .replace("user=0", "user=1000")
            .replace("=tsc", "=hpet")
            .replace("io_uring=1\nuring_knob=", "io_uring=2\nuring_knob=yes")
            .replace("time=1001", "time=5000");
        let expected = [
            "user id 1000",
            "clock source hpet",
            "io_uring is unavailable",
            "its wall clock differs by +4000 s",
        ];
        assert_eq!(judged(&bad), expected);
    }

    #[test]
    fn this_machine_answers_all_questions() {
        let answer = LocalShell.ask(QUESTIONS, LIMIT).unwrap();
        let facts = pairs(&answer);
        assert_eq!(facts.len(), 9, "{answer}");
        assert!(facts["kernel"].starts_with("Linux"));
    }

    #[test]
    fn a_device_that_is_not_there_is_named_and_a_serial_is_no_script() {
        let look = |mark: Mark| device("here", &LocalShell, &mark, "", Vec::new);
        let finding = look(Mark::Serial("'; echo no such disk".into()));
        assert!(finding.what.ends_with("'; echo no such disk: it is not here"), "{}", finding.what);
        let finding = look(Mark::Mac("02:00:00:00:00:00".into()));
        assert!(finding.what.ends_with("02:00:00:00:00:00: it is not here"), "{}", finding.what);
    }
}

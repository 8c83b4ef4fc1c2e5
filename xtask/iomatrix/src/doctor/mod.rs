//! `cargo xtask doctor`: what the domains of a plan can do, before anything runs.
//!
//! One short script in every domain, one block read from every measured disk with O_DIRECT, and the platform's
//! own questions to the control domain. Nothing is changed anywhere. What is lacking is told with the cells
//! that it would spoil and how to mend it.

mod host;
mod spoils;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Result;
use meter::cpulist::CpuList;

use crate::args::{DoctorArgs, LabKind};
use domain::{
    shell::{LocalShell, Shell},
    ssh::{Link, Target},
};
use plan::plans_folder;
use plan::{DomainSpec, Overrides, Plan};
use spoils::Spoils;

/// Longest that the questions to one domain may take.
const LIMIT: Duration = Duration::from_secs(30);

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
struct Finding {
    domain: String,
    what: String,
    /// What to do about it, and which cells need it; nothing where all is well.
    mend: Option<(String, Spoils)>,
}

impl Finding {
    fn good(domain: &str, what: impl Into<String>) -> Self {
        Self { domain: domain.to_owned(), what: what.into(), mend: None }
    }

    fn bad(domain: &str, what: impl Into<String>, mend: impl Into<String>, spoils: Spoils) -> Self {
        Self { domain: domain.to_owned(), what: what.into(), mend: Some((mend.into(), spoils)) }
    }
}

/// Runs the command; gives the exit code: 3 when cells of the plan would be skipped or fail.
pub fn run(args: &DoctorArgs) -> Result<u8> {
    let path = args.plan.clone().unwrap_or_else(|| plans_folder().join("xen-lab-quick.toml"));
    let mut plan = plan::load(&path, &Overrides::default())
        .map_err(|error| meter::Error::bad_arguments(format!("{error:#}")))?;
    if let Some(LabKind::Xen) = args.lab {
        lab::complete(&mut plan)?;
    }
    let mut findings = Vec::new();
    let mut links = BTreeMap::new();
    for (name, domain) in &plan.domains {
        match open(&plan, domain) {
            Ok(shell) => {
                findings.extend(look_at(name, domain, &*shell));
                links.insert(name.clone(), shell);
            }
            Err(error) => findings.push(Finding::bad(
                name,
                format!("can't be reached: {error:#}"),
                "`ssh HOST true` must work without a question: key, known_hosts, ~/.ssh/config; a guest that is \
                 gone is made again by `matrix`",
                Spoils::All(name.clone()),
            )),
        }
    }
    if let Some(control) = links.get(plan.platform.control.get_ref()) {
        findings.extend(host::look_at(&plan, &**control));
    }
    tell(&plan, &findings)
}

/// Shows what was found; gives the exit code.
fn tell(plan: &Plan, findings: &[Finding]) -> Result<u8> {
    let cells = plan::expand(plan)?;
    let mut spoiled = BTreeSet::new();
    for finding in findings {
        let mark = if finding.mend.is_some() { "!!" } else { "ok" };
        println!("{mark}  {:<10} {}", finding.domain, finding.what);
        if let Some((mend, spoils)) = &finding.mend {
            println!("{:15} {mend}", "");
            let lost = spoils.cells(plan, &cells);
            if !lost.is_empty() {
                println!("{:15} spoils {} of {} cells: {}", "", lost.len(), cells.len(), some(&lost));
            }
            spoiled.extend(lost);
        }
    }
    let wrong = findings.iter().filter(|finding| finding.mend.is_some()).count();
    if wrong == 0 {
        println!("everything that the plan needs is there");
        return Ok(0);
    }
    println!(
        "{wrong} of {} are wrong; {} of {} cells can run",
        findings.len(),
        cells.len() - spoiled.len(),
        cells.len()
    );
    Ok(meter::ErrorKind::Unavailable.exit_code())
}

/// The first of many names.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 6;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown}, and {} more", names.len() - SHOWN) } else { shown }
}

fn open(plan: &Plan, domain: &DomainSpec) -> Result<Box<dyn Shell>> {
    let Some(host) = domain.at.as_ref().and_then(|at| at.ssh.clone()) else {
        return Ok(Box::new(LocalShell));
    };
    let config = plan.platform.ssh_config.as_ref().map(Into::into);
    Ok(Box::new(Link::open(Target { host, config })?))
}

/// What every domain must have; and its own measured devices, where it has some.
fn look_at(name: &str, domain: &DomainSpec, shell: &dyn Shell) -> Vec<Finding> {
    let now_s = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let asked_s = now_s();
    let answer = match shell.ask(QUESTIONS, LIMIT) {
        Ok(answer) => answer,
        Err(error) => {
            let what = format!("{error:#}");
            return vec![Finding::bad(name, what, "it needs a POSIX shell", Spoils::All(name.to_owned()))];
        }
    };
    // Its clock was asked somewhere between.
    let mut findings = judge(name, domain, &pairs(&answer), f64::midpoint(asked_s, now_s()));
    if let Some(at) = &domain.at {
        let own = Spoils::All(name.to_owned());
        findings.extend(at.disk.as_ref().map(|serial| host::disk(name, shell, serial, own.clone())));
        findings.extend(at.nic.as_ref().map(|mac| host::interface(name, shell, mac, own)));
    }
    findings
}

fn pairs(answer: &str) -> BTreeMap<&str, &str> {
    answer.lines().filter_map(|line| line.split_once('=')).collect()
}

/// What the answers mean; `now_s` is this machine's clock when they were asked for.
fn judge(name: &str, domain: &DomainSpec, facts: &BTreeMap<&str, &str>, now_s: f64) -> Vec<Finding> {
    let fact = |key: &str| facts.get(key).copied().unwrap_or_default();
    let finding = |what: String, good: bool, mend: &str, spoils: Spoils| match good {
        true => Finding::good(name, what),
        false => Finding::bad(name, what, mend, spoils),
    };
    let all = || Spoils::All(name.to_owned());
    // A fast clock is a matter of precision: no cell fails without it.
    let clocks = ["tsc", "kvm-clock", "xen", "arch_sys_counter", "hyperv_clocksource_tsc_page"];
    // With the knob (since 6.6) 0 is good; without it, the system call must exist.
    let uring = if fact("uring_knob") == "yes" { fact("io_uring") == "0" } else { fact("io_uring") != "0" };
    let offset_s = fact("time").parse::<f64>().map_or(f64::INFINITY, |time| time - now_s);
    let online = fact("cpus").parse::<CpuList>();
    // A guest has as many CPUs as its toolstack gave it; a machine of its own those that the plan names.
    let beside =
        domain.at.as_ref().is_some_and(|at| at.ssh.is_some() && at.guest.is_none() && at.disk.is_some());
    let wanted = domain.cpus.parse::<CpuList>().ok().filter(|_| beside);
    let missing = wanted
        .zip(online.as_ref().ok())
        .is_some_and(|(wanted, online)| wanted.cpus().iter().any(|cpu| !online.cpus().contains(cpu)));
    vec![
        Finding::good(name, fact("kernel")),
        finding(
            format!("CPUs {}, of the plan's {}", fact("cpus"), domain.cpus),
            online.is_ok() && !missing,
            "CPUs that are missing are shared: name in the plan's `cpus` those that there are",
            Spoils::Nothing,
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
            "addresses, block devices and xl need root: `User root` for this host",
            all(),
        ),
        finding(
            format!("clock source {}", fact("clocksource")),
            clocks.contains(&fact("clocksource")),
            "reading this clock is slow: `clocksource=tsc` on the kernel's command line, if the CPU's is steady",
            Spoils::Nothing,
        ),
        finding(
            format!("io_uring {}", if uring { "works" } else { "is not to be had" }),
            uring,
            "`sysctl kernel.io_uring_disabled=0`, or a kernel from 5.1",
            Spoils::DisksOf(name.to_owned()),
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
            Spoils::Nothing,
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> DomainSpec {
        DomainSpec { cpus: "0".into(), link: Default::default(), at: None, about: String::new() }
    }

    fn judged(text: &str) -> Vec<String> {
        let findings = judge("b", &spec(), &pairs(text), 1000.0);
        findings.into_iter().filter(|finding| finding.mend.is_some()).map(|finding| finding.what).collect()
    }

    const GOOD: &str = "user=0\nkernel=Linux 6.1\nmachine=x86_64\nclocksource=tsc\nio_uring=1\nuring_knob=\n\
                        cpus=0\nsha256sum=/bin/sha256sum\ntime=1001";

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_good_guest_has_nothing_to_mend() {
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
            "io_uring is not to be had",
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
}

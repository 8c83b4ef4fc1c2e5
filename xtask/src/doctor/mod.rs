//! `cargo xtask doctor`: what the domains of a plan can do, before anything runs.
//!
//! One short script in every domain, and the platform's own questions to the control domain. Nothing
//! is changed anywhere.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use anyhow::Result;

use crate::{
    args::{DoctorArgs, LabKind},
    domain::{
        shell::{LocalShell, Shell},
        ssh::{Link, Target},
    },
    lab,
    matrix::plans_folder,
    plan::{self, DomainSpec, Overrides, Plan},
};

/// Longest that the questions to one domain may take.
const LIMIT: Duration = Duration::from_secs(30);

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
    /// What to do about it; nothing where all is well.
    mend: Option<String>,
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
                findings.extend(look_at(name, &*shell));
                links.insert(name.clone(), shell);
            }
            Err(error) => findings.push(Finding {
                domain: name.clone(),
                what: format!("can't be reached: {error:#}"),
                mend: Some(
                    "`ssh HOST true` must work without a question: key, known_hosts, ~/.ssh/config".into(),
                ),
            }),
        }
    }
    if let Some(control) = links.get(plan.platform.control.get_ref()) {
        findings.extend(look_at_host(&plan, &**control));
    }
    Ok(tell(&findings))
}

/// Shows what was found; gives the exit code.
fn tell(findings: &[Finding]) -> u8 {
    for finding in findings {
        let mark = if finding.mend.is_some() { "!!" } else { "ok" };
        println!("{mark}  {:<10} {}", finding.domain, finding.what);
        if let Some(mend) = &finding.mend {
            println!("{:15} {mend}", "");
        }
    }
    let wrong = findings.iter().filter(|finding| finding.mend.is_some()).count();
    match wrong {
        0 => {
            println!("everything that the plan needs is there");
            0
        }
        _ => {
            println!("{wrong} of {} would make trials fail or be skipped", findings.len());
            meter::ErrorKind::Unavailable.exit_code()
        }
    }
}

fn open(plan: &Plan, domain: &DomainSpec) -> Result<Box<dyn Shell>> {
    let Some(host) = domain.at.as_ref().and_then(|at| at.ssh.clone()) else {
        return Ok(Box::new(LocalShell));
    };
    let config = plan.platform.ssh_config.as_ref().map(Into::into);
    Ok(Box::new(Link::open(Target { host, config })?))
}

/// What every domain must have.
fn look_at(domain: &str, shell: &dyn Shell) -> Vec<Finding> {
    let asked = SystemTime::now();
    let answer = match shell.ask(QUESTIONS, LIMIT) {
        Ok(answer) => answer,
        Err(error) => {
            let mend = Some("it needs a POSIX shell".to_owned());
            return vec![Finding { domain: domain.into(), what: format!("{error:#}"), mend }];
        }
    };
    judge(
        domain,
        &pairs(&answer),
        asked.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
    )
}

fn pairs(answer: &str) -> BTreeMap<&str, &str> {
    answer.lines().filter_map(|line| line.split_once('=')).collect()
}

/// What the answers mean; `now_s` is this machine's clock when they were asked for.
fn judge(domain: &str, facts: &BTreeMap<&str, &str>, now_s: f64) -> Vec<Finding> {
    let fact = |key: &str| facts.get(key).copied().unwrap_or_default();
    let finding = |what: String, mend: Option<&str>| Finding {
        domain: domain.into(),
        what,
        mend: mend.map(str::to_owned),
    };
    let mut findings = vec![finding(format!("{}, CPUs {}", fact("kernel"), fact("cpus")), None)];
    findings.push(finding(
        format!("machine {}", fact("machine")),
        (fact("machine") != std::env::consts::ARCH).then_some(
            "build the tools for it: `cargo xtask dist` on such a machine, then `matrix --binaries DIR`",
        ),
    ));
    findings.push(finding(
        format!("user id {}", fact("user")),
        (fact("user") != "0")
            .then_some("addresses, block devices and xl need root: `User root` for this host"),
    ));
    let clock = fact("clocksource");
    findings.push(finding(
        format!("clock source {clock}"),
        (!["tsc", "kvm-clock", "xen", "arch_sys_counter", "hyperv_clocksource_tsc_page"].contains(&clock))
            .then_some("reading this clock is slow: `clocksource=tsc` on the kernel's command line, if the CPU's is steady"),
    ));
    // With the knob (since 6.6) 0 is good; without it, the system call must exist.
    let uring = if fact("uring_knob") == "yes" { fact("io_uring") == "0" } else { fact("io_uring") != "0" };
    findings.push(finding(
        format!("io_uring {}", if uring { "works" } else { "is not to be had" }),
        (!uring).then_some(
            "`sysctl kernel.io_uring_disabled=0`, or a kernel from 5.1; else disk cells need --engine sync",
        ),
    ));
    findings.push(finding(
        format!("sha256sum {}", fact("sha256sum")),
        fact("sha256sum")
            .is_empty()
            .then_some("install coreutils: binaries are checked after they were sent"),
    ));
    let offset_s = fact("time").parse::<f64>().map_or(f64::INFINITY, |time| time - now_s);
    // No figure depends on it: every tool measures with its own monotonic clock. The log's times do.
    findings.push(finding(format!("its wall clock differs by {offset_s:+.0} s"), None));
    findings
}

/// What only a Xen host must have.
fn look_at_host(plan: &Plan, control: &dyn Shell) -> Vec<Finding> {
    let Some(xen) = plan.platform.xen.as_ref().filter(|_| plan.platform.kind.get_ref() == "xen") else {
        return Vec::new();
    };
    let domain = plan.platform.control.get_ref().clone();
    let ask = |what: &str, script: &str, mend: &str| match control.ask(script, LIMIT) {
        Ok(answer) => Finding { domain: domain.clone(), what: format!("{what}: {answer}"), mend: None },
        Err(error) => {
            Finding { domain: domain.clone(), what: format!("{what}: {error:#}"), mend: Some(mend.into()) }
        }
    };
    let mut findings = vec![
        ask(
            "toolstack",
            "xl info | sed -n 's/^xen_version *: //p' | grep .",
            "run in Domain-0 as root; Debian: apt-get install xen-system-amd64, boot with Xen",
        ),
        ask(
            "passthrough",
            "xl info | grep -qE '^virt_caps.*(pv|hvm)_directio' && echo 'an IOMMU is in use'",
            "switch VT-d or AMD-Vi on in the firmware, and boot Xen with iommu=1",
        ),
        ask("pciback", "modprobe xen-pciback && echo loaded", "apt-get install linux-image-amd64"),
        ask(
            "measured disk",
            &format!(
                "for d in /sys/block/*; do grep -qsF '{0}' $d/device/vpd_pg80 $d/device/serial $d/serial && \
                 echo ${{d##*/}} && exit; done; exit 1",
                xen.disk
            ),
            "no disk of Domain-0 has this serial number (`lsblk -o NAME,SERIAL`), or a guest has it",
        ),
        ask(
            "measured interface",
            &format!(
                "for d in /sys/class/net/*; do grep -qixsF '{0}' $d/address && echo ${{d##*/}} && exit; done; exit 1",
                xen.nic
            ),
            "no interface of Domain-0 has this address (`ip -br link`), or a guest has it",
        ),
    ];
    for guest in plan.domains.values().filter_map(|domain| domain.at.as_ref()) {
        if let (Some(name), Some(config)) = (&guest.guest, &guest.config) {
            findings.push(ask(
                &format!("guest {name}"),
                &format!(
                    "xl domid '{name}' >/dev/null && test -r '{config}' && echo \"runs, made from {config}\""
                ),
                "start it with `xl create`; its configuration is needed to make it again",
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(text: &str) -> Vec<String> {
        let findings = judge("b", &pairs(text), 1000.0);
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
            .replace("io_uring=1\nuring_knob=", "io_uring=2\nuring_knob=yes");
        let expected = ["user id 1000", "clock source hpet", "io_uring is not to be had"];
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

//! Affinities are changed for the length of a command, and put back whatever happens.

mod support;

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use support::{IRQWATCH, is_root, summary};

/// An interrupt that can be steered: its number and the CPUs that it is on.
fn steerable() -> Option<(String, String)> {
    if !is_root("steering interrupts") {
        return None;
    }
    let shown = summary(&["--json", "affinity"]);
    let found = shown["interrupts"].as_array().unwrap().iter().find_map(|one| {
        let (irq, allowed) = (one["irq"].to_string(), one["allowed"].as_str()?.to_owned());
        // Setting what holds already changes nothing and tells whether the kernel lets us.
        fs::write(path(&irq), &allowed).is_ok().then_some((irq, allowed))
    });
    if found.is_none() {
        eprintln!("skipped: no interrupt of this machine can be steered");
    }
    found.filter(|(_, allowed)| allowed != "0")
}

fn path(irq: &str) -> String {
    format!("/proc/irq/{irq}/smp_affinity_list")
}

#[test]
fn an_affinity_holds_for_a_command_and_is_put_back() {
    let Some((irq, allowed)) = steerable() else { return };
    let (matching, file) = (format!("^{irq}$"), path(&irq));
    let steered = format!("test $(cat {file}) = 0");
    let summary =
        summary(&["--json", "--matching", &matching, "affinity", "--to", "0", "--", "sh", "-c", &steered]);
    assert_eq!(summary["command"]["exit_code"], 0, "it was on CPU 0 meanwhile");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), allowed);

    // In any order, the kernel's own may be another.
    if fs::read_to_string("/sys/devices/system/cpu/online").unwrap().trim() != "0" {
        let unordered = ["--json", "--matching", &matching, "affinity", "--to", "1,0", "--", "true"];
        assert_eq!(support::summary(&unordered)["command"]["exit_code"], 0);
        assert_eq!(fs::read_to_string(&file).unwrap().trim(), allowed);
    }

    // The command crashes.
    let crash = ["--json", "--matching", &matching, "affinity", "--to", "0", "--", "sh", "-c", "kill -9 $$"];
    assert_eq!(support::summary(&crash)["command"]["signal"], 9);
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), allowed);

    // Killed without a chance to clean up.
    let mut child = Command::new(IRQWATCH)
        .args(["--matching", &matching, "affinity", "--to", "0", "--", "sleep", "2"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let until = |wanted: &str| {
        let end = Instant::now() + Duration::from_secs(20);
        while fs::read_to_string(&file).unwrap().trim() != wanted {
            assert!(Instant::now() < end, "the affinity never became {wanted}");
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    until("0");
    child.kill().unwrap();
    child.wait().unwrap();
    until(&allowed);
}

//! `cargo xtask peers`: our tools side by side with the programs that people use today.
//!
//! A `comparison` is data: one piece of work, our side, the peers' sides, and the goals. Each group
//! of them has a file (`disk`, `udp`, …). The `runner` lets every side do the work once a round, in
//! an order that rotates, and forms ratios pair by pair, so that a machine that slows down meanwhile
//! slows everyone. `docs/peers.md` says what is counted and how.

mod args;
mod comparison;
mod cpu;
mod disk;
mod duo;
mod figures;
mod formats;
mod irq;
mod network;
mod process;
mod reference;
mod report;
mod runner;
mod size;
mod start;
mod tcp;
mod udp;
mod workbench;
mod zram;

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail};
pub use args::PeersArgs;
use comparison::Comparison;
use globset::Glob;
use meter::control::Control;
use workbench::Workbench;

/// Runs the comparisons that were asked for. The exit code is 1 if one of them failed.
pub fn run(args: &PeersArgs) -> Result<u8> {
    let chosen = choose(all(), &args.only)?;
    if args.list {
        for comparison in &chosen {
            println!("{:<22} {}", comparison.name, comparison.what);
        }
        return Ok(0);
    }
    let control = Control::install(false)?;
    let workbench = Workbench::new(&args.folder, tools::build()?.folder, control.stop())?;
    let mut failures = 0;
    for comparison in &chosen {
        let outcome = runner::run(comparison, &workbench, args.pairs as usize, progress);
        clear_progress();
        let told = if args.json { report::json(&outcome)? } else { report::text(&outcome) };
        println!("{told}");
        failures += usize::from(outcome.failed.is_some());
        if control.stop().is_raised() {
            bail!("interrupted");
        }
    }
    if failures > 0 {
        eprintln!("xtask: {failures} of {} comparisons failed; the reasons are with them", chosen.len());
    }
    Ok(u8::from(failures > 0))
}

/// Every comparison there is.
fn all() -> Vec<Comparison> {
    let groups = [
        size::comparisons,
        start::comparisons,
        disk::comparisons,
        udp::comparisons,
        tcp::comparisons,
        cpu::comparisons,
        irq::comparisons,
    ];
    groups.iter().flat_map(|group| group()).collect()
}

/// Those whose group is named in `only`, or whose name a glob in it matches; all where it is empty.
fn choose(all: Vec<Comparison>, only: &[String]) -> Result<Vec<Comparison>> {
    let mut chosen = vec![only.is_empty(); all.len()];
    for wanted in only {
        let glob = Glob::new(wanted).with_context(|| format!("--only {wanted}"))?.compile_matcher();
        let mut found = false;
        for (comparison, chosen) in all.iter().zip(&mut chosen) {
            if comparison.group() == wanted || glob.is_match(&comparison.name) {
                (*chosen, found) = (true, true);
            }
        }
        if !found {
            let error = meter::Error::bad_arguments(format!(
                "--only {wanted} matches no comparison; --list shows them all"
            ));
            return Err(error.into());
        }
    }
    Ok(all.into_iter().zip(chosen).filter_map(|(comparison, chosen)| chosen.then_some(comparison)).collect())
}

/// What is going on, for people who wait: a line that the next one overwrites.
fn progress(line: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{line}");
    }
}

fn clear_progress() {
    progress("");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_every_comparison_has_a_goal() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|comparison| comparison.name.clone()).collect();
        assert_eq!(names.len(), all.len());
        for comparison in &all {
            assert!(!comparison.goals.is_empty(), "{}", comparison.name);
            let labels: BTreeSet<_> = comparison.peers.iter().map(|peer| &peer.label).collect();
            assert_eq!(labels.len(), comparison.peers.len(), "{}", comparison.name);
        }
    }

    #[test]
    fn groups_and_globs_choose() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|&word| word.to_owned()).collect();
            choose(all(), &only).map(|chosen| chosen.into_iter().map(|c| c.name).collect::<Vec<_>>())
        };
        assert!(names(&["disk"]).unwrap().iter().all(|name| name.starts_with("disk/")));
        assert_eq!(names(&["tcp/rr", "size/cpu*"]).unwrap(), ["size/cpuload", "tcp/rr"]);
        assert_eq!(names(&[]).unwrap().len(), all().len());
        assert!(names(&["dsik"]).unwrap_err().to_string().contains("--list"));
    }
}

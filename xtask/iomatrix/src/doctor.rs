//! `cargo xtask doctor`: what the domains of a plan can do, before anything runs.

use std::collections::BTreeSet;

use anyhow::Result;
use plan::{Cell, Overrides, Plan};
use platform::{Registry, doctor::Finding};

use crate::args::DoctorArgs;

/// Runs the command; gives the exit code: 3 when cells of the plan would be skipped or fail.
pub fn run(args: &DoctorArgs, registry: &Registry) -> Result<u8> {
    let lab = args.lab.as_deref().map(|name| registry.lab(name)).transpose()?;
    let of_lab = lab.map(|lab| plan::plans_folder().join(lab.plan(true)));
    let Some(path) = args.plan.clone().or(of_lab) else {
        return Err(meter::Error::bad_arguments("name a plan with --plan, or a lab with --lab").into());
    };
    let mut plan = registry
        .load(&path, &Overrides::default())
        .map_err(|error| meter::Error::bad_arguments(format!("{error:#}")))?;
    if let Some(lab) = lab {
        lab.complete(&mut plan)?;
    }
    let cells = plan::expand(&plan)?;
    let findings = registry.of(&plan)?.doctor(&plan, &cells)?;
    Ok(show(&plan, &cells, &findings))
}

/// Shows what was found; gives the exit code.
fn show(plan: &Plan, cells: &[Cell], findings: &[Finding]) -> u8 {
    let mut spoiled = BTreeSet::new();
    for finding in findings {
        let mark = if finding.fix.is_some() { "!!" } else { "ok" };
        println!("{mark}  {:<10} {}", finding.domain, finding.what);
        if let Some(fix) = &finding.fix {
            println!("{:15} {}", "", fix.words);
            if !fix.spoiled.is_empty() {
                let (few, all) = (fix.spoiled.len(), cells.len());
                println!("{:15} spoils {few} of {all} cells: {}", "", some(&fix.spoiled));
            }
            spoiled.extend(&fix.spoiled);
        }
    }
    let wrong = findings.iter().filter(|finding| finding.fix.is_some()).count();
    if wrong == 0 {
        println!("everything that the plan `{}` needs is there", plan.name);
        return 0;
    }
    println!(
        "{wrong} of {} are wrong; {} of {} cells can run",
        findings.len(),
        cells.len() - spoiled.len(),
        cells.len()
    );
    meter::ErrorKind::Unavailable.exit_code()
}

/// The first of many cells.
fn some(cells: &[Cell]) -> String {
    const SHOWN: usize = 6;
    let shown = cells.iter().take(SHOWN).map(Cell::name).collect::<Vec<_>>().join(", ");
    if cells.len() > SHOWN { format!("{shown}, and {} more", cells.len() - SHOWN) } else { shown }
}

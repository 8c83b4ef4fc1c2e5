//! `--dry-run`: what would happen, and in which order.

use std::fmt::Write;

use crate::{
    plan::{Cell, Plan},
    schedule::Slot,
};

/// Domains, commands of each cell and the order of trials, as text.
pub fn describe(plan: &Plan, cells: &[Cell], order: &[Slot]) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{}: {}", plan.name, plan.title);
    let _ = writeln!(
        out,
        "{} cells x {} = {} trials on platform `{}`, seed {}",
        cells.len(),
        plan.repetitions,
        order.len(),
        plan.platform.kind.get_ref(),
        plan.seed
    );
    let _ = writeln!(out, "\ndomains:");
    for (name, domain) in &plan.domains {
        let _ = writeln!(out, "  {name:<12} CPUs {:<6} {}", domain.cpus, domain.about);
    }
    let _ = writeln!(out, "\ncells:");
    for cell in cells {
        let probe = &plan.probes[&cell.probe];
        let measured = plan.attachments[&cell.attachment].measured.get_ref();
        let _ = writeln!(out, "  {}", cell.name());
        for part in plan.loads[&cell.load].parts.iter().chain(&probe.with) {
            let _ =
                writeln!(out, "    {}: {} {}", part.domain.get_ref(), part.tool.get_ref(), line(&part.args));
        }
        let _ = writeln!(out, "    {measured}: {} {}", probe.tool.get_ref(), line(&probe.args));
    }
    let _ = writeln!(out, "\norder of the first repetition:");
    for slot in order.iter().take(cells.len()) {
        let _ = writeln!(out, "  {}", cells[slot.cell].name());
    }
    out
}

fn line(args: &[toml::Spanned<String>]) -> String {
    args.iter().map(|arg| arg.get_ref().as_str()).collect::<Vec<_>>().join(" ")
}

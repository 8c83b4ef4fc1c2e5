//! `--dry-run`: what would happen, and in which order.

use std::fmt::Write;

use toml::Spanned;

use plan::schedule::Slot;
use plan::{Cell, Plan, known_words, substitute};

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
            let _ = writeln!(
                out,
                "    {}: {} {}",
                part.domain.get_ref(),
                part.tool.get_ref(),
                line(plan, &part.args)
            );
        }
        let _ = writeln!(out, "    {measured}: {} {}", probe.tool.get_ref(), line(plan, &probe.args));
    }
    let _ = writeln!(out, "\norder of the first repetition:");
    for slot in order.iter().take(cells.len()) {
        let _ = writeln!(out, "  {}", cells[slot.cell].name());
    }
    out
}

/// Arguments with the plan's variables in place; what only the platform knows stays in braces.
fn line(plan: &Plan, args: &[Spanned<String>]) -> String {
    let mut words = known_words(plan, |name| format!("{{{name}}}"));
    words.extend(plan.variables.clone());
    let word =
        |arg: &Spanned<String>| substitute(arg.get_ref(), &words).unwrap_or_else(|_| arg.get_ref().clone());
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

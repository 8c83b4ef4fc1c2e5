//! The table of what loads do within each attachment.

use super::{
    Table,
    probe::{estimated, name, new, words_of},
};
use crate::{number, view::Probe};

/// Loaded against unloaded, attachment by attachment, and what each attachment adds to what the load does at the
/// baseline; nothing where no cell has a load.
pub fn load_effects(probe: &Probe) -> Option<Table> {
    let effects = || probe.cells.iter().filter_map(|cell| cell.summary.load_effect.as_ref());
    let largest = effects().filter_map(|effect| Some(effect.difference?.value.abs())).fold(0.0, f64::max);
    let scale = number::Scale::of(&probe.main.unit, largest, 4);
    let titles = [
        "Cell".to_owned(),
        format!("#Loaded − unloaded{}", scale.in_brackets()),
        "#Loaded / unloaded".into(),
        "Verdict".into(),
        "#Interaction".into(),
        "Verdict of the interaction".into(),
    ];
    let caption = format!(
        "What each load does to {} of {} within one attachment, and how many times as much as at the baseline; 95 % \
         intervals are below the numbers.",
        probe.main.name, probe.name
    );
    let mut table = new(caption, &titles);
    for cell in &probe.cells {
        let Some(effect) = &cell.summary.load_effect else { continue };
        table.rows.push(vec![
            name(cell),
            estimated(effect.difference, |value| scale.show_signed(value)),
            estimated(effect.ratio, |value| number::fixed(value, 4)),
            words_of(effect.verdict, probe),
            estimated(effect.interaction, |value| number::fixed(value, 4)),
            words_of(effect.interaction_verdict, probe),
        ]);
    }
    (!table.rows.is_empty()).then(|| table.without_empty_columns())
}

//! What an interrupted matrix has left to do.

use std::collections::BTreeMap;

use plan::{Cell, schedule::Slot};

use crate::journal::Trial;

/// Of `order`, what the `trials` of an earlier session have not brought to an end, in the same order.
pub fn remaining(order: &[Slot], cells: &[Cell], trials: &[Trial]) -> Vec<Slot> {
    let mut last = BTreeMap::new();
    for trial in trials {
        last.insert((&trial.cell, trial.repetition), trial);
    }
    let open = |slot: &Slot| match last.get(&(&cells[slot.cell], slot.repetition)) {
        None => Some(*slot),
        Some(trial) if is_final(trial) => None,
        Some(trial) => Some(Slot { attempt: trial.attempt + 1, ..*slot }),
    };
    order.iter().filter_map(open).collect()
}

/// Whether nothing follows a trial: the table of outcomes says how often each is tried.
pub fn is_final(trial: &Trial) -> bool {
    trial.outcome.is_final(trial.attempt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::trial;
    use crate::outcome::Outcome;
    use plan::schedule::order;

    #[test]
    fn what_an_earlier_session_finished_does_not_remain() {
        let cell = |load: &str| Cell::new("disk", "native", load);
        let cells = [cell("none"), cell("cpu@a")];
        let order = order(2, 3, 7);
        assert_eq!(remaining(&order, &cells, &[]), order);

        let of = |load: &str, repetition, attempt, outcome| Trial {
            cell: cell(load),
            repetition,
            attempt,
            outcome,
            ..trial(0)
        };
        let trials = [
            of("none", 0, 0, Outcome::Completed),
            of("none", 1, 0, Outcome::Invalid),
            of("cpu@a", 0, 0, Outcome::Invalid),
            of("cpu@a", 0, 1, Outcome::Invalid),
            of("cpu@a", 1, 0, Outcome::TimedOut),
            of("cpu@a", 2, 0, Outcome::Skipped),
        ];
        let left = remaining(&order, &cells, &trials);
        let mut seen: Vec<_> = left.iter().map(|slot| (slot.cell, slot.repetition, slot.attempt)).collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 1, 1), (0, 2, 0)]);
    }
}

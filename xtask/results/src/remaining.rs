//! What an interrupted matrix has left to do.

use std::collections::BTreeMap;

use plan::{Cell, schedule::Slot};

use crate::{
    journal::Trial,
    outcome::{Counts, Outcome},
};

/// Which trials that ended are tried again, besides those whose outcome is not final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// None.
    Nothing,
    /// Those that failed. Invalid and timed-out ones stay: to try only what was slow or disturbed until it is not
    /// would favor fast trials.
    Failed,
}

impl Retry {
    /// Whether the slot of which `trial` is the last attempt is still to be done.
    fn is_open(self, trial: &Trial) -> bool {
        let again = self == Self::Failed && trial.outcome == Outcome::Failed;
        again || !trial.outcome.is_final(trial.attempt)
    }
}

/// The last attempt at each repetition of each cell.
fn last_attempts(trials: &[Trial]) -> BTreeMap<(&Cell, u32), &Trial> {
    trials.iter().map(|trial| ((&trial.cell, trial.repetition), trial)).collect()
}

/// Of `order`, what the `trials` of an earlier session have not brought to an end, in the same order.
pub fn remaining(order: &[Slot], cells: &[Cell], trials: &[Trial], retry: Retry) -> Vec<Slot> {
    let last = last_attempts(trials);
    let open = |slot: &Slot| match last.get(&(&cells[slot.cell], slot.repetition)) {
        None => Some(*slot),
        Some(trial) if retry.is_open(trial) => Some(Slot { attempt: trial.attempt + 1, ..*slot }),
        Some(_) => None,
    };
    order.iter().filter_map(open).collect()
}

/// How the slots ended that do not remain.
pub fn finished(trials: &[Trial], retry: Retry) -> Counts {
    let ended = last_attempts(trials).into_values().filter(|trial| !retry.is_open(trial));
    ended.map(|trial| trial.outcome).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::trial;
    use plan::schedule::order;

    fn of(load: &str, repetition: u32, attempt: u32, outcome: Outcome) -> Trial {
        Trial { cell: Cell::new("disk", "native", load), repetition, attempt, outcome, ..trial(0) }
    }

    fn left(trials: &[Trial], retry: Retry) -> Vec<(usize, u32, u32)> {
        let cells = ["none", "cpu@a"].map(|load| Cell::new("disk", "native", load));
        let left = remaining(&order(2, 3, 7), &cells, trials, retry);
        let mut left: Vec<_> = left.iter().map(|slot| (slot.cell, slot.repetition, slot.attempt)).collect();
        left.sort_unstable();
        left
    }

    #[test]
    fn what_an_earlier_session_finished_does_not_remain() {
        assert_eq!(left(&[], Retry::Nothing).len(), 6);
        let trials = [
            of("none", 0, 0, Outcome::Completed),
            of("none", 1, 0, Outcome::Invalid),
            of("cpu@a", 0, 0, Outcome::Invalid),
            of("cpu@a", 0, 1, Outcome::Invalid),
            of("cpu@a", 1, 0, Outcome::TimedOut),
            of("cpu@a", 2, 0, Outcome::Skipped),
        ];
        assert_eq!(left(&trials, Retry::Nothing), [(0, 1, 1), (0, 2, 0)]);
        assert_eq!(left(&trials, Retry::Failed), left(&trials, Retry::Nothing));
        let counts: Counts =
            [Outcome::Completed, Outcome::Invalid, Outcome::TimedOut, Outcome::Skipped].into_iter().collect();
        assert_eq!(finished(&trials, Retry::Nothing), counts);
    }

    #[test]
    fn a_failed_trial_is_tried_again_on_request_and_its_last_attempt_is_what_counts() {
        let mut trials = vec![
            of("none", 0, 0, Outcome::Failed),
            of("none", 1, 0, Outcome::Invalid),
            of("none", 1, 1, Outcome::Failed),
            of("none", 2, 0, Outcome::Completed),
        ];
        trials.extend((0..3).map(|repetition| of("cpu@a", repetition, 0, Outcome::Skipped)));
        assert_eq!(left(&trials, Retry::Nothing), []);
        assert_eq!(left(&trials, Retry::Failed), [(0, 0, 1), (0, 1, 2)]);
        assert_eq!(finished(&trials, Retry::Nothing).of(Outcome::Failed), 2);
        assert_eq!(finished(&trials, Retry::Failed).of(Outcome::Failed), 0);

        trials.extend([of("none", 0, 1, Outcome::Completed), of("none", 1, 2, Outcome::Failed)]);
        assert_eq!(left(&trials, Retry::Failed), [(0, 1, 3)]);
        let counts = finished(&trials, Retry::Nothing);
        assert_eq!((counts.of(Outcome::Completed), counts.of(Outcome::Failed)), (2, 1));
    }
}

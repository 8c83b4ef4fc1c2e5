//! What is said of families whose truth is plain.

use meter::random::Random;
use proptest::prelude::*;
use stats::{
    family::{Comparison, Question, compare_family, least_blocks},
    series::Run,
    verdict::{Direction, Verdict},
};

fn series(values: impl IntoIterator<Item = f64>) -> Vec<Run> {
    values.into_iter().zip(0..).map(|(value, block)| Run { boot: 0, block, value }).collect()
}

/// Numbers about `level` that come 50 in a row, with a spread of about 1 %.
fn about(level: f64, seed: u64, n: usize) -> Vec<Run> {
    let mut random = Random::new(seed);
    series((0..n).map(|_| level * (0.98 + 0.04 * random.unit())))
}

fn question<'a>(runs: &'a [Run], baseline: &'a [Run]) -> Question<'a> {
    Question { runs, baseline, margin: 0.01, noise_floor: 0.0, seed: 7 }
}

fn compare(runs: &[Run], baseline: &[Run]) -> Comparison {
    compare_family(&[question(runs, baseline)]).comparisons.pop().unwrap().unwrap()
}

#[test]
fn a_billionth_between_constants_is_no_difference() {
    let (one, other) = (series([1.0; 50]), series([1.0 + 1e-9; 50]));
    let found = compare(&other, &one);
    assert_eq!(found.verdict, Some(Verdict::Equivalent));
    let interval = found.effects.log_ratio.unwrap().interval.unwrap();
    assert!(interval.low <= 0.0 && interval.high > 1e-9, "{interval:?}");
}

#[test]
fn constants_beyond_the_margin_differ_only_where_the_numbers_are_known_to_be_fine_enough() {
    let (ten, twelve) = (series([10.0; 50]), series([12.0; 50]));
    // Alone, the two could be neighbors on a coarse scale.
    assert!(matches!(compare(&twelve, &ten).verdict, Some(Verdict::Undecided { .. })));
    // Another cell shows that the scale has single units.
    let fine = series((0..50).map(|k| 10.0 + f64::from(k % 2)));
    let family = compare_family(&[question(&twelve, &ten), question(&fine, &ten)]);
    let verdict = family.comparisons[0].as_ref().unwrap().verdict;
    assert_eq!((verdict, family.count), (Some(Verdict::Different(Direction::Higher)), 4));
}

#[test]
fn two_levels_are_no_reason_to_say_too_few_runs() {
    let levels =
        |shift: u32| series((0..50).map(move |k: u32| if (k + shift).is_multiple_of(3) { 1.0 } else { 1.2 }));
    assert!(compare(&levels(0), &levels(1)).verdict.is_some());
}

#[test]
fn drift_that_both_share_cancels() {
    let drifting = |level: f64, seed: u64| -> Vec<Run> {
        let drift = |run: Run| Run { value: run.value * (1.0 + 0.002 * f64::from(run.block)), ..run };
        about(level, seed, 50).into_iter().map(drift).collect()
    };
    let found = compare(&drifting(1.02, 1), &drifting(1.0, 2));
    assert!(matches!(
        found.verdict,
        Some(Verdict::Different(Direction::Higher) | Verdict::Small(Direction::Higher))
    ));
    assert!(found.effects.pairing.unwrap() < 0.5, "{:?}", found.effects.pairing);
}

#[test]
fn fewer_blocks_than_the_family_needs_get_no_verdict() {
    let least = least_blocks(1);
    for (n, judged) in [(least - 1, false), (least, true)] {
        let found = compare(&about(2.0, 1, n), &about(1.0, 2, n));
        assert_eq!(found.verdict.is_some(), judged, "{n} blocks");
        assert!(found.effects.log_ratio.unwrap().interval.is_some());
    }
    let four = compare(&about(2.0, 1, 4), &about(1.0, 2, 4));
    assert_eq!((four.effects.difference.interval, four.effects.difference.p_value), (None, None));
}

#[test]
fn numbers_at_or_below_zero_are_compared_by_their_difference() {
    let found =
        compare(&series((0..50).map(|k| f64::from(k % 3))), &series((0..50).map(|k| f64::from(k % 5) + 9.0)));
    assert_eq!((found.effects.log_ratio, found.median_ratio), (None, None));
    assert_eq!(found.verdict, Some(Verdict::Different(Direction::Lower)));
}

#[test]
fn boots_are_the_unit_where_there_are_several() {
    // Two boots that say the opposite leave everything open, however many blocks they have.
    let runs: Vec<Run> = about(1.0, 1, 50)
        .into_iter()
        .map(|run| Run {
            boot: run.block / 25,
            value: run.value * [1.1, 0.9][run.block as usize / 25],
            ..run
        })
        .collect();
    let baseline: Vec<Run> =
        about(1.0, 2, 50).into_iter().map(|run| Run { boot: run.block / 25, ..run }).collect();
    let found = compare(&runs, &baseline);
    assert_eq!((found.effects.units, found.effects.boots, found.blocks), (2, 2, 50));
    assert!(found.effects.log_ratio.unwrap().interval.unwrap().contains(0.0));
}

#[test]
fn a_long_series_is_cut_into_batches_and_keeps_its_interval() {
    let found = compare(&about(1.01, 1, 4000), &about(1.0, 2, 4000));
    let interval = found.effects.log_ratio.unwrap().interval.unwrap();
    // The spread of a difference is 4 %/√12·√2: ±1.96 times that over √4000 is ±0.05 %.
    assert!(interval.contains(0.00995), "{interval:?}");
    assert!((0.0008..0.0013).contains(&(interval.high - interval.low)), "{interval:?}");
}

#[test]
fn a_published_single_run_has_its_ratio_and_nothing_else() {
    let found = compare(&series([19.513_07]), &series([19.164_42]));
    assert!((found.effects.log_ratio.unwrap().value.exp() - 19.513_07 / 19.164_42).abs() < 1e-12);
    assert_eq!((found.verdict, found.spread_verdict), (None, None));
    assert!((found.effects.difference.value - 0.348_65).abs() < 1e-9);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sides_can_be_swapped_and_units_changed(
        one in prop::collection::vec(1.0..9.0_f64, 14..40),
        other in prop::collection::vec(1.0..9.0_f64, 14..40),
    ) {
        let (one, other) = (series(one), series(other));
        let (forth, back) = (compare(&one, &other), compare(&other, &one));
        let (ratio, inverse) = (forth.effects.log_ratio.unwrap(), back.effects.log_ratio.unwrap());
        prop_assert!((ratio.value + inverse.value).abs() < 1e-9);
        prop_assert!((ratio.interval.unwrap().low + inverse.interval.unwrap().high).abs() < 1e-9);
        prop_assert!(ratio.interval.unwrap().contains(ratio.value));
        prop_assert!((-1.0..=1.0).contains(&forth.cliffs_delta));
        let scaled = |runs: &[Run]| runs.iter().map(|run| Run { value: run.value * 1024.0, ..*run }).collect::<Vec<_>>();
        let milliseconds = compare(&scaled(&one), &scaled(&other));
        let interval = milliseconds.effects.difference.interval.unwrap();
        prop_assert!((interval.low - forth.effects.difference.interval.unwrap().low * 1024.0).abs() < 1e-6);
        prop_assert_eq!(milliseconds.verdict, forth.verdict);
    }

    #[test]
    fn one_cell_more_changes_no_interval_that_stands_for_itself(
        one in prop::collection::vec(1.0..9.0_f64, 20..30),
        other in prop::collection::vec(1.0..9.0_f64, 20..30),
    ) {
        let (one, other, third) = (series(one), series(other), about(3.0, 1, 20));
        let alone = compare(&one, &other);
        let family = compare_family(&[question(&one, &other), question(&third, &other)]);
        let within = family.comparisons[0].as_ref().unwrap();
        prop_assert_eq!(alone.effects.log_ratio.unwrap().interval, within.effects.log_ratio.unwrap().interval);
        let width = |c: &Comparison| { let i = c.effects.log_ratio.unwrap().adjusted.unwrap(); i.high - i.low };
        prop_assert!(width(within) >= width(&alone) - 1e-12);
    }
}

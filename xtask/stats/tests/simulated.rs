//! A quick part of what `examples/simulate` does at length: made-up experiments, with limits that a correct program
//! misses less than once in a thousand and a wrong one nearly always. Seeds are fixed, so the outcome is too.

#[allow(dead_code)]
#[path = "../examples/simulate/shapes.rs"]
mod shapes;
#[allow(dead_code)]
#[path = "../examples/simulate/trials.rs"]
mod trials;

use shapes::{Experiment, Shape};
use stats::power::power;
use trials::{coverage, false_claims, flags, found};

/// Cells of a family: the baseline and twelve that are compared with it.
const CELLS: usize = 13;

#[test]
fn equal_cells_are_seldom_called_different() {
    // At 5 % of 200 families 10 are expected; 21 or more come once in a thousand times.
    for shape in Shape::ALL.into_iter().filter(|shape| *shape != Shape::AutocorrelatedInCell) {
        let [_, _, either] = false_claims(&Experiment::equal(shape, CELLS, 20), 200, 1);
        assert!(either <= 20, "{shape:?}: {either} of 200 families");
    }
}

#[test]
fn equal_cells_whose_boots_differ_are_seldom_called_different() {
    for blocks in [20, 50] {
        let boots =
            Experiment { boots: 5, boot_effect: 0.02, ..Experiment::equal(Shape::Normal, CELLS, blocks) };
        let [_, _, either] = false_claims(&boots, 200, 2);
        assert!(either <= 20, "{blocks} blocks in 5 boots: {either} of 200 families");
    }
}

#[test]
fn intervals_hold_the_truth_as_often_as_they_say() {
    // At 95 % of 1000 the outcome is from 928 to 971, but for once in a thousand times.
    for shape in [Shape::Normal, Shape::Bimodal, Shape::Stalls, Shape::Drift] {
        let mean = match shape {
            Shape::Bimodal => 1.025,
            Shape::Stalls => 1.006,
            Shape::Drift => 1.05,
            _ => 1.0,
        };
        let pair = Experiment { ratios: vec![1.0, 1.02], ..Experiment::equal(shape, 2, 20) };
        let [ratio, _, difference, ..] = coverage(&pair, mean, 1000, 3);
        assert!((928..=971).contains(&ratio), "{shape:?}: ratio {ratio}");
        assert!((928..=971).contains(&difference), "{shape:?}: difference {difference}");
    }
    let boots = Experiment { boots: 5, boot_effect: 0.02, ..Experiment::equal(Shape::Normal, 2, 20) };
    let [ratio, ..] = coverage(&boots, 1.0, 1000, 3);
    assert!((928..=971).contains(&ratio), "5 boots: {ratio}");
}

#[test]
fn true_differences_are_found_as_often_as_stated() {
    let mut experiment = Experiment { noise: 3.0, ..Experiment::equal(Shape::Normal, CELLS, 50) };
    experiment.ratios[1] = 1.02;
    // 400 experiments: three standard errors are 7.4 points, and 3 points are the approximation's.
    let stated = power(0.02, 0.03, 50, CELLS - 1) * 400.0;
    let [mean, ..] = found(&experiment, 400, 4);
    assert!((mean as f64 - stated).abs() < 42.0, "{mean} of 400 for {stated}");
    let mut drifting = Experiment::equal(Shape::Drift, CELLS, 50);
    drifting.ratios[1] = 1.02;
    let [mean, ..] = found(&drifting, 100, 5);
    assert_eq!(mean, 100, "2 % at CV 1 % under a drift of 10 %");
}

#[test]
fn cells_that_move_are_flagged_and_others_are_not() {
    let mut one = Experiment::equal(Shape::Normal, 12, 50);
    one.drifts[0] = 0.05;
    let mut halves = Experiment::equal(Shape::Normal, 12, 50);
    halves.drifts = (0..12).map(|cell| if cell % 2 == 0 { 0.05 } else { -0.05 }).collect();
    assert!(flags(&one, 100, 6)[0] >= 95);
    assert!(flags(&halves, 100, 6)[0] >= 95);
    // At 1 % of 100 one is expected; 7 or more come once in ten thousand times.
    let alarms = flags(&Experiment::equal(Shape::Normal, 12, 20), 100, 6);
    assert!(alarms.iter().all(|alarms| *alarms <= 6), "{alarms:?}");
    let [_, _, _, dependent] = flags(&Experiment::equal(Shape::AutocorrelatedInCell, 12, 20), 100, 6);
    assert!(dependent >= 95, "{dependent}");
    let cold = Experiment { cold: 0.03, ..Experiment::equal(Shape::Normal, 12, 20) };
    assert!(flags(&cold, 100, 6)[2] >= 95);
}

//! What one interrupt costs: the time that a run took longer than native would have for the same
//! work, divided by the interrupts that it took.

use meter::random::Random;

use super::{
    Interval,
    bootstrap::{Estimate, intervals},
};

/// Interrupts a run below which their cost is withheld.
const FEWEST_INTERRUPTS: f64 = 10.0;
/// Standard errors that the mean number of interrupts must be away from zero.
const FEWEST_ERRORS: f64 = 4.0;

/// One run, as the cost needs it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Time that it took, in seconds.
    pub elapsed_s: f64,
    /// Work done, in any unit that the baseline shares.
    pub work: f64,
    /// Interrupts of the measured device.
    pub interrupts: f64,
}

/// The cost of one interrupt.
#[derive(Clone, Debug, PartialEq)]
pub enum Cost {
    /// Known.
    Known {
        /// (elapsed − work × native elapsed per work) / interrupts, in microseconds. Negative when the
        /// runs were faster than native.
        us: f64,
        /// Its interval.
        interval: Option<Interval>,
    },
    /// Not given, for this reason.
    Withheld(String),
}

/// The cost of one interrupt in `runs`, against the time that the `baseline` took for its work.
pub fn cost_per_interrupt(runs: &[Run], baseline: &[Run], random: &mut Random) -> Cost {
    if runs.is_empty() {
        return Cost::Withheld("no run with its time, work and interrupts".into());
    }
    if baseline.is_empty() {
        return Cost::Withheld("no run of the baseline to compare with".into());
    }
    if let Some(reason) = too_few(runs) {
        return Cost::Withheld(reason);
    }
    let Some(seen) = estimate(runs, baseline).filter(|seen| (seen.value * 1e6).is_finite()) else {
        return Cost::Withheld("no work was done in the runs of the baseline".into());
    };
    let [interval] = intervals([runs, baseline], |[runs, baseline]| [estimate(runs, baseline)], random);
    Cost::Known { us: seen.value * 1e6, interval: interval.map(|interval| interval.map(|s| s * 1e6)) }
}

/// Why the interrupts are too near zero to divide by, if they are.
fn too_few(runs: &[Run]) -> Option<String> {
    let mean = mean(runs, |run| run.interrupts);
    if mean < FEWEST_INTERRUPTS {
        return Some(format!("{mean:.1} interrupts a run: too near zero to divide by"));
    }
    let error = (sum_of_squares(runs, |run| run.interrupts - mean) / (runs.len() as f64)).sqrt()
        / (runs.len().saturating_sub(1).max(1) as f64).sqrt();
    (mean < FEWEST_ERRORS * error)
        .then(|| format!("{mean:.0} ± {error:.0} interrupts a run: too uncertain to divide by"))
}

/// The cost in seconds. Its error is linearised: how much each run moves the estimate.
fn estimate(runs: &[Run], baseline: &[Run]) -> Option<Estimate> {
    let native_work = mean(baseline, |run| run.work);
    let interrupts = mean(runs, |run| run.interrupts);
    if native_work <= 0.0 || interrupts <= 0.0 {
        return None;
    }
    let native = mean(baseline, |run| run.elapsed_s) / native_work;
    let work = mean(runs, |run| run.work);
    let value = (mean(runs, |run| run.elapsed_s) - work * native) / interrupts;
    let of_runs =
        sum_of_squares(runs, |run| (run.elapsed_s - run.work * native - value * run.interrupts) / interrupts);
    let of_baseline =
        sum_of_squares(baseline, |run| work / interrupts * (run.elapsed_s - native * run.work) / native_work);
    let error = of_mean(of_runs, runs.len())? + of_mean(of_baseline, baseline.len())?;
    Some(Estimate { value, error: error.sqrt() })
}

/// The variance of a mean from the sum of squares of `n` runs; a single run has none to give and
/// counts as exact, which only a cost without an interval uses.
fn of_mean(squares: f64, n: usize) -> Option<f64> {
    match n {
        0 => None,
        1 => Some(0.0),
        _ => Some(squares / (n as f64 * (n - 1) as f64)),
    }
}

fn mean(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(of).sum::<f64>() / runs.len() as f64
}

fn sum_of_squares(runs: &[Run], of: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(|run| of(run).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(elapsed_s: f64, interrupts: f64) -> Run {
        Run { elapsed_s, work: 1_048_576_000.0, interrupts }
    }

    fn known(cost: Cost) -> (f64, Option<Interval>) {
        match cost {
            Cost::Known { us, interval } => (us, interval),
            Cost::Withheld(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn the_published_costs_follow_from_the_published_times() {
        // Table 3 of the report: 15 854.8 interrupts; 19.164 42 s native, 19.270 40 s through
        // passthrough and 19.513 07 s through the virtual device give 6.68 and 21.99 us.
        let native = [run(19.164_42, 15_854.8)];
        let mut random = Random::new(1);
        let (us, interval) = known(cost_per_interrupt(&[run(19.270_40, 15_854.8)], &native, &mut random));
        assert!((us - 6.68).abs() < 0.01, "{us}");
        assert_eq!(interval, None);
        let (us, _) = known(cost_per_interrupt(&[run(19.513_07, 15_854.8)], &native, &mut random));
        assert!((us - 21.99).abs() < 0.01, "{us}");
    }

    #[test]
    fn work_of_another_size_is_brought_to_native_speed() {
        // Half the work in 11 s where native needs 10 s for it: 1 s over 1 000 interrupts.
        let half = [Run { elapsed_s: 11.0, work: 50.0, interrupts: 1000.0 }];
        let native = [Run { elapsed_s: 20.0, work: 100.0, interrupts: 9.0 }];
        let (us, _) = known(cost_per_interrupt(&half, &native, &mut Random::new(1)));
        assert!((us - 1000.0).abs() < 1e-6);
    }

    #[test]
    fn the_interval_holds_the_cost_as_often_as_it_says() {
        let mut random = Random::new(5);
        let mut noise = |size: f64| (0..12).map(|_| random.unit() - 0.5).sum::<f64>() * size;
        let mut held = 0;
        for seed in 0..120 {
            let native: Vec<Run> = (0..20).map(|_| run(19.0 + noise(0.02), 15_000.0)).collect();
            let runs: Vec<Run> = (0..20)
                .map(|_| {
                    let interrupts = 15_000.0 + noise(200.0);
                    run(19.0 + interrupts * 20e-6 + noise(0.05), interrupts)
                })
                .collect();
            let (_, interval) = known(cost_per_interrupt(&runs, &native, &mut Random::new(seed)));
            held += u32::from(interval.unwrap().contains(20.0));
        }
        assert!((110..=119).contains(&held), "{held} of 120");
    }

    #[test]
    fn it_is_withheld_with_a_reason() {
        let reason =
            |runs: &[Run], baseline: &[Run]| match cost_per_interrupt(runs, baseline, &mut Random::new(1)) {
                Cost::Withheld(reason) => reason,
                Cost::Known { us, .. } => panic!("{us}"),
            };
        let native = [run(19.0, 1000.0), run(19.1, 1000.0)];
        assert!(reason(&[run(19.0, 0.0), run(19.0, 3.0)], &native).contains("near zero"));
        assert!(reason(&[run(19.0, 0.0), run(19.0, 90.0), run(19.0, 0.0)], &native).contains("uncertain"));
        assert!(reason(&[], &native).contains("no run"));
        assert!(reason(&native, &[]).contains("baseline"));
        assert!(reason(&native, &[Run { work: 0.0, ..native[0] }]).contains("no work"));
    }
}

//! Whether results moved while the matrix ran: a trend, and the most likely sudden change. Both look
//! only at ranks, so that a few slow runs can't make them.

/// A steady rise or fall over the order of execution (Mann and Kendall).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trend {
    /// Kendall's τ against the order: −1 falls always, 0 neither, 1 rises always.
    pub tau: f64,
    /// How likely a τ at least as far from 0 is by chance (normal approximation, ties corrected).
    pub p_value: f64,
}

/// The place where runs before and after differ most (Pettitt, Applied Statistics 28, 1979).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// Index of the first run after the change.
    pub index: usize,
    /// Median after less median before.
    pub shift: f64,
    /// How likely a difference at least as clear is by chance (Pettitt's approximation).
    pub p_value: f64,
}

/// Runs from which a trend or a change can be told.
const LEAST: usize = 10;

/// The trend of `runs` in their order of execution; `None` for fewer than ten, and when all are equal.
pub fn trend(runs: &[f64]) -> Option<Trend> {
    if runs.len() < LEAST {
        return None;
    }
    let (mut score, mut untied) = (0_i64, 0_u64);
    for (index, run) in runs.iter().enumerate() {
        for later in &runs[index + 1..] {
            score += sign(later - run);
            untied += u64::from(later != run);
        }
    }
    let n = runs.len() as f64;
    let pairs = n * (n - 1.0) / 2.0;
    let tied: f64 = ties(runs).map(|t| t * (t - 1.0) * (2.0 * t + 5.0)).sum();
    let variance = (n * (n - 1.0) * (2.0 * n + 5.0) - tied) / 18.0;
    if untied == 0 || variance <= 0.0 {
        return None;
    }
    let z = (score.unsigned_abs().saturating_sub(1)) as f64 / variance.sqrt();
    let tau = score as f64 / (pairs * untied as f64).sqrt();
    Some(Trend { tau, p_value: two_sided(z) })
}

/// The most likely sudden change in `runs`; `None` for fewer than ten, and when all are equal.
pub fn change_point(runs: &[f64]) -> Option<ChangePoint> {
    if runs.len() < LEAST {
        return None;
    }
    let (mut score, mut clearest) = (0_i64, (0_i64, 0_usize));
    for (index, run) in runs.iter().enumerate() {
        // Pairs across the border after `index`: this run changes sides.
        score += runs.iter().map(|other| sign(run - other)).sum::<i64>();
        if score.abs() > clearest.0.abs() {
            clearest = (score, index + 1);
        }
    }
    let (score, index) = clearest;
    if score == 0 {
        return None;
    }
    let n = runs.len() as f64;
    let p_value = (2.0 * (-6.0 * (score as f64).powi(2) / (n.powi(3) + n.powi(2))).exp()).min(1.0);
    let median = |runs: &[f64]| super::describe(runs).map(|described| described.median);
    let shift = median(&runs[index..])? - median(&runs[..index])?;
    Some(ChangePoint { index, shift, p_value })
}

fn sign(difference: f64) -> i64 {
    i64::from(difference > 0.0) - i64::from(difference < 0.0)
}

/// Sizes of the groups of equal runs.
fn ties(runs: &[f64]) -> impl Iterator<Item = f64> {
    let sorted = super::describe::sorted(runs);
    let sizes: Vec<f64> =
        sorted.chunk_by(|one, other| one == other).map(|group| group.len() as f64).collect();
    sizes.into_iter()
}

/// Chance that a standard normal number is at least `z` away from 0: erfc(z/√2), by the
/// approximation of Abramowitz and Stegun 7.1.26 (error below 1.5e-7).
fn two_sided(z: f64) -> f64 {
    let x = z / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients = [0.254_829_592, -0.284_496_736, 1.421_413_741, -1.453_152_027, 1.061_405_429];
    let polynomial = coefficients.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    (polynomial * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use meter::random::Random;

    use super::*;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..n).map(|_| random.unit()).collect()
    }

    #[test]
    fn the_normal_tail_is_that_of_the_tables() {
        for (z, expected) in [(0.0, 1.0), (1.0, 0.317_311), (1.959_964, 0.05), (2.575_829, 0.01)] {
            assert!((two_sided(z) - expected).abs() < 1e-6, "{z}");
        }
    }

    #[test]
    fn ten_rising_runs_have_a_tau_of_one() {
        // S = 45, var = 10·9·25/18 = 125, z = 44/√125 = 3.935.
        let rising: Vec<f64> = (0..10).map(f64::from).collect();
        let found = trend(&rising).unwrap();
        assert_eq!(found.tau, 1.0);
        assert!((found.p_value - 8.3e-5).abs() < 1e-6, "{found:?}");
        assert_eq!(trend(&rising[..9]), None);
        assert_eq!(trend(&[1.0; 20]), None);
    }

    #[test]
    fn a_jump_is_found_where_it_is() {
        let mut runs = noise(60, 4);
        for run in &mut runs[40..] {
            *run += 1.0;
        }
        let found = change_point(&runs).unwrap();
        assert_eq!(found.index, 40);
        assert!((0.7..1.3).contains(&found.shift), "{found:?}");
        assert!(found.p_value < 1e-6);
    }

    #[test]
    fn noise_is_seldom_called_drift() {
        let false_alarms = |p: fn(&[f64]) -> f64| (0..200).filter(|&seed| p(&noise(50, seed)) < 0.05).count();
        let trends = false_alarms(|runs| trend(runs).unwrap().p_value);
        let changes = false_alarms(|runs| change_point(runs).unwrap().p_value);
        assert!(trends <= 18, "{trends} of 200");
        assert!(changes <= 18, "{changes} of 200");
    }
}

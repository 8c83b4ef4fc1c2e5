//! Waiting for an intended time: sleep while there is room, spin for the rest.

use serde::Serialize;

use crate::{clock, control::Stop};

/// Longest sleep before the stop flag is looked at again, in nanoseconds.
const STOP_CHECK_NS: u64 = 20_000_000;
/// A margin beyond this would burn a CPU to win little; the lateness is reported instead.
const MARGIN_CAP_NS: u64 = 1_000_000;

/// Waits for absolute times: sleeps until `margin_ns` before them, then spins.
#[derive(Clone, Copy, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Waiter {
    /// How long before the deadline the sleep ends and spinning begins, in nanoseconds.
    pub margin_ns: u64,
}

impl Waiter {
    /// A waiter that never sleeps.
    pub const SPIN: Self = Self { margin_ns: u64::MAX };

    /// Measures how late this thread wakes from sleeps of 200 µs, some milliseconds long, and takes
    /// 1.5 times the worst as the margin, 1 ms at most.
    ///
    /// Call it on the thread that will wait, after pinning it.
    #[must_use]
    pub fn calibrate() -> Self {
        let worst = (0..16)
            .map(|_| {
                let deadline = clock::now_ns() + 200_000;
                match clock::sleep_until_ns(deadline) {
                    Ok(()) => clock::now_ns().saturating_sub(deadline),
                    Err(_) => MARGIN_CAP_NS,
                }
            })
            .max()
            .unwrap_or(MARGIN_CAP_NS);
        Self { margin_ns: (worst + worst / 2).min(MARGIN_CAP_NS) }
    }

    /// Returns at `deadline_ns`, or earlier when `stop` is raised, and gives the time it is then.
    #[inline]
    pub fn until(self, deadline_ns: u64, stop: &Stop) -> u64 {
        let mut now = clock::now_ns();
        while deadline_ns.saturating_sub(now) > self.margin_ns && !stop.is_raised() {
            let wake = deadline_ns - self.margin_ns;
            if clock::sleep_until_ns(wake.min(now + STOP_CHECK_NS)).is_err() {
                break;
            }
            now = clock::now_ns();
        }
        let mut spins = 0_u32;
        while now < deadline_ns {
            spins = spins.wrapping_add(1);
            if spins.is_multiple_of(1024) && stop.is_raised() {
                break;
            }
            std::hint::spin_loop();
            now = clock::now_ns();
        }
        now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline_or_when_stopped() {
        let stop = Stop::new();
        let deadline = clock::now_ns() + 3_000_000;
        assert!(Waiter::calibrate().until(deadline, &stop) >= deadline);

        stop.raise();
        let far = clock::now_ns() + 3_600 * clock::SECOND_NS;
        assert!(Waiter { margin_ns: 0 }.until(far, &stop) < far);
        assert!(Waiter::SPIN.until(far, &stop) < far);
    }
}

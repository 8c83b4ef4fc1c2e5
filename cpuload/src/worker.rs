//! One worker: follows the schedule and fills its busy windows with work.
//!
//! A window is opened by an absolute sleep that ends early by the lateness of the earlier ones, and
//! closed when it has received the CPU time that it asked for, or where the next one begins. What it
//! got too much or too little — the last slice of work, the CPU time of the sleep itself, time that
//! others took — is carried into the next window, up to a window's length, so that errors cancel
//! instead of adding up. What can't be had that way is missing load, and the account shows it.

use meter::{Result, clock, control::Stop, counter::Counter, runtime::Window as Times};

use crate::{
    account::Account,
    hold::Holder,
    kernel::Work,
    ledger::Ledger,
    schedule::{Schedule, Window},
    sys,
};

/// Longest sleep before the stop flag is looked at again, in nanoseconds.
const STOP_CHECK_NS: u64 = 20_000_000;
/// A wake-up that is later than this was kept waiting by somebody else: nothing to learn from it.
const LATENESS_CAP_NS: u64 = 1_000_000;

/// A worker with all that it needs, ready to run.
pub struct Worker<'a> {
    /// When to be busy.
    pub schedule: Schedule,
    /// Where the CPU's total load decides how busy, it does so here.
    pub holder: Option<Holder>,
    /// What to do then.
    pub work: Box<dyn Work>,
    /// Raised when everything shall end.
    pub stop: &'a Stop,
    /// Where it tells how far it is.
    pub ledger: &'a Ledger,
    /// How many operations to do at most, from the end of the warm-up on.
    pub operations_left: u64,
}

/// The state that goes from one window to the next.
struct Course {
    /// Time owed to (positive) or by (negative) the next window.
    carry_ns: i64,
    /// CPU time at the end of the last window.
    cpu_mark_ns: u64,
    /// When the work in the last window ended.
    ended_ns: u64,
    /// How late wake-ups are, smoothed.
    lateness_ns: u64,
    /// CPU time that a wake-up costs, smoothed: windows shorter than that are not worth one.
    overhead_ns: u64,
    account: Account,
    /// Whether the measured time has not begun.
    warming: bool,
}

impl Worker<'_> {
    /// Follows the schedule. Ends early when stopped, when the operations are done, or when the work
    /// fails; the account then tells how far it came, beside the error.
    pub fn run(mut self, times: Times) -> (Account, Result<()>) {
        self.ledger.open(self.work.helper_clock());
        let (operations, until_ns) = (self.operations_left, times.until_ns);
        let warming = times.from_ns > times.start_ns;
        let mut course = Course {
            carry_ns: 0,
            cpu_mark_ns: self.cpu_ns(),
            ended_ns: 0,
            lateness_ns: 0,
            overhead_ns: 0,
            account: self.account_from(times.from_ns, !warming),
            warming,
        };
        if warming {
            self.operations_left = u64::MAX;
        }
        let mut outcome = Ok(());
        while outcome.is_ok() && !self.is_over() {
            let window = self.schedule.take().placed(times.start_ns);
            if window.begin_ns >= until_ns {
                break;
            }
            if !course.warming {
                outcome = self.window(&mut course, window, until_ns);
                continue;
            }
            // The account begins where the warm-up ends, in the middle of a window too.
            let (before, from_there) = window.split(times.from_ns);
            if let Some(before) = before {
                outcome = self.window(&mut course, before, until_ns);
            }
            if let (Ok(()), false, Some(window)) = (&outcome, self.is_over(), from_there) {
                course.warming = false;
                self.operations_left = operations;
                course.account = self.account_from(window.begin_ns, true);
                outcome = self.window(&mut course, window, until_ns);
            }
        }
        if outcome.is_ok() && !self.is_over() {
            self.sleep_until(until_ns);
        }
        if course.warming {
            // Nothing was measured.
            course.account = self.account_from(times.from_ns, true);
        }
        let (ended_ns, cpu_ns) = (clock::now_ns().min(until_ns), self.cpu_ns());
        course.account.end(ended_ns, cpu_ns, self.ledger.operations.value());
        course.account.finished = self.operations_left == 0;
        self.ledger.close(cpu_ns);
        (course.account, outcome)
    }

    /// An account that begins there, with what was done until now left out; told where it is the measured one.
    fn account_from(&self, from_ns: u64, measured: bool) -> Account {
        let cpu_ns = self.cpu_ns();
        if measured {
            self.ledger.begin(cpu_ns);
        }
        Account::begin(from_ns, cpu_ns)
    }

    fn is_over(&self) -> bool {
        self.stop.is_raised() || self.operations_left == 0
    }

    /// CPU time of this thread and of the one that works for it.
    fn cpu_ns(&self) -> u64 {
        let helper_ns = self.work.helper_clock().and_then(sys::cpu_clock_ns).unwrap_or(0);
        clock::thread_cpu_ns() + helper_ns
    }

    /// One window: sleep until it begins, work until it has received what it asks for.
    fn window(&mut self, course: &mut Course, mut window: Window, until_ns: u64) -> Result<()> {
        let limit_ns = window.end_ns.min(until_ns);
        let length_ns = limit_ns - window.begin_ns;
        if self.holder.is_some() {
            // The total that it follows contains every error of the windows before already.
            course.carry_ns = 0;
            // What is missing is asked for when the window begins: idle time before a start that lies ahead
            // would else count as idle time of the window.
            self.sleep_until(window.begin_ns);
        }
        if let Some(holder) = &mut self.holder {
            let now = clock::now_ns().max(window.begin_ns);
            window.busy_ns = holder.missing_ns(now, limit_ns).min(length_ns);
        }
        let demanded_ns = window.busy_ns.min(length_ns);
        let always_busy = window.is_full();
        // The sleep after the last window costs as well, and no window follows to set it off.
        let last_sleep_ns = if window.end_ns >= until_ns { course.overhead_ns as i64 } else { 0 };
        let owed_ns =
            if always_busy { i64::MAX } else { demanded_ns as i64 + course.carry_ns - last_sleep_ns };
        if owed_ns <= course.overhead_ns as i64 {
            course.carry_ns = owed_ns;
            course.account.window(length_ns, demanded_ns, 0);
            if self.holder.is_some() {
                self.sleep_until(limit_ns);
            }
            return Ok(());
        }
        let mut now = clock::now_ns();
        if now < window.begin_ns {
            now = self.wake_at(course, window.begin_ns);
        }
        // Where the window before went on until here, what was denied between the two belongs to this one.
        let went_on = course.ended_ns >= window.begin_ns;
        let begin_ns = if went_on { course.ended_ns } else { now };
        let cpu_begin_ns = self.cpu_ns();
        // What the sleep itself cost counts as received: it was CPU time of this load as well.
        let mut received_ns = cpu_begin_ns.saturating_sub(course.cpu_mark_ns);
        course.overhead_ns = smooth(course.overhead_ns, received_ns);
        let mut outcome = Ok(());
        while outcome.is_ok() && now < limit_ns && !self.is_over() && (received_ns as i64) < owed_ns {
            let missing_ns = owed_ns as u64 - received_ns;
            let ledger = self.ledger;
            let counter = if course.warming { &ledger.warmup_operations } else { &ledger.operations };
            (now, outcome) = self.work_until(now.saturating_add(missing_ns).min(limit_ns), counter);
            received_ns = self.cpu_ns().saturating_sub(course.cpu_mark_ns);
        }
        let worked_from_ns = if went_on { course.cpu_mark_ns } else { cpu_begin_ns };
        let working_ns = (course.cpu_mark_ns + received_ns).saturating_sub(worked_from_ns);
        course.ended_ns = now;
        course.account.denied_ns += now.saturating_sub(begin_ns).saturating_sub(working_ns);
        // Ended early, nothing more was demanded than what there was time for.
        let length_ns =
            if self.is_over() || outcome.is_err() { now.saturating_sub(window.begin_ns) } else { length_ns };
        course.account.window(length_ns, demanded_ns.min(length_ns), received_ns);
        course.cpu_mark_ns += received_ns;
        if !always_busy {
            // Whoever owes more than a whole window will never be paid: that is missing load.
            let bound_ns = length_ns as i64;
            course.carry_ns = (owed_ns - received_ns as i64).clamp(-bound_ns, bound_ns);
            if self.holder.is_some() {
                self.sleep_until(limit_ns);
            }
        }
        outcome
    }

    /// Sleeps until the window's begin, early by the usual lateness, and gives the time then.
    fn wake_at(&self, course: &mut Course, begin_ns: u64) -> u64 {
        let wake_ns = begin_ns - course.lateness_ns.min(begin_ns);
        self.sleep_until(wake_ns);
        let now = clock::now_ns();
        let late_ns = now.saturating_sub(wake_ns);
        if late_ns < LATENESS_CAP_NS {
            course.lateness_ns = smooth(course.lateness_ns, late_ns);
        }
        course.account.begin_error.record(now as f64 - begin_ns as f64);
        now
    }

    fn sleep_until(&self, deadline_ns: u64) {
        let mut now = clock::now_ns();
        while now < deadline_ns && !self.stop.is_raised() {
            if clock::sleep_until_ns(deadline_ns.min(now + STOP_CHECK_NS)).is_err() {
                return;
            }
            now = clock::now_ns();
        }
    }

    /// Works until that time, counts the operations and gives the time when it stopped.
    fn work_until(&mut self, end_ns: u64, counter: &Counter) -> (u64, Result<()>) {
        let slice = self.work.slice();
        let mut now = clock::now_ns();
        while now < end_ns && !self.is_over() {
            let operations = slice.min(self.operations_left);
            if let Err(error) = self.work.run(operations) {
                return (clock::now_ns(), Err(error));
            }
            self.operations_left -= operations;
            counter.add(operations);
            now = clock::now_ns();
        }
        (now, Ok(()))
    }
}

/// Exponential smoothing over about eight values; the first one counts in full.
fn smooth(mean: u64, value: u64) -> u64 {
    if mean == 0 { value } else { (mean * 7 + value) / 8 }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::kernel::Kernel;

    fn run(schedule: Schedule, operations: u64, length_ns: u64) -> Account {
        let (stop, ledger) = (Stop::new(), Ledger::default());
        let work = Kernel::Sqrt.build().unwrap();
        let worker = Worker {
            schedule,
            holder: None,
            work,
            stop: &stop,
            ledger: &ledger,
            operations_left: operations,
        };
        let start_ns = clock::now_ns() + 1_000_000;
        let until_ns = start_ns + length_ns;
        let (account, outcome) = worker.run(Times { start_ns, from_ns: start_ns, until_ns });
        outcome.unwrap();
        account
    }

    #[test]
    fn the_number_of_operations_is_exact() {
        let account = run(Schedule::cycle(crate::Duty::FULL, 100_000_000), 123_457, 3_600_000_000_000);
        assert_eq!((account.operations, account.finished), (123_457, true));
    }

    #[test]
    fn a_window_in_which_the_work_fails_demands_no_more_than_it_had() {
        struct Fails;
        impl Work for Fails {
            fn slice(&self) -> u64 {
                1
            }
            fn run(&mut self, _: u64) -> Result<()> {
                Err(meter::Error::failed("on purpose"))
            }
        }
        let (stop, ledger) = (Stop::new(), Ledger::default());
        let schedule = Schedule::cycle(crate::Duty::FULL, 3_600_000_000_000);
        let work = Box::new(Fails);
        let worker =
            Worker { schedule, holder: None, work, stop: &stop, ledger: &ledger, operations_left: u64::MAX };
        let start_ns = clock::now_ns();
        let until_ns = start_ns + 3_600_000_000_000;
        let (account, outcome) = worker.run(Times { start_ns, from_ns: start_ns, until_ns });
        assert!(outcome.is_err());
        assert!(account.demanded_ns <= account.elapsed_ns(), "{} ns", account.demanded_ns);
    }

    #[test]
    fn a_warm_up_that_ends_within_a_window_is_left_out_of_the_account() {
        let (stop, ledger) = (Stop::new(), Ledger::default());
        let worker = Worker {
            schedule: Schedule::cycle("50".parse().unwrap(), 200_000_000),
            holder: None,
            work: Kernel::Sqrt.build().unwrap(),
            stop: &stop,
            ledger: &ledger,
            operations_left: u64::MAX,
        };
        let start_ns = clock::now_ns() + 1_000_000;
        let from_ns = start_ns + 80_000_000;
        let (account, outcome) = worker.run(Times { start_ns, from_ns, until_ns: from_ns + 70_000_000 });
        outcome.unwrap();
        assert_eq!((account.elapsed_ns(), account.demanded_ns), (70_000_000, 20_000_000));
    }

    #[test]
    fn a_run_that_ends_in_its_warm_up_has_measured_nothing() {
        let (stop, ledger) = (Stop::new(), Ledger::default());
        let worker = Worker {
            schedule: Schedule::cycle(crate::Duty::FULL, 10_000_000),
            holder: None,
            work: Kernel::Sqrt.build().unwrap(),
            stop: &stop,
            ledger: &ledger,
            operations_left: 1,
        };
        let start_ns = clock::now_ns();
        let from_ns = start_ns + 3_600_000_000_000;
        let (account, _) = thread::scope(|scope| {
            scope.spawn(|| {
                while ledger.warmup_operations.value() == 0 {
                    thread::yield_now();
                }
                stop.raise();
            });
            worker.run(Times { start_ns, from_ns, until_ns: from_ns + 1_000_000 })
        });
        assert_eq!((account.operations, account.elapsed_ns(), account.finished), (0, 0, false));
    }

    #[test]
    fn the_demand_is_that_of_the_schedule() {
        let account = run(Schedule::cycle("25".parse().unwrap(), 10_000_000), u64::MAX, 100_000_000);
        assert_eq!(account.demanded_ns, 25_000_000);
        assert_eq!(account.elapsed_ns(), 100_000_000);
        assert!(!account.finished);
    }
}

//! The conductor: sets the workers up, reads their ledgers while they work, and sums up.

use std::mem;

use meter::{
    Result, clock,
    counter::Growth,
    runtime::{self, Interval, Measured, Plan},
    session::Session,
    units,
    usage::CpuTimes,
};

use crate::{
    Config, Duty, Load,
    account::{Account, Spread},
    facts::Facts,
    hold::Holder,
    kernel::Work,
    ledger::Ledger,
    result::{Sample, Summary, WorkerResult, percent},
    schedule::Schedule,
    worker::Worker,
};

/// What a worker returns: its account, why its work failed, whether it is still on its CPU.
type Outcome = (Account, Result<()>, bool);

/// Loads the CPUs as `config` says and gives `session` the records.
///
/// # Errors
/// When a worker can't be set up as asked, or its work fails; the summary of what was done is given
/// before that.
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let placements = config.placements();
    let ledgers: Vec<Ledger> = placements.iter().map(|_| Ledger::default()).collect();
    let stop = session.stop();
    let mut conductor = Conductor::new(config, &ledgers);
    let plan = Plan {
        warmup_ns: config.warmup_ns,
        duration_ns: config.duration_ns,
        interval_ns: config.interval_ns,
    };
    let mut measured = runtime::run(
        &plan,
        &placements,
        session,
        |worker| {
            let holder = match (&config.load, worker.placement.cpu) {
                (Load::Hold { total_percent, .. }, Some(cpu)) => Some(Holder::new(cpu, *total_percent)?),
                _ => None,
            };
            let work: Box<dyn Work> = config.kernel.build()?;
            config.sched.apply()?;
            Ok((worker, work, holder))
        },
        // The first wait is the schedule's own: it ends early by the lateness of a wake-up.
        |(worker, work, holder), window| {
            let (account, outcome) = Worker {
                schedule: schedule(&config.load, worker.index, window.start_ns),
                holder,
                work,
                stop: &stop,
                ledger: &ledgers[worker.index],
                operations_left: config.operations.unwrap_or(u64::MAX),
            }
            .run(window);
            (account, outcome, worker.placement.holds())
        },
        &mut conductor,
    )?;

    let (mut failure, mut warnings) = (Ok(()), Vec::new());
    for ((_, outcome, pin_holds), placement) in measured.outcomes.iter_mut().zip(&placements) {
        if let (false, Some(cpu)) = (*pin_holds, placement.cpu) {
            warnings.push(format!("the worker of CPU {cpu} was moved away from it"));
        }
        failure = failure.and(mem::replace(outcome, Ok(())));
    }
    let summary = conductor.summary(measured);
    warnings.extend(shortfall(config, &summary, stop.is_raised() || failure.is_err()));
    session.summary(&summary, Vec::new(), warnings)?;
    failure
}

/// The schedule of worker number `index` for a load that begins at `start_ns`.
fn schedule(load: &Load, index: usize, start_ns: u64) -> Schedule {
    match *load {
        Load::Cycle { duty_percent, period_ns, phase_ns } => {
            // The last multiple of the period in wall-clock time, plus the phase, lies so long before the start;
            // maybe before the machine's, too.
            let since_ns = phase_ns.map_or(0, |phase_ns| {
                let ahead_ns = clock::wall_ns().wrapping_sub(clock::now_ns());
                let into_period_ns = start_ns.wrapping_add(ahead_ns) % period_ns;
                (into_period_ns + (period_ns - phase_ns)) % period_ns
            });
            Schedule::cycle(duty_percent, period_ns).entered(since_ns)
        }
        Load::Random { duty_percent, period_ns, seed } => {
            Schedule::random(duty_percent, period_ns, seed.wrapping_add(index as u64))
        }
        // The holder decides how much of each window is busy.
        Load::Hold { period_ns, .. } => Schedule::cycle(Duty::FULL, period_ns),
    }
}

/// Why the load was not what was asked for, if it matters. A run that was stopped owes nothing.
fn shortfall(config: &Config, summary: &Summary, stopped: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(points) = config.required_points {
        warnings.extend(too_far_off(config, summary, points));
    }
    if config.operations.is_some() && !stopped && summary.workers.iter().any(|worker| !worker.finished) {
        warnings.push("not all operations were done in the time; pass a longer --duration".to_owned());
    }
    if summary.demanded_ns > 0 && summary.operations == 0 && !stopped {
        let demanded = units::duration(summary.demanded_ns as f64);
        warnings.push(format!(
            "no operation was done, though {demanded} of CPU time were demanded: pass a longer --period or --duration"
        ));
    }
    warnings
}

/// By how much the load missed what was asked for, if by more than `points`, and who had the CPUs.
fn too_far_off(config: &Config, summary: &Summary, points: f64) -> Option<String> {
    let denied_ns: u64 = summary.workers.iter().map(|worker| worker.denied_ns).sum();
    let denied = units::duration(denied_ns as f64);
    let too_little = format!("; others, a CPU quota or the hypervisor denied the workers {denied}");
    let (what, target, found, too_much) = match config.load {
        Load::Hold { total_percent, .. } => {
            ("total load", total_percent.percent(), summary.total_load_percent?, "; others load these CPUs")
        }
        _ => ("duty", summary.target_duty_percent, summary.duty_percent, ""),
    };
    let why = if found > target { too_much } else { &too_little };
    ((found - target).abs() > points).then(|| {
        format!("the {what} is {found:.3} % and not {target:.3} %: further off than {points} points{why}")
    })
}

/// The part of the calling thread: reads the ledgers while the workers work.
struct Conductor<'a> {
    config: &'a Config,
    ledgers: &'a [Ledger],
    operations: Vec<Growth>,
    cpu_ns: Vec<Growth>,
    rates: Spread,
    facts: Option<Facts>,
    idle: Option<Idle>,
    total_load_percent: Option<f64>,
}

impl<'a> Conductor<'a> {
    fn new(config: &'a Config, ledgers: &'a [Ledger]) -> Self {
        Self {
            config,
            ledgers,
            operations: vec![Growth::default(); ledgers.len()],
            cpu_ns: vec![Growth::default(); ledgers.len()],
            rates: Spread::default(),
            facts: None,
            idle: None,
            total_load_percent: None,
        }
    }

    fn sample(&mut self, interval: &Interval) -> Sample {
        let ledgers = self.ledgers.iter();
        let worker_operations: Vec<u64> = ledgers
            .clone()
            .zip(&mut self.operations)
            .map(|(ledger, growth)| growth.of(ledger.operations.value()))
            .collect();
        let received: Option<u64> = ledgers
            .zip(&mut self.cpu_ns)
            .map(|(ledger, growth)| ledger.measured_cpu_ns().map(|cpu_ns| growth.of(cpu_ns)))
            .sum();
        let worker_ns = interval.elapsed_ns() * self.ledgers.len() as u64;
        Sample {
            at_s: interval.at_s(),
            elapsed_s: interval.elapsed_s(),
            operations: worker_operations.iter().sum(),
            duty_percent: received.map(|cpu_ns| percent(cpu_ns, worker_ns)),
            worker_operations,
        }
    }
}

impl runtime::Conductor<Outcome> for Conductor<'_> {
    type Sample = Sample;

    fn prepare(&mut self) -> Result<()> {
        self.facts = Some(Facts::collect(self.config.cpus()));
        Ok(())
    }

    fn begin(&mut self, _: u64) -> Result<()> {
        self.idle = Idle::read(self.config.cpus());
        Ok(())
    }

    fn interval(&mut self, interval: &Interval, outcomes: Option<&[Outcome]>) -> Result<Option<Sample>> {
        if outcomes.is_some() {
            self.total_load_percent = self.idle.take().and_then(|idle| idle.load_percent(self.config.cpus()));
        }
        let sample = self.sample(interval);
        if interval.is_regular() {
            self.rates.record(interval.per_second(sample.operations));
        }
        Ok(Some(sample))
    }

    /// What the accounts say: workers whose operations are done end before the time, others with it.
    fn end_ns(&self, outcomes: &[Outcome], last_ns: u64) -> u64 {
        outcomes.iter().map(|(account, ..)| account.until_ns).max().unwrap_or(last_ns)
    }
}

/// Idle time of the workers' CPUs at one moment.
struct Idle {
    at_ns: u64,
    idle_ns: u64,
}

impl Idle {
    fn read(cpus: &[usize]) -> Option<Self> {
        Self::of(&CpuTimes::read_all()?, cpus, clock::now_ns())
    }

    /// `None` where the kernel's file leaves out one of the CPUs, as one that is masked does: a CPU whose idle
    /// time is unknown is not busy.
    fn of(times: &[CpuTimes], cpus: &[usize], at_ns: u64) -> Option<Self> {
        let own = |cpu: &usize| times.iter().find(|times| times.cpu == *cpu).map(|times| times.idle_ns);
        let idle: Vec<u64> = cpus.iter().map(own).collect::<Option<_>>()?;
        (!idle.is_empty()).then(|| Self { at_ns, idle_ns: idle.iter().sum() })
    }

    /// Share of the time since then in which the CPUs were not idle.
    fn load_percent(&self, cpus: &[usize]) -> Option<f64> {
        let now = Self::read(cpus)?;
        let length_ns = (now.at_ns - self.at_ns) * cpus.len() as u64;
        let idle_ns = now.idle_ns.saturating_sub(self.idle_ns).min(length_ns);
        (length_ns > 0).then(|| percent(length_ns - idle_ns, length_ns))
    }
}

impl Conductor<'_> {
    fn summary(self, measured: Measured<Outcome>) -> Summary {
        let (elapsed_s, usage) = (measured.elapsed_s(), measured.usage);
        let accounts: Vec<Account> = measured.outcomes.into_iter().map(|(account, ..)| account).collect();
        let (cpu_facts, temperatures) = self.facts.map(Facts::compare).unwrap_or_default();
        let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
        let worker_ns = sum(Account::elapsed_ns);
        let operations = sum(|account| account.operations);
        Summary {
            elapsed_s,
            target_duty_percent: percent(sum(|account| account.demanded_ns), worker_ns),
            duty_percent: percent(sum(|account| account.cpu_ns), worker_ns),
            operations,
            operations_per_s: if elapsed_s > 0.0 { operations as f64 / elapsed_s } else { 0.0 },
            demanded_ns: sum(|account| account.demanded_ns),
            cpu_ns: sum(|account| account.cpu_ns),
            workers: self
                .config
                .placements()
                .iter()
                .zip(&accounts)
                .map(|(placement, account)| WorkerResult::new(placement.cpu, account))
                .collect(),
            interval_operations_per_s: self.config.interval_ns.and(self.rates.figures()),
            steal_percent: usage.steal_ns.map(|steal_ns| percent(steal_ns, worker_ns)),
            usage,
            total_load_percent: self.total_load_percent,
            cpu_facts,
            temperatures,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_that_the_kernel_does_not_show_are_not_busy() {
        let times = CpuTimes::parse("cpu0 1 0 2 30\ncpu1 1 0 2 50\n", 100).0;
        let idle_ns = |times: &[CpuTimes], cpus: &[usize]| Idle::of(times, cpus, 0).map(|idle| idle.idle_ns);
        assert_eq!(idle_ns(&times, &[1, 0]), Some(800_000_000));
        assert_eq!(idle_ns(&times, &[]), None, "no CPU was named");
        assert_eq!(idle_ns(&times, &[0, 2]), None, "one is left out");
        assert_eq!(idle_ns(&[], &[0]), None, "a file that is masked");
    }
}

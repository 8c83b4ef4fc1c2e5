//! The conductor: sets the workers up, reads their ledgers while they work, and sums up.

use meter::{
    Result, clock,
    counter::Growth,
    crew::{self, Gate},
    session::Session,
    units,
    usage::{CpuTimes, Usage, UsageMeter},
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
    worker::{Times, Worker},
};

/// Between opening the gate and the common start, so that every worker has arrived at its sleep.
const HEAD_START_NS: u64 = 500_000;
/// How often the conductor looks whether it is over.
const LOOK_NS: u64 = 20_000_000;

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
    let (results, watched) = crew::run(
        &placements,
        |worker| {
            let holder = match (&config.load, worker.placement.cpu) {
                (Load::Hold { total_percent, .. }, Some(cpu)) => Some(Holder::new(cpu, *total_percent)?),
                _ => None,
            };
            let work: Box<dyn Work> = config.kernel.build()?;
            config.sched.apply()?;
            Ok((worker, work, holder))
        },
        |(worker, work, holder), start_ns| {
            let outcome = Worker {
                schedule: schedule(&config.load, worker.index),
                holder,
                work,
                stop: &stop,
                ledger: &ledgers[worker.index],
                operations_left: config.operations.unwrap_or(u64::MAX),
            }
            .run(times(config, start_ns));
            (outcome, worker.placement.holds())
        },
        |gate| conduct(config, session, gate, &ledgers),
    )?;

    let mut failure = Ok(());
    let (mut accounts, mut warnings) = (Vec::new(), Vec::new());
    for (((account, outcome), pin_holds), placement) in results.into_iter().zip(&placements) {
        if let (false, Some(cpu)) = (pin_holds, placement.cpu) {
            warnings.push(format!("the worker of CPU {cpu} was moved away from it"));
        }
        failure = failure.and(outcome);
        accounts.push(account);
    }
    let summary = summary(config, &accounts, watched);
    warnings.extend(shortfall(config, &summary, stop.is_raised() || failure.is_err()));
    session.summary(&summary, Vec::new(), warnings)?;
    failure
}

fn schedule(load: &Load, index: usize) -> Schedule {
    match load {
        Load::Cycle { duty_percent, period_ns, .. } => Schedule::cycle(*duty_percent, *period_ns),
        Load::Random { duty_percent, period_ns, seed } => {
            Schedule::random(*duty_percent, *period_ns, seed.wrapping_add(index as u64))
        }
        // The holder decides how much of each window is busy.
        Load::Hold { period_ns, .. } => Schedule::cycle(Duty::FULL, *period_ns),
    }
}

/// The times of a run that starts at `start_ns`.
fn times(config: &Config, start_ns: u64) -> Times {
    let zero_ns = match config.load {
        Load::Cycle { period_ns, phase_ns: Some(phase_ns), .. } => {
            // The last multiple of the period in wall-clock time, plus the phase, before the start.
            let ahead_ns = clock::wall_ns().wrapping_sub(clock::now_ns());
            let since_ns = (start_ns.wrapping_add(ahead_ns) % period_ns + period_ns - phase_ns) % period_ns;
            start_ns - since_ns
        }
        _ => start_ns,
    };
    let from_ns = start_ns + config.warmup_ns;
    Times { zero_ns, start_ns, from_ns, until_ns: from_ns + config.duration_ns }
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

/// What the conductor saw from outside.
struct Watched {
    usage: Usage,
    rates: Spread,
    total_load_percent: Option<f64>,
    facts: Facts,
}

fn conduct(config: &Config, session: &mut Session<'_>, gate: &Gate, ledgers: &[Ledger]) -> Result<Watched> {
    let stop = session.stop();
    let facts = Facts::collect(config.cpus());
    // A refusal to go has raised the stop flag: the workers then end at once and report nothing done.
    let start_ns = session.ready_ahead(HEAD_START_NS)?.unwrap_or_else(clock::now_ns);
    let over = || stop.is_raised() || ledgers.iter().all(Ledger::has_ended);
    gate.open(start_ns);
    let Times { from_ns, until_ns, .. } = times(config, start_ns);
    wait_until(from_ns, over);
    let usage = UsageMeter::start(config.cpus());
    let idle = Idle::read(config.cpus());
    let mut interval = Interval::begin(ledgers, from_ns);
    let mut rates = Spread::default();
    if let Some(interval_ns) = config.interval_ns {
        let mut edge_ns = from_ns + interval_ns;
        while edge_ns <= until_ns && !over() {
            wait_until(edge_ns, over);
            if clock::now_ns() < edge_ns {
                break;
            }
            let sample = interval.sample(ledgers, from_ns);
            rates.record(sample.operations as f64 / sample.elapsed_s);
            session.sample(&sample)?;
            edge_ns += interval_ns;
        }
    }
    wait_until(until_ns, over);
    let total_load_percent = idle.and_then(|idle| idle.load_percent(config.cpus()));
    Ok(Watched { usage: usage.read(), rates, total_load_percent, facts })
}

/// Idle time of the workers' CPUs at one moment.
struct Idle {
    at_ns: u64,
    idle_ns: u64,
}

impl Idle {
    fn read(cpus: &[usize]) -> Option<Self> {
        let times = CpuTimes::read_all()?;
        let own = times.iter().filter(|times| cpus.contains(&times.cpu));
        (!cpus.is_empty())
            .then(|| Self { at_ns: clock::now_ns(), idle_ns: own.map(|times| times.idle_ns).sum() })
    }

    /// Share of the time since then in which the CPUs were not idle.
    fn load_percent(&self, cpus: &[usize]) -> Option<f64> {
        let now = Self::read(cpus)?;
        let length_ns = (now.at_ns - self.at_ns) * cpus.len() as u64;
        let idle_ns = now.idle_ns.saturating_sub(self.idle_ns).min(length_ns);
        (length_ns > 0).then(|| percent(length_ns - idle_ns, length_ns))
    }
}

/// Sleeps until that time or until it is over.
fn wait_until(deadline_ns: u64, over: impl Fn() -> bool) {
    loop {
        let now = clock::now_ns();
        if now >= deadline_ns || over() || clock::sleep_until_ns(deadline_ns.min(now + LOOK_NS)).is_err() {
            return;
        }
    }
}

/// The readings at the last interval edge.
struct Interval {
    at_ns: u64,
    operations: Vec<Growth>,
    cpu_ns: Vec<Option<u64>>,
}

impl Interval {
    fn begin(ledgers: &[Ledger], from_ns: u64) -> Self {
        let grown = |ledger: &Ledger| {
            let mut growth = Growth::default();
            growth.of(ledger.operations.value());
            growth
        };
        Self {
            at_ns: from_ns.max(clock::now_ns()),
            operations: ledgers.iter().map(grown).collect(),
            cpu_ns: ledgers.iter().map(Ledger::cpu_ns).collect(),
        }
    }

    fn sample(&mut self, ledgers: &[Ledger], from_ns: u64) -> Sample {
        let now = clock::now_ns();
        let elapsed_ns = now - self.at_ns;
        let worker_operations: Vec<u64> = ledgers
            .iter()
            .zip(&mut self.operations)
            .map(|(ledger, growth)| growth.of(ledger.operations.value()))
            .collect();
        let cpu_ns: Vec<Option<u64>> = ledgers.iter().map(Ledger::cpu_ns).collect();
        let received: Option<u64> = cpu_ns
            .iter()
            .zip(&self.cpu_ns)
            .map(|(now, before)| now.zip(*before).map(|(now, before)| now - before))
            .sum();
        self.at_ns = now;
        self.cpu_ns = cpu_ns;
        Sample {
            at_s: (now - from_ns) as f64 / 1e9,
            elapsed_s: elapsed_ns as f64 / 1e9,
            operations: worker_operations.iter().sum(),
            duty_percent: received.map(|cpu_ns| percent(cpu_ns, elapsed_ns * ledgers.len() as u64)),
            worker_operations,
        }
    }
}

fn summary(config: &Config, accounts: &[Account], watched: Watched) -> Summary {
    let (cpu_facts, temperatures) = watched.facts.compare();
    let sum = |of: fn(&Account) -> u64| accounts.iter().map(of).sum::<u64>();
    let elapsed_ns = accounts.iter().map(Account::elapsed_ns).max().unwrap_or(0);
    let elapsed_s = elapsed_ns as f64 / 1e9;
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
        workers: config
            .placements()
            .iter()
            .zip(accounts)
            .map(|(placement, account)| WorkerResult::new(placement.cpu, account))
            .collect(),
        interval_operations_per_s: watched.rates.figures(),
        steal_percent: watched.usage.steal_ns.map(|steal_ns| percent(steal_ns, worker_ns)),
        usage: watched.usage,
        total_load_percent: watched.total_load_percent,
        cpu_facts,
        temperatures,
    }
}

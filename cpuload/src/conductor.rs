//! The conductor: sets the workers up, reads their ledgers while they work, and sums up.

use meter::{
    Result, clock,
    counter::Growth,
    crew::{self, Gate},
    session::Session,
    usage::UsageMeter,
};

use crate::{
    Config, Load,
    account::{Account, Spread},
    kernel::Work,
    ledger::Ledger,
    result::{Sample, Summary, WorkerResult, percent},
    schedule::Schedule,
    worker::Worker,
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
    let schedule = |_: usize| match &config.load {
        Load::Cycle { duty_percent, period_ns } => Schedule::cycle(*duty_percent, *period_ns),
    };
    let (results, watched) = crew::run(
        &placements,
        |worker| config.kernel.build().map(|work: Box<dyn Work>| (worker, work)),
        |(worker, work), start_ns| {
            let from_ns = start_ns + config.warmup_ns;
            let outcome = Worker {
                schedule: schedule(worker.index),
                work,
                stop: &stop,
                ledger: &ledgers[worker.index],
                operations_left: u64::MAX,
            }
            .run(start_ns, from_ns, from_ns + config.duration_ns);
            (outcome, worker.placement.holds())
        },
        |gate| conduct(config, session, gate, &ledgers),
    )?;

    let mut warnings = Vec::new();
    let mut failure = Ok(());
    let mut accounts = Vec::new();
    for (((account, outcome), pin_holds), placement) in results.into_iter().zip(&placements) {
        if let (false, Some(cpu)) = (pin_holds, placement.cpu) {
            warnings.push(format!("the worker of CPU {cpu} was moved away from it"));
        }
        failure = failure.and(outcome);
        accounts.push(account);
    }
    session.summary(&summary(config, &accounts, &watched), Vec::new(), warnings)?;
    failure
}

/// What the conductor saw from outside.
struct Watched {
    usage: meter::usage::Usage,
    rates: Spread,
}

fn conduct(config: &Config, session: &mut Session<'_>, gate: &Gate, ledgers: &[Ledger]) -> Result<Watched> {
    let stop = session.stop();
    // A refusal to go has raised the stop flag: the workers then end at once and report nothing done.
    session.ready()?;
    let start_ns = clock::now_ns() + HEAD_START_NS;
    gate.open(start_ns);
    let from_ns = start_ns + config.warmup_ns;
    let until_ns = from_ns + config.duration_ns;
    let over = || stop.is_raised() || ledgers.iter().all(Ledger::has_ended);
    wait_until(from_ns, over);
    let usage = UsageMeter::start(config.cpus.cpus());
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
    Ok(Watched { usage: usage.read(), rates })
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

fn summary(config: &Config, accounts: &[Account], watched: &Watched) -> Summary {
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
        usage: watched.usage.clone(),
    }
}

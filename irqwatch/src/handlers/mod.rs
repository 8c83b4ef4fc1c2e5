//! `irqwatch handlers`: how long interrupt handlers ran, by the kernel's own tracepoints (root).
//!
//! `tracefs` opens a trace buffer of its own, so that nobody else's tracing is disturbed; `page`
//! reads the kernel's binary pages; `pairs` makes an entry and its exit into a time.

mod page;
mod pairs;
mod tracefs;

use std::{fmt, path::PathBuf};

use meter::{
    Result, clock, histogram::LatencySummary, interrupts::Table, session::Session, units, wait::Waiter,
};
use serde::Serialize;

pub use self::pairs::Kind;
use self::{pairs::Pairs, tracefs::Tracer};
use crate::{
    class::Class,
    filter::{Filter, Marks},
    observer::{Observer, OwnCost},
    source::{device_of, rate},
};

/// How often the trace buffers are emptied.
const DRAIN_NS: u64 = 20_000_000;

/// A resolved measurement of handlers.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Config {
    /// Where tracefs is mounted.
    pub tracefs: PathBuf,
    /// Size of the trace buffer of each CPU, in bytes.
    pub buffer_bytes: u64,
    /// Length of the measurement, in nanoseconds.
    pub duration_ns: u64,
    /// Which sources.
    pub filter: Filter,
}

impl fmt::Display for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "times of interrupt handlers for {}", units::duration(self.duration_ns as f64))
    }
}

/// One kind of handler.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Handler {
    /// What it handles.
    pub kind: Kind,
    /// Number of the IRQ, or name of the softirq or of the vector.
    pub name: String,
    /// Name of the device, or the kernel's description.
    pub device: String,
    /// How long it ran, without the interrupts that came in the middle.
    pub time: LatencySummary,
    /// The sum, in nanoseconds.
    pub total_ns: u64,
}

impl fmt::Display for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, total) = (self.kind.name(), units::duration(self.total_ns as f64));
        write!(
            f,
            "{kind:>7} {:<20} {:>9} times {total:>10}  {}  {}",
            self.name, self.time.count, self.time, self.device
        )
    }
}

/// The whole measurement.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Summary {
    /// Its length, in seconds.
    pub elapsed_s: f64,
    /// Each handler, as filtered and ordered; by default the one with the largest sum first.
    pub handlers: Vec<Handler>,
    /// Times that the kernel had to drop events because the buffers were full.
    pub lost: u64,
    /// What the measurement cost, the kernel's writing of events left out.
    pub own: OwnCost,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for handler in &self.handlers {
            writeln!(f, "{handler}")?;
        }
        write!(f, "{}", self.own)
    }
}

/// Measures and gives `session` the records.
///
/// # Errors
/// When tracefs is not mounted, may not be used, or lacks the events (exit code 3).
pub fn run(config: &Config, session: &mut Session<'_>) -> Result<()> {
    if !session.start(config)? {
        return Ok(());
    }
    let stop = session.stop();
    let waiter = Waiter { margin_ns: 0 };
    let mut tracer = Tracer::open(&config.tracefs, config.buffer_bytes)?;
    let mut pairs = Pairs::new(tracer.cpus());
    session.ready()?;
    let mut observer = Observer::new();
    let start_ns = clock::now_ns();
    let until_ns = start_ns + config.duration_ns;
    tracer.switch(true)?;
    while clock::now_ns() < until_ns && !stop.is_raised() {
        waiter.until(until_ns.min(clock::now_ns() + DRAIN_NS), &stop);
        observer.woke();
        tracer.drain(&mut pairs)?;
    }
    tracer.switch(false)?;
    let elapsed_s = (clock::now_ns() - start_ns) as f64 / 1e9;
    tracer.drain(&mut pairs)?;
    drop(tracer);

    let lost = pairs.lost();
    let handlers = name_handlers(pairs, elapsed_s, &config.filter)?;
    let warnings = if lost > 0 {
        vec![format!("the trace buffers overflowed {lost} times: counts are too low; pass a larger --buffer")]
    } else {
        Vec::new()
    };
    session.summary(&Summary { elapsed_s, handlers, lost, own: observer.own_cost() }, Vec::new(), warnings)
}

/// Gives the numbers of the events the names of /proc.
fn name_handlers(pairs: Pairs, elapsed_s: f64, filter: &Filter) -> Result<Vec<Handler>> {
    let (interrupts, softirqs) = (Table::interrupts()?, Table::softirqs()?);
    let mut handlers: Vec<(Class, Handler)> = pairs
        .into_times()
        .filter_map(|(kind, number, times)| {
            let (name, device, class) = match kind {
                Kind::Interrupt => {
                    let row = interrupts.row(&number.to_string());
                    let class = row.map_or(Class::Device, Class::of);
                    (number.to_string(), row.map_or("", device_of), class)
                }
                // The kernel writes /proc/softirqs in the order of the vectors.
                Kind::Softirq => {
                    let row = usize::try_from(number).ok().and_then(|vector| softirqs.rows.get(vector));
                    (row.map_or_else(|| number.to_string(), |row| row.name.clone()), "", Class::Softirq)
                }
                Kind::Vector(name) => (name.to_owned(), "", Class::Ipi),
            };
            let class = if name.contains("timer") { Class::Timer } else { class };
            if !filter.wants(&name, device, class) {
                return None;
            }
            let time = times.histogram.summary()?;
            let handler = Handler { kind, name, device: device.to_owned(), time, total_ns: times.total_ns };
            Some((class, handler))
        })
        .collect();
    filter.arrange_by(&mut handlers, |(class, handler)| Marks {
        per_s: rate(handler.time.count, elapsed_s),
        weight: handler.total_ns,
        device: &handler.device,
        class: *class,
    });
    Ok(handlers.into_iter().map(|(_, handler)| handler).collect())
}

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use serde_json::Value;

use super::*;
use crate::{
    Error,
    control::{Control, Stop},
    counter::{Counter, Growth},
    histogram::LatencyHistogram,
    record::MemorySink,
    session::Tool,
};

const WORKERS: usize = 2;

#[derive(Serialize)]
struct Sample {
    at_s: f64,
    elapsed_ns: u64,
    ticks: u64,
    recorded: u64,
    max_ns: u64,
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ticks", self.ticks)
    }
}

/// A tool that counts ticks of 200 µs, and records the number of each.
struct Ticks<'a> {
    counters: &'a [Counter],
    growth: Growth,
    collector: Collector<LatencyHistogram>,
    begun: u32,
    fails_at: Option<u64>,
}

impl Conductor<Box<LatencyHistogram>> for Ticks<'_> {
    type Sample = Sample;

    fn begin(&mut self, from_ns: u64) -> Result<()> {
        self.begun += 1;
        self.collector.begin(from_ns);
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        self.collector.is_waiting()
    }

    fn interval(
        &mut self,
        interval: &Interval,
        outcomes: Option<&[Box<LatencyHistogram>]>,
    ) -> Result<Option<Sample>> {
        if self.fails_at == Some(interval.index) {
            return Err(Error::failed("on purpose"));
        }
        let ticks = self.growth.of(self.counters.iter().map(Counter::value).sum());
        let rest = outcomes.unwrap_or_default().iter().map(|rest| &**rest);
        let latencies = self.collector.collect(interval, rest)?;
        Ok(Some(Sample {
            at_s: interval.at_s(),
            elapsed_ns: interval.elapsed_ns(),
            ticks,
            recorded: latencies.count(),
            max_ns: latencies.summary().map_or(0, |summary| summary.max_ns),
        }))
    }
}

struct Ran {
    measured: Result<Measured<Box<LatencyHistogram>>>,
    samples: Vec<Value>,
    ticks: u64,
    total: LatencyHistogram,
    begun: u32,
}

fn tick(
    counter: &Counter,
    mut recorder: Recorder<LatencyHistogram>,
    window: Window,
    stop: &Stop,
) -> Box<LatencyHistogram> {
    let mut now = window.wait_for_start(stop);
    let (mut number, mut warming) = (0, true);
    loop {
        if warming && now >= window.from_ns {
            warming = false;
            recorder.begin(window.from_ns);
        }
        recorder.tick(now);
        number += 1;
        recorder.active.record(number);
        if !warming {
            counter.add(1);
        }
        thread::sleep(Duration::from_micros(200));
        now = clock::now_ns();
        if now >= window.until_ns || stop.is_raised() {
            break;
        }
    }
    if warming {
        recorder.begin(window.from_ns);
    }
    recorder.finish()
}

fn run_ticks(plan: &Plan, fails_at: Option<u64>, stop_after: Option<Duration>) -> Ran {
    let (control, mut sink) = (Control::detached(), MemorySink::default());
    let mut session = Session::new(Tool { name: "t", version: "0" }, &mut sink, &control, false);
    let (placements, stop) = ([Placement::default(); WORKERS], session.stop());
    let counters: [Counter; WORKERS] = Default::default();
    let (recorders, collector) = recorders(WORKERS, plan.interval_ns, LatencyHistogram::new);
    let recorders = std::sync::Mutex::new(recorders.into_iter().map(Some).collect::<Vec<_>>());
    let mut ticks = Ticks { counters: &counters, growth: Growth::default(), collector, begun: 0, fails_at };
    let measured = thread::scope(|scope| {
        if let Some(after) = stop_after {
            let stop = stop.clone();
            scope.spawn(move || {
                thread::sleep(after);
                stop.raise();
            });
        }
        run(
            plan,
            &placements,
            &mut session,
            |worker| Ok((worker.index, recorders.lock().unwrap()[worker.index].take().unwrap())),
            |(index, recorder), window| tick(&counters[index], recorder, window, &stop),
            &mut ticks,
        )
    });
    let (total, begun) = (ticks.collector.total().clone(), ticks.begun);
    let lines = sink.0.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
    Ran {
        measured,
        samples: lines.filter(|line| line["record"] == "sample").collect(),
        ticks: counters.iter().map(Counter::value).sum(),
        total,
        begun,
    }
}

/// Samples partition the run, and what they say adds up to the whole.
fn check_sums(ran: &Ran) {
    let measured = ran.measured.as_ref().unwrap();
    let sum = |key: &str| ran.samples.iter().map(|sample| sample[key].as_u64().unwrap()).sum::<u64>();
    let max = ran.samples.iter().filter_map(|sample| sample["max_ns"].as_u64()).max();
    assert_eq!(sum("elapsed_ns"), measured.elapsed_ns());
    assert_eq!(sum("ticks"), ran.ticks);
    assert_eq!(sum("recorded"), ran.ticks);
    assert_eq!(ran.total.count(), ran.ticks);
    assert_eq!(max, Some(ran.total.summary().map_or(0, |summary| summary.max_ns)));
    assert_eq!(ran.begun, 1);
    let last = ran.samples.last().unwrap()["at_s"].as_f64().unwrap();
    assert!((last - measured.elapsed_s()).abs() < 1e-9);
}

#[test]
fn the_time_after_the_last_edge_has_its_sample() {
    let plan = Plan { duration_ns: 55_000_000, interval_ns: Some(20_000_000), ..Plan::default() };
    let ran = run_ticks(&plan, None, None);
    check_sums(&ran);
    assert!(ran.ticks > 0 && ran.measured.unwrap().elapsed_ns() >= 55_000_000);
}

#[test]
fn an_interval_longer_than_the_run_gives_one_sample() {
    let plan = Plan { duration_ns: 9_000_000, interval_ns: Some(1_000_000_000), ..Plan::default() };
    let ran = run_ticks(&plan, None, None);
    check_sums(&ran);
    assert_eq!(ran.samples.len(), 1);
}

#[test]
fn a_stop_between_edges_ends_the_run_there_and_loses_nothing() {
    let plan = Plan { duration_ns: 3_600_000_000_000, interval_ns: Some(30_000_000), ..Plan::default() };
    for after_ms in [10, 45] {
        let ran = run_ticks(&plan, None, Some(Duration::from_millis(after_ms)));
        check_sums(&ran);
        assert!(ran.measured.unwrap().elapsed_ns() < 600_000_000_000);
    }
}

#[test]
fn a_warm_up_is_in_no_count() {
    let plan = Plan { warmup_ns: 20_000_000, duration_ns: 45_000_000, interval_ns: Some(20_000_000) };
    let ran = run_ticks(&plan, None, None);
    // The warm-up's ticks are recorded, too, but not counted.
    check_sums(&ran);
}

#[test]
fn a_stop_in_the_warm_up_measures_nothing() {
    let plan =
        Plan { warmup_ns: 3_600_000_000_000, interval_ns: Some(10_000_000), duration_ns: 1_000_000_000 };
    let ran = run_ticks(&plan, None, Some(Duration::from_millis(10)));
    let measured = ran.measured.unwrap();
    assert_eq!((measured.elapsed_ns(), ran.ticks, ran.total.count()), (0, 0, 0));
    assert_eq!((ran.samples.len(), ran.begun), (0, 1));
}

#[test]
fn without_an_interval_there_is_no_sample_but_everything_is_collected() {
    let ran = run_ticks(&Plan { duration_ns: 10_000_000, ..Plan::default() }, None, None);
    assert!(ran.samples.is_empty() && ran.total.count() == ran.ticks && ran.ticks > 0);
}

#[test]
fn a_conductor_that_fails_ends_the_workers() {
    let plan = Plan { duration_ns: 3_600_000_000_000, interval_ns: Some(5_000_000), ..Plan::default() };
    let ran = run_ticks(&plan, Some(1), None);
    assert!(ran.measured.unwrap_err().to_string().contains("on purpose"));
}

#[test]
fn a_worker_that_panics_ends_the_others() {
    let (control, mut sink) = (Control::detached(), MemorySink::default());
    let mut session = Session::new(Tool { name: "t", version: "0" }, &mut sink, &control, false);
    let (stop, worked) = (session.stop(), Arc::new(AtomicU64::new(0)));
    struct Nothing;
    impl Conductor<()> for Nothing {
        type Sample = Sample;
        fn interval(&mut self, _: &Interval, _: Option<&[()]>) -> Result<Option<Sample>> {
            Ok(None)
        }
    }
    let error = run(
        &Plan::default(),
        &[Placement::default(); 3],
        &mut session,
        |worker| Ok(worker.index),
        |index, _| {
            assert_ne!(index, 1, "a defect");
            while !stop.is_raised() {
                thread::sleep(Duration::from_millis(1));
            }
            worked.fetch_add(1, Relaxed);
        },
        &mut Nothing,
    )
    .unwrap_err();
    assert!(error.to_string().contains("worker 1 panicked"), "{error}");
    assert_eq!(worked.load(Relaxed), 2);
}

#[test]
fn the_log_holds_what_the_summary_says_whatever_was_handed_over_when() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("out.hlog");
    let (mut recorders, collector) = recorders(2, Some(10), LatencyHistogram::new);
    let mut collector =
        collector.keeping_workers(2, LatencyHistogram::new).logging(Some(&path), &["delay"]).unwrap();
    let mut intervals = Intervals::new(100, Some(10), 1_000);
    collector.begin(100);
    recorders.iter_mut().for_each(|recorder| recorder.begin(100));
    for now in 100..1_000 {
        // A stall of both sides.
        if (400..633).contains(&now) {
            continue;
        }
        for (index, recorder) in recorders.iter_mut().enumerate() {
            recorder.tick(now);
            (0..=index).for_each(|_| recorder.active.record(now));
        }
        if intervals.next_edge_ns().is_some_and(|edge_ns| now >= edge_ns) {
            collector.collect(&intervals.end(now), []).unwrap();
        }
    }
    let rest: Vec<_> = recorders.into_iter().map(Recorder::finish).collect();
    collector.collect(&intervals.finish(1_000), rest.iter().map(|rest| &**rest)).unwrap();
    assert_eq!(collector.total().count(), 3 * (900 - 233));
    assert_eq!(collector.worker_total(1).unwrap().count(), 2 * (900 - 233));
    assert_eq!(collector.total().summary().unwrap().max_ns, 999);
    let logged = std::fs::read_to_string(&path).unwrap();
    assert!(logged.matches("Tag=delay").count() >= 20, "{logged}");
}

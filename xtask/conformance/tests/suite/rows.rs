//! The tools and their subcommands as data: a new one gets every check for its row.

/// What runs beside the tool, so that it has something to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    Nothing,
    /// `netprobe serve` on `{port}`.
    Server,
    /// `udpsend sink` on `{port}`.
    Sink,
    /// `udpsend` to `{port}`, 1 000 datagrams a second.
    Sender,
}

/// How a sample tells its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Time {
    /// Its length in seconds.
    Length(&'static str),
    /// Its end, in seconds after the begin of the measured time.
    End(&'static str),
}

/// One way to use a tool. `{folder}` and `{port}` stand for a temporary folder and the port of what runs beside,
/// `{flags}` for the flags of a scenario, which else stand at the end.
/// Paths into records are JSON pointers.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub args: &'static str,
    pub beside: Beside,
    /// Time of a sample, and path of the summary's length in seconds.
    pub time: (Time, &'static str),
    /// Counts of a sample and of the summary that must add up.
    pub sums: &'static [(&'static str, &'static str)],
    /// Latency figures (with `count` and `max_ns`) of a sample, of the summary, and their tag in the histogram log.
    pub latencies: &'static [(&'static str, &'static str, Option<&'static str>)],
    /// Whether it takes `--warmup`.
    pub warms_up: bool,
    /// Whether an interval may be longer than the run.
    pub long_interval: bool,
    /// Whether it takes `--duration`.
    pub timed: bool,
    /// What a shell does in a mount namespace of its own before the tool and what runs beside it are started
    /// there; empty for nothing.
    pub mounts: &'static str,
}

const fn row(args: &'static str, time: (Time, &'static str)) -> Row {
    let (beside, sums, latencies) = (Beside::Nothing, &[], &[]);
    Row { args, beside, time, sums, latencies, warms_up: true, long_interval: true, timed: true, mounts: "" }
}

impl Row {
    const fn beside(mut self, beside: Beside) -> Self {
        self.beside = beside;
        self
    }

    const fn sums(mut self, sums: &'static [(&'static str, &'static str)]) -> Self {
        self.sums = sums;
        self
    }

    const fn latencies(
        mut self,
        latencies: &'static [(&'static str, &'static str, Option<&'static str>)],
    ) -> Self {
        self.latencies = latencies;
        self
    }

    const fn without_warm_up(mut self) -> Self {
        self.warms_up = false;
        self
    }

    const fn without_duration(mut self) -> Self {
        self.timed = false;
        self
    }

    const fn without_long_interval(mut self) -> Self {
        self.long_interval = false;
        self
    }
}

const ELAPSED: (Time, &str) = (Time::Length("/elapsed_s"), "/elapsed_s");
const LENGTH: (Time, &str) = (Time::Length("/length_s"), "/elapsed_s");
const INTERVAL: (Time, &str) = (Time::Length("/interval_s"), "/elapsed_s");
const AT: (Time, &str) = (Time::End("/at_s"), "/elapsed_s");
const DISK: &[(&str, &str, Option<&str>)] = &[
    ("/submission_latency", "/submission_latency", Some("submission_latency")),
    ("/completion_latency", "/completion_latency", Some("completion_latency")),
    ("/total_latency", "/total_latency", Some("total_latency")),
    ("/response_time", "/response_time", Some("response_time")),
];
const DISK_SUMS: &[(&str, &str)] = &[("/operations", "/operations"), ("/bytes", "/bytes")];
const SERVICE: (&str, &str, Option<&str>) = ("/service_time", "/service_time", Some("service_time"));
const RESPONSE: (&str, &str, Option<&str>) = ("/response_time", "/response_time", Some("response_time"));
const TRANSACTIONS: &[(&str, &str)] = &[("/transactions", "/transactions")];

/// Every tool that measures over time.
#[rustfmt::skip] // One line a row.
pub const ROWS: &[Row] = &[
    row("cpuload --workers 2 --duty 30", ELAPSED).sums(&[("/operations", "/operations"), ("/worker_operations/0", "/workers/0/operations"), ("/worker_operations/1", "/workers/1/operations")]),
    row("irqwatch", ELAPSED).sums(&[("/interrupts", "/interrupts"), ("/softirqs", "/softirqs")]).without_warm_up().without_long_interval(),
    row("irqwatch wakeup --priority 0 --no-lock-memory", AT).latencies(&[("/wakeup_latency", "/wakeup_latency", Some("wakeup"))]).without_warm_up(),
    row("irqwatch wakeup --priority 0 --no-lock-memory --period 150ms", AT).latencies(&[("/wakeup_latency", "/wakeup_latency", Some("wakeup"))]).without_warm_up(),
    row("irqwatch gaps --cpus 0", AT).sums(&[("/count", "/count"), ("/total_ns", "/total_ns")]).without_warm_up(),
    row("udpsend 127.0.0.1:{port} --load 1kpps", INTERVAL).beside(Beside::Sink).sums(&[("/sent_datagrams", "/sent_datagrams"), ("/sent_bytes", "/sent_bytes"), ("/missed_slots", "/missed_slots")]).latencies(&[("", "/pacing_error", Some("pacing_error"))]),
    row("udpsend sink --listen 127.0.0.1:{port}", INTERVAL).beside(Beside::Sender).sums(&[("/delivered_datagrams", "/delivered_datagrams"), ("/delivered_bytes", "/delivered_bytes"), ("/reordered_datagrams", "/reordered_datagrams")]).latencies(&[("", "/one_way_delay", Some("one_way_delay"))]),
    row("diskprobe write {folder}/data --buffered --block-size 4KiB --span 1MiB --rate 1000/s", ELAPSED).sums(DISK_SUMS).latencies(DISK),
    row("diskprobe read {folder}/data --create --buffered --block-size 4KiB --span 1MiB --queue-depth 2", ELAPSED).sums(DISK_SUMS).latencies(DISK),
    row("netprobe stream 127.0.0.1:{port}", LENGTH).beside(Beside::Server).sums(&[("/received_bytes", "/received_bytes")]),
    row("netprobe rr 127.0.0.1:{port}", LENGTH).beside(Beside::Server).sums(TRANSACTIONS).latencies(&[SERVICE]),
    row("netprobe rr 127.0.0.1:{port} --rate 1000", LENGTH).beside(Beside::Server).sums(TRANSACTIONS).latencies(&[SERVICE, RESPONSE]),
    row("netprobe crr 127.0.0.1:{port}", LENGTH).beside(Beside::Server).sums(TRANSACTIONS).latencies(&[SERVICE]),
];

/// Subcommands without intervals: they start, stop and refuse like the others.
#[rustfmt::skip] // One line a row.
pub const OTHERS: &[Row] = &[
    row("irqwatch {flags} run -- sleep 0.1", ELAPSED).without_warm_up().without_duration(),
    row("irqwatch {flags} affinity", ELAPSED).without_warm_up().without_duration(),
    row("irqwatch handlers", AT).without_warm_up(),
    row("irqwatch host", AT).without_warm_up(),
    row("netprobe serve --listen 127.0.0.1:{port}", AT).without_warm_up(),
];

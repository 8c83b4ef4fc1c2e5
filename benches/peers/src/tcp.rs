//! netprobe over TCP against iperf3, sockperf and a plain blocking pair.

use anyhow::Result;

use super::{
    comparison::{Bound, Comparison, Contender},
    duo::{Duo, End},
    figures::{Figure, Measurement},
    formats::{iperf3, ours, reference, sockperf},
    network::{Packets, Transport, Wire},
    reference::{COMPILER, PING_PONG},
    udp::{IPERF3, MEMORY_LIMIT, PORT, SOCKPERF},
    workbench::Workbench,
};

/// Length of a run, in seconds.
const RUN_S: u32 = 3;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    vec![
        stream("tcp/stream-veth", "veth", Path::Veth),
        stream("tcp/stream-loopback", "loopback", Path::Loopback),
        zero_copy(),
        transactions(),
        spinning(),
        adaptive(),
        awake(),
    ]
}

#[derive(Clone, Copy)]
enum Path {
    Veth,
    Loopback,
}

impl Path {
    fn wire(self) -> Result<Wire> {
        match self {
            Self::Veth => Wire::veth(Packets::Offloaded),
            Self::Loopback => Wire::loopback(),
        }
    }
}

fn stream(name: &str, place: &str, path: Path) -> Comparison {
    let what = format!("one TCP flow over {place}, goodput as received, {RUN_S} s");
    Comparison::new(name, what, our_stream(path, ""))
        .against(iperf3_stream("iperf3", path, ""), &[(Figure::GOODPUT_BPS, Bound::AtLeast(1.1))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

fn zero_copy() -> Comparison {
    let what = format!("one TCP flow over veth without copying on send, goodput as received, {RUN_S} s");
    Comparison::new("tcp/stream-zero-copy", what, our_stream(Path::Veth, "--send-with zerocopy"))
        .against(iperf3_stream("iperf3 -Z", Path::Veth, "-Z"), &[(Figure::GOODPUT_BPS, Bound::AtLeast(1.0))])
}

fn our_stream(path: Path, more: &'static str) -> Contender {
    Contender::ours(format!("netprobe stream {more}").trim(), move |workbench| {
        let wire = path.wire()?;
        let client = workbench
            .tool("netprobe", "stream")
            .args([format!("{}:{PORT}", wire.address)])
            .words(&format!("--direction send --duration {RUN_S}s {more}"));
        let (measurement, summary) = with_our_server(workbench, &wire, client, "")?;
        Ok(measurement.with(Figure::GOODPUT_BPS, summary.number("goodput_bps")?))
    })
}

fn iperf3_stream(label: &'static str, path: Path, more: &'static str) -> Contender {
    Contender::peer(label, IPERF3, move |workbench| {
        let wire = path.wire()?;
        let client = format!("-c {} -p {PORT} -t {RUN_S} -J {more}", wire.address);
        let ended = Duo {
            wire: &wire,
            listens: (Transport::Tcp, PORT),
            server: workbench.program("iperf3").words(&format!("-s -1 -J -p {PORT}")),
            end: End::ByItself,
            client: workbench.program("iperf3").words(&client),
        }
        .run(workbench)?;
        let goodput_bps = iperf3::goodput_bps(&ended.client.stdout)?;
        Ok(ended.client.cost_with(&ended.server).with(Figure::GOODPUT_BPS, goodput_bps))
    })
}

fn transactions() -> Comparison {
    let what = format!("TCP request and response, blocking, one outstanding, over veth, {RUN_S} s");
    let ours = Contender::ours("netprobe rr", |workbench| {
        our_transactions(workbench, "--request-size 1 --response-size 1", "")
    });
    let sockperf = Contender::peer("sockperf ping-pong --tcp", SOCKPERF, |workbench| {
        sockperf_ping_pong(workbench, "--tcp", Transport::Tcp)
    });
    Comparison::new("tcp/rr", what, ours)
        .against(sockperf, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.2))])
        .against(plain_pair(), &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.0))])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// Our own two modes against each other.
fn spinning() -> Comparison {
    let what =
        format!("TCP request and response over veth, both ends spinning against both blocking, {RUN_S} s");
    let spinning = Contender::ours("netprobe rr --busy-poll", |workbench| {
        our_transactions(workbench, "--busy-poll", "")
    });
    let blocking = Contender::ours("netprobe rr", |workbench| our_transactions(workbench, "", ""));
    Comparison::new("tcp/rr-spinning", what, spinning)
        .against(blocking, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.5))])
}

/// Spinning for a while before sleeping, which is no longer the ordinary program's way: a row of its own.
fn adaptive() -> Comparison {
    let what = format!("TCP request and response over veth, both ends of ours waiting adaptively, {RUN_S} s");
    let adaptive = Contender::ours("netprobe rr --wait adaptive", |workbench| {
        our_transactions(workbench, "--wait adaptive", "--max-spin-threads 128")
    });
    let blocking = Contender::ours("netprobe rr", |workbench| our_transactions(workbench, "", ""));
    let sockperf = Contender::peer("sockperf ping-pong --tcp", SOCKPERF, |workbench| {
        sockperf_ping_pong(workbench, "--tcp", Transport::Tcp)
    });
    Comparison::new("tcp/rr-adaptive", what, adaptive)
        .against(blocking, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.5))])
        .against(sockperf, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.2))])
}

/// Blocking, but on CPUs that do not halt: what a transaction takes without the way out of idle. The peer has no
/// such option, so this row is beside `tcp/rr` and not in its place.
fn awake() -> Comparison {
    let what = format!("TCP request and response over veth, blocking, our CPUs kept from halting, {RUN_S} s");
    let awake = Contender::ours("netprobe rr --cpu-dma-latency 0", |workbench| {
        our_transactions(workbench, "--cpu-dma-latency 0", "--allow-cpu-dma-latency")
    });
    let blocking = Contender::ours("netprobe rr", |workbench| our_transactions(workbench, "", ""));
    let sockperf = Contender::peer("sockperf ping-pong --tcp", SOCKPERF, |workbench| {
        sockperf_ping_pong(workbench, "--tcp", Transport::Tcp)
    });
    Comparison::new("tcp/rr-cpu-dma-latency", what, awake)
        .against(blocking, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.0))])
        .against(sockperf, &[(Figure::TRANSACTIONS_PER_S, Bound::AtLeast(1.2))])
}

fn plain_pair() -> Contender {
    Contender::peer("plain read and write in C", COMPILER, |workbench| {
        let wire = Path::Veth.wire()?;
        let client = format!("run {} {PORT} {RUN_S}", wire.address);
        let ended = Duo {
            wire: &wire,
            listens: (Transport::Tcp, PORT),
            server: workbench.reference(PING_PONG)?.words(&format!("serve {PORT}")),
            end: End::ByItself,
            client: workbench.reference(PING_PONG)?.words(&client),
        }
        .run(workbench)?;
        let number = |key| reference::number(&ended.client.stdout, key);
        let per_s = number("transactions")? / number("elapsed_s")?;
        Ok(ended.client.cost_with(&ended.server).with(Figure::TRANSACTIONS_PER_S, per_s))
    })
}

/// Transactions of ours over veth, with more words for either end.
pub fn our_transactions(
    workbench: &Workbench,
    client_words: &str,
    server_words: &str,
) -> Result<Measurement> {
    let wire = Path::Veth.wire()?;
    let client = workbench
        .tool("netprobe", "rr")
        .args([format!("{}:{PORT}", wire.address)])
        .words(&format!("--duration {RUN_S}s {client_words}"));
    let (measurement, summary) = with_our_server(workbench, &wire, client, server_words)?;
    Ok(measurement
        .with(Figure::TRANSACTIONS_PER_S, summary.number("transactions_per_s")?)
        .with(Figure::P50_NS, summary.number("service_time.p50_ns")?)
        .with(Figure::P99_NS, summary.number("service_time.p99_ns")?))
}

/// Lets a client of ours work with a server of ours.
fn with_our_server(
    workbench: &Workbench,
    wire: &Wire,
    client: super::process::Job,
    server_words: &str,
) -> Result<(Measurement, ours::Summary)> {
    let server = workbench
        .tool("netprobe", "serve")
        .words(&format!("--no-token --listen {}:{PORT} --duration 60s {server_words}", wire.address));
    let end = End::AtSignal(libc::SIGTERM);
    let ended = Duo { wire, listens: (Transport::Tcp, PORT), server, end, client }.run(workbench)?;
    let (client, server) = (ours::summary(&ended.client)?, ours::summary(&ended.server)?);
    let measurement = client.complete(server.complete(ended.client.cost_with(&ended.server)));
    let peak = client.peak_bytes().into_iter().chain(server.peak_bytes()).reduce(f64::max);
    Ok((measurement.given(Figure::RESIDENT_PEAK_BYTES, peak)?, client))
}

/// sockperf's ping-pong over veth.
pub fn sockperf_ping_pong(
    workbench: &Workbench,
    protocol: &str,
    transport: Transport,
) -> Result<Measurement> {
    let wire = Path::Veth.wire()?;
    let client = format!("ping-pong {protocol} -i {} -p {PORT} -m 14 -t {RUN_S} --full-rtt", wire.address);
    let server = format!("server {protocol} -i {} -p {PORT}", wire.address);
    let ended = Duo {
        wire: &wire,
        listens: (transport, PORT),
        server: workbench.program("sockperf").words(&server),
        end: End::AtSignal(libc::SIGINT),
        client: workbench.program("sockperf").words(&client),
    }
    .run(workbench)?;
    let report = sockperf::ping_pong(&ended.client.stdout)?;
    Ok(ended
        .client
        .cost_with(&ended.server)
        .with(Figure::TRANSACTIONS_PER_S, report.transactions_per_s)
        .with(Figure::P50_NS, report.p50_ns)
        .with(Figure::P99_NS, report.p99_ns))
}

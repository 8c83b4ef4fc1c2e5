//! udpsend and netprobe over UDP against iperf3, sockperf, stress-ng and a plain loop.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::{
    comparison::{Bound, Comparison, Contender, Program},
    duo::{Duo, End, Ended},
    figures::{Figure, Measurement},
    formats::{iperf3, ours, reference, sockperf},
    network::{INTERFACE, Packets, Transport, Wire},
    process::Job,
    reference::{COMPILER, DATAGRAMS, TIMESTAMPS},
    workbench::Workbench,
};

pub const IPERF3: Program = Program { name: "iperf3", package: "iperf3" };
pub const SOCKPERF: Program = Program { name: "sockperf", package: "sockperf" };
const STRESS_NG: Program = Program { name: "stress-ng", package: "stress-ng" };

/// Port of whatever receives.
pub const PORT: u16 = 5201;
/// How long a sender floods, in seconds.
const FLOOD_S: f64 = 2.5;
/// From its first packets, this long is waited, and then this long are packets counted.
const WINDOW: (Duration, Duration) = (Duration::from_millis(300), Duration::from_millis(1500));
/// Packets that are a flood and no handshake any more.
const FIRST_PACKETS: u64 = 1000;
/// How long a sender may take until then.
const PATIENCE: Duration = Duration::from_secs(10);
/// Intended load of the paced comparison, in packets/s, and its length in seconds.
const PACED_PPS: u32 = 50_000;
const PACED_S: u32 = 10;
/// Payload there, in bytes.
const PACED_BYTES: u32 = 64;
/// Resident memory allowed to each of our network tools.
pub const MEMORY_LIMIT: f64 = 10.0 * 1_048_576.0;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    vec![real_packets(64, 2.0), real_packets(1472, 1.8), methods(), offloaded(), paced(), transactions()]
}

/// Both ends after a flood, and the packets per second that the interface received.
struct Flood(Ended<f64>);

/// Lets `client` flood `server`, and counts the receiving interface's packets in a window.
fn flood(
    workbench: &Workbench,
    packets: Packets,
    (server, listens, end): (Job, Transport, End),
    client: impl FnOnce(&Wire) -> Result<Job>,
) -> Result<Flood> {
    let wire = Wire::veth(packets)?;
    let client = client(&wire)?;
    let duo = Duo { wire: &wire, listens: (listens, PORT), server, end, client };
    Ok(Flood(duo.run_while(workbench, || interface_rate(workbench, &wire))?))
}

/// Packets per second that the far interface receives within the window.
fn interface_rate(workbench: &Workbench, wire: &Wire) -> Result<f64> {
    let (begin, before) = (Instant::now(), wire.packets_received()?);
    while wire.packets_received()? < before + FIRST_PACKETS {
        ensure!(begin.elapsed() < PATIENCE, "there was no flood within {PATIENCE:?}");
        workbench.rest(Duration::from_millis(20))?;
    }
    workbench.rest(WINDOW.0)?;
    let (begin, before) = (Instant::now(), wire.packets_received()?);
    workbench.rest(WINDOW.1)?;
    let (end, after) = (Instant::now(), wire.packets_received()?);
    Ok((after - before) as f64 / (end - begin).as_secs_f64())
}

impl Flood {
    /// Its figures, when `delivered` datagrams reached the receiving program at `delivered_pps`.
    fn measurement(&self, delivered: f64, delivered_pps: f64) -> Measurement {
        self.0
            .client
            .cost_with(&self.0.server)
            .with(Figure::INTERFACE_PPS, self.0.seen)
            .with(Figure::DELIVERED_PPS, delivered_pps)
            .cpu_per(Figure::CPU_PER_PACKET_NS, delivered)
    }
}

fn our_flood(bytes: u32, packets: Packets, method: &'static str) -> Contender {
    Contender::ours(format!("udpsend --method {method}"), move |workbench| {
        let sink =
            workbench.tool("udpsend", "sink").words(&format!("--listen 0.0.0.0:{PORT} --duration 30s"));
        let flood =
            flood(workbench, packets, (sink, Transport::Udp, End::AtSignal(libc::SIGTERM)), |wire| {
                Ok(workbench
                    .tool("udpsend", "")
                    .args([format!("{}:{PORT}", wire.address)])
                    .words(&format!("--size {bytes} --method {method} --duration {FLOOD_S}s")))
            })?;
        let (sender, sink) = (ours::summary(&flood.0.client)?, ours::summary(&flood.0.server)?);
        let delivered = sink.number("delivered_datagrams")?;
        let measurement = flood.measurement(delivered, delivered / sender.number("elapsed_s")?);
        let measurement = sink.complete(sender.complete(measurement));
        let peak = sender.peak_bytes().into_iter().chain(sink.peak_bytes()).reduce(f64::max);
        measurement.given(Figure::RESIDENT_PEAK_BYTES, peak)
    })
}

fn iperf3_flood(bytes: u32, packets: Packets) -> Contender {
    Contender::peer("iperf3 -u", IPERF3, move |workbench| {
        let server = workbench.program("iperf3").words(&format!("-s -1 -J -p {PORT}"));
        let flood = flood(workbench, packets, (server, Transport::Tcp, End::ByItself), |wire| {
            let words = format!("-c {} -p {PORT} -u -b 0 -l {bytes} -t {} -J", wire.address, FLOOD_S.ceil());
            Ok(workbench.program("iperf3").words(&words))
        })?;
        let (delivered_pps, delivered) = iperf3::delivered(&flood.0.client.stdout)?;
        Ok(flood.measurement(delivered, delivered_pps))
    })
}

fn sockperf_flood(bytes: u32, packets: Packets) -> Contender {
    Contender::peer("sockperf throughput", SOCKPERF, move |workbench| {
        let server = workbench.program("sockperf").words(&format!("server -i 0.0.0.0 -p {PORT}"));
        let seconds = FLOOD_S.ceil();
        let flood =
            flood(workbench, packets, (server, Transport::Udp, End::AtSignal(libc::SIGINT)), |wire| {
                let words = format!("throughput -i {} -p {PORT} -m {bytes} -t {seconds}", wire.address);
                Ok(workbench.program("sockperf").words(&words))
            })?;
        let delivered = sockperf::received(&flood.0.server.stdout)?;
        Ok(flood.measurement(delivered, delivered / seconds))
    })
}

fn plain_flood(bytes: u32, packets: Packets) -> Contender {
    Contender::peer("plain sendto loop in C", COMPILER, move |workbench| {
        let server = workbench.reference(DATAGRAMS)?.words(&format!("receive {PORT}"));
        let flood =
            flood(workbench, packets, (server, Transport::Udp, End::AtSignal(libc::SIGTERM)), |wire| {
                let words = format!("send {} {PORT} {bytes} {FLOOD_S}", wire.address);
                Ok(workbench.reference(DATAGRAMS)?.words(&words))
            })?;
        let delivered = reference::number(&flood.0.server.stdout, "datagrams")?;
        Ok(flood.measurement(delivered, delivered / FLOOD_S))
    })
}

/// stress-ng has both ends in itself, so they share a loopback, and its sizes can't be chosen.
fn stress_ng_flood() -> Contender {
    Contender::peer("stress-ng --udp (on lo, its own sizes)", STRESS_NG, |workbench| {
        let wire = Wire::loopback()?;
        let job = workbench
            .program("stress-ng")
            .words(&format!("--udp 1 --timeout {}", FLOOD_S.ceil()))
            .on_cpus(&[workbench.near_cpu, workbench.far_cpu])
            .inside(&wire.near);
        let before = wire.packets_received()?;
        let running = job.start()?;
        let rate = interface_rate(workbench, &wire)?;
        let finished = running.wait()?.succeeded()?;
        let packets = (wire.packets_received()? - before) as f64;
        Ok(finished.cost().with(Figure::INTERFACE_PPS, rate).cpu_per(Figure::CPU_PER_PACKET_NS, packets))
    })
}

fn real_packets(bytes: u32, target: f64) -> Comparison {
    let what = format!(
        "{bytes}-byte datagrams as real packets over veth, one sender thread, counted by the receiving interface"
    );
    let more = (Figure::INTERFACE_PPS, Bound::AtLeast(target));
    let cheaper = (Figure::CPU_PER_PACKET_NS, Bound::AtMost(0.4));
    let packets = Packets::Real;
    Comparison::new(format!("udp/real-{bytes}"), what, our_flood(bytes, packets, "auto"))
        .against(iperf3_flood(bytes, packets), &[more, cheaper])
        .against(sockperf_flood(bytes, packets), &[more])
        .against(plain_flood(bytes, packets), &[more])
        .against(stress_ng_flood(), &[more])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

/// What `auto` chooses against each of our own methods by name.
fn methods() -> Comparison {
    let what =
        "64-byte datagrams as real packets over veth: the method that `auto` chooses against each of them";
    let packets = Packets::Real;
    let no_slower = [(Figure::INTERFACE_PPS, Bound::AtLeast(0.95))];
    let methods = ["send", "sendmmsg", "gso", "io_uring", "packet", "xdp"];
    methods.into_iter().fold(
        Comparison::new("udp/methods-64", what, our_flood(64, packets, "auto")),
        |comparison, method| comparison.against(our_flood(64, packets, method), &no_slower),
    )
}

fn offloaded() -> Comparison {
    let what = "64-byte datagrams over veth with segmentation offload, as the receiving program counts them";
    let more = [(Figure::DELIVERED_PPS, Bound::AtLeast(20.0))];
    let packets = Packets::Offloaded;
    Comparison::new("udp/offload-64", what, our_flood(64, packets, "auto"))
        .against(iperf3_flood(64, packets), &[more[0], (Figure::CPU_PER_PACKET_NS, Bound::AtMost(0.4))])
        .against(sockperf_flood(64, packets), &more)
        .against(plain_flood(64, packets), &more)
}

fn paced() -> Comparison {
    let what = format!(
        "{PACED_PPS} packets/s of {PACED_BYTES} bytes for {PACED_S} s over veth, by the kernel's receive timestamps"
    );
    let goals = [(Figure::PACING_P99_NS, Bound::AtMost(0.2))];
    let ours = Contender::ours("udpsend", |workbench| {
        let sink =
            workbench.tool("udpsend", "sink").words(&format!("--listen 0.0.0.0:{PORT} --duration 60s"));
        let words = format!("--size {PACED_BYTES} --load {PACED_PPS}pps --duration {PACED_S}s");
        paced_run(workbench, (sink, Transport::Udp, End::AtSignal(libc::SIGTERM)), |wire| {
            workbench.tool("udpsend", "").args([format!("{}:{PORT}", wire.address)]).words(&words)
        })
    });
    let iperf3 = Contender::peer("iperf3 -u -b", IPERF3, |workbench| {
        let server = workbench.program("iperf3").words(&format!("-s -1 -J -p {PORT}"));
        let bits = PACED_PPS * PACED_BYTES * 8;
        paced_run(workbench, (server, Transport::Tcp, End::ByItself), |wire| {
            let words =
                format!("-c {} -p {PORT} -u -b {bits} -l {PACED_BYTES} -t {PACED_S} -J", wire.address);
            workbench.program("iperf3").words(&words)
        })
    });
    let sockperf = Contender::peer("sockperf throughput --mps", SOCKPERF, |workbench| {
        let server = workbench.program("sockperf").words(&format!("server -i 0.0.0.0 -p {PORT}"));
        paced_run(workbench, (server, Transport::Udp, End::AtSignal(libc::SIGINT)), |wire| {
            let words = format!(
                "throughput -i {} -p {PORT} -m {PACED_BYTES} --mps {PACED_PPS} -t {PACED_S}",
                wire.address
            );
            workbench.program("sockperf").words(&words)
        })
    });
    Comparison::new("udp/paced", what, ours)
        .against(iperf3, &goals)
        .against(sockperf, &goals)
        .at_most(Figure::RATE_ERROR_PERCENT, 0.01)
}

/// Lets a paced sender work while a packet socket at the far end notes the arrivals.
fn paced_run(
    workbench: &Workbench,
    (server, listens, end): (Job, Transport, End),
    client: impl FnOnce(&Wire) -> Job,
) -> Result<Measurement> {
    let wire = Wire::veth(Packets::Real)?;
    let client = client(&wire);
    let notes = workbench
        .reference(TIMESTAMPS)?
        .words(&format!("{INTERFACE} {PORT} {PACED_BYTES}"))
        .inside(&wire.far)
        .on_cpus(&[workbench.far_cpu])
        .start()?;
    workbench.rest(Duration::from_millis(100))?;
    let ended = Duo { wire: &wire, listens: (listens, PORT), server, end, client }.run(workbench)?;
    let notes = notes.finish(libc::SIGTERM)?.succeeded().context("note the arrivals")?;
    let timestamps = fs::read(&notes.stdout_path)?;
    let pacing = reference::pacing(&timestamps, f64::from(PACED_PPS))?;
    Ok(ended
        .client
        .cost_with(&ended.server)
        .with(Figure::PACING_P90_NS, pacing.p90_ns)
        .with(Figure::PACING_P99_NS, pacing.p99_ns)
        .with(Figure::RATE_ERROR_PERCENT, pacing.rate_error_percent)
        .cpu_per(Figure::CPU_PER_PACKET_NS, (timestamps.len() / 8) as f64))
}

fn transactions() -> Comparison {
    let what = "UDP request and response of 14 bytes over veth, one outstanding";
    let ours = Contender::ours("netprobe rr", |workbench| {
        super::tcp::our_transactions(workbench, "--transport udp --request-size 14 --response-size 14", "")
    });
    let sockperf = Contender::peer("sockperf ping-pong", SOCKPERF, |workbench| {
        super::tcp::sockperf_ping_pong(workbench, "", Transport::Udp)
    });
    let no_worse = Bound::AtMost(1.0);
    Comparison::new("udp/rr", what, ours)
        .against(sockperf, &[(Figure::P50_NS, no_worse), (Figure::P99_NS, no_worse)])
        .at_most(Figure::RESIDENT_PEAK_BYTES, MEMORY_LIMIT)
}

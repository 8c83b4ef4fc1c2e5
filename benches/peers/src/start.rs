//! How quickly each tool is ready, and how much memory it takes: bounds of their own, no peer.

use anyhow::Result;

use super::{
    comparison::{Comparison, Contender},
    disk,
    duo::{Duo, End},
    figures::{Figure, Measurement},
    formats::ours,
    network::{Transport, Wire},
    process::{Finished, Job},
    udp::PORT,
    workbench::Workbench,
};

/// From exec to the first system call of work.
const READY_S: f64 = 0.003;
const MIB: f64 = 1_048_576.0;

/// All comparisons of this group.
pub fn comparisons() -> Vec<Comparison> {
    vec![
        // Eight buffers of 128 KiB and 6 MiB for everything else.
        tool("diskprobe", 7.0, |workbench| {
            let words = "--total 16MiB --block-size 128KiB --queue-depth 8";
            alone(workbench.tool("diskprobe", "read").words(words).args([disk::any_file(workbench)?]))
        }),
        tool("udpsend", 6.0, |workbench| udpsend(workbench, Who::Client)),
        tool("udpsend-sink", 6.0, |workbench| udpsend(workbench, Who::Server)),
        tool("netprobe-serve", 6.0, |workbench| netprobe(workbench, Who::Server)),
        tool("netprobe-rr", 6.0, |workbench| netprobe(workbench, Who::Client)),
        tool("cpuload", 4.0, |workbench| {
            alone(
                workbench
                    .tool("cpuload", "")
                    .words(&format!("--cpus {} --duration 200ms", workbench.near_cpu)),
            )
        }),
        tool("irqwatch", 6.0, |workbench| {
            alone(workbench.tool("irqwatch", "").words("--count 2 --interval 100ms"))
        }),
    ]
}

fn tool(
    name: &'static str,
    memory_mib: f64,
    measure: impl Fn(&Workbench) -> Result<Measurement> + 'static,
) -> Comparison {
    let what = "time from exec until all is ready for the first operation, and peak resident memory";
    Comparison::new(format!("start/{name}"), what, Contender::ours(name, measure))
        .at_most(Figure::READY_S, READY_S)
        .at_most(Figure::RESIDENT_PEAK_BYTES, memory_mib * MIB)
}

/// Which of two programs is meant.
#[derive(Clone, Copy)]
enum Who {
    Client,
    Server,
}

fn alone(job: Job) -> Result<Measurement> {
    start_of(&job.run()?)
}

fn together(
    workbench: &Workbench,
    listens: Transport,
    who: Who,
    tool: &str,
    (server_verb, server_words): (&str, &str),
    client_verb: &str,
) -> Result<Measurement> {
    let wire = Wire::loopback()?;
    let address = format!("{}:{PORT}", wire.address);
    let client = workbench.tool(tool, client_verb).args([address]).words("--duration 200ms");
    let server = workbench.tool(tool, server_verb).words(server_words);
    let end = End::AtSignal(libc::SIGTERM);
    let ended = Duo { wire: &wire, listens: (listens, PORT), server, end, client }.run(workbench)?;
    start_of(match who {
        Who::Client => &ended.client,
        Who::Server => &ended.server,
    })
}

fn udpsend(workbench: &Workbench, who: Who) -> Result<Measurement> {
    let words = format!("--listen 0.0.0.0:{PORT} --duration 30s");
    together(workbench, Transport::Udp, who, "udpsend", ("sink", &words), "")
}

fn netprobe(workbench: &Workbench, who: Who) -> Result<Measurement> {
    let words = format!("--listen 127.0.0.1:{PORT} --duration 30s");
    together(workbench, Transport::Tcp, who, "netprobe", ("serve", &words), "rr")
}

fn start_of(finished: &Finished) -> Result<Measurement> {
    let ready_ns = ours::ready_ns(finished)?.saturating_sub(finished.started_ns);
    let measurement = ours::summary(finished)?.complete(finished.cost());
    Ok(measurement.with(Figure::READY_S, ready_ns as f64 / 1e9))
}

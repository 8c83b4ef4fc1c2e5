//! After the start, no worker allocates: a run of many datagrams allocates exactly as often on its
//! workers as a run of few.
#![allow(unsafe_code)] // A global allocator is unsafe to implement.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::Write,
    net::UdpSocket,
    process::{Command, Stdio},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use clap::Parser;
use meter::{control::Control, record::MemorySink, session::Session, tool::Program};

struct Counting;

static ON_WORKERS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The test's own thread conducts; every other is a worker.
    static CONDUCTS: Cell<bool> = const { Cell::new(false) };
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !CONDUCTS.try_with(Cell::get).unwrap_or(true) {
            ON_WORKERS.fetch_add(1, Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; `pointer` came from `System`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of the workers of one run.
fn allocations(args: &str) -> Option<u64> {
    let args = udpsend::Args::parse_from(["udpsend"].into_iter().chain(args.split_whitespace()));
    let (control, mut records) = (Control::detached(), MemorySink::default());
    let mut session = Session::new(udpsend::Args::TOOL, &mut records, &control, false);
    let before = ON_WORKERS.load(Relaxed);
    match args.run(&mut session) {
        Ok(()) => Some(ON_WORKERS.load(Relaxed) - before),
        Err(error) if error.kind().exit_code() == 3 => {
            eprintln!("skipped: this kernel has no way to do it: {}", error.full_text());
            None
        }
        Err(error) => panic!("{}", error.full_text()),
    }
}

/// Every kind of load.
const LOADS: [&str; 8] = [
    "--load 100kpps",
    "--load 100kpps --arrivals poisson",
    "--burst 32 --burst-period 300us",
    "--gap 10us",
    "--load unlimited",
    "--load 100kpps --size 8-1400",
    "--load 100kpps --size imix",
    "--load 50Mbps",
];

const INTERFACES: &str = "link set lo up
link add count0 type veth peer name count1 address 02:00:00:00:00:02
link set count0 up
link set count1 up
address add 10.79.0.1/24 dev count0
neighbour add 10.79.0.2 lladdr 02:00:00:00:00:02 dev count0
";

/// Moves this thread, and so the workers that it starts, into a network namespace of its own with an
/// interface. Gives whether that was possible.
fn has_own_interface() -> bool {
    // SAFETY: no memory is passed; threads that are started from here on inherit the namespace.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return false;
    }
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(INTERFACES.as_bytes()).unwrap();
    ip.wait().unwrap().success()
}

/// One test, since the counter is common to all threads of the process.
#[test]
fn workers_allocate_nothing_after_the_start() {
    CONDUCTS.set(true);
    let methods = if has_own_interface() {
        &["send", "sendmmsg", "gso", "io_uring", "packet", "xdp"][..]
    } else {
        eprintln!("skipped: packet and xdp, for there is no interface of its own here");
        &["send", "sendmmsg", "gso", "io_uring"]
    };
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = receiver.local_addr().unwrap().port();
    let host = if methods.len() > 4 { "10.79.0.2" } else { "127.0.0.1" };
    for method in methods {
        for load in LOADS {
            let run = |datagrams| {
                allocations(&format!(
                    "{host}:{port} --method {method} {load} --flows 3 --datagrams {datagrams}"
                ))
            };
            if let (Some(few), Some(many)) = (run(10), run(20_000)) {
                assert_eq!(few, many, "{method} {load}");
            }
        }
    }
    drop(receiver);
    for (sender, sink) in [
        ("--load 100kpps --method sendmmsg", ""),
        ("--flows 9 --size imix", "--no-gro"),
        ("", "--no-timestamps"),
    ] {
        let flood = |milliseconds: u32| {
            let mut tool = Command::new(env!("CARGO_BIN_EXE_udpsend"));
            let mut tool = tool
                .arg(format!("127.0.0.1:{port}"))
                .args(sender.split_whitespace())
                .args(["--duration", "60s"])
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let counted =
                allocations(&format!("sink --listen 127.0.0.1:{port} --duration {milliseconds}ms {sink}"));
            tool.kill().unwrap();
            tool.wait().unwrap();
            counted
        };
        assert_eq!(flood(100), flood(600), "the sink {sink} in a flood {sender}");
    }
}

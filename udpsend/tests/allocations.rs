//! After the start, no worker allocates: a run of many datagrams allocates exactly as often on its
//! workers as a run of few.
#![allow(unsafe_code)] // A global allocator is unsafe to implement.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::UdpSocket,
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
            eprintln!("skipped: {}", error.full_text());
            None
        }
        Err(error) => panic!("{}", error.full_text()),
    }
}

/// One test, since the counter is common to all threads of the process.
#[test]
fn workers_allocate_nothing_after_the_start() {
    CONDUCTS.set(true);
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let target = receiver.local_addr().unwrap();
    for method in ["send", "sendmmsg", "gso", "io_uring"] {
        for load in ["--load unlimited --size 64", "--load 100kpps --size 64", "--load 100kpps --size 8-1400"]
        {
            let run = |datagrams| {
                allocations(&format!("{target} --method {method} {load} --datagrams {datagrams}"))
            };
            if let (Some(few), Some(many)) = (run(10), run(20_000)) {
                assert_eq!(few, many, "{method} {load}");
            }
        }
    }
    let port = target.port();
    drop(receiver);
    let flood = |milliseconds: u32| {
        let mut sender = std::process::Command::new(env!("CARGO_BIN_EXE_udpsend"));
        let mut sender = sender
            .args([&format!("127.0.0.1:{port}"), "--load=100kpps", "--method=sendmmsg", "--duration=60s"])
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let counted = allocations(&format!("sink --listen 127.0.0.1:{port} --duration {milliseconds}ms"));
        sender.kill().unwrap();
        sender.wait().unwrap();
        counted
    };
    assert_eq!(flood(100), flood(600), "the sink in a flood");
}

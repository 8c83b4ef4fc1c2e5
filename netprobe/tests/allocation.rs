//! No allocation after the gate: neither in a worker that asks nor in one that answers or streams.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use meter::{clock, control::Stop, placement::Placement, rate::Rate};
use netprobe::{
    options::LocalOptions,
    protocol::order::{
        Direction, Order, Pace, ReceiveWith, SendWith, SocketOptions, Transport, Wait, Workload,
    },
    workload::{
        self, Recorders, Work,
        connections::prepare_listener,
        flow::{self, End, Flow, Link, Role},
        recorder::recorders,
    },
};
use socket2::{Domain, Socket, Type};

/// Allocations by threads other than the one that conducts, while the gate is open.
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static WORKING: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CONDUCTS: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn note() {
    if WORKING.load(Relaxed) == 1 && !CONDUCTS.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Relaxed);
    }
}

#[allow(unsafe_code)] // The allocator's trait is unsafe to implement; all is passed on to the system's.
// SAFETY: every method passes its arguments on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn order(workload: Workload, wait: Wait) -> Order {
    Order {
        workload,
        flows: 2,
        peer_threads: None,
        peer_cpus: None,
        warmup_ns: 0,
        duration_ns: 300_000_000,
        interval_ns: None,
        wait,
        cpu_dma_latency_us: None,
        socket: SocketOptions::default(),
    }
}

fn transactions(transport: Transport, outstanding: u32, pace: Option<Pace>) -> Workload {
    Workload::Transactions { transport, request_bytes: 64, response_bytes: 64, outstanding, pace }
}

fn loopback() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)
}

/// Two connected sockets of the order's kind: the client's and the server's link.
fn links(order: &Order) -> (Link, Link) {
    match order.workload {
        Workload::Transactions { transport: Transport::Udp, .. } => {
            let socket = || {
                let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
                socket.bind(&loopback().into()).unwrap();
                socket
            };
            let (client, server) = (socket(), socket());
            client.connect(&server.local_addr().unwrap()).unwrap();
            server.connect(&client.local_addr().unwrap()).unwrap();
            (Link::Connected(client), Link::Connected(server))
        }
        _ => {
            let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            listener.bind(&loopback().into()).unwrap();
            listener.listen(16).unwrap();
            let address = listener.local_addr().unwrap();
            if matches!(order.workload, Workload::Connections { .. }) {
                prepare_listener(&listener).unwrap();
                return (Link::Address(address.as_socket().unwrap()), Link::Listening(listener));
            }
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.connect(&address).unwrap();
            (Link::Connected(client), Link::Connected(listener.accept().unwrap().0))
        }
    }
}

/// Lets both ends work in this process and gives what moved, and how often workers allocated.
fn run(order: &Order, threads: u32) -> (u64, u64) {
    let (mut flows, mut peers) = (Vec::new(), Vec::new());
    for number in 0..order.all_flows() as usize {
        let (client, server) = links(order);
        flows.push(Flow::new(client, Role::new(End::Client, order, number)));
        peers.push(Flow::new(server, Role::new(End::Server, order, number)));
    }
    let (stop, early, local) = (Stop::new(), Stop::new(), LocalOptions::default());
    let placements = workload::placements(&[Placement::default()], Some(threads), order.all_flows());
    let work = |flows| Work {
        order,
        flows,
        placements: &placements,
        peer: loopback().ip(),
        local: &local,
        stop: &stop,
        early: &early,
    };
    let nobody_asks = Recorders::new(Vec::new());
    // Latencies are handed over every 30 ms, as with `--interval 30ms`.
    let (asking, _collector) = recorders(placements.len(), !order.is_closed_loop(), Some(30_000_000));
    let asking = Recorders::new(asking);
    CONDUCTS.set(true);
    let counted = std::thread::scope(|scope| {
        let server = work(&peers[..]);
        let client = work(&flows[..]);
        let (begin, begun) = std::sync::mpsc::channel();
        let (nobody_asks, stop) = (&nobody_asks, &stop);
        let serving = scope.spawn(move || {
            CONDUCTS.set(true);
            workload::run(&server, nobody_asks, |gate| {
                gate.open(clock::now_ns());
                begin.send(()).unwrap();
                while !stop.is_raised() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Ok(())
            })
            .unwrap();
        });
        begun.recv().unwrap();
        let (outcomes, counted) = workload::run(&client, &asking, |gate| {
            gate.open(clock::now_ns());
            // Threads that have just been woken finish what belongs to their start.
            std::thread::sleep(Duration::from_millis(50));
            WORKING.store(1, Relaxed);
            std::thread::sleep(Duration::from_millis(150));
            WORKING.store(0, Relaxed);
            flow::finish(&flows, stop);
            flow::finish(&peers, stop);
            Ok(ALLOCATIONS.swap(0, Relaxed))
        })
        .unwrap();
        serving.join().unwrap();
        for outcome in outcomes {
            assert!(outcome.error.is_none(), "{:?}", outcome.error);
        }
        counted
    });
    let moved = flows
        .iter()
        .map(|flow| flow.transactions.value() + flow.sent_bytes.value() + flow.received_bytes.value());
    (moved.sum(), counted)
}

/// One test, because the counter is one for all threads.
#[test]
fn no_worker_allocates_after_the_gate() {
    let stream = |direction, send_with, receive_with| Workload::Stream {
        direction,
        write_bytes: 100_000,
        read_bytes: 50_000,
        send_with,
        receive_with,
    };
    use {Direction::*, ReceiveWith::Discard, SendWith::*, Transport::*};
    let copy = ReceiveWith::Copy;
    let adaptive = Wait::Adaptive { spin_ns: 50_000 };
    let pace = |poisson| Some(Pace { rate: Rate::new(5_000, 1_000_000_000).unwrap(), poisson, seed: 1 });
    let mut kinds = vec![
        (stream(Send, Copy, copy), Wait::Block, 2),
        (stream(Receive, Copy, copy), Wait::Block, 2),
        (stream(Both, Copy, copy), Wait::Block, 4),
        (stream(Both, Copy, copy), Wait::Spin, 1),
        (stream(Send, Zerocopy, copy), Wait::Block, 2),
        (stream(Both, Zerocopy, Discard), Wait::Block, 4),
        (stream(Both, Zerocopy, copy), Wait::Block, 1),
        (stream(Send, Sendfile, copy), Wait::Block, 2),
        (stream(Both, Sendfile, copy), Wait::Block, 1),
        (Workload::Connections { request_bytes: 1, response_bytes: 1 }, Wait::Block, 2),
    ];
    for transport in [Tcp, Udp] {
        for wait in [Wait::Block, adaptive, Wait::Spin] {
            kinds.push((transactions(transport, 1, None), wait, 2));
            kinds.push((transactions(transport, 8, None), wait, 1));
            kinds.push((transactions(transport, 64, pace(wait == Wait::Block)), wait, 2));
        }
    }
    for (workload, wait, threads) in kinds {
        let order = order(workload, wait);
        let (moved, allocations) = run(&order, threads);
        assert!(moved > 0, "{order:?}");
        assert_eq!(allocations, 0, "{order:?}");
    }
}

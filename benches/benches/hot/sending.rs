//! One batch of datagrams by each method: what handing them over costs, without anyone who reads.
//!
//! As root they leave through a veth interface of a namespace of this process's own, whose other end
//! drops them; else through the loopback device to a full socket, without the raw methods.
#![allow(unsafe_code)] // A namespace of one's own is had by unshare(2).

use std::{
    io::{self, Write},
    net::{SocketAddr, UdpSocket},
    process::{Command, Stdio},
};

use criterion::{Criterion, Throughput};
use meter::control::Stop;
use udpsend::{
    method::{
        self,
        kind::Method,
        transmit::{Datagram, TransmitConfig},
    },
    payload::Origin,
    socket::{Flow, SocketOptions},
};

/// An address behind the interface, known without asking who has it.
const BEHIND: &str = "10.79.0.2:5010";
const INTERFACES: &str = "link set lo up
link add bench0 type veth peer name bench1 address 02:00:00:00:00:02
link set bench0 up
link set bench1 up
address add 10.79.0.1/24 dev bench0
neighbour add 10.79.0.2 lladdr 02:00:00:00:00:02 dev bench0
";
const BATCH: usize = 64;
const METHODS: [Method; 6] =
    [Method::Send, Method::Sendmmsg, Method::Gso, Method::IoUring, Method::Packet, Method::Xdp];

pub fn benchmarks(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("sending");
    group.throughput(Throughput::Elements(BATCH as u64));
    let own_interface = own_interface();
    if let Err(error) = &own_interface {
        eprintln!("sending: over loopback, for there is no interface of its own: {error}");
    }
    let receiver = UdpSocket::bind("127.0.0.1:0").expect("a port is free");
    let loopback = receiver.local_addr().expect("a bound socket has an address");
    let target = own_interface.unwrap_or(loopback);
    for method in METHODS {
        let options = SocketOptions::default();
        let flow = Flow::open(target, 0, &options).expect("a socket can be had");
        let config = TransmitConfig {
            method,
            largest: 64,
            batch_size: BATCH,
            socket: &options,
            origin: Origin::here(),
            worker: 0,
            workers: 1,
            stop: &Stop::new(),
        };
        let mut transmit = match method::open(vec![flow], &config) {
            Ok(transmit) => transmit,
            Err(error) => {
                eprintln!("sending/{method}: left out: {}", error.full_text());
                continue;
            }
        };
        let batch: Vec<Datagram> =
            (0..BATCH as u64).map(|sequence| Datagram { sequence, intended_ns: 0, size: 64 }).collect();
        group.bench_function(method.to_string(), |bencher| {
            bencher.iter(|| {
                let mut done = 0;
                while done < BATCH {
                    let end = BATCH.min(done + transmit.batch_size());
                    let outcome = transmit.transmit(0, &batch[done..end]);
                    done += outcome.consumed;
                    if outcome.is_full {
                        transmit.wait_for_room(0, 1_000_000);
                    }
                }
            });
        });
    }
    group.finish();
}

/// Moves this process into a network namespace of its own with an interface, and gives an address behind it.
fn own_interface() -> io::Result<SocketAddr> {
    // SAFETY: no memory is passed, and this process has a single thread that uses the network.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return Err(io::Error::last_os_error());
    }
    let mut ip = Command::new("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn()?;
    ip.stdin.take().expect("it is piped").write_all(INTERFACES.as_bytes())?;
    if !ip.wait()?.success() {
        return Err(io::Error::other("`ip` failed"));
    }
    Ok(BEHIND.parse().expect("an address"))
}

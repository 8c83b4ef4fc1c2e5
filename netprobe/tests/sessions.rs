//! Very many sessions, one after the other and all at once: nothing leaks, nothing hangs, all are counted by kind.

mod support;

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
};

use netprobe::protocol::{
    message::{Refusal, Reply, Request},
    token::Token,
};
use support::{
    Server, eventually, probe,
    talk::{authenticated, opened, reply, request, stopped, transact},
};

const SECRET: &str = "a token of ten thousand sessions";

/// A server that knows the secret, the same secret for clients, and the file's folder.
fn server(flags: &[&str]) -> (Server, Token, tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, SECRET).unwrap();
    let file = file.to_str().unwrap().to_owned();
    let server = Server::start(&[&["--token-file", &file][..], flags].concat());
    (server, Token::new(SECRET.as_bytes()).unwrap(), folder, file)
}

/// One whole session: one transaction, and the report.
fn whole(server: &Server, token: &Token) {
    let mut control = authenticated(server, token).unwrap();
    let mut flow = opened(server, &mut control).unwrap();
    request(&mut control, &Request::Start);
    assert_eq!(reply(&mut control), Some(Reply::Started));
    transact(&mut flow);
    assert!(stopped(&mut control) <= 1);
}

#[test]
fn ten_thousand_sessions_leave_nothing_behind() {
    const SESSIONS: usize = 10_000;
    let (server, token, _folder, file) = server(&["--max-sessions", "64"]);
    (0..64).for_each(|_| whole(&server, &token));
    let (descriptors, threads, resident) = (server.descriptors(), server.threads(), server.resident_bytes());
    let (next, wrong) = (AtomicUsize::new(0), Token::new(b"not the secret of this server").unwrap());
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let number @ 0..SESSIONS = next.fetch_add(1, Relaxed) {
                    match number % 10 {
                        // Its token is wrong.
                        0 => assert_eq!(authenticated(&server, &wrong).unwrap_err(), Refusal::Token),
                        // It goes away where the server waits for it to start.
                        1 => {
                            let mut control = authenticated(&server, &token).unwrap();
                            drop(opened(&server, &mut control).unwrap());
                        }
                        // It goes away in the middle of the measurement.
                        2 => {
                            let mut control = authenticated(&server, &token).unwrap();
                            let mut flow = opened(&server, &mut control).unwrap();
                            request(&mut control, &Request::Start);
                            transact(&mut flow);
                        }
                        _ => whole(&server, &token),
                    }
                }
            });
        }
    });
    eventually("the threads' end", || server.threads() <= threads);
    eventually("the descriptors' release", || server.descriptors() <= descriptors);
    let grown = server.resident_bytes().saturating_sub(resident);
    assert!(grown < 4 << 20, "{grown} bytes more than after 64 sessions");
    let told = probe(&["rr", &server.name(), "--token-file", &file, "--duration", "100ms"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let summary = server.stop();
    let counts = ["completed", "broken", "refused_token", "refused_order", "refused_busy", "malformed"]
        .map(|kind| summary[kind].as_u64().unwrap());
    assert_eq!(counts, [64 + 7_000 + 1, 2_000, 1_000, 0, 0, 0], "{summary}");
}

#[test]
fn a_thousand_clients_at_once_each_have_their_session() {
    netprobe::sys::raise_file_limit();
    let (server, token, _folder, file) = server(&["--max-sessions", "1000", "--max-pending", "2000"]);
    (0..8).for_each(|_| whole(&server, &token));
    let (descriptors, threads) = (server.descriptors(), server.threads());
    let mut clients: Vec<_> = (0..1000)
        .map(|_| {
            let mut control = authenticated(&server, &token).unwrap();
            let flow = opened(&server, &mut control).unwrap();
            (control, flow)
        })
        .collect();
    let mut late = authenticated(&server, &token).unwrap();
    assert_eq!(opened(&server, &mut late).unwrap_err(), Refusal::Busy, "the 1001st");
    clients.iter_mut().for_each(|(control, _)| request(control, &Request::Start));
    for (control, flow) in &mut clients {
        assert_eq!(reply(control), Some(Reply::Started));
        (0..10).for_each(|_| transact(flow));
    }
    // A second of measurement passes meanwhile, so an early one's report may miss the late transactions of none.
    clients.iter_mut().for_each(|(control, _)| assert!(stopped(control) <= 10));
    drop(clients);
    eventually("the threads' end", || server.threads() <= threads);
    eventually("the descriptors' release", || server.descriptors() <= descriptors);
    let told = probe(&["rr", &server.name(), "--token-file", &file, "--duration", "100ms"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let summary = server.stop();
    let counts = ["completed", "broken", "refused_busy"].map(|kind| summary[kind].as_u64().unwrap());
    assert_eq!(counts, [8 + 1000 + 1, 0, 1], "{summary}");
}

#[test]
fn a_thousand_clients_at_once_that_find_few_places_are_told_so() {
    netprobe::sys::raise_file_limit();
    let (server, token, _folder, _) = server(&["--max-sessions", "16", "--max-pending", "2000"]);
    let mut clients: Vec<_> = (0..1000).map(|_| authenticated(&server, &token).unwrap()).collect();
    let flows: Vec<_> = clients.iter_mut().map(|control| opened(&server, control)).collect();
    let busy = flows.iter().filter(|flow| matches!(flow, Err(Refusal::Busy))).count();
    assert_eq!(busy, 984);
    drop((flows, clients));
    eventually("all places", || server.threads() <= 3);
    whole(&server, &token);
    assert_eq!(server.stop()["refused_busy"], 984);
}

//! The protocol, word by word, so that a client can stop, lie or vanish in any place of it.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use netprobe::protocol::{
    frame,
    hello::Hello,
    message::{Refusal, Reply, Request},
    token::{Nonce, Side, Token},
};

use super::Server;

/// A connection that has said its hello and been asked for its order.
pub fn control(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&Hello::Control.encode()).unwrap();
    assert!(matches!(reply(&mut stream), Some(Reply::Challenge { .. })));
    stream
}

pub fn reply(stream: &mut TcpStream) -> Option<Reply> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).ok()?;
    let mut frame = vec![0; u32::from_be_bytes(head) as usize];
    stream.read_exact(&mut frame).ok()?;
    serde_json::from_slice(&frame).ok()
}

pub fn say(stream: &mut TcpStream, request: &str) {
    stream.write_all(&frame::encode(request.as_bytes()).unwrap()).unwrap();
}

/// Whether the server has closed the connection.
pub fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = [0; 4096];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn order(changes: &[(&str, &str)]) -> String {
    let mut text = r#"{"open":{"workload":{"transactions":{"transport":"tcp","request_bytes":1,"response_bytes":1,"outstanding":1,"pace":null}},"flows":1,"peer_threads":null,"peer_cpus":null,"warmup_ns":0,"duration_ns":1000000000,"interval_ns":null,"wait":"block","cpu_dma_latency_us":null,"socket":{"congestion":null,"segment_bytes":null,"delay_small_writes":false,"quick_ack":false,"send_buffer_bytes":null,"receive_buffer_bytes":null}}}"#.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    text
}

/// A connection that has proved that it knows `token`; the class of the refusal where the server does not think so.
pub fn authenticated(server: &Server, token: &Token) -> Result<TcpStream, Refusal> {
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.write_all(&Hello::Control.encode()).unwrap();
    let Some(Reply::Challenge { nonce: theirs, token_needed: true }) = reply(&mut stream) else {
        panic!("no challenge")
    };
    let nonce = Nonce::default();
    let proof = token.prove(Side::Client, &theirs, &nonce);
    request(&mut stream, &Request::Authenticate { nonce, proof });
    match reply(&mut stream) {
        Some(Reply::Authenticated { proof }) if token.verify(Side::Server, &theirs, &nonce, &proof) => {
            Ok(stream)
        }
        Some(Reply::Refused { because, .. }) => Err(because),
        other => panic!("{other:?}"),
    }
}

pub fn request(stream: &mut TcpStream, request: &Request) {
    say(stream, &serde_json::to_string(request).unwrap());
}

/// Asks for a session of one flow and connects it; the class of the refusal where there is none.
pub fn opened(server: &Server, stream: &mut TcpStream) -> Result<TcpStream, Refusal> {
    say(stream, &order(&[]));
    let cookie = match reply(stream) {
        Some(Reply::Opened { cookie, .. }) => u128::from_str_radix(&cookie, 16).unwrap().to_be_bytes(),
        Some(Reply::Refused { because, .. }) => return Err(because),
        other => panic!("{other:?}"),
    };
    let mut flow = TcpStream::connect(server.address).unwrap();
    flow.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    flow.set_nodelay(true).unwrap();
    flow.write_all(&Hello::Data { cookie, flow: 0 }.encode()).unwrap();
    assert_eq!(reply(stream), Some(Reply::Ready));
    Ok(flow)
}

/// One request and its response.
pub fn transact(flow: &mut TcpStream) {
    let mut byte = [7];
    flow.write_all(&byte).unwrap();
    flow.read_exact(&mut byte).unwrap();
}

/// Stops the measurement and gives how many transactions the server saw.
pub fn stopped(stream: &mut TcpStream) -> u64 {
    request(stream, &Request::Stop);
    match reply(stream) {
        Some(Reply::Report(report)) => report.transactions.unwrap(),
        other => panic!("{other:?}"),
    }
}

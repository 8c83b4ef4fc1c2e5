//! What a connection must say before it costs the server anything: a pure state machine, bytes in,
//! a decision out.

use std::sync::Arc;

use crate::protocol::{
    frame::{self, Assembler},
    hello::{self, Cookie, Hello},
    message::{Refusal, Reply, Request},
    order::Order,
    token::{Nonce, Side, Token},
};

/// What to do with a connection after some bytes of it.
#[derive(Debug)]
pub enum Decision {
    /// Nothing yet.
    Wait,
    /// Send these bytes and go on.
    Say(Vec<u8>),
    /// Send these bytes and close: the client gets to know why.
    Refuse(Refusal, Vec<u8>),
    /// Close without a word: it is no client of ours.
    Hang,
    /// It is a flow of this session.
    Data {
        /// The session.
        cookie: Cookie,
        /// Number of the flow.
        flow: u32,
    },
    /// It asks for a session, and may.
    Open(Box<Order>, Assembler),
}

#[derive(Debug)]
enum State {
    Hello(Vec<u8>),
    Authenticate(Arc<Token>),
    Order,
}

/// One connection at the door.
#[derive(Debug)]
pub struct Door {
    state: State,
    token: Option<Arc<Token>>,
    nonce: Nonce,
    assembler: Assembler,
}

impl Door {
    /// A connection that has said nothing. `nonce` must be fresh random bits.
    #[must_use]
    pub fn new(token: Option<Arc<Token>>, nonce: Nonce) -> Self {
        let state = State::Hello(Vec::with_capacity(hello::LENGTH));
        Self { state, token, nonce, assembler: Assembler::new(frame::REQUEST_LIMIT) }
    }

    /// How many bytes to read at most, so that nothing behind a hello is taken from a data connection.
    #[must_use]
    pub fn appetite(&self) -> usize {
        match &self.state {
            State::Hello(bytes) => hello::LENGTH - bytes.len(),
            _ => 4096,
        }
    }

    /// Takes in received bytes, at most [`Door::appetite`] of them.
    pub fn receive(&mut self, bytes: &[u8]) -> Decision {
        match &mut self.state {
            State::Hello(hello) => {
                hello.extend_from_slice(bytes);
                match <&[u8; hello::LENGTH]>::try_from(hello.as_slice()).map(Hello::decode) {
                    Err(_) => Decision::Wait,
                    Ok(Err(hello::Malformed::Version(theirs))) => refuse(
                        Refusal::Unavailable,
                        format!(
                            "this server speaks version {} of the protocol, the client version {theirs}: use the \
                             same netprobe at both ends",
                            hello::VERSION
                        ),
                    ),
                    Ok(Err(_)) => Decision::Hang,
                    Ok(Ok(Hello::Data { cookie, flow })) => Decision::Data { cookie, flow },
                    Ok(Ok(Hello::Control)) => self.challenge(),
                }
            }
            _ => {
                self.assembler.push(bytes);
                self.next_request()
            }
        }
    }

    fn challenge(&mut self) -> Decision {
        self.state = self.token.clone().map_or(State::Order, State::Authenticate);
        say(&Reply::Challenge { nonce: self.nonce, token_needed: self.token.is_some() })
    }

    fn next_request(&mut self) -> Decision {
        let frame = match self.assembler.next_frame() {
            Ok(None) => return Decision::Wait,
            Ok(Some(frame)) => frame,
            Err(error) => return refuse(Refusal::Order, error.to_string()),
        };
        match serde_json::from_slice(&frame) {
            Ok(request) => self.answer(request),
            Err(error) => refuse(Refusal::Order, format!("not a message of this protocol: {error}")),
        }
    }

    fn answer(&mut self, request: Request) -> Decision {
        match (&self.state, request) {
            (State::Authenticate(token), Request::Authenticate { nonce, proof }) => {
                if !token.verify(Side::Client, &self.nonce, &nonce, &proof) {
                    return refuse(Refusal::Token, "the token is wrong".into());
                }
                let proof = token.prove(Side::Server, &self.nonce, &nonce);
                self.state = State::Order;
                say(&Reply::Authenticated { proof })
            }
            (State::Authenticate(_), _) => refuse(Refusal::Token, "a token is needed".into()),
            (State::Order, Request::Open(order)) => {
                let assembler = std::mem::replace(&mut self.assembler, Assembler::new(0));
                Decision::Open(Box::new(order), assembler)
            }
            _ => refuse(Refusal::Order, "out of turn: `open` must come first".into()),
        }
    }
}

/// A message as bytes for the wire.
fn encode(reply: &Reply) -> Option<Vec<u8>> {
    frame::encode(&serde_json::to_vec(reply).ok()?).ok()
}

fn say(reply: &Reply) -> Decision {
    encode(reply).map_or(Decision::Hang, Decision::Say)
}

/// The refusal of a connection, as a decision.
#[must_use]
pub fn refuse(because: Refusal, reason: String) -> Decision {
    encode(&Reply::Refused { because, reason })
        .map_or(Decision::Hang, |bytes| Decision::Refuse(because, bytes))
}

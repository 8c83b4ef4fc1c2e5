//! The ways to hand datagrams to the kernel, side by side behind one small trait.

use meter::Result;

use crate::socket::Flow;

mod auto;
mod gso;
mod io_uring;
pub mod kind;
mod outgoing;
mod packet;
mod raw;
mod send;
mod sendmmsg;
pub mod transmit;
mod xdp;
mod xsk;

pub use auto::{Path, choose};
use kind::Method;
use transmit::{Transmit, TransmitConfig};

/// The transmitter of one worker over its `flows`.
///
/// # Errors
/// When the machine refuses the method (exit code 3).
pub fn open(flows: Vec<Flow>, config: &TransmitConfig<'_>) -> Result<Box<dyn Transmit>> {
    Ok(match config.method {
        Method::Send => Box::new(send::Send::new(flows, config)),
        Method::Sendmmsg => Box::new(sendmmsg::Sendmmsg::new(flows, config)),
        Method::Gso => Box::new(gso::Gso::new(flows, config)?),
        Method::IoUring => Box::new(io_uring::IoUring::new(flows, config)?),
        Method::Packet => Box::new(packet::Packet::new(flows, config)?),
        Method::Xdp => Box::new(xdp::Xdp::new(flows, config)?),
    })
}

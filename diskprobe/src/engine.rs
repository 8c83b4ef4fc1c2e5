//! What the measuring loop needs of an engine: slots, requests, completions.

use meter::Result;
use serde::Serialize;

use crate::setup::Granted;

/// What is done to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// Data goes to the target.
    Write,
    /// Data comes from the target.
    Read,
}

impl Operation {
    /// The verb for messages.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

/// Number of a buffer and of the operation that may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(pub(crate) u16);

impl Slot {
    /// Slot number `index`; an engine panics at one that it does not have.
    #[must_use]
    pub fn new(index: u16) -> Self {
        Self(index)
    }
}

/// One operation as the loop asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// Direction.
    pub operation: Operation,
    /// Where in the target, in bytes.
    pub offset: u64,
    /// How much, in bytes; at most the length of a slot's block.
    pub length: u32,
}

/// Why an operation did not do all that it was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The kernel's error number.
    Errno(i32),
    /// The target ended: zero bytes were transferred.
    EndOfTarget,
    /// The kernel never took it, with this error number of the submission.
    Refused(i32),
}

/// An operation that has ended. Its slot is free again.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// The slot that is free now.
    pub slot: Slot,
    /// What had been asked for.
    pub request: Request,
    /// Bytes whose transfer the kernel confirmed.
    pub bytes: u32,
    /// How often the kernel transferred only a part and was asked for the rest.
    pub short_transfers: u32,
    /// What prevented the rest.
    pub fault: Option<Fault>,
}

/// How completions are gathered, so that a device with hundreds of thousands of operations per second does
/// not wake the loop for every single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathering {
    /// As many as come within this time at the present pace, in nanoseconds.
    pub within_ns: u64,
    /// At most as many: what else is in flight keeps the device busy meanwhile.
    pub most: u32,
}

impl Gathering {
    /// Half of the depth at most, so that the other half keeps the device busy.
    #[must_use]
    pub fn beside_the_device(depth: u16) -> Self {
        Self { within_ns: 20_000, most: u32::from(depth) / 2 }
    }

    /// All of the depth, for a device that works only while nobody else does.
    #[must_use]
    pub fn in_turn_with_the_device(depth: u16) -> Self {
        Self { within_ns: 50_000, most: u32::from(depth) }
    }
}

/// How long the kernel may refuse operations for want of resources before a run that shall end gives them up, in
/// nanoseconds.
pub const LONGEST_REFUSAL_NS: u64 = 500_000_000;

/// A way to do I/O with several operations in flight. Slots are numbered from 0; a slot is busy from
/// [`Engine::queue`] until its completion was reaped, and its block can't be reached meanwhile.
pub trait Engine {
    /// How many operations can be in flight.
    fn slots(&self) -> u16;

    /// What the kernel granted of io_uring's features; `None` for an engine without it.
    fn granted(&self) -> Option<&Granted>;

    /// How many completions may be gathered before the loop looks at them.
    fn gathering(&self) -> Gathering {
        Gathering::beside_the_device(self.slots())
    }

    /// The block of a free slot.
    ///
    /// # Panics
    /// When the slot is busy.
    fn block(&self, slot: Slot) -> &[u8];

    /// The block of a free slot, to fill.
    ///
    /// # Panics
    /// When the slot is busy.
    fn block_mut(&mut self, slot: Slot) -> &mut [u8];

    /// Takes an operation on a free slot; nothing starts before [`Engine::submit`].
    ///
    /// # Panics
    /// When the slot is busy or the request is longer than its block.
    fn queue(&mut self, slot: Slot, request: Request);

    /// Starts everything queued.
    ///
    /// # Errors
    /// When the kernel refuses the call itself.
    fn submit(&mut self) -> Result<()>;

    /// Returns when `at_least` operations have ended, after `timeout_ns`, or when a signal came. With 0
    /// and no timeout it only looks for what has ended.
    ///
    /// # Errors
    /// When the kernel refuses the call itself.
    fn wait(&mut self, at_least: u32, timeout_ns: Option<u64>) -> Result<()>;

    /// Whether the kernel has taken none of the queued operations for [`LONGEST_REFUSAL_NS`], and holds none.
    fn is_refused(&mut self) -> bool {
        false
    }

    /// Gives up all queued operations and appends them to `completions` as refused. The engine starts nothing any
    /// more.
    fn abandon(&mut self, completions: &mut Vec<Completion>) {
        let _ = completions;
    }

    /// Appends what has ended to `completions`, without waiting. Operations that the kernel did in
    /// part are queued again for the rest and do not count as ended.
    fn reap(&mut self, completions: &mut Vec<Completion>);
}

/// What became of the request of one slot, for engines to keep.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub request: Request,
    pub bytes: u32,
    pub short_transfers: u32,
}

impl Progress {
    pub fn new(request: Request) -> Self {
        Self { request, bytes: 0, short_transfers: 0 }
    }

    /// The part that is still to do.
    pub fn rest(&self) -> Request {
        let Request { operation, offset, length } = self.request;
        Request { operation, offset: offset + u64::from(self.bytes), length: length - self.bytes }
    }

    /// Takes the kernel's result for [`Self::rest`]: a completion, or `None` when a rest is left to do.
    pub fn advance(&mut self, slot: Slot, result: i32) -> Option<Completion> {
        let fault = match result {
            0 => Some(Fault::EndOfTarget),
            errno if errno < 0 => Some(Fault::Errno(-errno)),
            bytes => {
                self.bytes += bytes.unsigned_abs();
                if self.bytes < self.request.length {
                    self.short_transfers += 1;
                    return None;
                }
                None
            }
        };
        let Self { request, bytes, short_transfers } = *self;
        Some(Completion { slot, request, bytes, short_transfers, fault })
    }
}

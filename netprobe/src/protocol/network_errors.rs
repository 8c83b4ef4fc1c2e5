//! What each end tells of the network's errors.

use serde::{Deserialize, Serialize};

/// How many kinds of errors are told apart.
pub(crate) const KINDS: usize = 7;

/// How often the network refused something, by kind. A run does not end with one of these where requests can
/// get lost anyway: over UDP, and where every transaction makes its own connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct NetworkErrors {
    /// Nobody listens there, says the peer's kernel (ECONNREFUSED).
    pub refused: u64,
    /// No way there (ENETUNREACH, EHOSTUNREACH): no route, or nobody answers for the address.
    pub unreachable: u64,
    /// The interface is down or gone (ENETDOWN, EHOSTDOWN, ENODEV, ENXIO).
    pub down: u64,
    /// The kernel had no room for it (ENOBUFS, ENOMEM, and for connections EMFILE, ENFILE).
    pub no_buffers: u64,
    /// A packet filter of this end forbade it (EPERM, EACCES).
    pub not_permitted: u64,
    /// The peer ended a connection in the middle of a transaction (ECONNRESET, EPIPE, end of file).
    pub broken: u64,
    /// A connection had no answer for so long that the kernel gave it up (ETIMEDOUT).
    pub timed_out: u64,
}

impl NetworkErrors {
    /// The counts by kind, in the order of the fields.
    pub(crate) fn from_counts(counts: [u64; KINDS]) -> Self {
        let [refused, unreachable, down, no_buffers, not_permitted, broken, timed_out] = counts;
        Self { refused, unreachable, down, no_buffers, not_permitted, broken, timed_out }
    }

    fn counts(self) -> [u64; KINDS] {
        let Self { refused, unreachable, down, no_buffers, not_permitted, broken, timed_out } = self;
        [refused, unreachable, down, no_buffers, not_permitted, broken, timed_out]
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (own, other) = (self.counts(), other.counts());
        Self::from_counts(std::array::from_fn(|kind| own[kind].saturating_add(other[kind])))
    }

    /// Growth since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        let (own, earlier) = (self.counts(), earlier.counts());
        Self::from_counts(std::array::from_fn(|kind| own[kind].saturating_sub(earlier[kind])))
    }

    /// The kinds that there were, with their counts.
    pub fn occurred(self) -> impl Iterator<Item = (&'static str, u64)> {
        const NAMES: [&str; KINDS] = [
            "refused",
            "unreachable",
            "interface down",
            "no buffers",
            "not permitted",
            "connection broken",
            "timed out",
        ];
        NAMES.into_iter().zip(self.counts()).filter(|&(_, count)| count > 0)
    }
}

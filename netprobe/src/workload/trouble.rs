//! Errors of the network that come and go: counted by kind, while the work goes on.

use std::io;

use meter::counter::Counter;
use serde::{Deserialize, Serialize};

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

/// A kind of such errors, in the order of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// See [`NetworkErrors::refused`].
    Refused,
    /// See [`NetworkErrors::unreachable`].
    Unreachable,
    /// See [`NetworkErrors::down`].
    Down,
    /// See [`NetworkErrors::no_buffers`].
    NoBuffers,
    /// See [`NetworkErrors::not_permitted`].
    NotPermitted,
    /// See [`NetworkErrors::broken`].
    Broken,
    /// See [`NetworkErrors::timed_out`].
    TimedOut,
}

const KINDS: usize = 7;

impl Trouble {
    /// The kind of `error`; `None` for one that will not pass by itself.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Some(Self::Broken);
        }
        Some(match error.raw_os_error()? {
            libc::ECONNREFUSED => Self::Refused,
            libc::ENETUNREACH | libc::EHOSTUNREACH => Self::Unreachable,
            libc::ENETDOWN | libc::EHOSTDOWN | libc::ENODEV | libc::ENXIO => Self::Down,
            libc::ENOBUFS | libc::ENOMEM | libc::EMFILE | libc::ENFILE => Self::NoBuffers,
            libc::EPERM | libc::EACCES => Self::NotPermitted,
            libc::ECONNRESET | libc::EPIPE => Self::Broken,
            libc::ETIMEDOUT => Self::TimedOut,
            _ => return None,
        })
    }
}

/// The counts of one flow, written by the thread that works on it.
#[derive(Debug, Default)]
pub struct Troubles([Counter; KINDS]);

impl Troubles {
    /// Counts `error`.
    ///
    /// # Errors
    /// `error` itself, when it is of no kind that passes.
    pub fn count(&self, error: io::Error) -> io::Result<()> {
        let Some(kind) = Trouble::of(&error) else { return Err(error) };
        self.0[kind as usize].add(1);
        Ok(())
    }

    /// The counts so far.
    #[must_use]
    pub fn errors(&self) -> NetworkErrors {
        NetworkErrors::from_counts(self.0.each_ref().map(Counter::value))
    }
}

impl NetworkErrors {
    fn from_counts(counts: [u64; KINDS]) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_count_and_defects_are_no_trouble() {
        let troubles = Troubles::default();
        let codes = [
            libc::ECONNREFUSED,
            libc::EHOSTUNREACH,
            libc::ENETDOWN,
            libc::ENOBUFS,
            libc::EPERM,
            libc::ECONNRESET,
            libc::ETIMEDOUT,
        ];
        for (times, code) in (1..).zip(codes) {
            for _ in 0..times {
                troubles.count(io::Error::from_raw_os_error(code)).unwrap();
            }
        }
        let counts: Vec<u64> = troubles.errors().occurred().map(|(_, count)| count).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6, 7]);
        for code in [libc::EBADF, libc::EMSGSIZE, libc::EINVAL, libc::EADDRNOTAVAIL] {
            let error = troubles.count(io::Error::from_raw_os_error(code)).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(code));
        }
        assert_eq!(troubles.errors().since(troubles.errors()), NetworkErrors::default());
    }
}

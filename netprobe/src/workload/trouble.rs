//! Errors of the network that come and go: counted by kind, while the work goes on.

use std::io;

use meter::counter::Counter;

use crate::protocol::network_errors::KINDS;
pub use crate::protocol::network_errors::NetworkErrors;

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

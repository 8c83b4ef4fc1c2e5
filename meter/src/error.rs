//! Errors that name the thing and what to try, and the exit codes that scripts lean on.

use std::io;

use serde::Serialize;

/// Shorthand for a result whose error is [`struct@Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why a tool could not do what it was asked, as a class that becomes its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Something failed while working: an I/O error, a peer that went away. Exit code 1.
    Failed,
    /// What was typed is wrong or contradicts itself. Exit code 2.
    BadArguments,
    /// The machine lacks what was asked for: a permission, a device, a kernel feature. Exit code 3.
    Unavailable,
}

impl ErrorKind {
    /// The process's exit code for this class.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::BadArguments => 2,
            Self::Unavailable => 3,
        }
    }
}

/// The exit code of a run that finished but whose result can't be trusted.
pub const EXIT_UNTRUSTED: u8 = 4;

/// An error of a tool: its class, one sentence that says what failed, on what, and what to try, and
/// the system's own error where there is one (never repeated in the sentence).
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<io::Error>,
}

impl Error {
    /// Something failed while working (exit code 1).
    pub fn failed(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Failed, message: message.into(), source: None }
    }

    /// What was typed is wrong (exit code 2).
    pub fn bad_arguments(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::BadArguments, message: message.into(), source: None }
    }

    /// The machine lacks what was asked for (exit code 3).
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Unavailable, message: message.into(), source: None }
    }

    /// A system call on `what` failed. A missing permission or kernel feature is `Unavailable`,
    /// everything else `Failed`.
    pub fn system(what: impl Into<String>, source: io::Error) -> Self {
        let kind = match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES | libc::ENOSYS | libc::EOPNOTSUPP) => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        };
        Self { kind, message: what.into(), source: Some(source) }
    }

    /// The same error in another class, where the caller knows better than the error number.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Keeps the system's error beside a sentence of one's own.
    #[must_use]
    pub fn with_source(mut self, source: io::Error) -> Self {
        self.source = Some(source);
        self
    }

    /// The class of the error.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The system's error number, where the error came from the kernel.
    #[must_use]
    pub fn os_error(&self) -> Option<i32> {
        self.source.as_ref().and_then(io::Error::raw_os_error)
    }

    /// The sentence with the system's error behind it: what people read.
    #[must_use]
    pub fn full_text(&self) -> String {
        match &self.source {
            Some(source) => format!("{}: {source}", self.message),
            None => self.message.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_unavailable_and_a_full_disk_is_a_failure() {
        let permission = Error::system("open /dev/sdb", io::Error::from_raw_os_error(libc::EACCES));
        assert_eq!(permission.kind().exit_code(), 3);
        let full = Error::system("write /mnt/x", io::Error::from_raw_os_error(libc::ENOSPC));
        assert_eq!(full.kind().exit_code(), 1);
        assert_eq!(full.full_text(), "write /mnt/x: No space left on device (os error 28)");
    }
}

//! How the kernel shall schedule the workers.

use std::{fmt, str::FromStr};

use meter::{Error, Result, placement::Policy, units::Nanoseconds};
use serde::{Serialize, Serializer};

use crate::sys;

/// A policy with its parameter, shown and stored as `other`, `fifo:10`, `nice:5` or `deadline:10ms/100ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// A policy that a placement sets.
    Policy(Policy),
    /// SCHED_OTHER with this nice value.
    Nice(i32),
    /// SCHED_DEADLINE.
    Deadline(Deadline),
}

/// CPU time that SCHED_DEADLINE grants in every period. Typed as `10ms/100ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// So much, in nanoseconds.
    pub runtime_ns: u64,
    /// In every so much; the deadline is the end of the period.
    pub period_ns: u64,
}

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (runtime, period) = text
            .split_once('/')
            .ok_or_else(|| format!("`{text}` is not RUNTIME/PERIOD, such as `10ms/100ms`"))?;
        let (runtime, period): (Nanoseconds, Nanoseconds) = (runtime.parse()?, period.parse()?);
        // The kernel's own limits: a microsecond (1024 ns) and no more than the period.
        if runtime.0 < 1024 || runtime.0 > period.0 {
            return Err(format!("`{text}`: the run time must be from 1024ns up to the period"));
        }
        Ok(Self { runtime_ns: runtime.0, period_ns: period.0 })
    }
}

impl Scheduling {
    /// The part that a placement sets.
    #[must_use]
    pub fn policy(self) -> Policy {
        match self {
            Self::Policy(policy) => policy,
            Self::Nice(_) | Self::Deadline(_) => Policy::Other,
        }
    }

    /// Sets for the calling thread what a placement does not.
    ///
    /// # Errors
    /// When the kernel refuses, with what to try.
    pub fn apply(self) -> Result<()> {
        match self {
            Self::Policy(_) => Ok(()),
            Self::Nice(nice) => sys::set_nice(nice)
                .map_err(|error| Error::system(format!("set the nice value {nice}; run as root"), error)),
            Self::Deadline(Deadline { runtime_ns, period_ns }) => sys::set_deadline(runtime_ns, period_ns)
                .map_err(|error| {
                    Error::system(
                        format!(
                            "set the policy {self}; run as root, on all CPUs of the machine, \
                             and with less than 95 % of them promised to deadlines"
                        ),
                        error,
                    )
                    .with_kind(meter::ErrorKind::Unavailable)
                }),
        }
    }
}

impl fmt::Display for Scheduling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(policy) => policy.fmt(f),
            Self::Nice(nice) => write!(f, "nice:{nice}"),
            Self::Deadline(Deadline { runtime_ns, period_ns }) => {
                write!(f, "deadline:{runtime_ns}ns/{period_ns}ns")
            }
        }
    }
}

impl Serialize for Scheduling {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Scheduling {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scheduling".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "`other`, `fifo:N`, `rr:N`, `nice:N` or `deadline:RUNTIMEns/PERIODns`."
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deadlines_make_sense_or_are_refused() {
        let deadline: Deadline = "10ms/100ms".parse().unwrap();
        assert_eq!(deadline, Deadline { runtime_ns: 10_000_000, period_ns: 100_000_000 });
        for text in ["10ms", "2s/1s", "0/1s", "100ns/1ms", "a/b", "/"] {
            assert!(text.parse::<Deadline>().is_err(), "{text}");
        }
    }
}

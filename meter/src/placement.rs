//! Where and how a thread runs: its CPU and its scheduling policy, asked for and read back.

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use crate::{Error, Result, sys};

/// A scheduling policy, typed as `other`, `fifo:N` or `rr:N` (sched(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// SCHED_OTHER: the ordinary time-sharing policy.
    #[default]
    Other,
    /// SCHED_FIFO with a priority of 1 to 99.
    Fifo(u8),
    /// SCHED_RR with a priority of 1 to 99.
    RoundRobin(u8),
}

impl FromStr for Policy {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let invalid =
            || format!("`{text}` is not a policy; use `other`, `fifo:N` or `rr:N` with N from 1 to 99");
        let Some((name, priority)) = text.split_once(':') else {
            return if text == "other" { Ok(Self::Other) } else { Err(invalid()) };
        };
        let priority = priority.parse().ok().filter(|p| (1..=99).contains(p)).ok_or_else(invalid)?;
        match name {
            "fifo" => Ok(Self::Fifo(priority)),
            "rr" => Ok(Self::RoundRobin(priority)),
            _ => Err(invalid()),
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => f.write_str("other"),
            Self::Fifo(priority) => write!(f, "fifo:{priority}"),
            Self::RoundRobin(priority) => write!(f, "rr:{priority}"),
        }
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Policy {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Policy".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "Scheduling policy: `other`, `fifo:N` or `rr:N`."})
    }
}

/// Where one thread shall run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// The one CPU that it is pinned to; `None` leaves it to the scheduler.
    pub cpu: Option<usize>,
    /// Its scheduling policy.
    pub policy: Policy,
}

impl Placement {
    /// One for each of `cpus`, or a single one that is not pinned where the list is empty.
    #[must_use]
    pub fn each(cpus: &[usize], policy: Policy) -> Vec<Self> {
        if cpus.is_empty() {
            return vec![Self { cpu: None, policy }];
        }
        cpus.iter().map(|&cpu| Self { cpu: Some(cpu), policy }).collect()
    }

    /// Puts the calling thread there and reads it back.
    ///
    /// # Errors
    /// Exit code 3 when the CPU can't be used or the policy is not permitted, with what to try.
    pub fn apply(self) -> Result<()> {
        if let Some(cpu) = self.cpu {
            pin(cpu)?;
        }
        self.apply_policy()
    }

    /// Whether the calling thread is still pinned as asked: something else may have moved it.
    #[must_use]
    pub fn holds(self) -> bool {
        self.cpu.is_none_or(|cpu| sys::sched_getaffinity().is_ok_and(|cpus| cpus == [cpu]))
    }

    fn apply_policy(self) -> Result<()> {
        let (policy, priority) = match self.policy {
            Policy::Other => (libc::SCHED_OTHER, 0),
            Policy::Fifo(priority) => (libc::SCHED_FIFO, priority),
            Policy::RoundRobin(priority) => (libc::SCHED_RR, priority),
        };
        let refused = |error| {
            Error::system(
                format!(
                    "set the policy {}; run as root, or with CAP_SYS_NICE or an rtprio limit",
                    self.policy
                ),
                error,
            )
        };
        // The default is left alone rather than set: it needs no right, and a caller's nice value stays.
        if self.policy != Policy::Other {
            sys::sched_setscheduler(policy, priority.into()).map_err(refused)?;
        }
        match sys::sched_getscheduler() {
            Ok(found) if found == policy || self.policy == Policy::Other => Ok(()),
            Ok(_) => Err(Error::failed(format!("the kernel did not keep the policy {}", self.policy))),
            Err(error) => Err(refused(error)),
        }
    }
}

/// Pins the calling thread to `cpu` and reads it back.
fn pin(cpu: usize) -> Result<()> {
    // core_affinity indexes a fixed-size set without a check of its own.
    let representable = cpu < libc::CPU_SETSIZE as usize;
    let pinned = representable && core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
    let kept = Placement { cpu: Some(cpu), policy: Policy::Other }.holds();
    if pinned && kept {
        return Ok(());
    }
    Err(Error::unavailable(format!(
        "can't pin to CPU {cpu}: it does not exist, is offline, or is not allowed here"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_reads_its_cpu_back() {
        std::thread::spawn(|| {
            let cpu = sys::sched_getaffinity().unwrap()[0];
            let placement = Placement { cpu: Some(cpu), policy: Policy::Other };
            placement.apply().unwrap();
            assert!(placement.holds());
            assert_eq!(sys::current_cpu(), cpu);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_refused() {
        let error = Placement { cpu: Some(1000), policy: Policy::Other }.apply().unwrap_err();
        assert_eq!(error.kind().exit_code(), 3);
    }

    #[test]
    fn policies_read_back_as_typed() {
        for text in ["other", "fifo:1", "rr:99"] {
            assert_eq!(text.parse::<Policy>().unwrap().to_string(), text);
        }
        for text in ["fifo", "fifo:0", "fifo:100", "idle:1", "fifo:x"] {
            assert!(text.parse::<Policy>().is_err(), "{text}");
        }
    }
}

//! Lists of CPUs in the kernel's notation: `0-3,8`.

use std::{fmt, fs, str::FromStr};

use serde::{Deserialize, Serialize, Serializer};

use crate::{Error, Result, sys};

/// CPU numbers in the order typed, without repeats. Shown and stored as `0-3,8`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct CpuList(Vec<usize>);

/// No machine has more; a larger number is a typing error, not a reason to fill the memory.
const HIGHEST_CPU: usize = 65_535;

impl CpuList {
    /// The list of `cpus` in that order; repeats are dropped.
    #[must_use]
    pub fn new(cpus: impl IntoIterator<Item = usize>) -> Self {
        let mut list = Vec::new();
        for cpu in cpus {
            if !list.contains(&cpu) {
                list.push(cpu);
            }
        }
        Self(list)
    }

    /// The CPUs that this process may use here, by its affinity and cpuset.
    ///
    /// # Errors
    /// When the kernel refuses sched_getaffinity(2).
    pub fn allowed() -> Result<Self> {
        sys::sched_getaffinity()
            .map(Self)
            .map_err(|error| Error::system("read this process's CPU affinity", error))
    }

    /// The CPU numbers, in the order typed.
    #[must_use]
    pub fn cpus(&self) -> &[usize] {
        &self.0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Refuses CPUs that this process can't use.
    ///
    /// # Errors
    /// Names the first CPU that does not exist, is offline or is not allowed, with the reason as far as the
    /// kernel tells it, and the CPUs that can be used (exit code 3).
    pub fn check_allowed(&self) -> Result<()> {
        let allowed = Self::allowed()?;
        let Some(&cpu) = self.0.iter().find(|cpu| !allowed.0.contains(cpu)) else { return Ok(()) };
        let reason = machine_lacks(cpu)
            .or_else(|| cpuset_lacks(cpu))
            .unwrap_or_else(|| "this process's affinity leaves it out (see taskset(1))".to_owned());
        Err(Error::unavailable(format!(
            "CPU {cpu} can't be used here: {reason}; this process may run on CPUs {allowed} (see --cpus)"
        )))
    }

    /// Refuses CPUs that nobody can use now.
    ///
    /// # Errors
    /// Names the first CPU that does not exist or is offline (exit code 3).
    pub fn check_online(&self) -> Result<()> {
        match self.0.iter().find_map(|&cpu| Some((cpu, machine_lacks(cpu)?))) {
            None => Ok(()),
            Some((cpu, reason)) => Err(Error::unavailable(format!("CPU {cpu} can't be used here: {reason}"))),
        }
    }
}

/// A list of CPUs that the kernel tells in a file.
fn listed(path: &str) -> Option<CpuList> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// Why nobody can use that CPU: there is none, or it is offline.
fn machine_lacks(cpu: usize) -> Option<String> {
    let lacks =
        |file: &str| listed(&format!("/sys/devices/system/cpu/{file}")).filter(|list| !list.0.contains(&cpu));
    match lacks("present") {
        Some(present) => Some(format!("this machine has CPUs {present}")),
        None => lacks("online").map(|online| format!("it is offline, and CPUs {online} are online")),
    }
}

/// Which cpuset of this process leaves that CPU out (cpuset(7), and cgroups(7) for both versions).
fn cpuset_lacks(cpu: usize) -> Option<String> {
    let name = fs::read_to_string("/proc/self/cpuset").ok()?;
    let name = name.trim_end();
    let files = [
        format!("/sys/fs/cgroup/{name}/cpuset.cpus.effective"),
        format!("/sys/fs/cgroup/cpuset/{name}/cpuset.effective_cpus"),
    ];
    let list = files.iter().find_map(|file| listed(file)).filter(|list| !list.0.contains(&cpu))?;
    Some(format!("the cpuset {name} has CPUs {list}"))
}

impl FromStr for CpuList {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let mut cpus = Vec::new();
        for part in text.trim().split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |digits: &str| {
                digits.trim().parse::<usize>().ok().filter(|cpu| *cpu <= HIGHEST_CPU).ok_or_else(|| {
                    format!("`{part}` is not a CPU number or a range; write a list such as `0-3,8`")
                })
            };
            let (first, last) = (number(first)?, number(last)?);
            if first > last {
                return Err(format!("the range `{part}` runs backwards"));
            }
            cpus.extend(first..=last);
        }
        Ok(Self::new(cpus))
    }
}

impl TryFrom<String> for CpuList {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for CpuList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
        let mut separator = "";
        while let Some((&first, tail)) = rest.split_first() {
            let run = tail.iter().zip(first + 1..).take_while(|(cpu, next)| **cpu == *next).count();
            match run {
                0 => write!(f, "{separator}{first}")?,
                _ => write!(f, "{separator}{first}-{}", first + run)?,
            }
            rest = &tail[run..];
            separator = ",";
        }
        Ok(())
    }
}

impl Serialize for CpuList {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for CpuList {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CpuList".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "CPU numbers and ranges, such as `0-3,8`."})
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lists_read_like_the_kernels() {
        assert_eq!("0-3,8".parse::<CpuList>().unwrap().cpus(), [0, 1, 2, 3, 8]);
        assert_eq!("2,2,1".parse::<CpuList>().unwrap().cpus(), [2, 1]);
        for text in ["", "a", "3-1", "1-", "0,,1", "-1", "99999999", "0-99999999999"] {
            assert!(text.parse::<CpuList>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_cpu_that_does_not_exist_is_named() {
        let error = CpuList::new([9_999]).check_allowed().unwrap_err();
        assert!(error.to_string().contains("CPU 9999"), "{error}");
        assert_eq!(error.kind().exit_code(), 3);
        assert!(CpuList::new([9_999]).check_online().is_err());
        CpuList::allowed().unwrap().check_online().unwrap();
    }

    #[test]
    fn a_cpu_that_the_affinity_leaves_out_is_told_from_one_that_does_not_exist() {
        let cpus = sys::sched_getaffinity().unwrap();
        let [kept, left_out, ..] = cpus[..] else {
            eprintln!("skipped: one CPU only");
            return;
        };
        let error = std::thread::spawn(move || {
            sys::sched_setaffinity(&[kept]).unwrap();
            CpuList::new([left_out]).check_allowed().unwrap_err()
        });
        let text = error.join().unwrap().to_string();
        assert!(text.contains("affinity") && text.contains(&format!("may run on CPUs {kept} ")), "{text}");
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed_again(cpus in proptest::collection::vec(0_usize..200, 1..40)) {
            let list = CpuList::new(cpus);
            prop_assert_eq!(list.to_string().parse::<CpuList>().unwrap(), list);
        }
    }
}

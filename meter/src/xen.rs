//! What Xen's toolstack tells of virtual CPUs: the table of `xl vcpu-list` (xl(1)).

/// One virtual CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vcpu {
    /// Name of its domain, which may have spaces.
    pub domain: String,
    /// Number of its domain.
    pub domain_id: u32,
    /// Its number in the domain.
    pub number: u32,
    /// Physical CPU that it is on; `None` for one that is offline.
    pub pcpu: Option<u32>,
    /// CPU time that it had since its start, in nanoseconds; `xl` tells tenths of a second.
    pub time_ns: u64,
    /// Physical CPUs that it may run on, in Xen's notation: `0-3,7`, `all` or `none` (`any cpu` before
    /// Xen 4.5).
    pub hard_affinity: String,
    /// Those that it prefers; `None` before Xen 4.5, which has no such thing.
    pub soft_affinity: Option<String>,
}

/// The table of `xl vcpu-list`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VcpuList {
    /// The virtual CPUs, as they stand there.
    pub vcpus: Vec<Vcpu>,
    /// Lines that could not be read, as they stand: reported, never dropped.
    pub unread: Vec<String>,
}

impl VcpuList {
    /// Reads the output of `xl vcpu-list`: a head, then a line for each virtual CPU.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines().skip_while(|line| is_head(line)).filter(|line| !line.trim().is_empty()) {
            match parse_line(line) {
                Some(vcpu) => list.vcpus.push(vcpu),
                None => list.unread.push(line.to_owned()),
            }
        }
        list
    }
}

/// `Name  ID  VCPU  CPU State  Time(s) Affinity (Hard / Soft)`.
fn is_head(line: &str) -> bool {
    line.starts_with("Name ") && line.contains(" VCPU ")
}

/// Name, domain, number, physical CPU, state, seconds, affinity. The name may have any characters; what
/// stands behind it has a fixed form, so the state is looked for from the end.
fn parse_line(line: &str) -> Option<Vcpu> {
    let words = words(line);
    let state = (4..words.len().checked_sub(2)?).rev().find(|&at| is_state(words[at].1))?;
    let &[(id_at, id), (_, number), (_, pcpu)] = &words[state - 3..state] else { return None };
    let (time_at, time) = words[state + 1];
    let affinity = line[time_at + time.len()..].trim();
    let (hard, soft) = match affinity.split_once(" / ") {
        Some((hard, soft)) => (hard, Some(soft)),
        None => (affinity, None),
    };
    Some(Vcpu {
        domain: line[..id_at].trim_end().to_owned(),
        domain_id: id.parse().ok()?,
        number: number.parse().ok()?,
        pcpu: if pcpu == "-" { None } else { Some(pcpu.parse().ok()?) },
        time_ns: tenths(time)?.checked_mul(100_000_000)?,
        hard_affinity: hard.trim().to_owned(),
        soft_affinity: soft.map(|soft| soft.trim().to_owned()),
    })
}

/// The words of a line and where they begin.
fn words(line: &str) -> Vec<(usize, &str)> {
    let begin = |word: &str| word.as_ptr() as usize - line.as_ptr() as usize;
    line.split_whitespace().map(|word| (begin(word), word)).collect()
}

/// Running, blocked, paused or offline, each a letter or a dash: `r--`, `-b-`, `--p`, `---`.
fn is_state(word: &str) -> bool {
    let allowed = ["r-", "b-", "p-"];
    word.len() == 3 && word.chars().zip(allowed).all(|(letter, allowed)| allowed.contains(letter))
}

/// `12.3` as 123.
fn tenths(word: &str) -> Option<u64> {
    let (whole, tenth) = word.split_once('.')?;
    let digit = tenth.len() == 1 && tenth.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u64 = whole.parse().ok()?;
    digit.then(|| whole.checked_mul(10)?.checked_add(tenth.parse().ok()?)).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEAD: &str =
        "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)\n";

    fn parse(lines: &str) -> VcpuList {
        VcpuList::parse(&format!("{HEAD}{lines}"))
    }

    #[test]
    fn running_waiting_offline_and_unpinned_vcpus_are_read() {
        let list = parse(
            "Domain-0                             0     0    0   r--      12.3  0 / all\n\
             B                                    2     0    3   -b-       4.5  3 / 0-3,7\n\
             new                                  4     1    -   --p       0.0  all / none\n",
        );
        assert_eq!(list.unread, [""; 0]);
        let short = |v: &Vcpu| (v.domain_id, v.number, v.pcpu, v.time_ns);
        let expected = [(0, 0, Some(0), 12_300_000_000), (2, 0, Some(3), 4_500_000_000), (4, 1, None, 0)];
        assert_eq!(list.vcpus.iter().map(short).collect::<Vec<_>>(), expected);
        assert_eq!(list.vcpus[1].hard_affinity, "3");
        assert_eq!(list.vcpus[1].soft_affinity.as_deref(), Some("0-3,7"));
        assert_eq!(list.vcpus[2].soft_affinity.as_deref(), Some("none"));
    }

    #[test]
    fn names_with_spaces_slashes_and_look_alikes_are_whole() {
        for name in ["my guest", "a  b", "web 2 0 1 r-- 7.5 / all", "1.5", "a / b", "größe 3"] {
            let list = parse(&format!("{name:<32}     3     1    2   -b-      98.3  0,2 / all\n"));
            let vcpu = list.vcpus.first().unwrap_or_else(|| panic!("{name}: {:?}", list.unread));
            assert_eq!((vcpu.domain.as_str(), vcpu.domain_id, vcpu.number), (name, 3, 1));
            assert_eq!(vcpu.hard_affinity, "0,2");
        }
    }

    #[test]
    fn the_table_of_old_toolstacks_is_read() {
        let text = "Name                                ID  VCPU   CPU State   Time(s) CPU Affinity\n\
                    Domain-0                             0     0    1   -b-     163.0  any cpu\n";
        let list = VcpuList::parse(text);
        assert_eq!(list.vcpus[0].hard_affinity, "any cpu");
        assert_eq!(list.vcpus[0].soft_affinity, None);
    }

    #[test]
    fn what_makes_no_sense_is_kept() {
        let list = parse(
            "x\n1.5\na 1 2.5\n\n\
             B   2     0    3   -b-       4.5\n\
             B   x     0    3   -b-       4.5  3 / all\n\
             B   2     0    3   -b-       4.x  3 / all\n\
             B   2     0    3   bbb       4.5  3 / all\n",
        );
        assert_eq!(list.vcpus, []);
        assert_eq!(list.unread.len(), 7);
        assert_eq!(VcpuList::parse("no head at all\n").unread, ["no head at all"]);
    }

    proptest! {
        #[test]
        fn what_xl_writes_is_read_back(
            name in "[!-~]([ -~]{0,40}[!-~])?",
            id in 0_u32..32_752,
            number in 0_u32..512,
            pcpu in proptest::option::of(0_u32..4096),
            time in 0_u64..10_000_000,
        ) {
            let pcpu_word = pcpu.map_or("-".to_owned(), |pcpu| pcpu.to_string());
            let (whole, tenth) = (time / 10, time % 10);
            let line = format!(
                "{name:<32} {id:>5} {number:>5} {pcpu_word:>5}   -b- {whole:>7}.{tenth}  all / all\n"
            );
            let expected = Vcpu {
                domain: name, domain_id: id, number, pcpu, time_ns: time * 100_000_000,
                hard_affinity: "all".into(), soft_affinity: Some("all".into()),
            };
            prop_assert_eq!(parse(&line), VcpuList { vcpus: vec![expected], unread: Vec::new() });
        }

        #[test]
        fn every_line_is_read_or_kept(text in "[ a-z0-9./\\n-]{0,200}") {
            let list = parse(&text);
            let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
            prop_assert_eq!(list.vcpus.len() + list.unread.len(), lines);
        }
    }
}

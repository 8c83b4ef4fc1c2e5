//! The kernel's binary trace pages (Documentation/trace/ring-buffer-map.rst, kernel/trace/ring_buffer.c).
//!
//! A page begins with the time of its first event and the number of bytes in use; each event has a
//! word of five bits of type or length and 27 bits of time since the one before.

/// Bits of the commit field that are its length; those above are flags.
const LENGTH_BITS: u64 = 0xf_ffff;
/// The flag of a page before which events were lost.
const MISSED_EVENTS: u64 = 1 << 31;
const TIME_BITS: u32 = 27;
const PADDING: u32 = 29;
const TIME_EXTEND: u32 = 30;
const TIME_STAMP: u32 = 31;

/// Where the fields of a page are, as `events/header_page` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Size of the commit field, which follows the time: 8 bytes, or 4 on 32-bit kernels.
    commit_size: usize,
    /// Where the events begin.
    data: usize,
    /// Size of the whole page.
    pub(super) size: usize,
}

impl Layout {
    /// Reads `events/header_page`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let field = |name: &str, key: &str| -> Option<usize> {
            let line = text.lines().find(|line| line.contains(name))?;
            let value = line.split(key).nth(1)?;
            value.split(';').next()?.trim().parse().ok()
        };
        let (commit_size, data) = (field(" commit;", "size:")?, field(" data;", "offset:")?);
        let size = data + field(" data;", "size:")?;
        (matches!(commit_size, 4 | 8) && data == 8 + commit_size).then_some(Self { commit_size, data, size })
    }
}

/// One event of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    /// By the trace's clock, in nanoseconds.
    pub(super) time_ns: u64,
    /// The record: type, flags, pid, then the event's own fields.
    pub(super) data: &'a [u8],
}

/// Calls `visit` for each event, and says whether events were lost before this page. A page that
/// makes no sense ends where it stops making sense.
pub(super) fn events<'a>(page: &'a [u8], layout: Layout, mut visit: impl FnMut(Event<'a>)) -> bool {
    let (Some(mut time_ns), Some(commit)) = (long(page, 0), commit(page, layout)) else { return false };
    let length = usize::try_from(commit & LENGTH_BITS).unwrap_or(0);
    let Some(mut rest) = page.get(layout.data..).map(|data| &data[..length.min(data.len())]) else {
        return false;
    };
    while let Some(head) = word(rest, 0) {
        let (kind, delta) = split(head);
        time_ns = time_ns.wrapping_add(delta.into());
        let (skip, data) = match kind {
            0 => {
                let Some(length) = word(rest, 4) else { break };
                let end = 4 + length as usize;
                (end, rest.get(8..end))
            }
            PADDING if delta == 0 => break,
            PADDING => {
                let Some(length) = word(rest, 4) else { break };
                (4 + length as usize, None)
            }
            TIME_EXTEND | TIME_STAMP => {
                let Some(high) = word(rest, 4) else { break };
                let high = u64::from(high) << TIME_BITS;
                time_ns =
                    if kind == TIME_STAMP { high | u64::from(delta) } else { time_ns.wrapping_add(high) };
                (8, None)
            }
            words => {
                let end = 4 + 4 * words as usize;
                (end, rest.get(4..end))
            }
        };
        if let Some(data) = data {
            visit(Event { time_ns, data });
        }
        match rest.get(skip.max(4)..) {
            Some(next) => rest = next,
            None => break,
        }
    }
    commit & MISSED_EVENTS != 0
}

fn commit(page: &[u8], layout: Layout) -> Option<u64> {
    if layout.commit_size == 8 { long(page, 8) } else { word(page, 8).map(u64::from) }
}

/// The kernel's bit field of a native word: type or length, and time.
fn split(head: u32) -> (u32, u32) {
    if cfg!(target_endian = "little") {
        (head & 31, head >> 5)
    } else {
        (head >> TIME_BITS, head & 0x7ff_ffff)
    }
}

/// Four bytes in this machine's order.
pub(super) fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;\n\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;\n\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;\n\tfield: char data;\toffset:16;\tsize:4080;\tsigned:0;\n";

    fn layout() -> Layout {
        Layout::parse(HEADER).unwrap()
    }

    fn page(commit: u64, words: &[u32]) -> Vec<u8> {
        let mut page = Vec::new();
        page.extend_from_slice(&1000_u64.to_ne_bytes());
        page.extend_from_slice(&commit.to_ne_bytes());
        page.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        page
    }

    fn head(kind: u32, delta: u32) -> u32 {
        if cfg!(target_endian = "little") { kind | delta << 5 } else { kind << TIME_BITS | delta }
    }

    #[test]
    fn the_layout_is_the_kernels() {
        assert_eq!(layout(), Layout { commit_size: 8, data: 16, size: 4096 });
        assert_eq!(Layout::parse("nonsense"), None);
    }

    #[test]
    fn short_long_extended_and_padded_events() {
        let words =
            [head(1, 5), 0xaa, head(TIME_EXTEND, 1), 2, head(0, 3), 8, 0xbb, head(PADDING, 0), 0, 0xcc];
        let page = page(words.len() as u64 * 4, &words);
        let mut seen = Vec::new();
        let lost = events(&page, layout(), |event| seen.push((event.time_ns, word(event.data, 0))));
        let extended = 1005 + 1 + (2 << TIME_BITS);
        assert_eq!(seen, [(1005, Some(0xaa)), (extended + 3, Some(0xbb))]);
        assert!(!lost);
        assert!(events(&page[..16], layout(), |_| {}) == lost);
    }

    #[test]
    fn a_page_tells_that_events_were_lost_before_it() {
        assert!(events(&page(MISSED_EVENTS, &[]), layout(), |_| {}));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), commit in any::<u64>()) {
            events(&bytes, layout(), |_| {});
            let mut page = page(commit, &[]);
            page.extend(bytes);
            events(&page, layout(), |_| {});
        }
    }
}

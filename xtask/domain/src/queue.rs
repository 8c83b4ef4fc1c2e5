//! Records between the thread that reads a tool's output and whoever waits for them: bounded in number and
//! in bytes, so that a tool that writes without end makes itself wait and not this program grow.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Most bytes of lines that wait to be taken.
const BYTES_MAX: usize = 32 << 20;
/// Most lines that wait to be taken.
const LINES_MAX: usize = 8192;
/// How often a wait for room looks whether anybody still listens.
const LOOK: Duration = Duration::from_millis(100);

/// One line of a tool's output.
pub(super) enum Line {
    /// A record.
    Record(Value),
    /// Something else, as text.
    Other(String),
    /// More bytes without an end than any record has: nothing is read after it.
    TooLong,
}

/// What taking a line gave.
pub(super) enum Taken {
    /// A line.
    Line(Line),
    /// None until the deadline.
    Nothing,
    /// None will follow.
    Closed,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<(Line, usize)>,
    bytes: usize,
    closed: bool,
}

/// The queue; clones are the same queue.
#[derive(Clone, Default)]
pub(super) struct Queue(Arc<(Mutex<Waiting>, Condvar)>);

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line that took `bytes`, waiting for room; whether anybody still listens.
    pub(super) fn push(&self, line: Line, bytes: usize) -> bool {
        let mut waiting = self.waiting();
        while !waiting.closed && (waiting.bytes > BYTES_MAX || waiting.lines.len() >= LINES_MAX) {
            waiting = self.0.1.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        if waiting.closed {
            return false;
        }
        waiting.bytes += bytes;
        waiting.lines.push_back((line, bytes));
        self.0.1.notify_all();
        true
    }

    /// Takes the next line, waiting until `deadline` at most.
    pub(super) fn take(&self, deadline: Instant) -> Taken {
        let mut waiting = self.waiting();
        loop {
            if let Some((line, bytes)) = waiting.lines.pop_front() {
                waiting.bytes -= bytes;
                self.0.1.notify_all();
                return Taken::Line(line);
            }
            if waiting.closed {
                return Taken::Closed;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Taken::Nothing;
            }
            waiting = self.0.1.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Nothing more comes in; what is there can still be taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.0.1.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_writer_without_end_waits_for_its_reader() {
        let queue = Queue::default();
        let writer = queue.clone();
        let pushed =
            thread::spawn(move || (0..4 * LINES_MAX).take_while(|_| writer.push(Line::TooLong, 1)).count());
        let full = Instant::now() + Duration::from_secs(60);
        while queue.waiting().lines.len() < LINES_MAX {
            assert!(Instant::now() < full, "the writer does not write");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(20));
        assert_eq!(queue.waiting().lines.len(), LINES_MAX);
        assert!(matches!(queue.take(Instant::now()), Taken::Line(Line::TooLong)));
        queue.close();
        assert!(pushed.join().unwrap() <= LINES_MAX + 1);
    }

    #[test]
    fn bytes_count_as_well_and_what_is_there_is_taken_after_the_end() {
        let queue = Queue::default();
        assert!(queue.push(Line::Other("large".into()), BYTES_MAX + 1));
        assert!(matches!(queue.take(Instant::now()), Taken::Line(Line::Other(text)) if text == "large"));
        assert_eq!(queue.waiting().bytes, 0);
        assert!(queue.push(Line::TooLong, 1));
        queue.close();
        assert!(!queue.push(Line::TooLong, 1));
        assert!(matches!(queue.take(Instant::now()), Taken::Line(Line::TooLong)));
        assert!(matches!(queue.take(Instant::now()), Taken::Closed));
    }
}

//! Start and stop from outside: signals, the lines `go` and `quiet` and the end of standard input, and a
//! reader of standard output that goes away.

use std::{
    fs::File,
    io::{self, BufRead},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::FileTypeExt,
    },
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
};

use crate::{Error, Result, sys};

/// The wish that everything ends, shared by all threads of a tool. Hot loops look at it with one
/// plain load; whoever blocks does so for a bounded time and looks again.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    raised: Arc<AtomicBool>,
    /// Raised by anything but SIGINT.
    ordered: Arc<AtomicBool>,
}

impl Stop {
    /// A wish not yet raised.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks everyone to end.
    pub fn raise(&self) {
        self.ordered.store(true, Relaxed);
        self.raised.store(true, Relaxed);
    }

    /// Whether someone asked.
    #[must_use]
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Relaxed)
    }

    /// Whether SIGINT alone is the reason: a terminal sends that to a foreground command as well.
    #[must_use]
    pub fn is_interrupt(&self) -> bool {
        self.is_raised() && !self.ordered.load(Relaxed)
    }
}

/// What the controller said on standard input.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    Wait,
    Go,
    Stop,
}

/// The way into a tool from outside.
pub struct Control {
    stop: Stop,
    quiet: Arc<AtomicBool>,
    controlled: Option<Arc<(Mutex<Order>, Condvar)>>,
}

impl Control {
    /// Lets SIGINT, SIGTERM and SIGHUP raise the stop flag, except those that this process was started to ignore
    /// (nohup(1), a background job of a script); with `controlled`, standard input rules as well:
    /// the line `go` starts, the line `quiet` forbids samples until the summary, its end stops; other
    /// lines mean nothing. Where standard output is a pipe or a socket, the flag is
    /// also raised when nobody reads it any more: nobody would learn the result.
    ///
    /// # Errors
    /// When the handlers or the reading thread can't be set up.
    pub fn install(controlled: bool) -> Result<Self> {
        let stop = Stop::new();
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            let failed = |error| Error::system(format!("install a handler for signal {signal}"), error);
            if !sys::is_ignored(signal).map_err(failed)? {
                signal_hook::flag::register(signal, Arc::clone(&stop.raised)).map_err(failed)?;
                if signal != libc::SIGINT {
                    signal_hook::flag::register(signal, Arc::clone(&stop.ordered)).map_err(failed)?;
                }
            }
        }
        // A file that must not grow (RLIMIT_FSIZE) is to be the error EFBIG of a write, not the end of the process.
        signal_hook::flag::register(libc::SIGXFSZ, Arc::default())
            .map_err(|error| Error::system("install a handler for SIGXFSZ", error))?;
        let out = io::stdout().as_fd().try_clone_to_owned();
        if let Ok(out) = out {
            watch_reader(out, stop.clone())?;
        }
        let quiet = Arc::default();
        let controlled = controlled.then(|| listen(stop.clone(), Arc::clone(&quiet))).transpose()?;
        Ok(Self { stop, quiet, controlled })
    }

    /// A control that nobody holds: for tests and for tools run as a library.
    #[must_use]
    pub fn detached() -> Self {
        Self { stop: Stop::new(), quiet: Arc::default(), controlled: None }
    }

    /// The stop flag, to hand to workers.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Whether the controller wants to hear nothing until the summary: what comes over a network while
    /// something is measured there is a load that nobody asked for.
    #[must_use]
    pub fn wants_quiet(&self) -> bool {
        self.quiet.load(Relaxed)
    }

    /// Blocks until the controller says `go` or goes away; returns at once for a tool that is not controlled.
    /// Gives whether to go.
    #[must_use]
    pub fn wait_for_go(&self) -> bool {
        if let Some(orders) = &self.controlled {
            let (order, changed) = &**orders;
            let mut order = order.lock().unwrap_or_else(PoisonError::into_inner);
            while *order == Order::Wait && !self.stop.is_raised() {
                // Woken now and then: a signal raises the flag without telling the condition variable.
                let period = std::time::Duration::from_millis(20);
                order = changed.wait_timeout(order, period).unwrap_or_else(PoisonError::into_inner).0;
            }
            if *order == Order::Stop {
                self.stop.raise();
            }
        }
        !self.stop.is_raised()
    }
}

/// Raises `stop` when the other end of `out` is closed, if it is a pipe or a socket: on a thread of its
/// own that sleeps until then.
fn watch_reader(out: OwnedFd, stop: Stop) -> Result<()> {
    let out = File::from(out);
    let has_reader = |kind: std::fs::FileType| kind.is_fifo() || kind.is_socket();
    if !out.metadata().is_ok_and(|facts| has_reader(facts.file_type())) {
        return Ok(());
    }
    thread::Builder::new()
        .name("reader".into())
        .stack_size(64 << 10)
        .spawn(move || {
            let interrupted = |error: &io::Error| error.kind() == io::ErrorKind::Interrupted;
            while sys::poll_for_hangup(out.as_fd()).is_err_and(|error| interrupted(&error)) {}
            stop.raise();
        })
        .map(drop)
        .map_err(|error| Error::system("start the thread that watches the reader", error))
}

/// Reads orders from standard input on a thread of its own, until its end.
fn listen(stop: Stop, quiet: Arc<AtomicBool>) -> Result<Arc<(Mutex<Order>, Condvar)>> {
    let orders = Arc::new((Mutex::new(Order::Wait), Condvar::new()));
    let teller = Arc::clone(&orders);
    let tell = move |order: Order| {
        *teller.0.lock().unwrap_or_else(PoisonError::into_inner) = order;
        teller.1.notify_all();
    };
    thread::Builder::new()
        .name("control".into())
        .stack_size(64 << 10)
        .spawn(move || {
            for line in io::stdin().lock().lines().map_while(io::Result::ok) {
                match line.trim() {
                    "go" => tell(Order::Go),
                    "quiet" => quiet.store(true, Relaxed),
                    _ => {}
                }
            }
            stop.raise();
            tell(Order::Stop);
        })
        .map_err(|error| Error::system("start the control thread", error))?;
    Ok(orders)
}

#[cfg(test)]
mod tests {
    use std::{os::unix::net::UnixStream, time::Duration};

    use super::*;

    fn is_raised_soon(stop: &Stop) -> bool {
        (0..1000).any(|_| {
            thread::sleep(Duration::from_millis(5));
            stop.is_raised()
        })
    }

    #[test]
    fn a_reader_that_goes_away_raises_the_stop_flag() {
        let (pipe_reader, pipe_writer) = io::pipe().unwrap();
        let (socket_reader, socket_writer) = UnixStream::pair().unwrap();
        let ends: [(OwnedFd, OwnedFd); 2] =
            [(pipe_reader.into(), pipe_writer.into()), (socket_reader.into(), socket_writer.into())];
        for (reader, writer) in ends {
            let stop = Stop::new();
            watch_reader(writer, stop.clone()).unwrap();
            thread::sleep(Duration::from_millis(20));
            assert!(!stop.is_raised(), "somebody reads");
            drop(reader);
            assert!(is_raised_soon(&stop));
        }
    }

    #[test]
    fn a_file_has_no_reader_that_could_go_away() {
        let stop = Stop::new();
        watch_reader(File::open("/dev/null").unwrap().into(), stop.clone()).unwrap();
        watch_reader(tempfile::tempfile().unwrap().into(), stop.clone()).unwrap();
        thread::sleep(Duration::from_millis(20));
        assert!(!stop.is_raised());
    }
}

//! Making an io_uring: which features are asked for, which are granted, why it is refused.

use std::io;

use io_uring::{Builder, IoUring, cqueue, squeue};
use meter::{Error, Result};
use serde::Serialize;

/// What the user asked of the ring beyond the defaults. What is asked for here and refused is an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct RingOptions {
    /// Completions are polled for instead of interrupting (`IORING_SETUP_IOPOLL`).
    pub io_poll: bool,
    /// A kernel thread submits (`IORING_SETUP_SQPOLL`).
    pub submission_poll: Option<SubmissionPoll>,
}

/// The kernel thread that submits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SubmissionPoll {
    /// The CPU that it is pinned to; `null` leaves it to the scheduler.
    pub cpu: Option<u32>,
}

/// The ring's features by name, as the manual pages of io_uring spell them, without their prefixes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Granted {
    /// In use.
    pub granted: Vec<&'static str>,
    /// Asked for by default and refused by this kernel; the measurement goes on without them.
    pub refused: Vec<&'static str>,
}

/// A feature that makes the ring cheaper and that older kernels lack.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Feature {
    SubmitAll,
    CoopTaskrun,
    SingleIssuer,
    DeferTaskrun,
    NoSqArray,
}

impl Feature {
    /// In the order in which kernels learned them (5.18, 5.19, 6.0, 6.1, 6.6): a kernel that lacks one lacks
    /// all that follow.
    const OLDEST_FIRST: [Self; 5] =
        [Self::SubmitAll, Self::CoopTaskrun, Self::SingleIssuer, Self::DeferTaskrun, Self::NoSqArray];

    fn name(self) -> &'static str {
        match self {
            Self::SubmitAll => "SUBMIT_ALL",
            Self::CoopTaskrun => "COOP_TASKRUN",
            Self::SingleIssuer => "SINGLE_ISSUER",
            Self::DeferTaskrun => "DEFER_TASKRUN",
            Self::NoSqArray => "NO_SQARRAY",
        }
    }

    fn set<S: squeue::EntryMarker, C: cqueue::EntryMarker>(self, builder: &mut Builder<S, C>) {
        match self {
            Self::SubmitAll => builder.setup_submit_all(),
            Self::CoopTaskrun => builder.setup_coop_taskrun(),
            Self::SingleIssuer => builder.setup_single_issuer(),
            Self::DeferTaskrun => builder.setup_defer_taskrun(),
            Self::NoSqArray => builder.setup_no_sqarray(),
        };
    }

    /// With a thread of the kernel submitting, completions are not this task's work: the kernel refuses
    /// flags that say how to run it.
    fn fits(self, options: &RingOptions) -> bool {
        options.submission_poll.is_none() || !matches!(self, Self::CoopTaskrun | Self::DeferTaskrun)
    }
}

/// A ring with as many features as the kernel grants.
///
/// # Errors
/// Exit code 3 when io_uring itself, or something that `options` asks for, is refused.
pub fn build<S, C>(entries: u32, options: &RingOptions) -> Result<(IoUring<S, C>, Granted)>
where
    S: squeue::EntryMarker,
    C: cqueue::EntryMarker,
{
    let wanted: Vec<Feature> =
        Feature::OLDEST_FIRST.into_iter().filter(|feature| feature.fits(options)).collect();
    let mut refusal = None;
    for count in (0..=wanted.len()).rev() {
        let (granted, refused) = wanted.split_at(count);
        match attempt(entries, options, granted) {
            Ok(ring) => {
                let names = |features: &[Feature]| features.iter().map(|feature| feature.name()).collect();
                let mut granted: Vec<&str> = names(granted);
                granted.extend(options.io_poll.then_some("IOPOLL"));
                granted.extend(options.submission_poll.map(|_| "SQPOLL"));
                return Ok((ring, Granted { granted, refused: names(refused) }));
            }
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(setup_refused(error, options)),
        }
    }
    Err(setup_refused(refusal.unwrap_or_else(|| io::Error::from_raw_os_error(libc::EINVAL)), options))
}

fn attempt<S, C>(entries: u32, options: &RingOptions, features: &[Feature]) -> io::Result<IoUring<S, C>>
where
    S: squeue::EntryMarker,
    C: cqueue::EntryMarker,
{
    let mut builder = IoUring::<S, C>::builder();
    builder.dontfork();
    features.iter().for_each(|feature| feature.set(&mut builder));
    if options.io_poll {
        builder.setup_iopoll();
    }
    if let Some(poll) = options.submission_poll {
        builder.setup_sqpoll(SUBMISSION_POLL_IDLE_MS);
        if let Some(cpu) = poll.cpu {
            builder.setup_sqpoll_cpu(cpu);
        }
    }
    builder.build(entries)
}

/// How long the kernel's submitting thread spins without work before it sleeps, in milliseconds.
const SUBMISSION_POLL_IDLE_MS: u32 = 50;

fn setup_refused(error: io::Error, options: &RingOptions) -> Error {
    let cpu = options.submission_poll.and_then(|poll| poll.cpu);
    match (error.raw_os_error(), cpu) {
        (Some(libc::EINVAL), Some(cpu)) => Error::unavailable(format!(
            "io_uring refuses a submitting thread on CPU {cpu}; is it online and allowed here?"
        ))
        .with_source(error),
        _ => meter::io_uring::setup_refused(error, "--engine sync"),
    }
}

/// Why buffers of `size` bytes could not be registered.
pub(crate) fn register_refused(error: io::Error, size: usize) -> Error {
    match error.raw_os_error() {
        Some(libc::ENOMEM | libc::EPERM) => Error::unavailable(format!(
            "the limit of locked memory is too low for {size} bytes of buffers; raise it (ulimit -l, or CAP_IPC_LOCK), or lower --queue-depth or --block-size"
        ))
        .with_source(error),
        _ => Error::system(format!("register {size} bytes of buffers with io_uring"), error),
    }
}

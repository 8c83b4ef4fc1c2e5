//! A tool's `main`: command line in, records out, an exit code at the end.

use std::{io, process::ExitCode};

use clap::Parser;

pub use crate::stderr::print_status as tell_people;

use crate::{
    Result,
    cli::CommonArgs,
    control::Control,
    error::EXIT_UNTRUSTED,
    record::{JsonSink, Sink, TextSink},
    session::{Session, Tool, Verdict},
    start_time::StartTime,
};

/// A program: its arguments and what they ask for.
pub trait Program: Parser {
    /// Name and version.
    const TOOL: Tool;

    /// The common flags that were typed.
    fn common(&self) -> &CommonArgs;

    /// Does it. The session has been given nothing yet.
    ///
    /// # Errors
    /// Whatever prevents a valid result.
    fn run(self, session: &mut Session<'_>) -> Result<()>;
}

/// Parses the command line, runs the program and gives its exit code: 0 valid result, 1 failed, 2 bad
/// arguments, 3 the machine lacks something, 4 finished but not to be trusted.
#[must_use]
pub fn main<P: Program>() -> ExitCode {
    let program = P::parse();
    match launch(program) {
        Ok(Verdict::Valid) => ExitCode::SUCCESS,
        Ok(Verdict::Untrusted) => ExitCode::from(EXIT_UNTRUSTED),
        Err(error) => {
            tell_people(format_args!("{}: {}", P::TOOL.name, error.full_text()));
            ExitCode::from(error.kind().exit_code())
        }
    }
}

fn launch<P: Program>(program: P) -> Result<Verdict> {
    let common = program.common();
    let control = Control::install(common.controlled)?;
    let (json, dry_run) = (common.json, common.dry_run);
    let mut json_sink = JsonSink(io::stdout().lock());
    let mut text_sink = TextSink(io::stdout());
    let sink: &mut dyn Sink = if json { &mut json_sink } else { &mut text_sink };
    let start_at = common.start_at;
    let mut session = Session::new(P::TOOL, sink, &control, dry_run);
    let run = |session: &mut Session<'_>| {
        session.start_at(start_at.map(StartTime::resolve).transpose()?);
        program.run(session)
    };
    match run(&mut session) {
        Ok(()) => Ok(session.verdict()),
        Err(error) => {
            // The error itself matters more than a reader that went away meanwhile.
            let _: Result<()> = session.failure(&error);
            Err(error)
        }
    }
}

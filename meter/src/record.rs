//! Records: what a tool tells, as text for people or as JSON, one object a line, for programs.

use std::{
    fmt::Display,
    io::{self, Write},
};

use serde::Serialize;

use crate::{clock, printable::printable};

/// Version of the records' schema, in every `start` record. It grows when a key changes its meaning or goes.
pub const SCHEMA_VERSION: u32 = 1;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// First record: tool, version, resolved configuration, facts of the host.
    Start,
    /// Everything is allocated and pinned.
    Ready,
    /// One interval, or one of several repeated runs.
    Sample,
    /// The controller's line `quiet` was heeded: the next record is the last one.
    Quiet,
    /// Last record of a measurement.
    Summary,
    /// Why there is no valid result; the exit code follows from its `kind`.
    Error,
}

/// When a record was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stamp {
    /// CLOCK_MONOTONIC, in nanoseconds.
    pub mono_ns: u64,
    /// Time since 1970-01-01 UTC, in nanoseconds.
    pub wall_ns: u64,
}

impl Stamp {
    /// The time now.
    #[must_use]
    pub fn now() -> Self {
        Self { mono_ns: clock::now_ns(), wall_ns: clock::wall_ns() }
    }
}

/// One line of JSON: the common keys, then the body's own.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Envelope<B> {
    /// What this record is.
    pub record: Kind,
    /// When it was made.
    #[serde(flatten)]
    pub stamp: Stamp,
    /// The record's own keys.
    #[serde(flatten)]
    pub body: B,
}

/// The body of a record: a structure with JSON keys (`Serialize`) and a text for people (`Display`).
/// An empty text prints nothing.
pub trait Body {
    /// The record as one line of JSON, without the line's end.
    ///
    /// # Errors
    /// When the body can't be JSON: a map whose keys are not text. A defect of the body's type.
    fn json(&self, kind: Kind, stamp: Stamp) -> io::Result<Vec<u8>>;

    /// The record as text for people.
    fn text(&self) -> String;
}

impl<T: Serialize + Display> Body for T {
    fn json(&self, kind: Kind, stamp: Stamp) -> io::Result<Vec<u8>> {
        Ok(serde_json::to_vec(&Envelope { record: kind, stamp, body: self })?)
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

/// Where records go.
pub trait Sink {
    /// Takes one record.
    ///
    /// # Errors
    /// When it can't be delivered: the reader went away, the disk is full.
    fn record(&mut self, kind: Kind, stamp: Stamp, body: &dyn Body) -> io::Result<()>;
}

/// Writes records as JSON, one object a line, flushed line by line.
pub struct JsonSink<W>(pub W);

impl<W: Write> Sink for JsonSink<W> {
    fn record(&mut self, kind: Kind, stamp: Stamp, body: &dyn Body) -> io::Result<()> {
        let mut line = body.json(kind, stamp)?;
        line.push(b'\n');
        self.0.write_all(&line)?;
        self.0.flush()
    }
}

/// Writes records as text for people. Errors are left to standard error.
pub struct TextSink<W>(pub W);

impl<W: Write> Sink for TextSink<W> {
    fn record(&mut self, kind: Kind, _: Stamp, body: &dyn Body) -> io::Result<()> {
        let text = body.text();
        if kind == Kind::Error || text.is_empty() {
            return Ok(());
        }
        writeln!(self.0, "{}", printable(text.trim_end()))?;
        self.0.flush()
    }
}

/// Keeps records as JSON lines in memory: for tests and for tools run as a library.
#[derive(Debug, Default)]
pub struct MemorySink(pub Vec<String>);

impl Sink for MemorySink {
    fn record(&mut self, kind: Kind, stamp: Stamp, body: &dyn Body) -> io::Result<()> {
        self.0.push(String::from_utf8_lossy(&body.json(kind, stamp)?).into_owned());
        Ok(())
    }
}

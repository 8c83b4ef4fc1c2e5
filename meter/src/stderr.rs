//! Lines for people on standard error.

use std::{
    fmt,
    io::{self, Write},
};

use crate::printable::printable;

/// Writes a line to standard error. Where nobody can read it (a closed pipe, a full disk) the exit code and
/// the records still say what there is to say, so that is no failure of its own, and no panic as with
/// `eprintln`.
pub fn print_status(line: fmt::Arguments<'_>) {
    let _: io::Result<()> =
        io::stderr().lock().write_all(format!("{}\n", printable(&line.to_string())).as_bytes());
}

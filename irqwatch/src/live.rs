//! A screen that is redrawn in place, like top(1).

use std::io::{self, IsTerminal, Write};

use meter::{Error, Result};

use crate::sys;

/// Size of a terminal that does not tell.
const ROWS_AND_COLUMNS: (usize, usize) = (24, 80);

/// The terminal's other screen; leaves it when dropped.
pub struct Screen {
    out: io::Stdout,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// When standard output is no terminal (exit code 3).
    pub fn open() -> Result<Self> {
        let out = io::stdout();
        if !out.is_terminal() {
            return Err(Error::unavailable("a live view needs a terminal; leave out --live"));
        }
        let mut screen = Self { out };
        // The alternate screen, without a cursor (ECMA-48 and xterm's control sequences).
        screen.write("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    /// Shows as much of `text` as fits.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn draw(&mut self, text: &str) -> Result<()> {
        let (rows, columns) = sys::terminal_size().unwrap_or(ROWS_AND_COLUMNS);
        self.write(&frame(text, rows, columns))
    }

    fn write(&mut self, text: &str) -> Result<()> {
        self.out
            .write_all(text.as_bytes())
            .and_then(|()| self.out.flush())
            .map_err(|error| Error::system("draw on the terminal", error))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no cleaning.
        let _: Result<()> = self.write("\x1b[?25h\x1b[?1049l");
    }
}

/// `text` cut to the screen, with the control sequences that replace what was there.
fn frame(text: &str, rows: usize, columns: usize) -> String {
    let mut frame = String::from("\x1b[H");
    for (number, line) in text.lines().take(rows).enumerate() {
        if number > 0 {
            frame.push_str("\r\n");
        }
        frame.extend(line.chars().filter(|c| !c.is_control()).take(columns));
        frame.push_str("\x1b[K");
    }
    frame.push_str("\x1b[J");
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_never_scrolls_the_screen() {
        let frame = frame("one\x1b[2J\ntwo and more\nthree", 2, 5);
        assert_eq!(frame, "\x1b[Hone[2\x1b[K\r\ntwo a\x1b[K\x1b[J");
    }
}

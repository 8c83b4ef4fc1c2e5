//! Progress on the terminal: the cell, the trial, the time left.

use indicatif::{ProgressBar, ProgressStyle};
use meter::stderr::print_status;

/// A bar on standard error; where that is no terminal, nothing but what went wrong.
pub struct Progress {
    bar: ProgressBar,
    total: u64,
}

impl Progress {
    /// A bar for `total` trials.
    pub fn new(total: u64) -> Self {
        let bar = ProgressBar::new(total);
        let template = "{bar:24} {pos}/{len}  {msg}  {elapsed} gone, {eta} left";
        bar.set_style(
            ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        Self { bar, total }
    }

    /// Nothing on the terminal: for tests.
    #[cfg(test)]
    pub fn hidden() -> Self {
        Self { bar: ProgressBar::hidden(), total: 0 }
    }

    /// A trial begins.
    pub fn begin(&mut self, cell: &str, repetition: u32) {
        self.bar.set_message(format!("{cell} #{}", repetition + 1));
        if self.bar.is_hidden() && self.total > 0 && self.bar.position().is_multiple_of(10) {
            print_status(format_args!("trial {} of {}: {cell}", self.bar.position() + 1, self.total));
        }
    }

    /// A trial is over.
    pub fn advance(&mut self) {
        self.bar.inc(1);
    }

    /// A line above the bar.
    pub fn say(&self, line: &str) {
        if self.bar.is_hidden() {
            print_status(format_args!("{line}"));
        } else {
            self.bar.println(line);
        }
    }

    /// The bar goes.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

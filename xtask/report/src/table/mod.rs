//! Tables as text: made once, shown by the page, the Markdown and the terminal.

mod loads;
mod probe;
mod trials;

pub use loads::load_effects;
pub use probe::{others, published, results, short, spread};
pub use trials::{incomplete, proofs, stages};

/// A table of text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// What it is about.
    pub caption: String,
    /// Heads of the columns, units in brackets.
    pub head: Vec<Column>,
    /// Rows; the first field names the row. A second line in a field explains its first.
    pub rows: Vec<Vec<String>>,
    /// Whether fields are machine text, such as digests.
    pub mono: bool,
}

/// The head of a column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// What it says.
    pub title: String,
    /// Whether its fields are numbers, which end in line.
    pub numeric: bool,
}

impl Table {
    /// A table without rows; titles that begin with `#` are of columns of numbers.
    fn new(caption: impl Into<String>, titles: &[&str]) -> Self {
        let column = |title: &&str| Column {
            title: title.trim_start_matches('#').to_owned(),
            numeric: title.starts_with('#'),
        };
        Self { caption: caption.into(), head: titles.iter().map(column).collect(), ..Self::default() }
    }

    /// The same without columns in which no row says anything.
    fn without_empty_columns(mut self) -> Self {
        for column in (1..self.head.len()).rev() {
            if self.rows.iter().all(|row| row[column].is_empty() || row[column] == NONE) {
                self.head.remove(column);
                for row in &mut self.rows {
                    row.remove(column);
                }
            }
        }
        self
    }
}

/// A table of rows that are there already.
pub fn data(caption: &str, titles: &[&str], rows: Vec<Vec<String>>) -> Table {
    Table { rows, ..Table::new(caption, titles) }
}

/// What stands for a missing number.
pub const NONE: &str = "–";

/// A number as shown, or the dash.
fn shown<T>(value: Option<T>, show: impl Fn(T) -> String) -> String {
    value.map_or_else(|| NONE.to_owned(), show)
}

//! The files that a plan comes from: what is wrong in it is told with file and line.

use std::{
    fmt::Display,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use serde::de::DeserializeOwned;
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

/// One file of a plan.
pub(super) struct Source {
    pub(super) path: PathBuf,
    text: String,
}

impl Source {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("read the plan {}", path.display()))?;
        Ok(Self { path: path.to_owned(), text })
    }

    /// The text as a value; an error names file and line and shows the line.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> Result<T> {
        toml::from_str(&self.text).map_err(|error| self.refused(&error, 0))
    }

    /// What a parser says, with file and line; where it names no place, with the line of `otherwise`.
    fn refused(&self, error: &toml::de::Error, otherwise: usize) -> anyhow::Error {
        let offset = error.span().map_or(otherwise, |span| span.start);
        self.error(offset, error.to_string().trim_end())
    }

    /// An error about the place at `offset`.
    pub(super) fn error(&self, offset: usize, message: impl Display) -> anyhow::Error {
        let line = 1 + self.text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count();
        anyhow!("{}:{line}: {message}", self.path.display())
    }

    /// How many keys of `path` this file has, and where the last of them is.
    pub(super) fn locate(&self, path: &[&str]) -> (usize, usize) {
        let Ok(table) = DeTable::parse(&self.text) else { return (0, 0) };
        let (mut found, mut offset) = (0, 0);
        let top = Spanned::new(0..0, DeValue::Table(table.into_inner()));
        let mut value = &top;
        for key in path {
            let Some((at, inner)) = child(value, key) else { break };
            (found, offset, value) = (found + 1, at, inner);
        }
        (found, offset)
    }

    /// The value at `path` as a `T`, if it is there.
    fn section<T: DeserializeOwned>(&self, path: &[&str]) -> Option<Result<T>> {
        let mut value: DeValue<'_> = DeValue::Table(DeTable::parse(&self.text).ok()?.into_inner());
        let mut span = 0..0;
        for key in path {
            let DeValue::Table(mut table) = value else { return None };
            let inner = table.remove(*key)?;
            span = inner.span();
            value = inner.into_inner();
        }
        let section = T::deserialize(ValueDeserializer::from(Spanned::new(span, value)));
        Some(section.map_err(|error| self.refused(&error, self.locate(path).1)))
    }
}

/// The value at `key` of a table, or in that place of an array, and where its key is.
fn child<'a, 'i>(value: &'a Spanned<DeValue<'i>>, key: &str) -> Option<(usize, &'a Spanned<DeValue<'i>>)> {
    match value.get_ref() {
        DeValue::Table(table) => {
            let (name, inner) = table.get_key_value(key)?;
            Some((name.span().start, inner))
        }
        DeValue::Array(array) => {
            let inner = array.get(key.parse::<usize>().ok()?)?;
            Some((inner.span().start, inner))
        }
        _ => None,
    }
}

/// The files that a plan was read from.
pub struct Sources {
    pub(super) own: Source,
    /// The plan that it extends.
    pub(super) base: Option<Source>,
}

impl Sources {
    /// The file that decides over the value at `path`: the plan's own where it says anything of it.
    fn deciding(&self, path: &[&str]) -> &Source {
        // What an extension replaces as one: a platform, a domain, a variable, an attachment's device.
        let replaced = match path.first() {
            Some(&("domains" | "variables")) => 2,
            Some(&"attachments") => 3,
            _ => 1,
        };
        match &self.base {
            Some(base) if self.own.locate(path).0 < replaced.min(path.len()) => base,
            _ => &self.own,
        }
    }

    /// An error about the value at `path`: keys from the top of the file, and numbers for places in arrays.
    /// It names the file, and the line of the value or of what it is missing in.
    pub fn error(&self, path: &[&str], message: impl Display) -> anyhow::Error {
        let source = self.deciding(path);
        let error = source.error(source.locate(path).1, message);
        // What is wrong may be what the plan's own part leads to, and the error names what it extends.
        if std::ptr::eq(source, &raw const self.own) {
            error
        } else {
            error.context(self.own.path.display().to_string())
        }
    }

    /// Whether the plan's own file says what is at `path`, not the one that it extends.
    pub(super) fn own_has(&self, path: &[&str]) -> bool {
        self.own.locate(path).0 == path.len()
    }

    /// An error about the value at `path` of the plan's own file, whatever it extends.
    pub(super) fn own_error(&self, path: &[&str], message: impl Display) -> anyhow::Error {
        self.own.error(self.own.locate(path).1, message)
    }

    /// The table at `path` as a `T`; an empty one where there is none.
    ///
    /// # Errors
    /// With file and line, when a key is unknown or missing, or a value is no such thing.
    pub fn section<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T> {
        match self.deciding(path).section(path) {
            Some(section) => section,
            None => super::section(&toml::Table::new()).map_err(|error| self.error(path, error)),
        }
    }
}

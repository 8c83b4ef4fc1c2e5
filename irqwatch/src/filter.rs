//! Which sources are shown, and in which order.

use clap::{Args, ValueEnum};
use meter::{Error, Result};
use regex_lite::Regex;
use serde::Serialize;

use crate::{class::Class, source::Source};

/// What the sources are ordered by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ValueEnum)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Busiest first
    #[default]
    Count,
    /// As in the kernel's files
    Kernel,
    /// By name of the device
    Device,
    /// By class, busiest first within one
    Class,
}

/// The flags that choose sources.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Choice of sources")]
pub struct FilterArgs {
    /// Only sources whose name (number) or device matches this regular expression
    #[arg(long, value_name = "REGEX", global = true)]
    pub matching: Option<String>,

    /// Only sources of these classes, such as `msi,xen_vif,softirq`
    #[arg(long, value_name = "CLASSES", value_enum, value_delimiter = ',', global = true)]
    pub class: Vec<Class>,

    /// Only sources with at least this many interrupts per second
    #[arg(long, value_name = "RATE", value_parser = rate, global = true)]
    pub min_rate: Option<f64>,

    /// Order of the sources
    #[arg(long, value_enum, default_value_t, global = true)]
    pub sort: Order,

    /// Only the first N sources of that order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), global = true)]
    pub top: Option<u64>,
}

/// A rate that makes sense: finite and not negative.
fn rate(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(rate),
        _ => Err(format!("`{text}` is not a rate per second, such as `100`")),
    }
}

/// What something that is listed is chosen and ordered by.
pub struct Marks<'a> {
    /// How often it came, per second.
    pub per_s: f64,
    /// What makes it busier than others.
    pub weight: u64,
    /// Name of its device.
    pub device: &'a str,
    /// Its class.
    pub class: Class,
}

/// A resolved choice.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Filter {
    /// The regular expression that name or device must match; `null` for all.
    #[serde(serialize_with = "pattern")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub matching: Option<Regex>,
    /// Classes to keep; empty for all.
    pub classes: Vec<Class>,
    /// Least number of interrupts per second.
    pub min_rate_per_s: f64,
    /// Their order.
    pub order: Order,
    /// How many to keep; `null` for all.
    pub top: Option<u64>,
}

fn pattern<S: serde::Serializer>(
    regex: &Option<Regex>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    regex.as_ref().map(Regex::as_str).serialize(serializer)
}

impl FilterArgs {
    /// What the flags mean.
    ///
    /// # Errors
    /// A regular expression that is none (exit code 2).
    pub fn resolve(&self) -> Result<Filter> {
        let matching = self.matching.as_deref().map(|text| {
            Regex::new(text).map_err(|error| Error::bad_arguments(format!("--matching `{text}`: {error}")))
        });
        Ok(Filter {
            matching: matching.transpose()?,
            classes: self.class.clone(),
            min_rate_per_s: self.min_rate.unwrap_or(0.0),
            order: self.sort,
            top: self.top,
        })
    }
}

impl Filter {
    /// Whether a source of that name, device and class is wanted.
    #[must_use]
    pub fn wants(&self, name: &str, device: &str, class: Class) -> bool {
        (self.classes.is_empty() || self.classes.contains(&class))
            && self.matching.as_ref().is_none_or(|regex| regex.is_match(name) || regex.is_match(device))
    }

    /// Applies the least rate, the order and the number.
    pub fn arrange(&self, sources: &mut Vec<Source>) {
        self.arrange_by(sources, |source| Marks {
            per_s: source.per_s,
            weight: source.count,
            device: &source.device,
            class: source.class,
        });
    }

    /// The same for anything that has such marks.
    pub fn arrange_by<T>(&self, items: &mut Vec<T>, marks: impl Fn(&T) -> Marks<'_>) {
        items.retain(|item| marks(item).per_s >= self.min_rate_per_s);
        let heavier = |a: &T, b: &T| marks(b).weight.cmp(&marks(a).weight);
        match self.order {
            Order::Kernel => {}
            Order::Count => items.sort_by(heavier),
            Order::Device => items.sort_by(|a, b| marks(a).device.cmp(marks(b).device)),
            Order::Class => {
                items.sort_by(|a, b| marks(a).class.cmp(&marks(b).class).then_with(|| heavier(a, b)));
            }
        }
        if let Some(top) = self.top {
            items.truncate(usize::try_from(top).unwrap_or(usize::MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_looks_at_name_and_device() {
        let filter =
            FilterArgs { matching: Some("^virtio|^36$".into()), ..Default::default() }.resolve().unwrap();
        assert!(filter.wants("36", "x", Class::Msi));
        assert!(filter.wants("1", "virtio1-req.0", Class::Msi));
        assert!(!filter.wants("136", "eth0", Class::Msi));
    }

    #[test]
    fn a_broken_pattern_is_a_bad_argument() {
        let error = FilterArgs { matching: Some("(".into()), ..Default::default() }.resolve().unwrap_err();
        assert_eq!(error.kind().exit_code(), 2);
    }
}

//! Bounds on the summary: `bytes_per_s>=500MB`, `completion_latency.p99_ns<=2ms`.

use std::{fmt, str::FromStr};

use meter::units::{Bytes, Nanoseconds};
use serde::{Serialize, Serializer};
use serde_json::Value;

/// A bound on one figure of the summary.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirement {
    key: String,
    comparison: Comparison,
    bound: f64,
    typed: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    AtLeast,
    AtMost,
    Above,
    Below,
}

/// Longer signs first, so that `>=` is not taken for `>`.
const SIGNS: [(&str, Comparison); 4] = [
    (">=", Comparison::AtLeast),
    ("<=", Comparison::AtMost),
    (">", Comparison::Above),
    ("<", Comparison::Below),
];

impl FromStr for Requirement {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, comparison) = SIGNS
            .into_iter()
            .find(|(sign, _)| text.contains(sign))
            .ok_or_else(|| format!("`{text}` has no >=, <=, > or <; write `bytes_per_s>=500MB`"))?;
        let (key, bound) = text.split_once(sign).unwrap_or((text, ""));
        let (key, bound) = (key.trim(), bound.trim());
        if let Some(key) = key.strip_suffix('=') {
            return Err(format!("`{text}` has no >=, <=, > or <; write `{key}{sign}={bound}`"));
        }
        Ok(Self { key: key.to_owned(), comparison, bound: parse_bound(key, bound)?, typed: text.to_owned() })
    }
}

/// A bound in the unit that the key's ending names.
fn parse_bound(key: &str, text: &str) -> Result<f64, String> {
    let time = |per_unit: f64| text.parse::<Nanoseconds>().map(|time| time.0 as f64 / per_unit);
    if key.ends_with("bytes_per_s") || key.ends_with("bytes") {
        return text.strip_suffix("/s").unwrap_or(text).parse::<Bytes>().map(|bytes| bytes.0 as f64);
    }
    let bare = text.parse::<f64>().ok().filter(|bound| bound.is_finite());
    let with_unit = match key {
        _ if bare.is_some() => None,
        key if key.ends_with("_ns") => Some(time(1.0)?),
        key if key.ends_with("_s") && !key.ends_with("per_s") => Some(time(1e9)?),
        _ => None,
    };
    bare.or(with_unit).ok_or_else(|| {
        format!(
            "`{text}` is not a number: only a figure whose name ends in bytes or bytes_per_s takes units of size, in _ns or _s those of time, and `{key}` does not"
        )
    })
}

impl Requirement {
    /// The figure that the key names in `summary`, `None` where there is no such key.
    fn find<'a>(&self, summary: &'a Value) -> Option<&'a Value> {
        self.key.split('.').try_fold(summary, |value, part| value.get(part))
    }

    /// Whether a summary has that figure at all; `example` has every key filled in.
    ///
    /// # Errors
    /// A sentence that names the keys there are.
    pub fn check_key(&self, example: &Value) -> Result<(), String> {
        match self.find(example) {
            Some(Value::Number(_)) => Ok(()),
            Some(Value::Object(inner)) => Err(format!(
                "--require: `{}` has several figures; write {}",
                self.key,
                inner.keys().map(|key| format!("{}.{key}", self.key)).collect::<Vec<_>>().join(", ")
            )),
            _ => Err(format!(
                "--require: the summary has no figure `{}`; it has {}",
                self.key,
                example
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|(key, _)| key.as_str())
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
        }
    }

    /// Whether its figure belongs to `group`, such as `response_time`.
    #[must_use]
    pub fn is_of(&self, group: &str) -> bool {
        self.key.split('.').next() == Some(group)
    }

    /// Why `summary` misses the bound; `None` where it keeps it.
    #[must_use]
    pub fn missed(&self, summary: &Value) -> Option<String> {
        let Some(found) = self.find(summary).and_then(Value::as_f64) else {
            return Some(format!("required {}, but there is no such figure", self.typed));
        };
        let kept = match self.comparison {
            Comparison::AtLeast => found >= self.bound,
            Comparison::AtMost => found <= self.bound,
            Comparison::Above => found > self.bound,
            Comparison::Below => found < self.bound,
        };
        (!kept).then(|| format!("required {}, but it is {found}", self.typed))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.typed)
    }
}

impl Serialize for Requirement {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.typed)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Requirement {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Requirement".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "description": "A bound such as `bytes_per_s>=500MB`."})
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn missed(requirement: &str, summary: &Value) -> bool {
        requirement.parse::<Requirement>().unwrap().missed(summary).is_some()
    }

    #[test]
    fn bounds_have_the_units_of_their_keys() {
        let summary =
            json!({"bytes_per_s": 5e8, "elapsed_s": 2.0, "completion_latency": {"p99_ns": 1_500_000}});
        assert!(!missed("bytes_per_s>=500MB", &summary));
        assert!(!missed("bytes_per_s >= 500MB/s", &summary));
        assert!(missed("bytes_per_s>500MB", &summary));
        assert!(!missed("completion_latency.p99_ns<=1.5ms", &summary));
        assert!(missed("completion_latency.p99_ns<1500us", &summary));
        assert!(!missed("elapsed_s<2.5s", &summary));
        assert!(missed("elapsed_s<2", &summary));
        assert!(missed("response_time.p99_ns<1s", &summary), "a figure that is missing keeps no bound");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["bytes_per_s", "bytes_per_s>=fast", "elapsed_s<1GB", "a=b"] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_those_that_exist() {
        let example = json!({"bytes_per_s": 1.0, "usage": {"cpu_user_ns": 0}});
        let check = |text: &str| text.parse::<Requirement>().unwrap().check_key(&example);
        assert!(check("usage.cpu_user_ns<1s").is_ok());
        assert!(check("byte_per_s>1").unwrap_err().contains("bytes_per_s"));
        assert!(check("usage>1").unwrap_err().contains("usage.cpu_user_ns"));
    }
}

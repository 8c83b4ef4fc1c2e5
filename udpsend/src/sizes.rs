//! Payload sizes: one size, a range, or a mix by weight.

use std::{fmt, str::FromStr};

use meter::random::Random;
use serde::{Serialize, Serializer};

/// Largest UDP payload over IPv4 without options, in bytes: 65 535 less the IP and UDP headers.
pub const LARGEST_PAYLOAD: u32 = 65_507;

/// The classic "simple IMIX" as IP packet sizes 40, 576 and 1500 in the ratio 7:4:1, less 28 bytes of
/// IPv4 and UDP headers.
const IMIX: [(u32, u32); 3] = [(12, 7), (548, 4), (1472, 1)];

/// What sizes the datagrams have: bytes of UDP payload, 1 to [`LARGEST_PAYLOAD`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All alike: `64`.
    Fixed(u32),
    /// Each size of the range, bounds included, equally likely: `64-1472`.
    Uniform(u32, u32),
    /// Sizes with their weights: `12:7,548:4,1472:1`, or `imix` for just that mix.
    Mix(Vec<(u32, u32)>),
}

impl Sizes {
    /// The largest size that can occur, in bytes.
    #[must_use]
    pub fn largest(&self) -> u32 {
        match self {
            Self::Fixed(size) | Self::Uniform(_, size) => *size,
            Self::Mix(mix) => mix.iter().map(|(size, _)| *size).max().unwrap_or(1),
        }
    }

    /// The smallest size that can occur, in bytes.
    #[must_use]
    pub fn smallest(&self) -> u32 {
        match self {
            Self::Fixed(size) | Self::Uniform(size, _) => *size,
            Self::Mix(mix) => mix.iter().map(|(size, _)| *size).min().unwrap_or(1),
        }
    }

    /// The mean size as the exact fraction (bytes, datagrams).
    #[must_use]
    pub fn mean(&self) -> (u64, u64) {
        match self {
            Self::Fixed(size) => (u64::from(*size), 1),
            Self::Uniform(first, last) => (u64::from(*first) + u64::from(*last), 2),
            Self::Mix(mix) => mix.iter().fold((0, 0), |(bytes, count), (size, weight)| {
                (bytes + u64::from(*size) * u64::from(*weight), count + u64::from(*weight))
            }),
        }
    }

    /// An endless sequence of sizes, the same for the same seed.
    #[must_use]
    pub fn sequence(&self, seed: u64) -> SizeSequence {
        let drawn = match self {
            Self::Fixed(size) => Drawn::Fixed(*size),
            Self::Uniform(first, last) => Drawn::Uniform(*first, u64::from(last - first) + 1),
            Self::Mix(mix) => Drawn::Mix(mix.clone(), self.mean().1),
        };
        SizeSequence { random: Random::new(seed), drawn }
    }
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "imix" {
            return Ok(Self::Mix(IMIX.to_vec()));
        }
        if text.contains(':') {
            let mix = text.split(',').map(parse_weighted).collect::<Result<Vec<_>, _>>()?;
            return Ok(Self::Mix(mix));
        }
        match text.split_once('-') {
            None => parse_size(text).map(Self::Fixed),
            Some((first, last)) => {
                let (first, last) = (parse_size(first)?, parse_size(last)?);
                if first > last {
                    return Err(format!("the range `{text}` runs backwards"));
                }
                Ok(Self::Uniform(first, last))
            }
        }
    }
}

fn parse_size(text: &str) -> Result<u32, String> {
    text.trim().parse().ok().filter(|size| (1..=LARGEST_PAYLOAD).contains(size)).ok_or_else(|| {
        format!(
            "`{text}` is not a payload size; use 1 to {LARGEST_PAYLOAD} bytes, a range such as `64-1472`, \
             a mix such as `64:7,570:4`, or `imix`"
        )
    })
}

fn parse_weighted(part: &str) -> Result<(u32, u32), String> {
    let (size, weight) =
        part.split_once(':').ok_or_else(|| format!("`{part}` lacks its weight; write SIZE:WEIGHT"))?;
    let weight = weight.trim().parse().ok().filter(|weight| (1..=1_000_000).contains(weight));
    Ok((parse_size(size)?, weight.ok_or_else(|| format!("the weight in `{part}` must be 1 to 1000000"))?))
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size}"),
            Self::Uniform(first, last) => write!(f, "{first}-{last}"),
            Self::Mix(mix) => {
                for (index, (size, weight)) in mix.iter().enumerate() {
                    write!(f, "{}{size}:{weight}", if index == 0 { "" } else { "," })?;
                }
                Ok(())
            }
        }
    }
}

impl Serialize for Sizes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Sizes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Sizes".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Payload bytes: one size, a range `64-1472`, or a mix `12:7,548:4,1472:1`."
        })
    }
}

/// Draws sizes one after the other.
#[derive(Clone, Debug)]
pub struct SizeSequence {
    random: Random,
    drawn: Drawn,
}

#[derive(Clone, Debug)]
enum Drawn {
    Fixed(u32),
    /// First size and the number of sizes.
    Uniform(u32, u64),
    /// The mix and the sum of its weights.
    Mix(Vec<(u32, u32)>, u64),
}

impl SizeSequence {
    /// The next size, in bytes.
    #[inline]
    pub fn take(&mut self) -> u32 {
        match &self.drawn {
            Drawn::Fixed(size) => *size,
            Drawn::Uniform(first, count) => first + self.random.below(*count) as u32,
            Drawn::Mix(mix, weights) => {
                let mut left = self.random.below(*weights);
                for (size, weight) in mix {
                    match left.checked_sub(u64::from(*weight)) {
                        Some(rest) => left = rest,
                        None => return *size,
                    }
                }
                mix[0].0
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes_are_read_and_nonsense_is_refused() {
        assert_eq!("64".parse(), Ok(Sizes::Fixed(64)));
        assert_eq!("64-1472".parse(), Ok(Sizes::Uniform(64, 1472)));
        assert_eq!("imix".parse::<Sizes>().unwrap().to_string(), "12:7,548:4,1472:1");
        for text in ["", "0", "65508", "9-3", "64:", "64:0", "a", "-", "64,65", "64:1,", "1e3"] {
            assert!(text.parse::<Sizes>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_mix_keeps_its_weights() {
        let sizes: Sizes = "imix".parse().unwrap();
        let mut sequence = sizes.sequence(1);
        let small = (0..120_000).filter(|_| sequence.take() == 12).count();
        assert!((69_000..71_000).contains(&small), "{small} of 120000, 70000 expected");
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "[-:,0-9a-z ]{0,24}|\\PC*") {
            if let Ok(sizes) = text.parse::<Sizes>() {
                prop_assert!(1 <= sizes.smallest() && sizes.largest() <= LARGEST_PAYLOAD);
                prop_assert_eq!(sizes.to_string().parse::<Sizes>(), Ok(sizes));
            }
        }

        #[test]
        fn what_is_shown_can_be_typed_again(mix in proptest::collection::vec((1..=LARGEST_PAYLOAD, 1_u32..1000), 1..6)) {
            let sizes = Sizes::Mix(mix);
            prop_assert_eq!(sizes.to_string().parse::<Sizes>(), Ok(sizes));
        }

        #[test]
        fn a_range_keeps_its_bounds_and_mean(first in 1_u32..2000, span in 0_u32..2000, seed: u64) {
            let sizes = Sizes::Uniform(first, first + span);
            let mut sequence = sizes.sequence(seed);
            for _ in 0..200 {
                prop_assert!((first..=first + span).contains(&sequence.take()));
            }
            prop_assert_eq!(sizes.mean(), (u64::from(2 * first + span), 2));
        }
    }
}

//! A figure being drawn: SVG text with classes instead of colours, so that one style serves light,
//! dark and print. All text that comes from outside is escaped here.

use std::fmt::Write;

/// Width of every figure, in user units.
pub const WIDTH: f64 = 880.0;

/// How text sits at its point.
#[derive(Clone, Copy)]
pub enum Anchor {
    /// The text begins there.
    Start,
    /// Its middle is there.
    Middle,
    /// It ends there.
    End,
}

/// A shape of a mark; shapes tell series apart where colours don't.
#[derive(Clone, Copy)]
pub enum Shape {
    Circle,
    Square,
    Triangle,
    Diamond,
    Cross,
    Plus,
}

impl Shape {
    /// The shape of the series with that number.
    pub fn of_series(series: usize) -> Self {
        [Self::Circle, Self::Square, Self::Triangle, Self::Diamond, Self::Cross, Self::Plus][series % 6]
    }

    /// Whether it is drawn with lines only.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Cross | Self::Plus)
    }

    /// Its outline around a point, with `r` as half of its size.
    fn path(self, (x, y): (f64, f64), r: f64) -> String {
        let (x, y) = (short(x), short(y));
        let n = short;
        match self {
            Self::Circle => {
                format!("M{x} {y}m-{0} 0a{0} {0} 0 1 0 {1} 0a{0} {0} 0 1 0 -{1} 0z", n(r), n(2.0 * r))
            }
            Self::Square => format!("M{x} {y}m-{0} -{0}h{1}v{1}h-{1}z", n(r * 0.9), n(r * 1.8)),
            Self::Triangle => format!("M{x} {y}m0 -{0}l{0} {1}h-{1}z", n(r * 1.1), n(r * 2.2)),
            Self::Diamond => format!("M{x} {y}m0 -{0}l{0} {0}l-{0} {0}l-{0} -{0}z", n(r * 1.25)),
            Self::Cross => format!("M{x} {y}m-{0} -{0}l{1} {1}m0 -{1}l-{1} {1}", n(r * 0.9), n(r * 1.8)),
            Self::Plus => format!("M{x} {y}m-{0} 0h{1}m-{0} -{0}v{1}", n(r * 1.1), n(r * 2.2)),
        }
    }
}

/// A figure being drawn.
pub struct Svg {
    body: String,
}

impl Svg {
    /// An empty figure.
    pub fn new() -> Self {
        Self { body: String::new() }
    }

    /// The elements drawn so far.
    pub fn into_body(self) -> String {
        self.body
    }

    /// A line of text.
    pub fn text(&mut self, (x, y): (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y, text) = (short(x), short(y), escape(text));
        let _ = writeln!(self.body, "<text x=\"{x}\" y=\"{y}\"{anchor} class=\"{class}\">{text}</text>");
    }

    /// A straight line.
    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let d = format!("M{} {}L{} {}", short(from.0), short(from.1), short(to.0), short(to.1));
        self.path(&d, class);
    }

    /// A rectangle; nothing where it has no height.
    pub fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str) {
        let [x, y, width, height] = [x, y, width.max(0.0), height.max(0.0)].map(short);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" class=\"{class}\"/>"
        );
    }

    /// A rectangle filled in part: `strength` from 0 to 1.
    pub fn tint(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), class: &str, strength: f64) {
        let [x, y, width, height, strength] = [x, y, width, height, strength].map(short);
        let _ = writeln!(
            self.body,
            "<rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"3\" class=\"{class}\" \
             fill-opacity=\"{strength}\"/>",
        );
    }

    /// A path with SVG's own commands.
    pub fn path(&mut self, d: &str, class: &str) {
        let _ = writeln!(self.body, "<path d=\"{d}\" class=\"{class}\"/>");
    }

    /// Marks of one series.
    pub fn marks(&mut self, shape: Shape, points: &[(f64, f64)], radius: f64, class: &str) {
        if points.is_empty() {
            return;
        }
        let d: String = points.iter().map(|&point| shape.path(point, radius)).collect();
        let drawn = if shape.is_open() { "open" } else { "mark" };
        self.path(&d, &format!("{drawn} {class}"));
    }
}

/// A coordinate with at most two digits behind the point.
pub fn short(value: f64) -> String {
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".into() } else { text.to_owned() }
}

/// `text` for an element or an attribute in quotes; what XML can't hold becomes U+FFFD.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `text` cut to at most `length` characters, with an ellipsis where something was cut.
pub fn cut(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn coordinates_are_short() {
        assert_eq!([short(3.0), short(2.5), short(-0.001), short(100.0)], ["3", "2.5", "0", "100"]);
    }

    #[test]
    fn long_names_are_cut() {
        assert_eq!(cut("passthrough", 11), "passthrough");
        assert_eq!(cut("passthrough", 5), "pass…");
    }

    proptest! {
        #[test]
        fn nothing_from_outside_is_markup(text in ".{0,40}") {
            let forbidden = ['<', '>', '"', '\'', '\u{0}', '\u{1b}'];
            prop_assert!(!escape(&text).contains(forbidden));
        }
    }
}

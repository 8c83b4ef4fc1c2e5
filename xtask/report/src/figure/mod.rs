//! Figures: SVG with a title and a description, drawn once and used in the page and as files.

mod axis;
mod difference;
mod distribution;
mod heat;
mod interrupts;
mod load_effect;
mod order;
mod panels;
mod published;
mod rows;
mod runs;
mod spread;
mod svg;

pub use order::in_words as drift_in_words;

use super::view::Probe;
use svg::{Anchor, Svg, WIDTH, cut, escape, short};

/// Style of figures, for the page and for each file.
pub const STYLE: &str = include_str!("style.css");

/// One figure.
pub struct Figure {
    /// Name of its file, without ending; unique in the report.
    pub name: String,
    /// What it shows, in a few words.
    pub title: String,
    /// What it shows, for those who can't see it: the numbers that matter.
    pub description: String,
    /// How to read it.
    pub caption: String,
    body: String,
    height: f64,
}

impl Figure {
    /// The figure as an element of a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        self.element("")
    }

    /// The figure as a file of its own.
    pub fn file(&self) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n",
            self.element(&format!("<style>\n{STYLE}svg.figure{{background:var(--paper)}}\n</style>\n"))
        )
    }

    fn element(&self, style: &str) -> String {
        let Self { name, title, description, body, height, .. } = self;
        let [name, title, description] = [name, title, description].map(|text| escape(text));
        let (width, height) = (short(WIDTH), short(*height));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"figure\" viewBox=\"0 0 {width} {height}\" \
             role=\"img\" aria-labelledby=\"{name}-title {name}-desc\">\n\
             <title id=\"{name}-title\">{title}</title>\n<desc id=\"{name}-desc\">{description}</desc>\n\
             {style}{body}</svg>"
        )
    }
}

/// What a figure is called and says; its drawing comes separately.
struct Words {
    kind: &'static str,
    title: String,
    description: String,
    caption: String,
}

/// Puts title and platform around a drawing whose own part ends at `bottom`.
fn finish(probe: &Probe, words: Words, mut svg: Svg, bottom: f64) -> Figure {
    let Words { kind, title, description, caption } = words;
    svg.text((0.0, 18.0), Anchor::Start, "title", &title);
    let platform = format!("Platform: {}", probe.summary.platform);
    svg.text((0.0, bottom + 14.0), Anchor::Start, "small", &cut(&platform, 140));
    let safe = |c: char| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' };
    let name: String = probe.name.chars().map(safe).chain(['-']).chain(kind.chars()).collect();
    Figure { name, title, description, caption, body: svg.into_body(), height: bottom + 20.0 }
}

/// The figures of one probe, in reading order; those that have nothing to show are left out.
pub fn of_probe(probe: &Probe) -> Vec<Figure> {
    if !probe.has_runs() {
        return Vec::new();
    }
    [
        heat::draw(probe),
        Some(runs::draw(probe)),
        difference::draw(probe),
        load_effect::draw(probe),
        spread::variance(probe),
        spread::range(probe),
        published::draw(probe),
        interrupts::draw(probe),
        distribution::draw(probe),
        order::draw(probe),
    ]
    .into_iter()
    .flatten()
    .collect()
}

//! The page: one HTML file that needs no network, no script and no other file. Text from outside is
//! escaped by maud; figures escape their own.

mod head;
mod provenance;
mod sections;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{
    figure::{self, Figure},
    input::Input,
    summary::Summary,
    table::Table,
    view::Probe,
};

const STYLE: &str = include_str!("page.css");

/// The whole page.
pub fn page(input: &Input, summary: &Summary, probes: &[(Probe, Vec<Figure>)]) -> String {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="generator" content={ "iomatrix " (input.header.version) };
                title { (summary.title) " · " (summary.plan) }
                style { (PreEscaped(figure::STYLE)) (PreEscaped(STYLE)) }
            }
            body {
                (head::header(input, summary))
                main {
                    (head::contents(probes))
                    (head::at_a_glance(summary, probes))
                    @for (probe, figures) in probes { (sections::probe(probe, figures)) }
                    (sections::conclusions(input))
                    (sections::loads(input))
                    (sections::incomplete(input, summary))
                    (provenance::order(input, summary, probes))
                    (provenance::axes(input))
                    (sections::method(summary))
                    (provenance::machine(input))
                }
                footer {
                    p {
                        "Made from " code { "plan.toml" } " and " code { "journal.jsonl" }
                        " alone. Measured with iomatrix " (input.header.version) "."
                    }
                }
            }
        }
    };
    markup.into_string() + "\n"
}

/// A table in a container of its own, which scrolls where the page is narrow.
fn table(table: &Table) -> Markup {
    let class = |column: usize| table.head[column].numeric.then_some("n");
    html! {
        div.scroll tabindex="0" role="region" aria-label=(table.caption) {
            table class=[table.mono.then_some("mono")] {
                caption { span { (table.caption) } }
                thead {
                    tr {
                        @for (index, column) in table.head.iter().enumerate() {
                            th scope="col" class=[class(index)] { (column.title) }
                        }
                    }
                }
                tbody {
                    @for row in &table.rows {
                        tr {
                            @for (index, text) in row.iter().enumerate() {
                                @if index == 0 {
                                    th scope="row" { (text) }
                                } @else {
                                    td class=[class(index).or(short(text))] { (field(text)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The class of a field that is not to be broken into lines.
fn short(text: &str) -> Option<&'static str> {
    (text.chars().count() <= 24).then_some("s")
}

/// A word or more as a sentence: capital first, full stop last.
fn sentence(text: &str) -> String {
    let mut characters = text.trim_end_matches('.').chars();
    let first: String = characters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + characters.as_str() + "."
}

/// A field; its second line, if any, small below the first.
fn field(text: &str) -> Markup {
    match text.split_once('\n') {
        Some((first, second)) => html! { (first) small { (second) } },
        None => html! { (text) },
    }
}

/// A figure with its caption.
fn figure_of(figure: &Figure) -> Markup {
    html! {
        figure {
            div.scroll tabindex="0" role="region" aria-label=(figure.title) { (PreEscaped(figure.inline())) }
            figcaption { (figure.caption) }
        }
    }
}

/// A section's anchor from a name.
fn anchor(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' || c == '_' { c } else { '-' }).collect()
}

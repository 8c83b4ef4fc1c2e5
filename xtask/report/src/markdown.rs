//! `report/summary.md`: the tables for an issue or a README.

use super::{
    input::Input,
    number,
    summary::Summary,
    table::{self, Table},
    view, warnings,
};

/// The summary in Markdown.
pub fn page(input: &Input, summary: &Summary) -> String {
    let mut text = format!("# {}\n\n", plain(&summary.title));
    text.push_str(&format!(
        "Plan `{}` · {} · {} of {} completed · seed {} · began {}\n\n",
        summary.plan.replace('`', ""),
        plain(&summary.platform),
        summary.outcomes.completed(),
        number::count(summary.trials_planned, "trial"),
        summary.seed,
        number::utc(summary.started_wall_ns),
    ));
    for warning in warnings::of(summary) {
        text.push_str(&format!("* **{}**\n", plain(&warning)));
    }
    for note in warnings::scope(summary).iter().chain(&summary.notes) {
        text.push_str(&format!("* {}\n", plain(note)));
    }
    for probe in view::probes(input, summary) {
        text.push_str(&format!("\n## {}\n\n", plain(probe.name)));
        if !probe.spec.about.is_empty() {
            text.push_str(&format!("{}\n\n", plain(&probe.spec.about)));
        }
        push(&mut text, &table::short(&probe));
        if let Some(published) = table::published(&probe) {
            text.push('\n');
            push(&mut text, &published);
        }
    }
    if let Some(incomplete) = table::incomplete(input) {
        text.push_str("\n## Not completed\n\n");
        push(&mut text, &incomplete);
    }
    text
}

/// A table in GitHub's notation, its caption above.
fn push(text: &mut String, table: &Table) {
    text.push_str(&format!("{}\n\n", plain(&table.caption)));
    let head: Vec<String> = table.head.iter().map(|column| plain(&column.title)).collect();
    text.push_str(&format!("| {} |\n", head.join(" | ")));
    let rule: Vec<&str> =
        table.head.iter().map(|column| if column.numeric { "---:" } else { "---" }).collect();
    text.push_str(&format!("| {} |\n", rule.join(" | ")));
    for row in &table.rows {
        let fields: Vec<String> = row.iter().map(|text| plain(&field(text))).collect();
        text.push_str(&format!("| {} |\n", fields.join(" | ")));
    }
}

/// A field on one line, its second line in brackets.
fn field(text: &str) -> String {
    text.split_once('\n').map_or(text.to_owned(), |(first, second)| format!("{first} ({second})"))
}

/// Text in which nothing is Markdown or HTML.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    for character in text.chars() {
        match character {
            '\n' | '\r' | '\t' => plain.push(' '),
            '<' => plain.push_str("&lt;"),
            '&' => plain.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '~' | '#' => plain.extend(['\\', character]),
            character => plain.push(character),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_can_not_break_a_table() {
        assert_eq!(plain("a|b\n<script>"), "a\\|b &lt;script>");
    }
}

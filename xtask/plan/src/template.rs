//! Words in braces: `{disk}` in an argument becomes what the platform or the plan says it is.

use std::collections::BTreeMap;

/// Replaces every `{name}` of `text` by its word.
///
/// # Errors
/// Names the first word that is unknown, or the brace that is not closed.
pub fn substitute(text: &str, words: &BTreeMap<String, String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, tail) =
            after.split_once('}').ok_or_else(|| format!("`{text}` has a brace that is not closed"))?;
        let word = words.get(name).ok_or_else(|| {
            let known: Vec<&str> = words.keys().map(String::as_str).collect();
            format!("`{{{name}}}` is not known; known are {}", known.join(", "))
        })?;
        out.push_str(before);
        out.push_str(word);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

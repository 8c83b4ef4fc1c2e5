//! Finds the counts of a line, which make up nearly all of the file on a big machine.
//!
//! The kernel writes each count right-aligned after a space in a field of eleven bytes
//! (`seq_put_decimal_ull_width(p, " ", count, 10)`), and nearly all of them are small or 0. Both are
//! guesses that are checked, never relied upon: eight fields are read at once without a branch, and
//! what looks different in any of them is read digit by digit.

/// Bytes of one field.
const FIELD: usize = 11;
/// How many fields are read at once.
const FIELDS: usize = 8;
const BLOCK: usize = FIELDS * FIELD;
const ZEROS: &[u8; BLOCK] =
    b"          0          0          0          0          0          0          0          0";

/// Reads up to `columns` counts from `text[at..]` into `counts`, which is emptied first, and gives
/// where the rest of the line begins. A count is a decimal number that white space or the line's
/// end follows; the first thing that is none ends the list.
pub(super) fn counts(text: &[u8], mut at: usize, columns: usize, counts: &mut Vec<u64>) -> usize {
    counts.clear();
    // One allocation for a line that is long enough to have them all.
    if counts.capacity() < columns
        && text.get(at..at + columns * FIELD).is_some_and(|line| !line.contains(&b'\n'))
    {
        counts.reserve_exact(columns);
    }
    while counts.len() < columns {
        if columns - counts.len() >= FIELDS
            && let Some(values) = block(text, at)
        {
            counts.extend_from_slice(&values);
            at += BLOCK;
            continue;
        }
        // Not in one block: as many fields one by one, before blocks are tried again.
        let end = columns.min(counts.len() + FIELDS);
        while counts.len() < end {
            let Some((count, next)) = aligned(text, at).or_else(|| unaligned(text, at)) else {
                return at;
            };
            counts.push(count);
            at = next;
        }
    }
    at
}

/// Eight counts of up to eight digits in the kernel's layout.
#[inline]
fn block(text: &[u8], at: usize) -> Option<[u64; FIELDS]> {
    let block: &[u8; BLOCK] = text.get(at..at + BLOCK)?.try_into().ok()?;
    // White space must follow, or else the last digit might be the first of something longer.
    if text.get(at + BLOCK).is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    if block == ZEROS {
        return Some([0; FIELDS]);
    }
    let (mut values, mut wrong) = ([0; FIELDS], 0);
    for (value, field) in values.iter_mut().zip(block.as_chunks::<FIELD>().0) {
        let (count, bits) = of_field(field);
        *value = count;
        wrong |= bits;
    }
    (wrong == 0).then_some(values)
}

/// A count of up to eight digits in the kernel's layout, and where its field ends.
#[inline]
fn aligned(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let field: &[u8; FIELD] = text.get(at..at + FIELD)?.try_into().ok()?;
    if text.get(at + FIELD).is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    let (count, wrong) = of_field(field);
    (wrong == 0).then_some((count, at + FIELD))
}

/// The count in a field, and 0; or anything, and bits that say so, where the field has another layout.
#[inline]
fn of_field(field: &[u8; FIELD]) -> (u64, u64) {
    let [a, b, c, word @ ..] = *field;
    let head = u64::from(a ^ b' ' | b ^ b' ' | c ^ b' ');
    let (count, wrong) = eight_digits(u64::from_le_bytes(word));
    (count, wrong | head)
}

/// Eight characters, the first one lowest: spaces, then at least one digit, as a number, and 0; or
/// anything, and bits that say so. Without a branch: which fields are zero can't be foreseen.
#[inline]
fn eight_digits(word: u64) -> (u64, u64) {
    // Digits (0x30 to 0x39) have bit 4 set, a space (0x20) has not.
    let marks = word & 0x1010_1010_1010_1010;
    let first = marks & marks.wrapping_neg();
    // Every bit below the first digit; all where there is none.
    let leading = (first >> 4).wrapping_sub(1);
    let digits = (word & !leading) | (0x3030_3030_3030_3030 & leading);
    let high = digits & 0xf0f0_f0f0_f0f0_f0f0;
    let carried = digits.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    let wrong = ((word ^ 0x2020_2020_2020_2020) & leading)
        | (high ^ 0x3030_3030_3030_3030)
        | (carried ^ high)
        | u64::from(marks == 0);
    // Pairs, then fours, then all eight: the well-known three multiplications.
    let value = digits & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (value.wrapping_mul(10).wrapping_add(value >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100).wrapping_add(pairs >> 16)) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff, wrong)
}

/// A count anywhere after white space, digit by digit.
fn unaligned(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    let start = at + text.get(at..)?.iter().take_while(|byte| blank(byte)).count();
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = start + digits;
    if digits == 0 || text.get(end).is_some_and(|byte| !byte.is_ascii_whitespace()) {
        return None;
    }
    let count = text[start..end]
        .iter()
        .try_fold(0_u64, |count, digit| count.checked_mul(10)?.checked_add(u64::from(digit - b'0')))?;
    Some((count, end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(text: &str, columns: usize) -> (Vec<u64>, &str) {
        let mut found = Vec::new();
        let end = counts(text.as_bytes(), 0, columns, &mut found);
        (found, &text[end..])
    }

    #[test]
    fn a_number_that_something_follows_is_no_count() {
        assert_eq!(scan("          0 4-edge", 2), (vec![0], " 4-edge"));
        assert_eq!(scan("          0          0          0          0-x", 4).0, [0, 0, 0]);
        let zeros = "          0".repeat(8);
        assert_eq!(scan(&format!("{zeros}-x"), 8).0, [0; 7]);
        assert_eq!(scan(&format!("{zeros}7 x"), 8), (vec![0, 0, 0, 0, 0, 0, 0, 7], " x"));
        assert_eq!(scan("    1234567   4294967295 x", 2), (vec![1_234_567, 4_294_967_295], " x"));
        assert_eq!(scan("   12 4567      ", 1).0, [12]);
        assert_eq!(scan("99999999999999999999999", 1).0, [0; 0], "larger than any counter");
    }

    #[test]
    fn a_count_never_comes_from_the_next_line() {
        assert_eq!(scan("          0\n          7", 2), (vec![0], "\n          7"));
    }

    proptest! {
        #[test]
        fn fast_and_slow_agree(
            values in proptest::collection::vec(prop_oneof![4 => Just(0_u64), 2 => 0_u64..100_000_000, 1 => any::<u64>()], 0..40),
            width in 0_usize..14,
        ) {
            let text: String = values.iter().map(|value| format!(" {value:width$}")).chain(["  label 7".to_owned()]).collect();
            let (found, rest) = scan(&text, values.len());
            prop_assert_eq!(found, values);
            prop_assert_eq!(rest, "  label 7");
        }

        #[test]
        fn any_bytes_are_read_as_the_obvious_code_reads_them(
            fields in proptest::collection::vec(prop_oneof![
                6 => (0_u64..100_000_000).prop_map(|value| format!(" {value:10}")),
                1 => "[ 0-9\\n:x\\t]{0,14}",
            ], 0..40),
            columns in 0_usize..40,
        ) {
            let text = fields.concat();
            let (mut found, mut expected, mut at) = (Vec::new(), Vec::new(), 0);
            let end = counts(text.as_bytes(), 0, columns, &mut found);
            while expected.len() < columns && let Some((count, next)) = unaligned(text.as_bytes(), at) {
                expected.push(count);
                at = next;
            }
            prop_assert_eq!((found, end), (expected, at));
        }

        #[test]
        fn eight_characters_are_read_as_the_obvious_code_reads_them(text in "[ 0-9:/a]{8}") {
            let word = u64::from_le_bytes(text.as_bytes().try_into().unwrap());
            let (count, wrong) = eight_digits(word);
            prop_assert_eq!((wrong == 0).then_some(count), text.trim_start().parse().ok());
        }
    }
}

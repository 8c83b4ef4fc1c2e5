//! Finds the counts of a line, which make up nearly all of the file on a big machine.
//!
//! The kernel writes each count right-aligned after a space in a field of eleven bytes
//! (`seq_put_decimal_ull_width(p, " ", count, 10)`), and nearly all of them are 0. Both are guesses
//! that are checked, never relied upon: whatever looks different is read digit by digit.

/// Bytes of one field.
const FIELD: usize = 11;
/// How many zeros are looked for at once.
const ZEROS: usize = 4;
const ZERO_FIELDS: &[u8; ZEROS * FIELD] = b"          0          0          0          0";

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
        // White space must follow, or else the last zero might be the first digit of something.
        while columns - counts.len() >= ZEROS
            && text.get(at..at + ZERO_FIELDS.len()).is_some_and(|fields| fields == ZERO_FIELDS)
            && text.get(at + ZERO_FIELDS.len()).is_none_or(u8::is_ascii_whitespace)
        {
            counts.extend_from_slice(&[0; ZEROS]);
            at += ZERO_FIELDS.len();
        }
        if counts.len() == columns {
            break;
        }
        match aligned(text, at).or_else(|| unaligned(text, at)) {
            Some((count, end)) => {
                counts.push(count);
                at = end;
            }
            None => break,
        }
    }
    at
}

/// A count of up to seven digits in the kernel's layout, and where its field ends.
#[inline]
fn aligned(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let field: &[u8; FIELD + 1] = text.get(at..at + FIELD + 1)?.try_into().ok()?;
    let (head, word) = (field.first_chunk::<4>()?, field[3..FIELD].try_into().ok()?);
    if head != b"    " || !field[FIELD].is_ascii_whitespace() {
        return None;
    }
    Some((eight_digits(u64::from_le_bytes(word))?, at + FIELD))
}

/// Eight characters, the first one lowest: spaces, then at least one digit, as a number.
#[inline]
fn eight_digits(word: u64) -> Option<u64> {
    // Digits (0x30 to 0x39) have bit 4 set, a space (0x20) has not.
    let leading_bits = (word & 0x1010_1010_1010_1010).trailing_zeros() & !7;
    if leading_bits == 64 {
        return None;
    }
    let leading = (1_u64 << leading_bits) - 1;
    if word & leading != 0x2020_2020_2020_2020 & leading {
        return None;
    }
    let digits = (word & !leading) | (0x3030_3030_3030_3030 & leading);
    let high = digits & 0xf0f0_f0f0_f0f0_f0f0;
    let carried = digits.wrapping_add(0x0606_0606_0606_0606) & 0xf0f0_f0f0_f0f0_f0f0;
    if high != 0x3030_3030_3030_3030 || carried != high {
        return None;
    }
    // Pairs, then fours, then all eight: the well-known three multiplications.
    let value = digits & 0x0f0f_0f0f_0f0f_0f0f;
    let pairs = (value.wrapping_mul(10) + (value >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs.wrapping_mul(100) + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours.wrapping_mul(10_000) + (fours >> 32)) & 0xffff_ffff)
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
        fn eight_characters_are_read_as_the_obvious_code_reads_them(text in "[ 0-9:/a]{8}") {
            let word = u64::from_le_bytes(text.as_bytes().try_into().unwrap());
            prop_assert_eq!(eight_digits(word), text.trim_start().parse().ok());
        }
    }
}

//! What a seller may choose as an id: 1 to 64 letters and digits of any script, spaces and a few signs, in one normal form (NFC).
//!
//! Two ways to write one text (`é`, and `e` with an accent behind it) are one id; a character that is not seen is none.

use super::{IdError, NAME_LENGTH_MAX};
use compact_str::CompactString;
use unicode_normalization::char::is_combining_mark;
use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The signs of ids beside letters and digits.
const SIGNS: &[u8] = b" ._~:+-/%#&,()";

/// Letters and marks that nothing is shown for (Unicode's `Default_Ignorable_Code_Point`, as far as it holds letters and marks).
const UNSEEN: &[std::ops::RangeInclusive<char>] = &[
    '\u{34f}'..='\u{34f}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// The id that a text is, in its normal form.
pub(super) fn read(text: &str) -> Result<CompactString, IdError> {
    if text.is_ascii() {
        let lawful = |byte: u8| byte.is_ascii_alphanumeric() || SIGNS.contains(&byte);
        return if text.bytes().all(lawful) { bounded(text.into()) } else { Err(IdError::Name) };
    }
    // No normal form is longer than three times its text, so what is too long is not even looked at.
    if text.len() > NAME_LENGTH_MAX * LONGEST_CHARACTER {
        return Err(IdError::Name);
    }
    let name = normal(text);
    let mut before = None;
    for letter in name.chars() {
        let is_mark = is_combining_mark(letter);
        let is_lawful = u8::try_from(letter).is_ok_and(|byte| byte.is_ascii() && SIGNS.contains(&byte))
            || (letter.is_alphanumeric() && !is_mark)
            || (is_mark && before.is_some_and(|before: char| before.is_alphanumeric() || is_combining_mark(before)));
        if !is_lawful || UNSEEN.iter().any(|unseen| unseen.contains(&letter)) {
            return Err(IdError::Name);
        }
        before = Some(letter);
    }
    bounded(name)
}

/// Bytes of the longest character that composes with marks behind it: a letter of two bytes with four marks.
const LONGEST_CHARACTER: usize = 16;

/// A text in its normal form (NFC).
#[must_use]
pub fn normal(text: &str) -> CompactString {
    if text.is_ascii() || is_nfc(text) { text.into() } else { text.nfc().collect() }
}

fn bounded(name: CompactString) -> Result<CompactString, IdError> {
    let is_lawful = !name.is_empty() && name.chars().count() <= NAME_LENGTH_MAX && name != "." && name != "..";
    if is_lawful { Ok(name) } else { Err(IdError::Name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_real_shops_are_ids() {
        for name in [
            "NOVA-LOW-42",
            "M8x20 / 100",
            "10%",
            "No. #7",
            "B&W, matt (neu)",
            "größe 42",
            "Żółw-1",
            "スニーカー",
            "운동화 270",
            "جزمة-٤٢",
            "हिन्दी जूता",
            "ร้องเท้า",
            &"é".repeat(NAME_LENGTH_MAX),
        ] {
            assert_eq!(read(name).as_deref(), Ok(name));
        }
    }

    #[test]
    fn two_ways_to_write_one_text_are_one_id() {
        assert_eq!(read("Cafe\u{301}").unwrap(), "Caf\u{e9}");
        assert_eq!(read("\u{1112}\u{1161}\u{11ab}").unwrap(), "\u{d55c}");
        assert_eq!(read("\u{212b}").unwrap(), "\u{c5}", "the sign of the unit is the letter");
    }

    #[test]
    fn hostile_names_are_refused() {
        let unseen = ["a\u{200b}b", "a\u{ad}", "\u{202e}cba", "a\u{fe0f}", "\u{3164}", "a\u{e0041}", "\u{feff}a"];
        let signs =
            ["", ".", "..", "a'b", "a\0b", "a\nb", "a\"b", "a<b", "a\\b", "a?b", "a=b", "a;b", "a@b", "a*b", "a$b"];
        let others =
            ["\u{301}a", "- \u{301}", "a\u{2028}b", "a\u{a0}b", "a\u{2044}b", "a\u{1f600}b", "a\u{fffd}", "a\u{85}b"];
        for name in unseen.into_iter().chain(signs).chain(others).chain([&*"x".repeat(65), &*"é".repeat(65)]) {
            assert_eq!(read(name), Err(IdError::Name), "{name:?}");
        }
    }

    proptest! {
        /// An id is in its normal form, reads back as itself, and has neither control characters nor the zero byte that ends it in keys.
        #[test]
        fn an_id_reads_back_as_itself(text in "\\PC{0,70}") {
            if let Ok(name) = read(&text) {
                prop_assert_eq!(read(&name), Ok(name.clone()));
                prop_assert!(is_nfc(&name) && !name.chars().any(char::is_control));
                prop_assert_eq!(read(&text.nfd().collect::<String>()), Ok(name.clone()));
                prop_assert!((1..=NAME_LENGTH_MAX).contains(&name.chars().count()));
            }
        }
    }
}

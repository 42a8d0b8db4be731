//! Entity tags: the version of a resource, and the coding of the answer that shows it.
//!
//! Answers in two codings are other bytes, so their tags differ (RFC 9110, 8.8.3.3): `"7"`, `"7-br"`, `"7-gzip"`. A caller who names any of
//! them saw version 7, whatever it was sent in: for `If-Match` and `If-None-Match` they are one.

use compact_str::{CompactString, format_compact};

/// The codings that answers are sent in.
const CODINGS: [&str; 2] = ["br", "gzip"];

/// The tag of an answer as it is.
pub(crate) fn of_version(version: u64) -> CompactString {
    format_compact!("\"{version}\"")
}

/// The tag of the same answer in a coding.
pub(crate) fn in_coding(tag: &str, coding: &str) -> CompactString {
    debug_assert!(CODINGS.contains(&coding), "{coding} could not be read back");
    match tag.strip_suffix('"') {
        Some(tag) => format_compact!("{tag}-{coding}\""),
        None => tag.into(),
    }
}

/// The version that a strong tag names, in any coding; `None`: it is weak, or no version's.
pub(crate) fn version(tag: &str) -> Option<u64> {
    let quoted = tag.strip_prefix('"')?.strip_suffix('"')?;
    let number = match quoted.split_once('-') {
        Some((number, coding)) => CODINGS.contains(&coding).then_some(number)?,
        None => quoted,
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_another_in_each_coding_and_names_the_same_version() {
        let plain = of_version(7);
        let tags = [plain.clone(), in_coding(&plain, "br"), in_coding(&plain, "gzip")];
        assert_eq!(tags, ["\"7\"", "\"7-br\"", "\"7-gzip\""]);
        for tag in tags {
            assert_eq!(version(&tag), Some(7), "{tag}");
        }
        for tag in ["W/\"7\"", "\"7-zip\"", "\"7-\"", "\"-br\"", "\"7-br-br\"", "7", "\"\"", "\"", ""] {
            assert_eq!(version(tag), None, "{tag}");
        }
    }
}

//! What every source file owes its reader: it says first what it is about, and it is about one thing.

use crate::{files, read};
use std::path::PathBuf;

/// Above this a file holds a second thing.
const LINES_MAX: usize = 600;

/// Words that promise a later that does not come.
const PROMISES: [&str; 6] = ["TODO", "FIXME", "XXX", "for now", "todo!(", "unimplemented!("];

/// `text` without comments and without what stands in quotes: blanks in their place, so that the rest stays where it was.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let raw_mark = rest.strip_prefix('r').map(|after| after.chars().take_while(|letter| *letter == '#').count());
        let starts_word = !code.chars().next_back().is_some_and(|letter| letter.is_alphanumeric() || letter == '_');
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if let Some(marks) = raw_mark.filter(|marks| starts_word && rest[1 + marks..].starts_with('"')) {
            let close = format!("\"{}", "#".repeat(marks));
            rest[2 + marks..].find(&close).map_or(rest.len(), |at| 2 + marks + at + close.len())
        } else if first == '"' {
            quoted(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quoted(rest, '\'')
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        code.push(' ');
        rest = &rest[length..];
    }
    code
}

/// How long the comment is that `text` begins with; comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// How long the quoted thing is that `text` begins with.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character in quotes, not a lifetime.
fn is_character(text: &str) -> bool {
    let mut letters = text.chars().skip(1);
    letters.next() == Some('\\') || letters.next() == Some('\'')
}

fn rust_files() -> Vec<PathBuf> {
    ["src", "bench", "tests", "examples"].iter().flat_map(|folder| files(folder, ".rs")).collect()
}

#[test]
fn every_file_says_first_what_it_is_about() {
    let silent: Vec<PathBuf> = rust_files().into_iter().filter(|path| !read(path).starts_with("//!")).collect();
    assert!(silent.is_empty(), "these files do not begin with `//!`: {silent:#?}");
}

#[test]
fn no_file_holds_a_second_thing() {
    let long: Vec<_> = rust_files().into_iter().map(|path| (read(&path).lines().count(), path)).collect();
    let long: Vec<_> = long.into_iter().filter(|(lines, _)| *lines >= LINES_MAX).collect();
    assert!(long.is_empty(), "what is the second thing in these files? {long:#?}");
}

#[test]
fn nothing_is_left_for_later() {
    let own = PathBuf::from("tests/house/sources.rs");
    let mut found = Vec::new();
    for path in rust_files().into_iter().filter(|path| *path != own) {
        let text = read(&path);
        let promise = PROMISES.iter().find(|promise| text.contains(**promise));
        found.extend(promise.map(|promise| format!("{}: {promise}", path.display())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn comments_and_texts_are_not_code() {
    let text = "a/* b /* c */ d */e // f\ng \"h\\\"i\" 'j' <'k> r#\"l\"m\"# '\\'' n";
    assert_eq!(code_of(text).split_whitespace().collect::<Vec<_>>(), ["a", "e", "g", "<'k>", "n"]);
}

/// Where a hash without a key is: its keys are numbers that the process itself gives. See `src/storage/src/keyed.rs`.
const UNKEYED: [&str; 2] = ["src/actors/src/entity/in_flight.rs", "src/actors/src/shard/residents.rs"];

#[test]
fn a_map_whose_keys_a_caller_chooses_is_hashed_with_a_key() {
    let unkeyed = |path: &PathBuf| {
        let code = code_of(&read(path));
        let code = code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
        code.contains("FxHash") || code.contains("FxBuildHasher")
    };
    let found: Vec<PathBuf> = files("src", ".rs").into_iter().filter(unkeyed).collect();
    assert_eq!(found, UNKEYED.map(PathBuf::from));
}

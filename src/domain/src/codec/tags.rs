//! Holds the tags: `tags.txt` lists those of every stored type, and the sources must say the same.
//!
//! A line is `file Type tag name`. A new field or variant adds a line. Of one that goes the line stays, with `(gone)` for the name, so that
//! nobody takes its tag again.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const LISTED: &str = include_str!("tags.txt");
const GONE: &str = "(gone)";

/// A type and a tag, and what has it.
type Tags = BTreeMap<(String, u32), String>;

/// The tags that a source gives, as (type, tag, name): `Event::Placed` is a type of its own, for its fields.
fn tags_in(source: &str) -> Vec<(String, u32, String)> {
    let (mut found, mut of_type, mut variant, mut tag) = (Vec::new(), String::new(), String::new(), None);
    for line in source.lines() {
        let depth = line.len() - line.trim_start().len();
        let text = line.trim().trim_start_matches("pub(super) ").trim_start_matches("pub(crate) ");
        let text = text.trim_start_matches("pub ");
        let name_of =
            |text: &str| text.split(|sign: char| !sign.is_alphanumeric() && sign != '_').next().map(str::to_owned);
        if depth == 0 && (text.starts_with("struct ") || text.starts_with("enum ")) {
            of_type = text.split_once(' ').and_then(|(_, rest)| name_of(rest)).unwrap_or_default();
            variant.clear();
            if let Some((_, inline)) = text.split_once("(#[n(") {
                found.push((of_type.clone(), number(inline), "0".to_owned()));
            }
        } else if let Some(rest) = text.strip_prefix("#[n(").or_else(|| text.strip_prefix("#[cbor(n(")) {
            tag = Some(number(rest));
        } else if let Some(tag) = tag.filter(|_| !text.starts_with(['#', '/'])) {
            let name = name_of(text).unwrap_or_default();
            if depth == 4 {
                variant.clone_from(&name);
                found.push((of_type.clone(), tag, name));
            } else {
                found.push((format!("{of_type}::{variant}"), tag, name));
            }
            if let Some((_, inline)) = text.split_once("(#[").filter(|_| depth == 4) {
                let inline = inline.trim_start_matches("cbor(").trim_start_matches("n(");
                found.push((format!("{of_type}::{variant}"), number(inline), "0".to_owned()));
            }
        }
        if !text.starts_with(['#', '/']) {
            tag = None;
        }
    }
    found
}

fn number(text: &str) -> u32 {
    text.split(')').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("a tag in {text}"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with(file!()) {
            found.push(path);
        }
    }
}

fn in_sources() -> Tags {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut paths, mut tags) = (Vec::new(), Tags::new());
    sources(&root, &mut paths);
    for path in paths {
        let file = path.strip_prefix(&root).unwrap().display().to_string();
        for (of_type, tag, name) in tags_in(&fs::read_to_string(&path).unwrap()) {
            let earlier = tags.insert((format!("{file} {of_type}"), tag), name);
            assert_eq!(earlier, None, "{file}: {of_type} has tag {tag} twice");
        }
    }
    tags
}

fn listed() -> Tags {
    let mut tags = Tags::new();
    for line in LISTED.lines() {
        let [file, of_type, tag, name] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("not a tag: {line}") };
        let earlier = tags.insert((format!("{file} {of_type}"), tag.parse().unwrap()), name.to_owned());
        assert_eq!(earlier, None, "{line}: the tag is listed twice");
    }
    tags
}

#[test]
fn tags_are_those_that_are_listed_and_none_is_used_again() {
    let (sources, mut listed) = (in_sources(), listed());
    listed.retain(|_, name| name != GONE);
    for (tag, name) in &sources {
        assert_eq!(
            listed.get(tag),
            Some(name),
            "tags.txt has no line for {} {} {name}, or its tag is gone",
            tag.0,
            tag.1
        );
    }
    for (tag, name) in &listed {
        assert!(sources.contains_key(tag), "{} {} {name} is in no source: its line stays as `(gone)`", tag.0, tag.1);
    }
    assert!(sources.len() > 300, "{} tags were found", sources.len());
}

#[test]
fn tags_are_found_in_structs_and_in_every_form_of_variant() {
    let source = r#"
#[derive(Encode)]
pub struct One {
    /// Words.
    #[n(0)]
    pub first: u8,
    #[cbor(n(7), with = "text")]
    second: CompactString,
    #[cbor(skip)]
    third: u8,
}
pub struct Around(#[n(0)] u8);
enum Two {
    #[n(0)]
    #[default]
    Bare,
    #[n(1)]
    Round(#[n(3)] u8),
    #[n(2)]
    Text(#[cbor(n(4), with = "text")] u8),
    #[n(9)]
    Named {
        #[n(5)]
        field: u8,
    },
}
"#;
    let found: Vec<String> =
        tags_in(source).iter().map(|(of_type, tag, name)| format!("{of_type} {tag} {name}")).collect();
    let expected = [
        "One 0 first",
        "One 7 second",
        "Around 0 0",
        "Two 0 Bare",
        "Two 1 Round",
        "Two::Round 3 0",
        "Two 2 Text",
        "Two::Text 4 0",
        "Two 9 Named",
        "Two::Named 5 field",
    ];
    assert_eq!(found, expected);
}

//! How a setting is declared: its type, its default and what is allowed, in one line, beside the code that reads it.
//!
//! ```text
//! settings! { pub struct Audit { rounds_max: u32 = 10, 0..=10_000; } }
//!                                    │        │    │       └─ Kind: what a value must be; checked before serde reads it
//!                                    │        │    └───────── default: what holds when no source gives the setting
//!                                    │        └────────────── type: read with serde
//!                                    └─────────────────────── key: `audit.rounds_max` in cluster.toml
//! ```
//!
//! What a setting is for, and what goes wrong when it is too small or too large, stands in `cluster.toml` and nowhere else. Durations end in
//! `_ms`, `_s` or `_days`, sizes in `_bytes`, bounds in `_max`.

mod kind;
mod rules;

pub use kind::{Kind, Text};
pub use rules::{Broken, Rules};

use std::fmt;

/// Bytes in a kibibyte, and so on.
pub const KIB: u64 = 1024;
/// Bytes in a mebibyte.
pub const MIB: u64 = 1024 * KIB;
/// Bytes in a gibibyte.
pub const GIB: u64 = 1024 * MIB;
/// Milliseconds in an hour.
pub const HOUR_MS: u64 = 60 * 60 * 1_000;
/// Seconds in a day.
pub const DAY_S: u64 = 24 * 60 * 60;
/// Seconds in a leap year.
pub const YEAR_S: u64 = 366 * DAY_S;

/// One setting, as declared.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Its key, with dots; `*` stands for one name that the operator chooses, such as a country.
    pub key: String,
    /// What may stand there.
    pub kind: Kind,
    /// It has no default: a group that the operator adds must have it (of a table of names: the table, which may be empty).
    pub is_required: bool,
}

/// A struct of settings: a section of `cluster.toml`, or a group in one.
pub trait Section {
    /// All settings of the struct, with keys relative to it.
    fn settings() -> Vec<Setting>;

    /// Adds the rules between settings that these values break.
    fn check(&self, rules: &mut Rules);
}

/// What stands at a field: one value, or names that the operator chooses, with a value or a group at each.
#[derive(Debug, Clone)]
pub enum Shape {
    /// One value.
    One(Kind),
    /// A value for each name.
    Each(Kind),
    /// A group for each name.
    Groups(Vec<Setting>),
}

/// A value for each name that the operator chooses, as in `[payments.method_hold_s]`.
pub fn each(kind: impl Into<Kind>) -> Shape {
    Shape::Each(kind.into())
}

/// A group for each name that the operator chooses, as in `[tax.countries.GB]`.
#[must_use]
pub fn groups<S: Section>() -> Shape {
    Shape::Groups(S::settings())
}

impl<K: Into<Kind>> From<K> for Shape {
    fn from(kind: K) -> Self {
        Self::One(kind.into())
    }
}

impl Shape {
    /// The settings of a field with this shape.
    #[must_use]
    pub fn settings(self, field: &str, is_required: bool) -> Vec<Setting> {
        match self {
            Self::One(kind) => vec![Setting { key: field.to_owned(), kind, is_required }],
            Self::Each(kind) => vec![Setting { key: format!("{field}.*"), kind, is_required }],
            Self::Groups(inner) => {
                let below = |setting: Setting| Setting { key: format!("{field}.*.{}", setting.key), ..setting };
                inner.into_iter().map(below).collect()
            }
        }
    }
}

/// A text that is not shown where settings are shown.
#[derive(Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(if self.0.is_empty() { "(none)" } else { "(secret)" })
    }
}

/// Declares a struct of settings.
///
/// `pub struct` is a section: each field has a default. `pub group` is what an operator adds under a name of their own, such as a country: no
/// field has a default, and all must be given. `check f` names a function of `(&Self, &mut Rules)` with the rules between the settings.
#[macro_export]
macro_rules! settings {
    ($(#[$meta:meta])* pub struct $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty = $default:expr, $shape:expr;)+
    } $(check $check:path)?) => {
        $crate::settings!(@declare [$(#[$meta])*] $name [$($(#[$doc])* $field: $type, $shape, false;)+] $($check)?);

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }
    };
    ($(#[$meta:meta])* pub group $name:ident {
        $($(#[$doc:meta])* $field:ident: $type:ty, $shape:expr;)+
    }) => {
        $crate::settings!(@declare [$(#[$meta])*] $name [$($(#[$doc])* $field: $type, $shape, true;)+]);
    };
    (@declare [$(#[$meta:meta])*] $name:ident
        [$($(#[$doc:meta])* $field:ident: $type:ty, $shape:expr, $is_required:literal;)+] $($check:path)?) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(missing_docs, reason = "cluster.toml describes every setting")]
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)+
        }

        impl $crate::Section for $name {
            fn settings() -> Vec<$crate::Setting> {
                let fields = [$($crate::Shape::from($shape).settings(stringify!($field), $is_required),)+];
                fields.into_iter().flatten().collect()
            }

            fn check(&self, _rules: &mut $crate::Rules) {
                $($check(self, _rules);)?
            }
        }
    };
}

/// Declares an enum whose variants are words of `cluster.toml`; `WORDS` has them all.
#[macro_export]
macro_rules! words {
    ($(#[$meta:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        pub enum $name {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// What may stand in `cluster.toml`.
            pub const WORDS: &'static [&'static str] = &[$($word),+];
        }
    };
}

#[cfg(test)]
#[allow(unreachable_pub, reason = "the macros declare what other crates see")]
mod tests {
    use super::*;

    words! {
        /// For these tests.
        pub enum Colour {
            /// Red.
            Red = "red",
            /// Blue.
            Blue = "blue",
        }
    }

    settings! {
        /// For these tests.
        pub group Shade {
            label: String, Text::NAME;
            weight: u8, 1..=9;
        }
    }

    settings! {
        /// For these tests.
        pub struct Paint {
            colour: Colour = Colour::Red, Colour::WORDS;
            layers_min: u32 = 1, 1..=5;
            layers_max: u32 = 3, 1..=5;
            shades: std::collections::BTreeMap<String, Shade> = [].into(), groups::<Shade>();
            prices: std::collections::BTreeMap<String, u64> = [].into(), each(0..=100);
        } check layers
    }

    fn layers(paint: &Paint, rules: &mut Rules) {
        let max = paint.layers_max;
        rules.must(
            paint.layers_min <= max,
            "paint.layers_min",
            &paint.layers_min,
            format_args!("paint.layers_max is {max}"),
        );
    }

    #[test]
    fn a_line_declares_key_default_and_what_is_allowed() {
        let keys: Vec<_> =
            Paint::settings().into_iter().map(|it| (it.key, it.kind.allowed(), it.is_required)).collect();
        let keys: Vec<_> =
            keys.iter().map(|(key, allowed, required)| (key.as_str(), allowed.as_str(), *required)).collect();
        let expected = [
            ("colour", "red, blue", false),
            ("layers_min", "a whole number from 1 to 5", false),
            ("layers_max", "a whole number from 1 to 5", false),
            ("shades.*.label", "a text that is not empty", true),
            ("shades.*.weight", "a whole number from 1 to 9", true),
            ("prices.*", "a whole number from 0 to 100", false),
        ];
        assert_eq!(keys, expected);
        assert_eq!((Paint::default().colour, Paint::default().layers_max), (Colour::Red, 3));
        assert_eq!(serde_json::to_value(Colour::Blue).expect("a word"), "blue");
    }

    #[test]
    fn a_broken_rule_names_the_setting_its_value_and_the_rule() {
        let mut rules = Rules::default();
        Paint::default().check(&mut rules);
        Paint { layers_min: 5, ..Paint::default() }.check(&mut rules);
        let broken: Vec<_> = rules.broken.iter().map(|it| (it.key, it.value.as_str(), it.rule.as_str())).collect();
        assert_eq!(broken, [("paint.layers_min", "5", "paint.layers_max is 3")]);
    }

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?} {:?}", Secret("hunter2".to_owned()), Secret::default()), "(secret) (none)");
    }
}

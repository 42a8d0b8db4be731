//! Only so that the code on the page that says how to add an entity is compiled and run as a documentation test.

#[cfg(doctest)]
#[doc = include_str!("../docs/adding-an-entity.md")]
mod adding_an_entity {}

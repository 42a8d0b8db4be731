//! The program `doorbuster`.

fn main() {}

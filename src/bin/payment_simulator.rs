//! The program `payment-simulator`.

fn main() {}

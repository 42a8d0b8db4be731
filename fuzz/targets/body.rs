//! The fuzzer's way into [`doorbuster_fuzz::bodies::body`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorbuster_fuzz::bodies::body::check(bytes));

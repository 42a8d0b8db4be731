//! The fuzzer's way into [`doorbuster_fuzz::bodies::record`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorbuster_fuzz::bodies::record::check(bytes));

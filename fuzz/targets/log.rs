//! The fuzzer's way into [`doorbuster_fuzz::bodies::log`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorbuster_fuzz::bodies::log::check(bytes));

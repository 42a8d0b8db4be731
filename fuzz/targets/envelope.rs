//! The fuzzer's way into [`doorbuster_fuzz::bodies::envelope`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorbuster_fuzz::bodies::envelope::check(bytes));

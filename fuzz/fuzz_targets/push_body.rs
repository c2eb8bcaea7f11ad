#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wallet::fuzz::push_body(data));

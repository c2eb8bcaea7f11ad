#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| protocol::fuzz::sealed_push(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| notifier::fuzz::provider_answer(data));

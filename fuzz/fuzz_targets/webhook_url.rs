#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| notifier::fuzz::webhook_url(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsp_server::fuzz::notify_request(data));

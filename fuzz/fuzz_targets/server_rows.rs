#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| lsp_server::fuzz::server_rows(data));

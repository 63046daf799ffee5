#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringback_registrar::fuzz::records(data));

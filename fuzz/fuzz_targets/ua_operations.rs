#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ringback_ua::fuzz::operations(data));

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Err(error) = ringback_world::fuzz::operations(data) {
        panic!("{error}");
    }
});

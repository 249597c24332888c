#![no_main]

#[path = "../shapes.rs"]
#[allow(dead_code, reason = "each target takes one of them")]
mod shapes;

libfuzzer_sys::fuzz_target!(|data: &[u8]| shapes::usage(data));

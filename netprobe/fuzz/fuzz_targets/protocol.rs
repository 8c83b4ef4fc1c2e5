//! Says whatever bytes the fuzzer finds to a server's door and to a client's reading of replies.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| netprobe::fuzzing::say(data));

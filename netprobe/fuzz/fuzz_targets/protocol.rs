//! Says whatever bytes the fuzzer finds to a server's door and to a client's reading of replies.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in netprobe::fuzzing::seeds().iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("seed-{number}"));
                std::fs::write(path, seed).expect("the folder of seeds can be written to");
            }
        }
    },
    |data: &[u8]| netprobe::fuzzing::say(data)
);

//! Sends whatever bytes the fuzzer finds to a sink: control messages, payloads, numbers of flows.
#![no_main]

libfuzzer_sys::fuzz_target!(
    init: {
        if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
            for (number, seed) in udpsend::sink::fuzzing::seeds().iter().enumerate() {
                let path = std::path::Path::new(&folder).join(format!("seed-{number}"));
                std::fs::write(path, seed).expect("the folder of seeds can be written to");
            }
        }
    },
    |data: &[u8]| udpsend::sink::fuzzing::receive(data)
);

//! The target of the program's name, for cargo-fuzz.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let target = holdfast_fuzz::target(env!("CARGO_BIN_NAME")).expect("programs have the names of targets");
    holdfast_fuzz::check(target, bytes);
});

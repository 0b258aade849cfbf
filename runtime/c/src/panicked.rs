//! What Rust's library wants to call in a panic. Nothing in this library panics; with the feature
//! `no-panic`, a program that could get here doesn't link, which `cargo xtask c` proves.

use core::panic::PanicInfo;

#[cfg(not(feature = "no-panic"))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

/// Calls what nobody defines.
#[cfg(feature = "no-panic")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe extern "C" {
        fn a_panic_path_is_left() -> !;
    }
    // SAFETY: never called: a program that could call it doesn't link.
    unsafe { a_panic_path_is_left() }
}

//! Starting anew, and why the board has.

use semihosting::experimental::env;

use crate::register::Register;

/// Why the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The watchdog had waited too long.
    Watchdog,
    /// Power, a pin, or the program itself.
    Other,
}

/// The word on the emulator's command line that stands for a watchdog's reset.
const WATCHDOG: &str = "watchdog";
/// Room for that command line.
const LINE_BYTES: usize = 64;

/// Why the board has started: what the chip says, if it says so, else what the emulator was started with.
///
/// QEMU emulates neither the nRF51's watchdog nor what a CMSDK board would remember of its own. Whoever starts the
/// emulator plays the watchdog, and says so on semihosting's command line: `arg=watchdog`.
pub fn cause() -> Cause {
    let Ok(line) = env::args::<LINE_BYTES>() else { return Cause::Other };
    let is_played = (&line).into_iter().any(|word| word == Ok(WATCHDOG));
    if is_played || chip_says_watchdog() { Cause::Watchdog } else { Cause::Other }
}

#[cfg(chip = "nrf51")]
fn chip_says_watchdog() -> bool {
    const BY_WATCHDOG: u32 = 1 << 1;
    const ALL: u32 = u32::MAX;
    let causes = Register::POWER_RESETREAS.read();
    // They add up until they are cleared, each by a one.
    Register::POWER_RESETREAS.write(ALL);
    causes & BY_WATCHDOG != 0
}

#[cfg(chip = "mps2")]
fn chip_says_watchdog() -> bool {
    false
}

/// Resets the board; nothing of the program goes on.
pub fn now() -> ! {
    const KEY_AND_SYSRESETREQ: u32 = 0x05FA_0004;
    Register::SCB_AIRCR.write(KEY_AND_SYSRESETREQ);
    // It takes some cycles.
    loop {
        core::hint::spin_loop();
    }
}

//! Counting the instructions of a piece of code under QEMU's `-icount shift=0`.
//!
//! With that flag one instruction takes one nanosecond of virtual time, so a timer read before
//! and after counts instructions (not cycles: QEMU knows no pipeline and counts a load-multiple
//! as one). Without it the numbers mean nothing; `cargo xtask` always passes it.

use crate::TICK_PICOSECONDS;

/// Runs `code` and returns its result and how many instructions it took, to the resolution of the
/// board's timer (1 on RISC-V, 16 on AArch64, 31 to 63 on Cortex-M, 1,000 on the ARM926).
///
/// `None` when the timer ran out during `code` (after 2^24 ticks on Cortex-M).
pub fn instructions<T>(code: impl FnOnce() -> T) -> (T, Option<u64>) {
    let start = Start::now();
    let result = code();
    (result, start.instructions())
}

/// A moment to count from. There is one timer: a later moment makes an earlier one meaningless.
pub struct Start(u32);

impl Start {
    /// Starts counting.
    #[inline(always)]
    pub fn now() -> Self {
        Self(timer::start())
    }

    /// Instructions since then, as [`instructions`] counts them.
    #[inline(always)]
    pub fn instructions(self) -> Option<u64> {
        timer::ticks_since(self.0).map(|ticks| ticks * TICK_PICOSECONDS / 1_000)
    }
}

#[cfg(family = "cortex_m")]
mod timer {
    use crate::register::Register;

    const ENABLE_AT_CORE_CLOCK: u32 = 0b101;
    const WRAPPED: u32 = 1 << 16;
    const MAX: u32 = (1 << 24) - 1;

    pub(super) fn start() -> u32 {
        Register::SYST_CSR.write(0);
        Register::SYST_RVR.write(MAX);
        // Any write clears the value; it reloads at the next tick.
        Register::SYST_CVR.write(0);
        Register::SYST_CSR.write(ENABLE_AT_CORE_CLOCK);
        while Register::SYST_CVR.read() == 0 {}
        // Reading the status clears the flag that the reload itself may have set.
        Register::SYST_CSR.read();
        Register::SYST_CVR.read()
    }

    pub(super) fn ticks_since(before: u32) -> Option<u64> {
        let now = Register::SYST_CVR.read();
        let wrapped = Register::SYST_CSR.read() & WRAPPED != 0;
        (!wrapped).then(|| u64::from(before.saturating_sub(now)))
    }
}

#[cfg(family = "riscv")]
mod timer {
    fn retired() -> u32 {
        let value: u32;
        // SAFETY: reads a counter that machine mode, the only mode that we run in, always may;
        // it touches no memory, no stack and no flags.
        unsafe {
            core::arch::asm!("csrr {}, minstret", out(reg) value, options(nomem, nostack));
        }
        value
    }

    pub(super) fn start() -> u32 {
        retired()
    }

    pub(super) fn ticks_since(before: u32) -> Option<u64> {
        Some(u64::from(retired().wrapping_sub(before)))
    }
}

#[cfg(family = "arm9")]
mod timer {
    use crate::register::Register;

    const ENABLE_32_BITS: u32 = 0b1000_0010;

    pub(super) fn start() -> u32 {
        Register::TIMER_LOAD.write(u32::MAX);
        Register::TIMER_CONTROL.write(ENABLE_32_BITS);
        Register::TIMER_VALUE.read()
    }

    pub(super) fn ticks_since(before: u32) -> Option<u64> {
        Some(u64::from(before.wrapping_sub(Register::TIMER_VALUE.read())))
    }
}

#[cfg(family = "aarch64")]
mod timer {
    fn steps() -> u32 {
        let value: u64;
        // SAFETY: reads a counter that every exception level but a restricted one may, and we run at
        // the first that the machine enters; it touches no memory, no stack and no flags. The
        // barrier keeps the read in its place.
        unsafe {
            core::arch::asm!(
                "isb",
                "mrs {}, cntvct_el0",
                out(reg) value,
                options(nomem, nostack, preserves_flags)
            );
        }
        value as u32
    }

    pub(super) fn start() -> u32 {
        steps()
    }

    pub(super) fn ticks_since(before: u32) -> Option<u64> {
        Some(u64::from(steps().wrapping_sub(before)))
    }
}

//! Memory-mapped registers, as safe reads and writes of addresses that this file alone names.

use core::ptr;

/// A 32-bit device register of the board.
pub(crate) struct Register(usize);

#[cfg(family = "cortex_m")]
impl Register {
    /// SysTick control and status (the same address on every Cortex-M).
    pub(crate) const SYST_CSR: Register = Register(0xE000_E010);
    /// SysTick reload value.
    pub(crate) const SYST_RVR: Register = Register(0xE000_E014);
    /// SysTick current value.
    pub(crate) const SYST_CVR: Register = Register(0xE000_E018);
}

#[cfg(family = "arm9")]
impl Register {
    /// Value of the first SP804 timer of versatilepb.
    pub(crate) const TIMER_VALUE: Register = Register(0x101E_2004);
    /// Control of that timer.
    pub(crate) const TIMER_CONTROL: Register = Register(0x101E_2008);
    /// Load value of that timer.
    pub(crate) const TIMER_LOAD: Register = Register(0x101E_2000);
}

impl Register {
    pub(crate) fn read(&self) -> u32 {
        // SAFETY: only the constants above can be `Register`s (the field is private), each is an
        // aligned register that the family has at that address, and no Rust object lives there.
        // Reading SysTick or SP804 changes nothing but SysTick's own wrap flag.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    pub(crate) fn write(&self, value: u32) {
        // SAFETY: as for `read`; the timers raise no interrupt unless `counter` asks for one,
        // which it never does, so a write cannot start foreign code.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) }
    }
}

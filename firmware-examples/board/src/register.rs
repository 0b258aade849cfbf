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

#[cfg(all(feature = "updates", any(chip = "nrf51", chip = "mps2")))]
impl Register {
    /// Application interrupt and reset control (the same address on every Cortex-M).
    pub(crate) const SCB_AIRCR: Register = Register(0xE000_ED0C);
}

#[cfg(all(feature = "updates", chip = "nrf51"))]
impl Register {
    /// Why the chip was reset.
    pub(crate) const POWER_RESETREAS: Register = Register(0x4000_0400);
    /// Starts receiving.
    pub(crate) const UART_STARTRX: Register = Register(0x4000_2000);
    /// Starts sending.
    pub(crate) const UART_STARTTX: Register = Register(0x4000_2008);
    /// A byte has been received.
    pub(crate) const UART_RXDRDY: Register = Register(0x4000_2108);
    /// A byte has been sent.
    pub(crate) const UART_TXDRDY: Register = Register(0x4000_211C);
    /// Switches the UART on.
    pub(crate) const UART_ENABLE: Register = Register(0x4000_2500);
    /// The pin that sends.
    pub(crate) const UART_PSELTXD: Register = Register(0x4000_250C);
    /// The pin that receives.
    pub(crate) const UART_PSELRXD: Register = Register(0x4000_2514);
    /// The byte received.
    pub(crate) const UART_RXD: Register = Register(0x4000_2518);
    /// The byte to be sent.
    pub(crate) const UART_TXD: Register = Register(0x4000_251C);
    /// The rate.
    pub(crate) const UART_BAUDRATE: Register = Register(0x4000_2524);
    /// Whether the flash controller is ready for another operation.
    pub(crate) const NVMC_READY: Register = Register(0x4001_E400);
    /// What a write to flash does: nothing, writing, erasing.
    pub(crate) const NVMC_CONFIG: Register = Register(0x4001_E504);
}

#[cfg(all(feature = "updates", chip = "mps2"))]
impl Register {
    /// The byte received, or to be sent.
    pub(crate) const UART_DATA: Register = Register(0x4000_4000);
    /// Whether there is one.
    pub(crate) const UART_STATE: Register = Register(0x4000_4004);
    /// Switches both directions on.
    pub(crate) const UART_CTRL: Register = Register(0x4000_4008);
    /// Clock cycles a bit.
    pub(crate) const UART_BAUDDIV: Register = Register(0x4000_4010);
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
        // Reading one changes nothing but SysTick's own wrap flag and which byte a UART shows next.
        unsafe { ptr::read_volatile(self.0 as *const u32) }
    }

    pub(crate) fn write(&self, value: u32) {
        // SAFETY: as for `read`; timers and UARTs raise no interrupt unless they are asked for one,
        // which they never are, so a write cannot start foreign code. A reset ends the program. None of
        // them writes to memory: the flash controller does when somebody writes to flash, or to the
        // register that names a page, and `flash` has these writes of its own.
        unsafe { ptr::write_volatile(self.0 as *mut u32, value) }
    }
}

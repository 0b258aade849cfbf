//! The board's serial line, polled: 115,200 bits a second on real hardware.

use core::sync::atomic::{AtomicBool, Ordering};

use crate::register::Register;

/// The serial line that QEMU calls `-serial`. There is one.
#[derive(Debug)]
pub struct Uart(());

static IS_TAKEN: AtomicBool = AtomicBool::new(false);

impl Uart {
    /// Switches it on; `None` after the first time.
    pub fn take() -> Option<Self> {
        if IS_TAKEN.load(Ordering::Relaxed) {
            return None;
        }
        // Nothing comes between: one core, and no interrupt is enabled.
        IS_TAKEN.store(true, Ordering::Relaxed);
        line::open();
        Some(Self(()))
    }

    /// The next byte, if one has come.
    pub fn read(&mut self) -> Option<u8> {
        line::read()
    }

    /// Sends a byte, after those before it.
    pub fn write(&mut self, byte: u8) {
        line::write(byte);
    }
}

#[cfg(chip = "nrf51")]
mod line {
    use super::Register;

    /// As the micro:bit connects its USB chip.
    const TX_PIN: u32 = 24;
    const RX_PIN: u32 = 25;
    const BAUD_115200: u32 = 0x01D7_E000;
    const ENABLED: u32 = 4;

    pub(super) fn open() {
        Register::UART_PSELTXD.write(TX_PIN);
        Register::UART_PSELRXD.write(RX_PIN);
        Register::UART_BAUDRATE.write(BAUD_115200);
        Register::UART_ENABLE.write(ENABLED);
        Register::UART_STARTTX.write(1);
        Register::UART_STARTRX.write(1);
    }

    pub(super) fn read() -> Option<u8> {
        if Register::UART_RXDRDY.read() == 0 {
            return None;
        }
        // Before the byte is taken: the event comes again with the next one.
        Register::UART_RXDRDY.write(0);
        Some(Register::UART_RXD.read() as u8)
    }

    pub(super) fn write(byte: u8) {
        Register::UART_TXDRDY.write(0);
        Register::UART_TXD.write(byte.into());
        while Register::UART_TXDRDY.read() == 0 {}
    }
}

#[cfg(chip = "mps2")]
mod line {
    use super::Register;

    const TX_IS_FULL: u32 = 1;
    const RX_IS_FULL: u32 = 2;
    const BOTH_WAYS: u32 = 3;
    /// Of 25 MHz.
    const CYCLES_A_BIT: u32 = 217;

    pub(super) fn open() {
        Register::UART_BAUDDIV.write(CYCLES_A_BIT);
        Register::UART_CTRL.write(BOTH_WAYS);
    }

    pub(super) fn read() -> Option<u8> {
        let has_byte = Register::UART_STATE.read() & RX_IS_FULL != 0;
        has_byte.then(|| Register::UART_DATA.read() as u8)
    }

    pub(super) fn write(byte: u8) {
        while Register::UART_STATE.read() & TX_IS_FULL != 0 {}
        Register::UART_DATA.write(byte.into());
    }
}

//! Energy of an inference and life of a battery, from data sheets.
//!
//! A data sheet's run current is per MHz: µA/MHz is pC a cycle, whatever the clock. With an
//! instruction a cycle, which is the least, an inference of n instructions takes n · current ·
//! voltage. Nothing but the core is counted: no sensor, no radio, no regulator, no self-discharge.

/// A microcontroller with a Cortex-M4, as its data sheet has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sheet {
    /// The part.
    pub name: &'static str,
    /// Highest clock.
    pub megahertz: f64,
    /// Current while it runs, per MHz.
    pub microamperes_per_megahertz: f64,
    /// Current while it sleeps, until a timer wakes it.
    pub sleep_microamperes: f64,
    /// Supply voltage that those are given at.
    pub volts: f64,
    /// Document and conditions.
    pub source: &'static str,
}

/// The parts that the report names. Typical values at 25 °C.
pub(crate) const SHEETS: [Sheet; 3] = [
    Sheet {
        name: "nRF52832",
        megahertz: 64.0,
        microamperes_per_megahertz: 58.0,
        sleep_microamperes: 1.9,
        volts: 3.0,
        source: "Nordic nRF52832 Product Specification v1.4: 58 µA/MHz running CoreMark from flash \
                 with DC/DC; 1.9 µA in System ON, woken by RTC",
    },
    Sheet {
        name: "STM32L476",
        megahertz: 80.0,
        microamperes_per_megahertz: 100.0,
        sleep_microamperes: 1.4,
        volts: 3.0,
        source: "ST DS10198: 100 µA/MHz in run mode; 1.4 µA in Stop 2 with RTC",
    },
    Sheet {
        name: "STM32F411",
        megahertz: 100.0,
        microamperes_per_megahertz: 100.0,
        sleep_microamperes: 42.0,
        volts: 3.3,
        source: "ST DS10314: 100 µA/MHz in run mode, peripherals off; 42 µA in Stop mode",
    },
];

/// Hours in a year.
const HOURS_PER_YEAR: f64 = 8_766.0;

impl Sheet {
    /// Milliseconds of so many cycles at the highest clock.
    pub(crate) fn milliseconds(&self, cycles: u64) -> f64 {
        cycles as f64 / (self.megahertz * 1e3)
    }

    /// Microjoules of so many cycles.
    pub(crate) fn microjoules(&self, cycles: u64) -> f64 {
        self.microcoulombs(cycles) * self.volts
    }

    /// Charge: µA/MHz · cycles · 10⁻¹² C.
    fn microcoulombs(&self, cycles: u64) -> f64 {
        self.microamperes_per_megahertz * cycles as f64 * 1e-6
    }

    /// Years of a battery of so many mAh, at so many inferences an hour of so many cycles each.
    pub(crate) fn years(&self, battery_mah: f64, inferences_per_hour: f64, cycles: u64) -> f64 {
        let running = self.microcoulombs(cycles) * inferences_per_hour / 3_600.0;
        battery_mah * 1e3 / (running + self.sleep_microamperes) / HOURS_PER_YEAR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHEET: Sheet = Sheet {
        name: "x",
        megahertz: 50.0,
        microamperes_per_megahertz: 100.0,
        sleep_microamperes: 10.0,
        volts: 3.0,
        source: "x",
    };

    #[test]
    fn energy_is_charge_times_voltage() {
        // 50 MHz · 100 µA/MHz = 5 mA for 20 ms at 3 V.
        assert!((SHEET.milliseconds(1_000_000) - 20.0).abs() < 1e-9);
        assert!((SHEET.microjoules(1_000_000) - 300.0).abs() < 1e-9);
    }

    #[test]
    fn a_battery_lasts_by_its_mean_current() {
        // 100 µC an inference, 360 an hour: 10 µA, and 10 µA of sleep.
        let years = SHEET.years(1.0, 360.0, 1_000_000);
        assert!((years * HOURS_PER_YEAR - 50.0).abs() < 1e-6, "{years}");
    }

    #[test]
    fn every_sheet_names_its_document() {
        for sheet in SHEETS {
            assert!(sheet.source.contains("µA/MHz") && sheet.volts > 1.0, "{sheet:?}");
        }
    }
}

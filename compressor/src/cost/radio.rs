//! What it takes to send a file to a device by radio, from specifications and data sheets.
//!
//! Everything is the least: no packet is lost, no connection is made, nothing else is sent, and the
//! receiver is on for the packets alone. Energy is the device's radio's.

/// How packets of a link become time.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Air {
    /// Bytes at a rate; each packet is answered, with pauses around the answer.
    Answered { bits_per_second: f64, answer: f64, pauses: f64 },
    /// LoRa's chirps of 125 kHz with an explicit header, coded 4/5, at a spreading factor; no answer.
    Chirps { spreading: u32 },
    /// Blocks of so many bytes, each of which is received, answered, and waited for.
    Blocks { bytes: u64, receive: f64, answer: f64, pauses: f64 },
}

/// A kind of radio, as its specification and a part's data sheet have it. Times are in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Link {
    /// The radio.
    pub name: &'static str,
    /// Most bytes of a file in a packet.
    pub payload: u64,
    /// Bytes around those: headers and checks.
    overhead: u64,
    air: Air,
    /// Share of the time in which the other side may send.
    duty: f64,
    receive_milliamperes: f64,
    send_milliamperes: f64,
    /// Current in the pauses of a packet.
    pause_milliamperes: f64,
    volts: f64,
    /// Documents and conditions.
    pub source: &'static str,
}

/// What a file takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Update {
    /// Packets.
    pub packets: u64,
    /// Seconds from the first to the last.
    pub seconds: f64,
    /// Energy of the device's radio.
    pub microjoules: f64,
}

/// Seconds of receiving, of sending, and of pauses.
#[derive(Clone, Copy, Debug, Default)]
struct Times {
    receive: f64,
    send: f64,
    pause: f64,
}

/// Bandwidth of LoRa's channel, in Hz.
const CHIRP_HERTZ: f64 = 125e3;

/// Symbols before a LoRa packet's first: eight of preamble, and 4.25 of synchronisation.
const PREAMBLE_SYMBOLS: f64 = 12.25;

/// The links that the report names.
pub(crate) const LINKS: [Link; 4] = [
    Link {
        name: "Bluetooth LE",
        payload: 244,
        overhead: 21,
        air: Air::Answered { bits_per_second: 1e6, answer: 80e-6, pauses: 300e-6 },
        duty: 1.0,
        receive_milliamperes: 6.5,
        send_milliamperes: 7.1,
        pause_milliamperes: 6.5,
        volts: 3.0,
        source: "Bluetooth Core Specification 5.4, Vol 6 Part B and Vol 3 Parts A and F: packets of 251 bytes \
                 with 244 of them for a write without response, 1 Mbit/s, encrypted, each answered by an \
                 empty packet, 150 µs before and after it. Nordic nRF52832 Product Specification v1.1: \
                 receives at 6.5 mA (also in the pauses) and sends at 0 dBm and 7.1 mA, DC/DC, 3 V",
    },
    Link {
        name: "LoRaWAN, SF7",
        payload: 219,
        overhead: 16,
        air: Air::Chirps { spreading: 7 },
        duty: 0.1,
        receive_milliamperes: LORA_RECEIVE_MILLIAMPERES,
        send_milliamperes: 0.0,
        pause_milliamperes: 0.0,
        volts: LORA_VOLTS,
        source: "LoRaWAN Regional Parameters RP002, EU863-870: data rate 5 (SF7, 125 kHz) takes 222 bytes, 3 of \
                 them for the header of a fragment (LoRa Alliance TS004); time on air by the formula of Semtech's \
                 SX1276 data sheet. The gateway sends 10 % of the time, as ETSI EN 300 220 allows at 869.525 MHz. \
                 Semtech DS.SX1261-2: receives at 4.2 mA, DC/DC, 3.3 V",
    },
    Link {
        name: "LoRaWAN, SF12",
        payload: 48,
        overhead: 16,
        air: Air::Chirps { spreading: 12 },
        duty: 0.1,
        receive_milliamperes: LORA_RECEIVE_MILLIAMPERES,
        send_milliamperes: 0.0,
        pause_milliamperes: 0.0,
        volts: LORA_VOLTS,
        source: "The same at data rate 0 (SF12, 125 kHz), the farthest reach: 51 bytes",
    },
    Link {
        name: "NB-IoT",
        payload: 512,
        overhead: 36,
        air: Air::Blocks { bytes: 85, receive: 5e-3, answer: 2e-3, pauses: 19e-3 },
        duty: 1.0,
        receive_milliamperes: 46.0,
        send_milliamperes: 220.0,
        pause_milliamperes: 6.0,
        volts: 3.6,
        source: "3GPP TS 36.213, category NB1 without repetitions: transport blocks of 680 bits, each 1 ms of control, \
                 4 ms of data and 2 ms of answer, with 4, 12 and 3 ms between them. Blocks of 512 bytes by CoAP \
                 (RFC 7959) with 36 bytes of headers (RFC 791, 768, 7252); the requests for them are not counted. \
                 u-blox SARA-N2 data sheet (UBX-15025564): receives at 46 mA, sends at 23 dBm and 220 mA, else \
                 6 mA, 3.6 V",
    },
];

/// Of the SX1261 and SX1262.
const LORA_RECEIVE_MILLIAMPERES: f64 = 4.2;
/// The supply that this is given at.
const LORA_VOLTS: f64 = 3.3;

impl Link {
    /// A whole file, sent to the device.
    pub(crate) fn update(&self, bytes: u64) -> Update {
        let (full, rest) = (bytes / self.payload, bytes % self.payload);
        let last = if rest == 0 { Times::default() } else { self.packet(rest) };
        let each = self.packet(self.payload);
        let sum = |of: fn(&Times) -> f64| full as f64 * of(&each) + of(&last);
        let (receive, send, pause) = (sum(|t| t.receive), sum(|t| t.send), sum(|t| t.pause));
        let milliampere_seconds = receive * self.receive_milliamperes
            + send * self.send_milliamperes
            + pause * self.pause_milliamperes;
        Update {
            packets: full + u64::from(rest > 0),
            seconds: (receive + send + pause) / self.duty,
            microjoules: milliampere_seconds * self.volts * 1e3,
        }
    }

    /// A packet with so many bytes of the file.
    fn packet(&self, payload: u64) -> Times {
        let bytes = payload + self.overhead;
        match self.air {
            Air::Answered { bits_per_second, answer, pauses } => {
                Times { receive: 8.0 * bytes as f64 / bits_per_second, send: answer, pause: pauses }
            }
            Air::Chirps { spreading } => {
                Times { receive: chirps(spreading, bytes), ..Times::default() }
            }
            Air::Blocks { bytes: block, receive, answer, pauses } => {
                let blocks = bytes.div_ceil(block) as f64;
                Times { receive: blocks * receive, send: blocks * answer, pause: blocks * pauses }
            }
        }
    }
}

/// Seconds of a LoRa packet of so many bytes without a checksum of its own, as those to a device are.
fn chirps(spreading: u32, bytes: u64) -> f64 {
    let symbol = f64::from(1u32 << spreading) / CHIRP_HERTZ;
    // Symbols longer than 16 ms carry two bits less each.
    let bits = f64::from(spreading) - if symbol > 16e-3 { 2.0 } else { 0.0 };
    let needed = 8.0 * bytes as f64 - 4.0 * f64::from(spreading) + 28.0;
    let coded = 5.0 * (needed / (4.0 * bits)).ceil().max(0.0);
    (PREAMBLE_SYMBOLS + 8.0 + coded) * symbol
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_counted_and_the_last_one_is_short() {
        for link in LINKS {
            let of = |bytes| link.update(bytes);
            assert_eq!(of(0), Update { packets: 0, seconds: 0.0, microjoules: 0.0 });
            assert_eq!((of(1).packets, of(link.payload).packets), (1, 1), "{}", link.name);
            assert_eq!(of(link.payload + 1).packets, 2);
            assert!(of(1).seconds < of(link.payload).seconds, "{}", link.name);
            let (two, one) = (of(2 * link.payload), of(link.payload));
            assert!((two.microjoules - 2.0 * one.microjoules).abs() < 1e-6);
        }
    }

    #[test]
    fn bluetooth_takes_its_packets_and_their_answers() {
        let update = LINKS[0].update(244);
        // 265 bytes of 8 µs, two pauses of 150 µs, and ten bytes back.
        assert!((update.seconds - 2_500e-6).abs() < 1e-12, "{update:?}");
        let microjoules = ((2.12 + 0.3) * 6.5 + 0.08 * 7.1) * 3.0;
        assert!((update.microjoules - microjoules).abs() < 1e-9, "{update:?}");
    }

    #[test]
    fn times_on_air_are_those_of_semtechs_formula() {
        // 2^7/125 kHz = 1.024 ms; 12.25 + 8 + 5·⌈(8·235 − 28 + 28)/28⌉ symbols.
        assert!((chirps(7, 235) - 1.024e-3 * (20.25 + 5.0 * 68.0)).abs() < 1e-12);
        // 32.768 ms; ⌈(8·64 − 48 + 28)/40⌉ = 13.
        assert!((chirps(12, 64) - 32.768e-3 * (20.25 + 65.0)).abs() < 1e-12);
        assert!((chirps(7, 0) - 1.024e-3 * 20.25).abs() < 1e-12);
        let update = LINKS[1].update(219);
        assert!((update.seconds - 10.0 * chirps(7, 235)).abs() < 1e-9, "a tenth of the time");
        assert!((update.microjoules - chirps(7, 235) * 4.2 * 3.3 * 1e3).abs() < 1e-9);
    }

    #[test]
    fn narrowband_goes_in_blocks_of_26_milliseconds() {
        // 548 bytes are seven blocks of 85.
        let update = LINKS[3].update(512);
        assert!((update.seconds - 7.0 * 26e-3).abs() < 1e-12, "{update:?}");
        let microjoules = 7.0 * (5.0 * 46.0 + 2.0 * 220.0 + 19.0 * 6.0) * 3.6;
        assert!((update.microjoules - microjoules).abs() < 1e-6, "{update:?}");
    }

    #[test]
    fn every_link_names_its_documents() {
        for link in LINKS {
            assert!(link.source.len() > 50 && link.volts > 1.0, "{}", link.name);
            assert!(link.duty > 0.0 && link.duty <= 1.0);
        }
    }
}

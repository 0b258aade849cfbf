//! Time, energy and battery life on a few microcontrollers, before and after, each column of one
//! provenance.

use super::html;
use super::number::{significant, thousands};
use super::{ReportConfig, tables};
use crate::cost::Core;
use crate::cost::power::{SHEETS, Sheet};
use crate::summary::Speed;

/// The section; empty without a count of instructions, and for cores that none of the parts has.
pub(super) fn section(speed: Option<&Speed>, config: &ReportConfig) -> String {
    let Some(Speed { core: core @ Core::CortexM4, dense, compressed }) = speed else {
        return String::new();
    };
    let (count, ram) = (compressed.required(), compressed.required_ram());
    let heads = [
        "Part",
        "#MHz (data sheet)",
        "Network",
        "#ms (estimated)",
        "#µJ (estimated)",
        "#Battery, years (estimated)",
    ];
    let before = dense.map(|dense| ("dense,\u{a0}8\u{a0}bits", dense.count));
    let networks: Vec<_> = before.into_iter().chain([("this\u{a0}model", count)]).collect();
    let rows: String =
        (1..).zip(&SHEETS).map(|(note, sheet)| part(note, sheet, &networks, config)).collect();
    let sources: String =
        SHEETS.iter().map(|sheet| format!("<li>{}</li>\n", sheet.source)).collect();
    let unpacked = compressed.unpacked.map_or_else(String::new, |unpacked| {
        format!(
            ", or {} with {} bytes of RAM for weights, which are unpacked into it once",
            thousands(unpacked.count),
            thousands(unpacked.weights_ram_bytes)
        )
    });
    let dense = dense.map_or_else(String::new, |dense| {
        let (count, from) = (thousands(dense.count), dense.from.name());
        format!(" The dense network takes {count} in plain 8 bits ({from}).")
    });
    let way = if ram > 0 { " Below, the device has that RAM." } else { "" };
    let what = format!(
        "<p>An inference takes {} instructions of a {core}{unpacked} ({}).{dense}{way}</p>\n",
        thousands(compressed.count),
        compressed.from.name()
    );
    let remark = format!(
        "Times are at each part's highest clock and an instruction a cycle, which is the least: wait \
         states of the flash come on top. Energy is the core's alone: run current of the data sheet, typical, at 25 °C. The battery holds {} mAh and feeds the core at {} \
         inferences an hour and its sleep in between; sensor, radio and self-discharge are not \
         counted.",
        config.battery_mah, config.inferences_per_hour
    );
    html::section(
        "energy",
        "Time and energy",
        &(what
            + &tables::table(&heads, &rows)
            + &format!("<ol class=\"notes\">\n{sources}</ol>\n")
            + &html::remark(&remark)),
    )
}

/// The rows of a part: networks with their cycles; its source is the note of this number.
fn part(note: usize, sheet: &Sheet, networks: &[(&str, u64)], config: &ReportConfig) -> String {
    let mut rows = String::new();
    for (place, &(network, cycles)) in networks.iter().enumerate() {
        let part = match place {
            0 => format!(
                "<td rowspan=\"{len}\">{}<sup>{note}</sup></td><td rowspan=\"{len}\" class=\"n\">{}</td>",
                sheet.name,
                sheet.megahertz,
                len = networks.len()
            ),
            _ => String::new(),
        };
        let years = sheet.years(config.battery_mah, config.inferences_per_hour, cycles);
        let class = if place + 1 == networks.len() { " class=\"total\"" } else { "" };
        rows += &format!(
            "<tr{class}>{part}<td>{network}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
             <td class=\"n\">{}</td></tr>\n",
            significant(sheet.milliseconds(cycles)),
            significant(sheet.microjoules(cycles)),
            significant(years)
        );
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Provenance;
    use crate::summary::tests::speed;

    #[test]
    fn columns_say_how_they_are_known() {
        let mut speed = speed(Provenance::Estimated, Provenance::Measured);
        let page = section(Some(&speed), &ReportConfig::default());
        for text in [
            "64,000 instructions of a Cortex-M4, or 16,000 with 1,427 bytes of RAM for weights",
            "(measured)",
            "ms (estimated)",
            "takes 48,000 in plain 8 bits (estimated)",
            // 48,000 and 64,000 cycles at 64 MHz.
            "<td>dense,\u{a0}8\u{a0}bits</td><td class=\"n\">0.75</td>",
            "<td>this\u{a0}model</td><td class=\"n\">1.00</td>",
            "DS10198",
            "225 mAh",
        ] {
            assert!(page.contains(text), "{text} in {page}");
        }
        speed.compressed.is_given = true;
        let page = section(Some(&speed), &ReportConfig::default());
        assert!(
            page.contains("has that RAM") && page.contains("<td class=\"n\">0.25</td>"),
            "{page}"
        );
        assert_eq!(section(None, &ReportConfig::default()), "");
        speed.core = Core::CortexM0;
        let other = section(Some(&speed), &ReportConfig::default());
        assert_eq!(other, "", "the parts have another core");
    }
}

//! Time, energy and battery life on a few microcontrollers, before and after, each column of one
//! provenance.

use super::html;
use super::number::{significant, thousands};
use super::{ReportConfig, tables};
use crate::cost::power::{SHEETS, Sheet};
use crate::cost::{Core, Instructions};

/// The section; empty without a count of instructions, and for cores that none of the parts has. `dense`
/// are the instructions of the dense network as int8, estimated.
pub(super) fn section(
    core: Core,
    dense: u64,
    instructions: Option<Instructions>,
    config: &ReportConfig,
) -> String {
    if core != Core::CortexM4 {
        return String::new();
    }
    let Some(Instructions { count, from, unpacked }) = instructions else { return String::new() };
    let heads = [
        "Part",
        "#MHz (data sheet)",
        "Network",
        "#ms (estimated)",
        "#µJ (estimated)",
        "#Battery, years (estimated)",
    ];
    let networks = [("dense,\u{a0}8\u{a0}bits", dense), ("this\u{a0}model", count)];
    let rows: String =
        (1..).zip(&SHEETS).map(|(note, sheet)| part(note, sheet, &networks, config)).collect();
    let sources: String =
        SHEETS.iter().map(|sheet| format!("<li>{}</li>\n", sheet.source)).collect();
    let unpacked = unpacked.map_or_else(String::new, |unpacked| {
        format!(
            "; {} with its weights unpacked once into {} bytes of RAM",
            thousands(unpacked.count),
            thousands(unpacked.weights_bytes)
        )
    });
    let what = format!(
        "<p>An inference takes {} instructions of a {core} ({}){unpacked}. The dense network takes {} as \
         int8 (estimated).</p>\n",
        thousands(count),
        from.name(),
        thousands(dense)
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

    const CORE: Core = Core::CortexM4;

    #[test]
    fn columns_say_how_they_are_known() {
        let instructions =
            Instructions { count: 1_000_000, from: Provenance::Measured, unpacked: None };
        let page = section(CORE, 5_000_000, Some(instructions), &ReportConfig::default());
        for text in [
            "1,000,000 instructions of a Cortex-M4 (measured)",
            "ms (estimated)",
            "takes 5,000,000 as int8 (estimated)",
            // 5 and 1 million cycles at 64 MHz.
            "<td>dense,\u{a0}8\u{a0}bits</td><td class=\"n\">78.1</td>",
            "<td>this\u{a0}model</td><td class=\"n\">15.6</td>",
            "DS10198",
            "225 mAh",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(section(CORE, 1, None, &ReportConfig::default()), "");
        let other = section(Core::CortexM0, 1, Some(instructions), &ReportConfig::default());
        assert_eq!(other, "", "the parts have another core");
    }
}

//! Time, energy and battery life on a few microcontrollers, each column of one provenance.

use super::html;
use super::number::{significant, thousands};
use super::{ReportConfig, tables};
use crate::cost::power::SHEETS;
use crate::cost::{Core, Instructions};

/// The section; empty without a count of instructions, and for cores that none of the parts has.
pub(super) fn section(
    core: Core,
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
        "#ms (estimated)",
        "#µJ (estimated)",
        "#Battery, years (estimated)",
    ];
    let rows: String = SHEETS
        .iter()
        .enumerate()
        .map(|(index, sheet)| {
            let years = sheet.years(config.battery_mah, config.inferences_per_hour, count);
            format!(
                "<tr><td>{}<sup>{}</sup></td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                sheet.name,
                index + 1,
                sheet.megahertz,
                significant(sheet.milliseconds(count)),
                significant(sheet.microjoules(count)),
                significant(years)
            )
        })
        .collect();
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
        "<p>An inference takes {} instructions of a {core} ({}){unpacked}.</p>\n",
        thousands(count),
        from.name()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Provenance;

    const CORE: Core = Core::CortexM4;

    #[test]
    fn columns_say_how_they_are_known() {
        let instructions =
            Instructions { count: 1_000_000, from: Provenance::Measured, unpacked: None };
        let page = section(CORE, Some(instructions), &ReportConfig::default());
        for text in [
            "1,000,000 instructions of a Cortex-M4 (measured)",
            "ms (estimated)",
            "DS10198",
            "225 mAh",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(section(CORE, None, &ReportConfig::default()), "");
        let other = section(Core::CortexM0, Some(instructions), &ReportConfig::default());
        assert_eq!(other, "", "the parts have another core");
    }
}

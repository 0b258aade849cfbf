//! Time, energy and battery life on a few microcontrollers, each column of one provenance.

use super::html;
use super::number::{significant, thousands};
use super::{ReportConfig, tables};
use crate::cost::Instructions;
use crate::cost::power::SHEETS;

/// The section; empty without a count of instructions.
pub(super) fn section(instructions: Option<Instructions>, config: &ReportConfig) -> String {
    let Some(Instructions { count, from }) = instructions else { return String::new() };
    let heads = [
        "Microcontroller".to_owned(),
        "#MHz (data sheet)".to_owned(),
        format!("#Instructions ({})", from.name()),
        "#ms (estimated)".to_owned(),
        "#µJ (estimated)".to_owned(),
        "#Battery, years (estimated)".to_owned(),
        "Data sheet".to_owned(),
    ];
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let rows: String = SHEETS
        .iter()
        .map(|sheet| {
            let years = sheet.years(config.battery_mah, config.inferences_per_hour, count);
            format!(
                "<tr><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td>{}</td></tr>\n",
                sheet.name,
                sheet.megahertz,
                thousands(count),
                significant(sheet.milliseconds(count)),
                significant(sheet.microjoules(count)),
                significant(years),
                sheet.source
            )
        })
        .collect();
    let remark = format!(
        "An inference on a Cortex-M4 at each part's highest clock and an instruction a cycle, which \
         is the least: wait states of the flash come on top. Energy is the core's alone: run current \
         of the data sheet, typical, at 25 °C. The battery holds {} mAh and feeds the core at {} \
         inferences an hour and its sleep in between; sensor, radio and self-discharge are not \
         counted.",
        config.battery_mah, config.inferences_per_hour
    );
    html::section(
        "energy",
        "Time and energy",
        &(tables::table(&heads, &rows) + &html::remark(&remark)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Provenance;

    #[test]
    fn columns_say_how_they_are_known() {
        let instructions = Instructions { count: 1_000_000, from: Provenance::Measured };
        let page = section(Some(instructions), &ReportConfig::default());
        for text in ["Instructions (measured)", "ms (estimated)", "DS10198", "225 mAh", "1,000,000"]
        {
            assert!(page.contains(text), "{text}");
        }
        assert_eq!(section(None, &ReportConfig::default()), "");
    }
}

//! What an update by radio takes: the dense network's file, as floats and as bytes, and the model's.

use super::html;
use super::number::{duration, significant, thousands};
use super::tables;
use crate::cost::radio::LINKS;
use crate::summary::Figures;

/// Bytes of a float.
const FLOAT_BYTES: u64 = 4;

/// The section.
pub(super) fn section(dense: &Figures, model: &Figures) -> String {
    let files = [
        ("dense, floats", dense.file_bytes),
        ("dense, 8 bits", dense.file_bytes / FLOAT_BYTES),
        ("this model", model.file_bytes),
    ];
    let mut rows = String::new();
    for (index, link) in LINKS.iter().enumerate() {
        for (place, (file, bytes)) in files.into_iter().enumerate() {
            let update = link.update(bytes);
            let name = match place {
                0 => format!(
                    "<td rowspan=\"{}\">{}<sup>{}</sup></td>",
                    files.len(),
                    link.name,
                    index + 1
                ),
                _ => String::new(),
            };
            let class = if place + 1 == files.len() { " class=\"total\"" } else { "" };
            rows += &format!(
                "<tr{class}>{name}<td>{file}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td></tr>\n",
                thousands(update.packets),
                time(update.seconds),
                energy(update.microjoules)
            );
        }
    }
    let heads = ["Link", "File", "#Packets (counted)", "#Time (estimated)", "#Energy (estimated)"];
    let sources: String = LINKS.iter().map(|link| format!("<li>{}</li>\n", link.source)).collect();
    let remark = "A whole file is sent to one device. Times and energies are the least: no packet is lost, \
                  and joining a network, signatures and writing the flash are not counted. Energy is that of \
                  the device\u{2019}s radio, which is on for the packets alone.";
    html::section(
        "communication",
        "Updates by radio",
        &(tables::table(&heads, &rows)
            + &format!("<ol class=\"notes\">\n{sources}</ol>\n")
            + &html::remark(remark)),
    )
}

/// Seconds with a unit that leaves few digits.
fn time(seconds: f64) -> String {
    match seconds {
        x if x < 1.0 => format!("{} ms", significant(x * 1e3)),
        x => duration(x),
    }
}

/// Microjoules with a unit that leaves few digits.
fn energy(microjoules: f64) -> String {
    match microjoules {
        x if x < 1e3 => format!("{} µJ", significant(x)),
        x if x < 1e6 => format!("{} mJ", significant(x / 1e3)),
        x => format!("{} J", significant(x / 1e6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_link_has_its_three_files_and_its_source() {
        let summary = crate::summary::tests::example();
        let page = section(&summary.dense, &summary.compressed);
        assert_eq!(page.matches("this model").count(), LINKS.len());
        assert_eq!(page.matches("rowspan=\"3\"").count(), LINKS.len());
        // 40,000, 10,000 and 2,000 bytes of 244 a packet.
        for packets in [">164<", ">41<", ">9<"] {
            assert!(page.contains(packets), "{packets}\n{page}");
        }
        assert!(page.contains("SX1261") && page.contains("(estimated)"), "{page}");
    }

    #[test]
    fn units_leave_few_digits() {
        assert_eq!([time(0.0125), time(2.5), time(90.0)], ["12.5 ms", "2.5 s", "1 min 30 s"]);
        assert_eq!(
            [energy(812.0), energy(1_250.0), energy(3.1e6)],
            ["812 µJ", "1.25 mJ", "3.10 J"]
        );
    }
}

//! Tables for the terminal.

/// Which side a column's cells keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lays out rows under heads, two spaces apart, with a line under the heads.
///
/// Rows shorter than the heads end early; longer ones are cut.
pub(super) fn layout<const N: usize>(
    heads: [&str; N],
    align: [Align; N],
    rows: &[[String; N]],
) -> String {
    let mut widths = heads.map(width);
    for row in rows {
        for (most, cell) in widths.iter_mut().zip(row) {
            *most = (*most).max(width(cell));
        }
    }
    let line = |cells: &[&str]| {
        let padded: Vec<String> = cells
            .iter()
            .zip(widths.iter().zip(align))
            .map(|(cell, (&most, align))| pad(cell, most, align))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&heads);
    let rule = widths.iter().sum::<usize>() + 2 * N.saturating_sub(1);
    text += &"─".repeat(rule);
    text.push('\n');
    for row in rows {
        text += &line(&row.each_ref().map(String::as_str));
    }
    text
}

/// Columns on the screen: close enough for the letters and signs that are printed here.
fn width(text: &str) -> usize {
    text.chars().count()
}

fn pad(cell: &str, most: usize, align: Align) -> String {
    let space = " ".repeat(most.saturating_sub(width(cell)));
    match align {
        Align::Left => cell.to_owned() + &space,
        Align::Right => space + cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["error".into(), "1.60 %".into()], ["multiply–adds".into(), "9".into()]];
        let text = layout(["", "dense"], [Align::Left, Align::Right], &rows);
        assert_eq!(
            text,
            "                dense\n─────────────────────\nerror          1.60 %\n\
             multiply–adds       9\n"
        );
    }
}

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
/// Rows shorter than the heads end early; longer ones are cut. Columns without an alignment keep
/// to the left.
pub(super) fn layout<S: AsRef<str>, R: AsRef<[String]>>(
    heads: &[S],
    align: &[Align],
    rows: &[R],
) -> String {
    let heads: Vec<&str> = heads.iter().map(AsRef::as_ref).collect();
    let mut widths: Vec<usize> = heads.iter().map(|head| width(head)).collect();
    for row in rows {
        for (most, cell) in widths.iter_mut().zip(row.as_ref()) {
            *most = (*most).max(width(cell));
        }
    }
    let align = || align.iter().copied().chain(std::iter::repeat(Align::Left));
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = cells
            .zip(widths.iter().zip(align()))
            .map(|(cell, (&most, align))| pad(cell, most, align))
            .collect();
        padded.join("  ").trim_end().to_owned() + "\n"
    };
    let mut text = line(&mut heads.iter().copied());
    let rule = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    text += &"─".repeat(rule);
    text.push('\n');
    for row in rows {
        text += &line(&mut row.as_ref().iter().map(String::as_str));
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
        let rows = [["error", "1.60 %"], ["multiply–adds", "9"]].map(|row| row.map(String::from));
        let text = layout(&["", "dense"], &[Align::Left, Align::Right], &rows);
        assert_eq!(
            text,
            "                dense\n─────────────────────\nerror          1.60 %\n\
             multiply–adds       9\n"
        );
    }
}

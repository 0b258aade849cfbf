//! Tables for the terminal.

/// Which side a column's cells keep to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Align {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// Lays out rows under heads, two spaces apart, with a line under the heads. In a terminal that is too
/// narrow for that, each row becomes a list.
///
/// Rows shorter than the heads end early; longer ones are cut. Columns without an alignment keep
/// to the left.
pub(super) fn layout<S: AsRef<str>, R: AsRef<[String]>>(
    heads: &[S],
    align: &[Align],
    rows: &[R],
) -> String {
    let screen = terminal_size::terminal_size_of(std::io::stdout());
    within(screen.map(|(terminal_size::Width(columns), _)| columns.into()), heads, align, rows)
}

/// As [`layout`], for a screen of so many columns.
fn within<S: AsRef<str>, R: AsRef<[String]>>(
    columns: Option<usize>,
    heads: &[S],
    align: &[Align],
    rows: &[R],
) -> String {
    let table = columned(heads, align, rows);
    let widest = table.lines().map(width).max().unwrap_or(0);
    match columns {
        Some(columns) if columns < widest => listed(heads, rows),
        _ => table,
    }
}

/// Row after row, each cell on a line of its own, behind its head; the first cell is the row's name.
fn listed<S: AsRef<str>, R: AsRef<[String]>>(heads: &[S], rows: &[R]) -> String {
    let most = heads.iter().skip(1).map(|head| width(head.as_ref())).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        for (index, (cell, head)) in row.as_ref().iter().zip(heads).enumerate() {
            let head = head.as_ref();
            match index {
                0 if head.is_empty() => text += &format!("{cell}\n"),
                0 => text += &format!("{head} {cell}\n"),
                _ if cell.is_empty() => {}
                _ => text += &format!("  {}  {cell}\n", pad(head, most, Align::Left)),
            }
        }
    }
    text
}

fn columned<S: AsRef<str>, R: AsRef<[String]>>(heads: &[S], align: &[Align], rows: &[R]) -> String {
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
    fn a_narrow_screen_gets_lists() {
        let rows = [["error", "1.60 %", ""], ["multiply–adds", "9", "3× fewer"]];
        let rows = rows.map(|row| row.map(String::from));
        let heads = ["", "compressed", "change"];
        let wide = within(Some(60), &heads, &[], &rows);
        assert_eq!(wide, within(None, &heads, &[], &rows));
        let narrow = within(Some(20), &heads, &[], &rows);
        assert_eq!(
            narrow,
            "error\n  compressed  1.60 %\nmultiply–adds\n  compressed  9\n  change      3× fewer\n"
        );
        assert!(
            within(Some(20), &["Point", "Rate"], &[], &[["1".to_owned(), "x".repeat(20)]])
                .starts_with("Point 1\n  Rate  x")
        );
    }

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

//! Tables of text: columns as wide as their widest cell, two spaces apart.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

/// Rows under a heading, each line with `indent` before it and nothing after it.
pub fn table(indent: &str, columns: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |index: usize| {
        let cells = rows.iter().map(|row| row.get(index).map_or(0, |cell| cell.chars().count()));
        cells.chain([columns[index].0.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let mut text = String::from(indent);
        for (index, cell) in cells.iter().enumerate() {
            let gap = " ".repeat(widths[index].saturating_sub(cell.chars().count()));
            let (before, after) = match columns[index].1 {
                Align::Left => ("", gap.as_str()),
                Align::Right => (gap.as_str(), ""),
            };
            text += &format!("{before}{cell}{after}");
            text += if index + 1 < cells.len() { "  " } else { "" };
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = line(columns.iter().map(|(name, _)| *name).collect());
    for row in rows {
        text += &line(row.iter().map(String::as_str).collect());
    }
    text
}

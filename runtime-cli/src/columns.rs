//! Text in columns, as Go's tabwriter sets it for runc.

/// A column is at least this wide, its padding included.
const LEAST: usize = 12;
/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// A table's lines, each made when it is asked for: there may be thousands. The last column is not
/// padded.
pub(crate) fn lines<const N: usize>(
    head: [&str; N],
    rows: Vec<[String; N]>,
) -> impl Iterator<Item = String> {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(printable)).collect();
    let mut widths = head.map(|cell| LEAST.max(cell.chars().count() + PADDING));
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + PADDING);
        }
    }
    let rows = std::iter::once(head.map(str::to_owned)).chain(rows);
    rows.map(move |row| line(&row, &widths))
}

fn line<const N: usize>(row: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
        match index + 1 == N {
            true => line.push_str(cell),
            false => line.push_str(&format!("{cell:width$}")),
        }
    }
    line.push('\n');
    line
}

/// A path may hold anything but NUL: what would move the cursor becomes visible.
fn printable(cell: String) -> String {
    match cell.chars().any(char::is_control) {
        true => cell.escape_default().to_string(),
        false => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_tabwriter() {
        let row = ["a-long-container-id", "running", "root"].map(str::to_owned);
        assert_eq!(
            lines(["ID", "STATUS", "OWNER"], vec![row]).collect::<String>(),
            "ID                    STATUS      OWNER\n\
             a-long-container-id   running     root\n"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        let mut lines = lines(["ID"], vec![["a\u{1b}[2Jb".to_owned()]]);
        assert_eq!(lines.nth(1).as_deref(), Some("a\\u{1b}[2Jb\n"));
    }
}

//! Text in columns, as Go's tabwriter sets it for runc.

/// A column is at least this wide, its padding included.
const LEAST: usize = 12;
/// Spaces after the longest cell of a column.
const PADDING: usize = 3;

/// Renders `rows`; the last column is not padded.
pub(crate) fn render<const N: usize>(rows: impl IntoIterator<Item = [String; N]>) -> String {
    let rows: Vec<_> = rows.into_iter().map(|row| row.map(printable)).collect();
    let mut widths = [LEAST; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count() + PADDING);
        }
    }
    let mut out = String::new();
    for row in &rows {
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            match index + 1 == N {
                true => out.push_str(cell),
                false => out.push_str(&format!("{cell:width$}")),
            }
        }
        out.push('\n');
    }
    out
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
        let rows = [["ID", "STATUS", "OWNER"], ["a-long-container-id", "running", "root"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(
            render(rows),
            "ID                    STATUS      OWNER\n\
             a-long-container-id   running     root\n"
        );
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(render([["a\u{1b}[2Jb".to_owned()]]), "a\\u{1b}[2Jb\n");
    }
}

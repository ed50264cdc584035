//! A table, and its two renderings.

use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{Cell, CellAlignment, ContentArrangement, TableComponent};

/// Rows and columns of text; the first column names the row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// One line above the table.
    pub caption: String,
    /// Names of the columns.
    pub header: Vec<String>,
    /// One cell per column.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// For the terminal.
    #[must_use]
    pub fn terminal(&self) -> String {
        let mut table = comfy_table::Table::new();
        table
            .load_preset(UTF8_HORIZONTAL_ONLY)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(&self.header)
            .remove_style(TableComponent::HorizontalLines)
            .remove_style(TableComponent::MiddleIntersections);
        for row in &self.rows {
            table.add_row(row.iter().enumerate().map(|(column, text)| {
                let side = if column == 0 { CellAlignment::Left } else { CellAlignment::Right };
                Cell::new(text.replace("**", "")).set_alignment(side)
            }));
        }
        format!("{}\n{table}\n", self.caption)
    }

    /// As Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let rule: Vec<String> =
            (0..self.header.len()).map(|column| if column == 0 { ":--" } else { "--:" }.to_owned()).collect();
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}\n\n{}{}{rows}", self.caption, line(&self.header), line(&rule))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bold_is_for_markdown_only() {
        let table = Table {
            caption: "Caption".to_owned(),
            header: vec!["row".to_owned(), "value".to_owned()],
            rows: vec![vec!["first".to_owned(), "**1**".to_owned()]],
        };
        assert_eq!(table.markdown(), "Caption\n\n| row | value |\n| :-- | --: |\n| first | **1** |\n");
        assert!(!table.terminal().contains('*'));
    }
}

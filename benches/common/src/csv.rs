//! Comma-separated values.

/// Rows for other programs to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Csv {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Csv {
    /// Starts with the names of the columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self { header: header.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row, which has a field for each column.
    pub fn push(&mut self, fields: impl IntoIterator<Item = String>) {
        self.rows.push(fields.into_iter().collect());
    }

    /// The whole file.
    ///
    /// # Panics
    ///
    /// If a row has more or less fields than there are columns.
    #[must_use]
    pub fn text(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        for record in [&self.header].into_iter().chain(&self.rows) {
            writer.write_record(record).expect("every row has a field for each column");
        }
        let bytes = writer.into_inner().expect("a vector takes all that is written");
        String::from_utf8(bytes).expect("the fields are text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_are_quoted() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.push(["1,000".to_owned(), "say \"no\"".to_owned()]);
        assert_eq!(csv.text(), "a,b\n\"1,000\",\"say \"\"no\"\"\"\n");
    }

    #[test]
    #[should_panic(expected = "a field for each column")]
    fn a_row_that_is_too_short_is_found() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.push(["1".to_owned()]);
        let _ = csv.text();
    }
}

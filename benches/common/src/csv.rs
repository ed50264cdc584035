//! Comma-separated values.

/// Rows for other programs to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Csv {
    text: String,
}

impl Csv {
    /// Starts with the names of the columns.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        let mut csv = Self::default();
        csv.push(header.iter().map(|&name| name.to_owned()));
        csv
    }

    /// Adds a row. Fields with commas or quotes are quoted.
    pub fn push(&mut self, fields: impl IntoIterator<Item = String>) {
        let fields: Vec<String> = fields.into_iter().map(quoted).collect();
        self.text.push_str(&fields.join(","));
        self.text.push('\n');
    }

    /// The whole file.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn quoted(field: String) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_commas_are_quoted() {
        let mut csv = Csv::new(&["a", "b"]);
        csv.push(["1,000".to_owned(), "say \"no\"".to_owned()]);
        assert_eq!(csv.as_str(), "a,b\n\"1,000\",\"say \"\"no\"\"\"\n");
    }
}

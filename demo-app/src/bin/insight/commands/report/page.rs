//! The page around the data: everything that it needs is in it.

use super::data::Data;
use std::io::{self, Write};

const FRAME: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/style.css");

/// The program, in the order in which its files import each other.
const MODULES: [&str; 9] = [
    include_str!("page/format.js"),
    include_str!("page/stacks.js"),
    include_str!("page/chart.js"),
    include_str!("page/arena.js"),
    include_str!("page/histogram.js"),
    include_str!("page/flame.js"),
    include_str!("page/table.js"),
    include_str!("page/sections.js"),
    include_str!("page/main.js"),
];

/// Where the frame has what belongs into it.
const PLACES: [&str; 3] = ["/* style */", "/* data */", "/* program */"];

/// Writes the page.
pub(super) fn write(data: &Data, out: &mut impl Write) -> io::Result<()> {
    let mut rest = FRAME;
    for place in PLACES {
        let (before, behind) = rest.split_once(place).expect("the frame has a place for each part");
        out.write_all(before.as_bytes())?;
        match place {
            "/* style */" => out.write_all(STYLE.as_bytes())?,
            "/* data */" => serde_json::to_writer(Escaped(&mut *out), data).map_err(io::Error::from)?,
            _ => write_program(out)?,
        }
        rest = behind;
    }
    out.write_all(rest.as_bytes())
}

/// The files one after the other, without what they import from each other.
fn write_program(out: &mut impl Write) -> io::Result<()> {
    for line in MODULES.iter().flat_map(|module| module.lines()) {
        if line.starts_with("import ") {
            continue;
        }
        writeln!(out, "{}", line.strip_prefix("export ").unwrap_or(line))?;
    }
    Ok(())
}

/// Writes JSON so that nothing in it can be taken for HTML: `<` is written as the escape sequence that JSON has for it.
/// It stands in texts only.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for (number, part) in bytes.split(|&byte| byte == b'<').enumerate() {
            if number > 0 {
                self.0.write_all(b"\\u003c")?;
            }
            self.0.write_all(part)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arguments, run};
    use super::*;
    use crate::synthetic::Synthetic;
    use mem_alloc_rust::trace::Note;
    use std::collections::BTreeSet;

    fn page(file: &Synthetic, name: &str) -> String {
        let trace = file.write(name);
        let output = trace.with_extension("html");
        run(&Arguments { trace, output: output.clone() }).unwrap();
        std::fs::read_to_string(output).unwrap()
    }

    fn data(page: &str) -> serde_json::Value {
        let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
        serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn what_a_trace_says_cannot_end_the_data() {
        let program = "app </script><script>alert(1)</script> <!-- \u{2028}";
        let mut file = Synthetic::new();
        file.about(&Note::Program(program.as_bytes()));
        let page = page(&file, "escaped");
        assert_eq!(page.matches("</script>").count(), 2);
        assert_eq!(data(&page)["program"], program);
    }

    #[test]
    fn the_data_are_those_of_the_trace() {
        let mut file = Synthetic::new();
        file.site(0, 1, 0, 0x4010);
        file.site(0, 2, 1, 0x4020);
        file.allocation(0, 1, 0x10000, 4096, 2);
        file.allocation(0, 2, 0x11000, 100, 1);
        file.release(0, 3, 0x11000);
        let data = data(&page(&file, "data"));
        assert_eq!(data["peak"]["bytes"], 4196);
        assert_eq!(data["end"]["blocks"], 1);
        assert_eq!(data["rows"]["node"], serde_json::json!([1, 2]));
        assert_eq!(data["rows"]["peakBytes"], serde_json::json!([100, 4096]));
        assert_eq!(data["rows"]["endBytes"], serde_json::json!([0, 4096]));
        assert_eq!(data["nodes"]["caller"], serde_json::json!([0, 0, 1]));
        assert_eq!(data["series"]["footprint"], serde_json::json!([4096, 8192, 4096]));
        // Two pages in cells of 8 bytes: the first one is full, and then empty but for 100 bytes.
        let cells = data["arena"]["snapshots"][1]["cells"].as_str().unwrap();
        assert_eq!(cells.len(), 1024);
        assert_eq!(cells, format!("{}{}", "/".repeat(512 + 13), "A".repeat(512 - 13)));
    }

    #[test]
    fn a_page_of_a_trace_without_events_is_written() {
        assert_eq!(data(&page(&Synthetic::new(), "without_events"))["events"], 0);
    }

    /// The files become one: what two of them call the same would be an error.
    #[test]
    fn no_two_files_of_the_page_declare_the_same_name() {
        let mut names = BTreeSet::new();
        for line in MODULES.iter().flat_map(|module| module.lines()) {
            let line = line.strip_prefix("export ").unwrap_or(line);
            let Some(rest) =
                ["function ", "const ", "let ", "class "].iter().find_map(|word| line.strip_prefix(word))
            else {
                continue;
            };
            let name: String = rest
                .chars()
                .take_while(|character| character.is_alphanumeric() || *character == '_')
                .collect();
            assert!(names.insert(name.clone()), "{name} is declared twice");
        }
        assert!(names.len() > 20, "{names:?}");
    }
}

//! Realistic inputs for programs, the same in every run.

use fastrand::Rng;

const SYLLABLES: [&str; 24] = [
    "al", "ber", "cen", "dor", "el", "fin", "gra", "hol", "in", "jas", "ker", "lo", "mar", "nor", "os",
    "per", "qui", "ros", "sta", "ter", "un", "ver", "wil", "zen",
];

/// A random text generator.
pub struct Writer(Rng);

impl Writer {
    /// A writer whose texts follow from the seed.
    pub fn new(seed: u64) -> Self {
        Self(Rng::with_seed(seed))
    }

    /// A number below the bound.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0.usize(..bound)
    }

    /// A word of one to four syllables; short ones are more frequent.
    pub fn word(&mut self) -> String {
        let syllables = 1 + self.below(4).min(self.below(4));
        (0..syllables).map(|_| SYLLABLES[self.below(SYLLABLES.len())]).collect()
    }

    /// So many words with blanks between them.
    pub fn words(&mut self, count: usize) -> String {
        (0..count).map(|_| self.word()).collect::<Vec<_>>().join(" ")
    }

    /// Running text: sentences in paragraphs.
    pub fn prose(&mut self, sentences: usize) -> String {
        (0..sentences)
            .map(|index| {
                let length = 4 + self.below(14);
                let end = if index % 6 == 5 { ".\n\n" } else { ". " };
                format!("{}{end}", self.words(length))
            })
            .collect()
    }

    /// The answer of a service that lists orders.
    pub fn json(&mut self, orders: usize) -> String {
        let orders: Vec<String> = (0..orders).map(|number| self.order(number)).collect();
        format!("{{\"version\":3,\"complete\":true,\"orders\":[{}]}}", orders.join(","))
    }

    fn order(&mut self, number: usize) -> String {
        let count = 1 + self.below(6);
        let items: Vec<String> = (0..count)
            .map(|_| {
                let (name, tag_count) = (self.words(3), self.below(4));
                let tags: Vec<String> = (0..tag_count).map(|_| format!("\"{}\"", self.word())).collect();
                format!(
                    "{{\"name\":\"{name}\",\"quantity\":{},\"price\":{}.{:02},\"tags\":[{}]}}",
                    1 + self.below(9),
                    self.below(400),
                    self.below(100),
                    tags.join(",")
                )
            })
            .collect();
        let (street, note_length) = (self.words(2), self.below(30));
        let note =
            if note_length == 0 { "null".to_owned() } else { format!("\"{}\"", self.words(note_length)) };
        format!(
            "{{\"id\":{number},\"customer\":{{\"name\":\"{}\",\"address\":{{\"street\":\"{street} {}\",\"city\":\"{}\"}}}},\
             \"note\":{note},\"items\":[{}]}}",
            self.words(2),
            self.below(200),
            self.word(),
            items.join(",")
        )
    }

    /// A manual in Markdown.
    pub fn markdown(&mut self, chapters: usize) -> String {
        (0..chapters)
            .map(|_| {
                let heading = self.words(3);
                let text = self.prose(8);
                let list: String = (0..5).map(|_| format!("- **{}**: {}\n", self.word(), self.words(6))).collect();
                let table: String =
                    (0..4).map(|_| format!("| `{}` | {} |\n", self.word(), self.words(4))).collect();
                format!(
                    "## {heading}\n\n{text}\n\n{list}\n| name | meaning |\n| --- | --- |\n{table}\nSee [{}](#{}).\n\n",
                    self.words(2),
                    self.word()
                )
            })
            .collect()
    }

    /// A log: time, address, request, status.
    pub fn log(&mut self, lines: usize) -> String {
        (0..lines)
            .map(|_| {
                let (path, query) = (self.words(3).replace(' ', "/"), self.word());
                format!(
                    "2024-0{}-1{} 10.0.{}.{} GET /{path}?q={query} {} {}ms\n",
                    1 + self.below(9),
                    self.below(10),
                    self.below(256),
                    self.below(256),
                    [200, 200, 200, 304, 404, 500][self.below(6)],
                    self.below(2000)
                )
            })
            .collect()
    }
}

//! Genomes as text, both ways.

use super::{Genome, Order, Selection, Size, Sizes, Step};
use anyhow::{Context, Error, Result, bail, ensure};
use std::fmt;
use std::iter::Peekable;
use std::str::{FromStr, SplitWhitespace};

impl fmt::Display for Genome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "arena {}", self.arena)?;
        self.steps.iter().try_for_each(|step| writeln!(f, "{step}"))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fill { count, sizes, align_log2, zeroed, fence, seed } => {
                match count {
                    Some(count) => write!(f, "fill {count} of {sizes}")?,
                    None => write!(f, "fill full of {sizes}")?,
                }
                write_request(f, *align_log2, *zeroed)?;
                if let Some(fence) = fence {
                    write!(f, " fence {fence}")?;
                }
                write_seed(f, *seed)
            }
            Self::Free { which, order, seed } => {
                write!(f, "free {which} {order}")?;
                write_seed(f, *seed)
            }
            Self::Resize { which, sizes, seed } => {
                write!(f, "resize {which} to {sizes}")?;
                write_seed(f, *seed)
            }
            Self::Churn { count, sizes, align_log2, seed } => {
                write!(f, "churn {count} of {sizes}")?;
                write_request(f, *align_log2, false)?;
                write_seed(f, *seed)
            }
            Self::Measure => f.write_str("measure"),
            Self::Alloc { size, align_log2, zeroed } => {
                write!(f, "alloc {size}")?;
                write_request(f, *align_log2, *zeroed)
            }
            Self::FreeOne { block } => write!(f, "free block {block}"),
            Self::ResizeOne { block, size } => write!(f, "resize block {block} to {size}"),
            Self::Try { count, seed } => {
                write!(f, "try {count}")?;
                write_seed(f, *seed)
            }
        }
    }
}

fn write_request(f: &mut fmt::Formatter<'_>, align_log2: u8, zeroed: bool) -> fmt::Result {
    if align_log2 != DEFAULT_ALIGN_LOG2 {
        write!(f, " align {}", 1u64 << align_log2)?;
    }
    if zeroed { f.write_str(" zeroed") } else { Ok(()) }
}

fn write_seed(f: &mut fmt::Formatter<'_>, seed: u64) -> fmt::Result {
    if seed == 0 { Ok(()) } else { write!(f, " seed {seed}") }
}

/// The alignment that is not written: 8.
const DEFAULT_ALIGN_LOG2: u8 = 3;

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(size) => write!(f, "{size}"),
            Self::Between(least, most) => write!(f, "{least}..{most}"),
            Self::Magnitudes(least, most) => write!(f, "magnitudes {least}..{most}"),
            Self::Ladder { first, step, count } => write!(f, "ladder {first} step {step} rungs {count}"),
            Self::Bits { size, low, high } => write!(f, "bits {size} from {low}..{high}"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Largest(more) => write!(f, "largest{more:+}"),
        }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.group {
            Some(group) => write!(f, "group {group}")?,
            None => f.write_str("all")?,
        }
        if self.every != (1, 0) {
            write!(f, " every {} from {}", self.every.0, self.every.1)?;
        }
        if self.share != 100 {
            write!(f, " share {}", self.share)?;
        }
        if let Some((least, most)) = self.sizes {
            write!(f, " sizes {least}..{most}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oldest => f.write_str("oldest"),
            Self::Newest => f.write_str("newest"),
            Self::Lowest => f.write_str("lowest"),
            Self::Highest => f.write_str("highest"),
            Self::Shuffled => f.write_str("shuffled"),
            Self::Stride(stride) => write!(f, "stride {stride}"),
        }
    }
}

impl FromStr for Genome {
    type Err = Error;

    /// Reads a genome. What follows a `#` in a line is a comment.
    fn from_str(text: &str) -> Result<Self> {
        let lines = text.lines().enumerate().map(|(number, line)| {
            let code = line.split_once('#').map_or(line, |(code, _)| code);
            (number + 1, code.trim())
        });
        let mut lines = lines.filter(|(_, line)| !line.is_empty());
        let (_, first) = lines.next().context("a genome begins with its arena")?;
        let arena = first.strip_prefix("arena ").context("a genome begins with its arena")?.trim().parse()?;
        let steps: Result<Vec<Step>> = lines
            .map(|(number, line)| line.parse().with_context(|| format!("line {number}: {line}")))
            .collect();
        Ok(Self { arena, steps: steps? })
    }
}

impl FromStr for Step {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = Words(line.split_whitespace().peekable());
        let step = words.step()?;
        ensure!(words.0.peek().is_none(), "there are words left over");
        Ok(step)
    }
}

/// The words of a line that are still to be read.
struct Words<'a>(Peekable<SplitWhitespace<'a>>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Result<&'a str> {
        self.0.next().context("a word is missing")
    }

    /// Reads a word if it is the next one.
    fn found(&mut self, word: &str) -> bool {
        self.0.next_if(|&next| next == word).is_some()
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        ensure!(self.found(word), "the word {word:?} is missing");
        Ok(())
    }

    fn number<T: FromStr<Err: Into<Error>>>(&mut self) -> Result<T> {
        self.word()?.parse().map_err(Into::into)
    }

    /// A number after its name, if the name is there.
    fn named<T: FromStr<Err: Into<Error>>>(&mut self, name: &str) -> Result<Option<T>> {
        if self.found(name) { self.number().map(Some) } else { Ok(None) }
    }

    fn range<T: FromStr<Err: Into<Error>>>(&mut self) -> Result<(T, T)> {
        parse_range(self.word()?)
    }

    fn step(&mut self) -> Result<Step> {
        Ok(match self.word()? {
            "fill" => {
                let count = if self.found("full") { None } else { Some(self.number()?) };
                self.expect("of")?;
                Step::Fill {
                    count,
                    sizes: self.sizes()?,
                    align_log2: self.align_log2()?,
                    zeroed: self.found("zeroed"),
                    fence: self.named("fence")?,
                    seed: self.seed()?,
                }
            }
            "free" if self.found("block") => Step::FreeOne { block: self.number()? },
            "free" => Step::Free { which: self.selection()?, order: self.order()?, seed: self.seed()? },
            "resize" if self.found("block") => {
                let block = self.number()?;
                self.expect("to")?;
                Step::ResizeOne { block, size: self.size()? }
            }
            "resize" => {
                let which = self.selection()?;
                self.expect("to")?;
                Step::Resize { which, sizes: self.sizes()?, seed: self.seed()? }
            }
            "churn" => {
                let count = self.number()?;
                self.expect("of")?;
                Step::Churn {
                    count,
                    sizes: self.sizes()?,
                    align_log2: self.align_log2()?,
                    seed: self.seed()?,
                }
            }
            "measure" => Step::Measure,
            "alloc" => Step::Alloc {
                size: self.size()?,
                align_log2: self.align_log2()?,
                zeroed: self.found("zeroed"),
            },
            "try" => Step::Try { count: self.number()?, seed: self.seed()? },
            other => bail!("there is no step {other:?}"),
        })
    }

    fn seed(&mut self) -> Result<u64> {
        Ok(self.named("seed")?.unwrap_or(0))
    }

    fn align_log2(&mut self) -> Result<u8> {
        match self.named::<u64>("align")? {
            None => Ok(DEFAULT_ALIGN_LOG2),
            Some(align) => {
                ensure!(align.is_power_of_two(), "an alignment is a power of two");
                Ok(align.ilog2() as u8)
            }
        }
    }

    fn sizes(&mut self) -> Result<Sizes> {
        let first = self.word()?;
        Ok(match first {
            "magnitudes" => {
                let (least, most) = self.range()?;
                Sizes::Magnitudes(least, most)
            }
            "ladder" => {
                let first = self.number()?;
                self.expect("step")?;
                let step = self.number()?;
                self.expect("rungs")?;
                Sizes::Ladder { first, step, count: self.number()? }
            }
            "bits" => {
                let size = self.number()?;
                self.expect("from")?;
                let (low, high) = self.range()?;
                ensure!(low <= high && high < 48, "bits are from one to another below 48");
                Sizes::Bits { size, low, high }
            }
            range if range.contains("..") => {
                let (least, most) = parse_range(range)?;
                Sizes::Between(least, most)
            }
            size => Sizes::Same(size.parse()?),
        })
    }

    fn size(&mut self) -> Result<Size> {
        let word = self.word()?;
        Ok(match word.strip_prefix("largest") {
            Some(more) => Size::Largest(more.parse()?),
            None => Size::Bytes(word.parse()?),
        })
    }

    fn selection(&mut self) -> Result<Selection> {
        let group = match self.word()? {
            "all" => None,
            "group" => Some(self.number()?),
            other => bail!("{other:?} are no blocks"),
        };
        let mut selection = Selection { group, ..Selection::ALL };
        if let Some(every) = self.named("every")? {
            ensure!(every > 0, "every block is every 1");
            self.expect("from")?;
            selection.every = (every, self.number()?);
        }
        if let Some(share) = self.named("share")? {
            selection.share = share;
        }
        if self.found("sizes") {
            selection.sizes = Some(self.range()?);
        }
        Ok(selection)
    }

    fn order(&mut self) -> Result<Order> {
        Ok(match self.word()? {
            "oldest" => Order::Oldest,
            "newest" => Order::Newest,
            "lowest" => Order::Lowest,
            "highest" => Order::Highest,
            "shuffled" => Order::Shuffled,
            "stride" => Order::Stride(self.number()?),
            other => bail!("{other:?} is no order"),
        })
    }
}

fn parse_range<T: FromStr<Err: Into<Error>>>(word: &str) -> Result<(T, T)> {
    let (least, most) = word.split_once("..").context("a range is missing")?;
    Ok((least.parse().map_err(Into::into)?, most.parse().map_err(Into::into)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn random_genomes_are_read_as_they_are_written() {
        let mut random = Random::seeded(3);
        for _ in 0..2000 {
            let mut genome = Genome::random(&mut random);
            for _ in 0..3 {
                genome.mutate(&mut random);
            }
            assert_eq!(genome.to_string().parse::<Genome>().unwrap(), genome, "{genome}");
        }
    }

    #[test]
    fn text_is_written_as_it_was_read() {
        let text = "arena 1048576\n\
            fill 200 of 4100..4240 align 64 zeroed fence 16 seed 9\n\
            fill full of magnitudes 16..65536\n\
            fill 10 of ladder 16 step 8 rungs 40\n\
            fill 10 of bits 4096 from 3..11\n\
            free group 0 every 2 from 1 share 50 sizes 0..4200 stride 7 seed 1\n\
            resize all to 500\n\
            churn 100 of 16..64 align 16 seed 2\n\
            measure\n\
            alloc largest+8\n\
            alloc largest-8 align 4096 zeroed\n\
            free block 3\n\
            resize block 4 to 5000\n\
            try 40 seed 7\n";
        assert_eq!(text.parse::<Genome>().unwrap().to_string(), text);
    }

    #[test]
    fn comments_and_empty_lines_are_left_out() {
        let text = "# why\n\narena 4096 # small\n  measure # this\n";
        let genome: Genome = text.parse().unwrap();
        assert_eq!(genome, Genome { arena: 4096, steps: vec![Step::Measure] });
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error = "arena 4096\n\nfill some of 3".parse::<Genome>().unwrap_err();
        assert_eq!(error.to_string(), "line 3: fill some of 3");
        assert!("arena 4096\nmeasure twice".parse::<Genome>().is_err());
        assert!("measure".parse::<Genome>().is_err());
    }
}

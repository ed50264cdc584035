//! What a child tells its parent: one line.

use std::fmt;

use anyhow::{Context, Result, bail};

/// One measured run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading {
    /// Calls of all threads.
    pub calls: u64,
    /// What they took, in nanoseconds.
    pub wall: f64,
    /// Processor time of all threads, in nanoseconds.
    pub processor: f64,
    /// What single calls took in the second run, in ticks of the clock: p99, p99.9, and the longest.
    pub ticks: [f64; 3],
    /// Bytes by which the most memory that the process ever had grew in the first run, where the system tells.
    pub memory: Option<u64>,
}

/// The whole answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The numbers.
    Measured(Reading),
    /// Every block was right.
    Right,
    /// A request was refused.
    Refused,
    /// A block was wrong.
    Wrong(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(Reading { calls, wall, processor, ticks: [p99, p99_9, longest], memory }) => {
                write!(f, "measured {calls} {wall} {processor} {p99} {p99_9} {longest}")?;
                memory.map_or(Ok(()), |memory| write!(f, " {memory}"))
            }
            Self::Right => f.write_str("right"),
            Self::Refused => f.write_str("refused"),
            Self::Wrong(what) => write!(f, "wrong {what}"),
        }
    }
}

impl Answer {
    /// Reads what [`Answer`] is displayed as.
    ///
    /// # Errors
    ///
    /// If it is something else.
    pub fn parse(line: &str) -> Result<Self> {
        let line = line.trim_end();
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        Ok(match kind {
            "measured" => {
                Self::Measured(Reading::parse(rest).with_context(|| format!("strange numbers: {rest:?}"))?)
            }
            "right" => Self::Right,
            "refused" => Self::Refused,
            "wrong" => Self::Wrong(rest.to_owned()),
            _ => bail!("strange answer: {line:?}"),
        })
    }
}

impl Reading {
    fn parse(numbers: &str) -> Option<Self> {
        let mut numbers = numbers.split(' ');
        let calls = numbers.next()?.parse().ok()?;
        let mut number = || numbers.next()?.parse().ok();
        let (wall, processor) = (number()?, number()?);
        let ticks = [number()?, number()?, number()?];
        let memory = match numbers.next() {
            Some(bytes) => Some(bytes.parse().ok()?),
            None => None,
        };
        Some(Self { calls, wall, processor, ticks, memory })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_were_written() {
        let reading = Reading { calls: 7, wall: 1.5e9, processor: 3e9, ticks: [1.0, 2.0, 3.0], memory: None };
        for answer in [
            Answer::Measured(reading),
            Answer::Measured(Reading { memory: Some(4096), ..reading }),
            Answer::Right,
            Answer::Refused,
            Answer::Wrong("two words".to_owned()),
        ] {
            assert_eq!(Answer::parse(&format!("{answer}\n")).unwrap(), answer);
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for line in ["", "thread 'main' panicked", "measured 1 2", "measured 1 2 3 4 5 6 x"] {
            assert!(Answer::parse(line).is_err(), "{line:?}");
        }
    }
}

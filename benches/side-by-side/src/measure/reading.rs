//! What a child tells its parent: one line.

use std::fmt;

use anyhow::{Context, Result, bail};

/// The answer to one request, or to the start.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Checked, or prepared for the first round.
    Ready,
    /// Nanoseconds per operation of a round.
    Time(f64),
    /// The time ran out; nanoseconds per operation so far, if the timed part was reached.
    TooSlow(Option<f64>),
    /// A request was refused.
    Refused,
    /// An answer of the allocator's was wrong.
    Wrong(String),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Time(nanoseconds) => write!(f, "time {nanoseconds}"),
            Self::TooSlow(Some(so_far)) => write!(f, "slow {so_far}"),
            Self::TooSlow(None) => f.write_str("slow"),
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
        let number = || rest.parse().with_context(|| format!("strange number: {rest:?}"));
        Ok(match kind {
            "ready" => Self::Ready,
            "time" => Self::Time(number()?),
            "slow" if rest.is_empty() => Self::TooSlow(None),
            "slow" => Self::TooSlow(Some(number()?)),
            "refused" => Self::Refused,
            "wrong" => Self::Wrong(rest.to_owned()),
            _ => bail!("strange answer: {line:?}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_they_were_written() {
        for answer in [
            Answer::Ready,
            Answer::Time(12.5),
            Answer::TooSlow(Some(1e6)),
            Answer::TooSlow(None),
            Answer::Refused,
            Answer::Wrong("two words".to_owned()),
        ] {
            assert_eq!(Answer::parse(&format!("{answer}\n")).unwrap(), answer);
        }
    }

    #[test]
    fn anything_else_is_an_error() {
        for line in ["", "thread 'main' panicked", "time", "time x", "slow x"] {
            assert!(Answer::parse(line).is_err(), "{line:?}");
        }
    }
}

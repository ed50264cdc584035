//! The policy that an environment variable sets, read without an allocation.

use super::policy::Policy;
use crate::environment::{has_more_rights, variable};
use core::fmt;

/// The policy that the environment gives, read without an allocation. Does not return, if it gives one that is none.
/// A program with the rights of another user does not look at it.
pub(super) fn policy() -> Option<Policy> {
    if has_more_rights() {
        return None;
    }
    match parse(variable(c"MEM_ALLOC_RUST_REFUSE")?) {
        Ok(policy) => Some(policy),
        Err(none) => {
            crate::stderr::write_formatted(&format_args!("mem_alloc_rust: {none}"));
            std::process::abort()
        }
    }
}

/// Why a text is no policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct NoPolicy;

impl fmt::Display for NoPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "MEM_ALLOC_RUST_REFUSE is none of nth:7, every:100 and random:0.01:42 (a probability and a seed), with or without \
             ,from:1024 (bytes) behind it: the program ends, because a test without faults would pass",
        )
    }
}

/// A policy as an environment variable has it.
fn parse(text: &[u8]) -> Result<Policy, NoPolicy> {
    let text = core::str::from_utf8(text).map_err(|_| NoPolicy)?;
    let (rule, from_size) = match text.split_once(",from:") {
        None => (text, 0),
        Some((rule, bytes)) => (rule, number(bytes)?),
    };
    let policy = match rule.split_once(':').ok_or(NoPolicy)? {
        ("nth", nth) => Policy::nth(positive(nth)?),
        ("every", every) => Policy::every(positive(every)?),
        ("random", random) => {
            let (probability, seed) = random.split_once(':').ok_or(NoPolicy)?;
            let probability: f64 = probability.parse().map_err(|_| NoPolicy)?;
            if !(0.0..=1.0).contains(&probability) {
                return Err(NoPolicy);
            }
            Policy::random(probability, number(seed)?)
        }
        _ => return Err(NoPolicy),
    };
    Ok(policy.from_size(from_size))
}

fn number(text: &str) -> Result<usize, NoPolicy> {
    // A sign is none of a number's here.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number).ok_or(NoPolicy)
}

fn positive(text: &str) -> Result<usize, NoPolicy> {
    number(text).and_then(|number| if number == 0 { Err(NoPolicy) } else { Ok(number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_rule_with_a_size_perhaps() {
        let good: [(&str, Policy); 7] = [
            ("nth:7", Policy::nth(7)),
            ("every:100", Policy::every(100)),
            ("random:0.01:42", Policy::random(0.01, 42)),
            ("random:1:0", Policy::random(1.0, 0)),
            ("random:0:0", Policy::random(0.0, 0)),
            ("nth:7,from:1024", Policy::nth(7).from_size(1024)),
            ("random:.5:3,from:0", Policy::random(0.5, 3)),
        ];
        for (text, policy) in good {
            assert_eq!(parse(text.as_bytes()), Ok(policy), "{text}");
        }
        for text in [
            "",
            "nth",
            "nth:",
            "nth:0",
            "nth:-1",
            "nth:+1",
            "nth: 1",
            "nth:1:2",
            "Nth:1",
            "every:0",
            "every:1.5",
            "random:0.5",
            "random:2:1",
            "random:-0.1:1",
            "random:NaN:1",
            "random:0.5:x",
            "7",
            "nth:7,",
            "nth:7,from:",
            "nth:7,from:1K",
            "nth:7,size:8",
            "from:8",
            "nth:99999999999999999999",
        ] {
            assert_eq!(parse(text.as_bytes()), Err(NoPolicy), "{text}");
        }
        assert_eq!(parse(b"nth:\xFF"), Err(NoPolicy));
    }
}

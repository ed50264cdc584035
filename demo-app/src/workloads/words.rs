//! A real input: how often each word occurs in a text.
//!
//! The text may fill most of the arena, so everything that grows with it asks first (`try_reserve`), and the words are
//! slices of the text rather than copies.

use crate::stage::Stage;
use crate::text_file;
use crate::trouble::Trouble;
use std::collections::{HashMap, TryReserveError};
use std::path::Path;

mod recount;
mod word;
use recount::recount;
use word::{Word, words};

/// The default text; it lies in the program's file, not in the arena.
const GENESIS: &str = include_str!("../../texts/genesis.txt");

/// How many of the commonest words are shown.
const SHOWN: usize = 10;

/// Set aside while the tables grow, so that there is room to tell about them.
const RESERVE: usize = 32 * 1024;

/// How often each word occurs.
type Table<'t> = HashMap<Word<'t>, u32>;

/// Counts the words of the file, or of the bundled text.
pub(crate) fn run<'f>(stage: &mut Stage<'_>, file: Option<&'f Path>) -> Result<(), Trouble<'f>> {
    let read;
    let text = match file {
        None => GENESIS,
        Some(file) => {
            read = text_file::read(file)?;
            read.as_str()
        }
    };
    let mut reserve: Vec<u8> = Vec::new();
    let mut table = Table::new();
    let too_many = |table: &Table<'_>| Trouble::TooManyWords { file, counted: table.len() };

    reserve.try_reserve_exact(RESERVE).map_err(|_| too_many(&table))?;
    count(text, &mut table).map_err(|_| too_many(&table))?;
    let again = recount(text, &table).map_err(|_| too_many(&table))?;
    drop(reserve);
    stage.snapshot();

    let total = table.values().map(|&count| u64::from(count)).sum();
    stage.check("words", total, "by sorting", again.words)?;
    stage.check("different words", table.len(), "by sorting", again.different)?;
    stage.check(
        "different words with the right count",
        again.confirmed,
        "that is all of them",
        table.len(),
    )?;
    stage.say("the commonest:")?;
    let commonest: Vec<String> =
        commonest(&table).into_iter().map(|(word, count)| format!("{word} {count}")).collect();
    stage.items(&commonest)?;
    Ok(())
}

/// Counts by a hash table. On a refusal the table keeps what was counted until then.
fn count<'t>(text: &'t str, table: &mut Table<'t>) -> Result<(), TryReserveError> {
    for word in words(text) {
        match table.get_mut(&word) {
            Some(count) => *count += 1,
            None => {
                table.try_reserve(1)?;
                table.insert(word, 1);
            }
        }
    }
    Ok(())
}

/// The words that occur most often, in alphabetical order where they are equally common.
fn commonest<'a, 't>(table: &'a Table<'t>) -> Vec<(&'a Word<'t>, u32)> {
    let mut commonest = Vec::with_capacity(SHOWN + 1);
    for (word, &count) in table {
        let place = commonest.partition_point(|&(other, more)| (more, word) > (count, other));
        commonest.insert(place, (word, count));
        commonest.truncate(SHOWN);
    }
    commonest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commonest_come_first_and_equals_in_alphabetical_order() {
        let text = "b a c b. Don't, DON'T! a 12 don't 'b'";
        let mut table = Table::new();
        count(text, &mut table).expect("a few words fit");
        let found: Vec<(String, u32)> =
            commonest(&table).into_iter().map(|(word, count)| (word.to_string(), count)).collect();
        let expected = [("b", 3), ("don't", 3), ("a", 2), ("c", 1)];
        assert_eq!(found, expected.map(|(word, count)| (word.to_owned(), count)));
    }

    #[test]
    fn a_wrong_count_is_noticed() {
        let text = "to be or not to be";
        let mut table = Table::new();
        count(text, &mut table).expect("a few words fit");
        let right = recount(text, &table).expect("a few words fit");
        assert_eq!((right.words, right.different, right.confirmed), (6, 4, 4));
        table.values_mut().for_each(|count| *count = 2);
        assert_eq!(recount(text, &table).expect("a few words fit").confirmed, 2);
    }
}

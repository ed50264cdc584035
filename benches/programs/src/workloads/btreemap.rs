//! A table that is kept sorted.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::Checksum;
use bench_common::inputs::Writer;

const KEYS: usize = 20_000;
const CHANGES: usize = 200_000;

/// Fills a table, changes it at random places, reads ranges of it, and takes it apart.
pub(super) fn perform(checksum: &mut Checksum) {
    let mut writer = Writer::new(1);
    let keys: Vec<String> = (0..KEYS).map(|_| writer.words(2)).collect();
    let mut random = Rng::with_seed(1);
    let mut table: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for change in 0..CHANGES {
        let key = &keys[random.usize(..KEYS)];
        match random.u8(..16) {
            0..5 => drop(table.remove(key)),
            5..15 => {
                let values = table.entry(key.clone()).or_default();
                values.push(format!("value {change}"));
            }
            _ => {
                let page: Vec<(&String, &Vec<String>)> = table.range(key.clone()..).take(20).collect();
                checksum.add(page);
            }
        }
    }
    let second_half = table.split_off(&keys[0]);
    table.retain(|key, values| key.len().is_multiple_of(2) && values.len() > 1);
    checksum.add((&table, second_half));
}

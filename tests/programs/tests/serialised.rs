//! The figures, serialised and read again, with the feature `serde`.

use mem_alloc_rust::{CacheStats, FreeList, MapCell, Stats, ThreadCached};
use std::fmt::Debug;

#[global_allocator]
static A: ThreadCached<FreeList> = ThreadCached::new();

fn assert_is_read_again<T>(value: T) -> serde_json::Value
where
    T: serde::Serialize + for<'de> serde::Deserialize<'de> + PartialEq + Debug,
{
    let json = serde_json::to_string(&value).unwrap();
    assert_eq!(serde_json::from_str::<T>(&json).unwrap(), value, "{json}");
    serde_json::from_str(&json).unwrap()
}

#[test]
fn figures_are_read_again_as_they_were() {
    let _held = vec![1u8; 300_000];
    let stats: Stats = A.stats();
    let json = assert_is_read_again(stats);
    assert_eq!(json["live_bytes"], stats.live_bytes);
    // From 256 KiB on, in the order of the classes.
    assert_eq!(json["live_by_size"][15]["blocks"], 1);
    let caches: CacheStats = A.caches();
    assert_eq!(assert_is_read_again(caches)["threads"], caches.threads);
    let mut map = [MapCell::default(); 4];
    A.map(&mut map);
    assert_eq!(assert_is_read_again(map)[0]["used_percent"], map[0].used_percent);
}

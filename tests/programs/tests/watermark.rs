//! A function of the program's that is called when more is in use than it wants.

#![cfg(feature = "std")]

use mem_alloc_rust::{FreeList, Locked, MapCell, ThreadCached};
use serial_test::serial;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

fn layout(bytes: usize) -> Layout {
    Layout::from_size_align(bytes, 8).unwrap()
}

fn block_of(allocator: &impl GlobalAlloc, bytes: usize) -> *mut u8 {
    // SAFETY: no test asks for no bytes.
    let block = unsafe { allocator.alloc(layout(bytes)) };
    assert!(!block.is_null());
    block
}

/// What the functions were told.
static TOLD: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn note(live_bytes: usize) {
    TOLD.lock().unwrap().push(live_bytes);
}

fn told() -> Vec<usize> {
    std::mem::take(&mut TOLD.lock().unwrap())
}

#[test]
#[serial]
fn it_is_called_once_before_the_request_is_served() {
    static A: Locked<FreeList> = Locked::new();
    A.set_watermark(100_000, note);
    let mut blocks: Vec<_> = (0..9).map(|_| block_of(&A, 10_000)).collect();
    assert_eq!((told(), A.live_bytes()), (vec![], 9 * 10_008));
    blocks.push(block_of(&A, 10_000));
    assert_eq!(told(), [9 * 10_008]);
    blocks.extend((0..5).map(|_| block_of(&A, 10_000)));
    assert_eq!(told(), [], "it is called once");
    A.set_watermark(100_000, note);
    // What is released is looked at by nobody, and neither is what stays below.
    // SAFETY: each block is given back once, with its layout.
    blocks.drain(3..).for_each(|block| unsafe { A.dealloc(block, layout(10_000)) });
    blocks.push(block_of(&A, 60_000));
    assert_eq!(told(), []);
    // SAFETY: the block is in use.
    assert!(!unsafe { A.realloc(blocks[0], layout(10_000), 30_000) }.is_null());
    assert_eq!(told(), [3 * 10_008 + 60_008], "growing is asking for more");
    A.set_watermark(1000, note);
    // SAFETY: the layout is of more than no bytes.
    assert!(!unsafe { A.alloc_zeroed(layout(100)) }.is_null());
    assert_eq!(told().len(), 1, "what is in use is more already");
    A.audit().unwrap();
}

#[test]
#[serial]
fn one_of_all_there_can_be_is_none() {
    static A: Locked<FreeList> = Locked::new();
    A.set_watermark(1000, note);
    A.set_watermark(usize::MAX, note);
    block_of(&A, 100_000);
    assert_eq!(told(), []);
}

#[test]
#[serial]
fn the_function_may_shed_load_and_set_it_again() {
    static A: Locked<FreeList> = Locked::new();
    /// What can be done without.
    static SPARE: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    fn shed(_: usize) {
        CALLS.fetch_add(1, Relaxed);
        let spare = SPARE.swap(std::ptr::null_mut(), Relaxed);
        if !spare.is_null() {
            // SAFETY: it is in use, and given back once.
            unsafe { A.dealloc(spare, layout(500_000)) };
        }
        A.set_watermark(900_000, shed);
        // It may allocate, and look.
        let block = block_of(&A, 1000);
        A.map(&mut [MapCell::default(); 8]);
        // SAFETY: as above.
        unsafe { A.dealloc(block, layout(1000)) };
    }
    A.set_watermark(700_000, shed);
    SPARE.store(block_of(&A, 500_000), Relaxed);
    // Without the load that is shed, this would be refused.
    block_of(&A, 800_000);
    assert_eq!(CALLS.load(Relaxed), 1);
    block_of(&A, 150_000);
    assert_eq!(CALLS.load(Relaxed), 2);
    A.audit().unwrap();
}

/// Slots that are free anyhow are taken without a look: new runs are looked at.
#[test]
#[serial]
fn small_blocks_are_looked_at_when_they_take_new_memory() {
    static A: Locked<FreeList> = Locked::new();
    const MARK: usize = 300_000;
    A.set_watermark(MARK, note);
    let at = loop {
        let before = A.live_bytes();
        block_of(&A, 24);
        if let [live] = told()[..] {
            assert_eq!(live, before);
            break live;
        }
    };
    assert!((MARK - 24..MARK + 4300).contains(&at), "{at}");
}

#[test]
#[serial]
fn caches_are_looked_at_when_they_come_to_the_heap() {
    static A: ThreadCached<FreeList> = ThreadCached::new();
    const MARK: usize = 300_000;
    A.set_watermark(MARK, note);
    let mut most = 0;
    while told().is_empty() {
        block_of(&A, 100);
        most = A.live_bytes();
    }
    assert!((MARK - 5000..MARK + 20_000).contains(&most), "{most}");
    for _ in 0..1000 {
        block_of(&A, 100);
    }
    assert_eq!(told(), []);
    A.audit().unwrap();
}

#[test]
#[serial]
fn of_many_threads_one_calls_it() {
    static A: ThreadCached<FreeList<{ 16 << 20 }>> = ThreadCached::new();
    A.set_watermark(4 << 20, note);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for number in 0..2000 {
                    block_of(&A, 1 + number % 1500);
                }
            });
        }
    });
    assert_eq!(told().len(), 1);
    A.audit().unwrap();
}

/// It would be called by what it allocates, and so on, if that were looked at.
#[test]
#[serial]
fn it_may_be_set_first_thing_by_its_function() {
    static A: Locked<FreeList> = Locked::new();
    fn again(live_bytes: usize) {
        A.set_watermark(1000, again);
        note(live_bytes);
        block_of(&A, 2000);
    }
    A.set_watermark(1000, again);
    block_of(&A, 2000);
    assert_eq!(told(), [0]);
    // It is set, and more than that is in use.
    block_of(&A, 2000);
    assert_eq!(told(), [2 * 2008]);
    A.set_watermark(usize::MAX, note);
}

//! What lies in static memory: in that of the program, or of a library that was loaded.
//!
//! Caches, and the handlers around a fork, are kept for the rest of the program, so an allocator that has them
//! must be there as long. A `Box` in the arena of a global allocator lies in static memory, too, and is not;
//! so the arenas of this crate's that lie there are noted.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

/// So many arenas are noted at most, those that touch as one. Where there are more, nothing is taken for static any
/// more.
const MOST_ARENAS: usize = 16;

/// The span of an arena; its end is zero where there is none.
struct Span {
    start: AtomicUsize,
    end: AtomicUsize,
}

impl Span {
    /// Adds a region, if it touches: it may be one of several that do.
    #[inline(never)]
    fn grows_by(&self, start: usize, end: usize) -> bool {
        self.end.compare_exchange(start, end, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            || self.end.load(Ordering::Acquire) != 0
                && self.start.compare_exchange(end, start, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

static ARENAS: [Span; MOST_ARENAS] =
    [const { Span { start: AtomicUsize::new(0), end: AtomicUsize::new(0) } }; MOST_ARENAS];

/// How many arenas were to be noted.
static NOTED: AtomicUsize = AtomicUsize::new(0);

/// Notes an arena of `bytes` bytes, if it lies in static memory.
pub(crate) fn note_arena(start: usize, bytes: usize) {
    if object_with(start, bytes).is_none() {
        return;
    }
    let end = start + bytes;
    let noted = NOTED.load(Ordering::Acquire).min(MOST_ARENAS);
    if ARENAS.iter().take(noted).any(|span| span.grows_by(start, end)) {
        return;
    }
    if let Some(span) = ARENAS.get(NOTED.fetch_add(1, Ordering::AcqRel)) {
        span.start.store(start, Ordering::Relaxed);
        span.end.store(end, Ordering::Release);
    }
}

/// Whether a value lies in static memory and in no arena there. Arenas that are values are not noted, because they come
/// and go: what lies in one over static memory is taken for static.
pub(crate) fn has<T>(value: &T) -> bool {
    let start = core::ptr::from_ref(value).addr();
    let is_in = |span: &Span| {
        // An arena whose end is not known yet has handed out nothing.
        let end = span.end.load(Ordering::Acquire);
        (span.start.load(Ordering::Relaxed)..end).contains(&start)
    };
    let are_all_noted = NOTED.load(Ordering::Acquire) <= MOST_ARENAS;
    are_all_noted && !ARENAS.iter().any(is_in) && object_with(start, size_of::<T>()).is_some()
}

/// Keeps the library that a value lies in loaded as long as the program runs. Nothing is done for the program
/// itself.
pub(crate) fn keep_loaded<T>(value: &T) {
    if let Some(object) = object_with(core::ptr::from_ref(value).addr(), size_of::<T>()) {
        object.keep();
    }
}

/// The program, or a library that was loaded.
struct Object {
    /// Its path; empty for the program.
    name: NonNull<libc::c_char>,
}

impl Object {
    #[cfg(all(
        not(target_feature = "crt-static"),
        any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
    ))]
    fn keep(&self) {
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
        // SAFETY: the name is a C string that is kept as long as the library is loaded, which has a value that
        // is in use. It is opened, and never closed.
        unsafe {
            if self.name.read() != 0 {
                libc::dlopen(self.name.as_ptr(), flags);
            }
        }
    }

    /// A program that is linked statically has no libraries. Elsewhere a library cannot be kept.
    #[cfg(not(all(
        not(target_feature = "crt-static"),
        any(target_os = "linux", target_os = "android", target_os = "freebsd", target_vendor = "apple")
    )))]
    fn keep(&self) {
        let _ = self.name;
    }
}

/// Whose segment so many bytes at an address lie in, by the program headers: those are there in a program that
/// is linked statically, too.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
fn object_with(start: usize, bytes: usize) -> Option<Object> {
    use core::ffi::{c_int, c_void};

    struct Search {
        start: usize,
        bytes: usize,
        found: Option<Object>,
    }

    /// Looks at one object; not zero ends the search.
    unsafe extern "C" fn look(info: *mut libc::dl_phdr_info, _: usize, search: *mut c_void) -> c_int {
        // SAFETY: the C library passes on what `dl_iterate_phdr` was given, and an object.
        let (info, search) = unsafe { (&*info, &mut *search.cast::<Search>()) };
        if info.dlpi_phdr.is_null() {
            return 0;
        }
        // SAFETY: it has so many program headers.
        let headers = unsafe { core::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()) };
        let is_in = headers.iter().filter(|header| header.p_type == libc::PT_LOAD).any(|header| {
            let segment = (info.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
            let offset = search.start.wrapping_sub(segment);
            offset < header.p_memsz as usize && search.bytes <= header.p_memsz as usize - offset
        });
        if !is_in {
            return 0;
        }
        let name = NonNull::new(info.dlpi_name.cast_mut()).unwrap_or(NonNull::from(c"").cast());
        search.found = Some(Object { name });
        1
    }

    let mut search = Search { start, bytes, found: None };
    // SAFETY: the function is given what it expects, and touches nothing that anybody else uses.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut search).cast()) };
    search.found
}

/// The same by the linker's table of symbols.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
fn object_with(start: usize, _: usize) -> Option<Object> {
    let mut info = core::mem::MaybeUninit::<libc::Dl_info>::uninit();
    // SAFETY: any address may be asked about, and the answer has room.
    let name = unsafe {
        if libc::dladdr(core::ptr::without_provenance(start), info.as_mut_ptr()) == 0 {
            return None;
        }
        info.assume_init().dli_fname
    };
    NonNull::new(name.cast_mut()).map(|name| Object { name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::boxed::Box;

    #[test]
    fn statics_are_told_from_boxes_and_the_stack() {
        static NUMBER: AtomicUsize = AtomicUsize::new(1);
        assert!(has(&NUMBER));
        assert!(!has(&Box::new(1)) && !has(&1u8.clone()));
        keep_loaded(&NUMBER);
    }

    #[test]
    fn what_lies_in_an_arena_is_not_static() {
        static ARENA: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
        assert!(has(&ARENA[1]));
        note_arena(ARENA.as_ptr().addr(), size_of_val(&ARENA));
        assert!(!has(&ARENA[1]) && !has(&ARENA[63]));
        static PARTS: [AtomicUsize; 64] = [const { AtomicUsize::new(0) }; 64];
        // More parts than arenas can be noted, in an order in which both ends of what is noted move.
        let part = 2 * size_of::<AtomicUsize>();
        for number in (16..32).chain((0..16).rev()) {
            note_arena(PARTS.as_ptr().addr() + number * part, part);
        }
        assert!(PARTS.iter().all(|part| !has(part)) && has(&NOTED));
        let boxed = Box::new(1);
        let start = core::ptr::from_ref(&*boxed).addr();
        note_arena(start, size_of_val(&*boxed));
        assert!(
            ARENAS.iter().all(|span| span.start.load(Ordering::Relaxed) != start),
            "only what is static is noted"
        );
    }
}

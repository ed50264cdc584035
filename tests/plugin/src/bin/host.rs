//! Loads and unloads the library whose path it is given, over and over, and lets threads that have a cache of its
//! allocator end after it was unloaded.

use std::ffi::{CString, c_void};
use std::sync::mpsc;
use std::thread;

/// More than a process can have keys of thread-local storage.
const TIMES: usize = 1100;

struct Plugin(*mut c_void);

// SAFETY: a library's handle may be used from any thread.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

impl Plugin {
    fn load(path: &str) -> Self {
        let path = CString::new(path).unwrap();
        // SAFETY: the path is a C string; loading the library runs nothing but what Rust's std has.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "the library cannot be loaded");
        Self(handle)
    }

    /// Has the library work. Returns how many threads have a cache there.
    fn work(&self) -> usize {
        // SAFETY: the library exports a function of that name and type.
        unsafe {
            let work = libc::dlsym(self.0, c"plugin_work".as_ptr());
            assert!(!work.is_null());
            std::mem::transmute::<*mut c_void, extern "C" fn() -> usize>(work)()
        }
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("the path of the library");
    let mut most = 0;
    for _ in 0..TIMES {
        let plugin = Plugin::load(&path);
        plugin.work();
        let (unload, unloaded) = mpsc::channel::<()>();
        let (done, is_done) = mpsc::channel();
        thread::scope(|scope| {
            scope.spawn({
                let plugin = &plugin;
                move || {
                    done.send(plugin.work()).unwrap();
                    unloaded.recv().unwrap_err();
                }
            });
            most = most.max(is_done.recv().unwrap());
            // SAFETY: neither thread comes back to the library, but for the end of their caches.
            unsafe { libc::dlclose(plugin.0) };
            drop(unload);
        });
    }
    assert!(most >= 2, "this thread and the other one had a cache at the same time: {most}");
    println!("loaded, used by threads and unloaded {TIMES} times");
}

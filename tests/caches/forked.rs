//! What a forked child comes to.

/// Runs something in a forked child and returns the signal that ended it, and what it wrote to stderr.
pub fn fate_of_a_child(what: impl FnOnce()) -> (i32, String) {
    let mut pipe = [0; 2];
    // SAFETY: the array has room for two descriptors; the child ends by `_exit` or a signal.
    unsafe {
        assert_eq!(libc::pipe(pipe.as_mut_ptr()), 0);
        let child = libc::fork();
        assert!(child >= 0);
        if child == 0 {
            // A hang is a failure: no handler is set, so the alarm ends the child.
            libc::alarm(20);
            libc::dup2(pipe[1], 2);
            what();
            libc::_exit(0);
        }
        libc::close(pipe[1]);
        let mut text = Vec::new();
        let mut buffer = [0u8; 256];
        loop {
            let got = libc::read(pipe[0], buffer.as_mut_ptr().cast(), buffer.len());
            if got <= 0 {
                break;
            }
            text.extend_from_slice(&buffer[..got as usize]);
        }
        libc::close(pipe[0]);
        let mut status = 0;
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
        let signal = if libc::WIFSIGNALED(status) { libc::WTERMSIG(status) } else { 0 };
        (signal, String::from_utf8_lossy(&text).into_owned())
    }
}

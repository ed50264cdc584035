//! What each of shuttle's threads has. It is there until the execution is over, as what has no destructor is.

use crate::execution;

pub struct LocalKey<T: 'static>(fn() -> T);

impl<T: 'static> LocalKey<T> {
    pub const fn new(make: fn() -> T) -> Self {
        Self(make)
    }

    pub fn with<R>(&'static self, look: impl FnOnce(&T) -> R) -> R {
        let place = (std::ptr::from_ref(self).addr(), Some(execution::this_thread()));
        // SAFETY: the value is there until the execution is over, and this thread belongs to that.
        look(unsafe { &*execution::value(place, self.0) })
    }
}

#[macro_export]
macro_rules! thread_local {
    ($(#[$attribute:meta])* static $name:ident: $type:ty = const $value:block $(;)?) => {
        $(#[$attribute])*
        static $name: $crate::LocalKey<$type> = $crate::LocalKey::new(|| $value);
    };
}

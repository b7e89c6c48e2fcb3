//! Running what may panic: the tensor library panics where a driver refuses or a kernel does not compile.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

/// The result of `work`, or what it panicked with, in a line; nothing is printed.
pub(crate) fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = take_hook();
    set_hook(Box::new(|_| {}));
    let attempt = catch_unwind(AssertUnwindSafe(work));
    set_hook(hook);
    attempt.map_err(|payload| {
        let text = payload
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| payload.downcast_ref::<&str>().copied());
        text.unwrap_or("it panicked").lines().next().unwrap_or_default().to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_its_first_line() {
        assert_eq!(quietly(|| 3), Ok(3));
        assert_eq!(quietly(|| panic!("no {}\nmore", "driver")), Err::<(), _>("no driver".to_owned()));
    }
}

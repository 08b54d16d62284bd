//! How far it is, on a terminal.

use std::io::{IsTerminal as _, Write as _, stderr};

const WIDTH: usize = 24;

/// A line that is drawn over itself.
pub(crate) struct Progress {
    steps: usize,
    done: usize,
    drawn: bool,
}

impl Progress {
    /// Nothing of so many steps is done.
    pub(crate) fn new(steps: usize) -> Self {
        Self { steps: steps.max(1), done: 0, drawn: stderr().is_terminal() }
    }

    /// Says what is done now.
    pub(crate) fn at(&self, what: &str) {
        if self.drawn {
            let bar = bar(self.done, self.steps);
            // A terminal that is gone shows nothing.
            let _ = write!(stderr(), "\r\x1b[K[{bar}] {}/{} {what}", self.done, self.steps);
        }
    }

    /// One more step is done.
    pub(crate) fn step(&mut self) {
        self.done += 1;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn bar(done: usize, steps: usize) -> String {
    let full = (WIDTH * done / steps).min(WIDTH);
    format!("{}{}", "#".repeat(full), " ".repeat(WIDTH - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_fills_up() {
        assert_eq!(bar(0, 3), " ".repeat(WIDTH));
        assert_eq!(bar(1, 2), format!("{}{}", "#".repeat(12), " ".repeat(12)));
        assert_eq!(bar(9, 3), "#".repeat(WIDTH));
    }
}

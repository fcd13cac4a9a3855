//! Progress for people: one line per step with the time since the start.

use std::sync::Mutex;
use std::time::Instant;

/// Prints steps; usable from several threads.
#[derive(Debug)]
pub struct Steps {
    start: Instant,
    line: Mutex<()>,
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Self {
        Self { start: Instant::now(), line: Mutex::new(()) }
    }

    /// One line: `[ 12.3 s] web-0    boots`.
    pub fn say(&self, who: &str, what: &str) {
        let _one_at_a_time = self.line.lock();
        println!("[{:6.1} s] {who:<8} {what}", self.start.elapsed().as_secs_f32());
    }
}

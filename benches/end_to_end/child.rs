//! Child processes: start, end, and resource usage from `/proc`.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Unit of CPU times in `/proc`: `USER_HZ`, which is 100 on all common Linux platforms.
const TICKS_PER_SECOND: u64 = 100;

/// A child process that is ended when this value is dropped.
pub(crate) struct Child {
    process: std::process::Child,
    /// Argument of `kill` that ends the process.
    signal: &'static str,
}

impl Child {
    /// Starts a process and waits for a line with the prefix on its standard output; returns the rest of that line.
    pub(crate) fn start(command: &mut Command, prefix: &str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(prefix).map(str::to_owned));
        (
            Self::with_signal("-KILL", child),
            found.expect("the process should print its port"),
        )
    }

    /// Starts a process without reading its standard output.
    pub(crate) fn start_silent(command: &mut Command) -> Self {
        Self::with_signal("-KILL", command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// Wraps a process that must be ended with SIGTERM because it has child processes to end.
    pub(crate) fn with_sigterm(process: std::process::Child) -> Self {
        Self::with_signal("-TERM", process)
    }

    fn with_signal(signal: &'static str, process: std::process::Child) -> Self {
        Self { process, signal }
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        drop(Command::new("kill").args([signal, &id]).status());
    }

    /// Returns the resident memory in bytes.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// Returns the peak of the resident memory in bytes.
    pub(crate) fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Reads a value in kB from `/proc/PID/status` and returns it in bytes.
    fn status(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Returns the CPU time used so far, in user and kernel mode.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The process name, in parentheses, may contain spaces and parentheses.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let ticks: u64 = fields[11..13]
            .iter()
            .map(|f| f.parse::<u64>().unwrap())
            .sum();
        Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(self.signal);
        drop(self.process.wait());
    }
}

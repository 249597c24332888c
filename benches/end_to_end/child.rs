//! A process of ours: what it costs, by `/proc`, and its end.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

/// The unit of processor times in `/proc`: hundredths of a second, on every Linux.
const TICKS: u64 = 100;

/// Ends with this value.
pub(crate) struct Child {
    process: std::process::Child,
    /// What ends it.
    signal: &'static str,
}

impl Child {
    /// Starts it, and gives the first line of its standard output that begins so, without that.
    pub(crate) fn start(command: &mut Command, awaited: &str) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let found = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix(awaited).map(str::to_owned));
        (
            Self::ended_by("-KILL", child),
            found.expect("a line that says where it listens"),
        )
    }

    /// Starts it, and waits for nothing.
    pub(crate) fn silent(command: &mut Command) -> Self {
        Self::ended_by("-KILL", command.stdout(Stdio::null()).spawn().unwrap())
    }

    /// One that has processes of its own, which it ends when it is asked to end.
    pub(crate) fn gentle(process: std::process::Child) -> Self {
        Self::ended_by("-TERM", process)
    }

    fn ended_by(signal: &'static str, process: std::process::Child) -> Self {
        Self { process, signal }
    }

    /// Sends it, and nobody else, a signal.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        drop(Command::new("kill").args([signal, &id]).status());
    }

    /// Resident memory in bytes, now.
    pub(crate) fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most that it ever was.
    pub(crate) fn peak(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Processor time that it has used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The name, in brackets, may hold anything.
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
        Duration::from_millis(ticks * 1000 / TICKS)
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(self.signal);
        drop(self.process.wait());
    }
}

//! Runs the binary as a child process with a temporary folder. Both are removed at the end of the test.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::{Visitor, set_clock};

const BINARY: &str = env!("CARGO_BIN_EXE_marketing-messages-exporter");

/// Maximum time that the process may take to listen, to log a message, or to end. Generous, because the machine may be
/// busy.
const HANG_GUARD: Duration = Duration::from_secs(20);

/// Temporary folder that is deleted when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("reliability-{}-{next}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file atomically: readers see the old or the new content.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let temporary = self.path(&format!("{name}.tmp"));
        fs::write(&temporary, text).unwrap();
        fs::rename(&temporary, &path).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Best effort: the system cleans its folder of temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Running exporter with the `config.yaml` of a folder.
pub(super) struct Program {
    child: Child,
    log: PathBuf,
    pub(super) visitor: Visitor,
}

impl Program {
    /// Starts the exporter and waits until it listens.
    pub(super) async fn start(folder: &Folder, flags: &[&str]) -> Self {
        Self::start_with(folder, flags, "exec \"$0\" \"$@\"").await
    }

    /// Starts the exporter by a shell script, which receives the command line as `$0` and `$@`.
    pub(super) async fn start_with(folder: &Folder, flags: &[&str], script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = folder.path(&format!("log-{next}"));
        let config = format!("--config.file={}", folder.path("config.yaml").display());
        let child = Command::new("sh")
            .args(["-c", script, BINARY, &config])
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .env("TEST_CLOCK_OFFSET_MS", set_clock().as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(File::create(folder.path("out")).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self {
            child,
            log,
            visitor: Visitor { address: unknown },
        };
        program.visitor.address = program.address().await;
        program
    }

    /// Waits for the address in the log message "listening".
    async fn address(&mut self) -> SocketAddr {
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("listening"));
            let address = line.and_then(|line| line.split("address=").nth(1));
            if let Some(address) = address.and_then(|rest| rest.split_whitespace().next()) {
                return address.trim_matches('"').parse().unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the exporter ended: {log}");
            assert!(
                Instant::now() < deadline,
                "the exporter should listen: {log}"
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the log.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until the log contains `text`.
    pub(super) async fn logs(&self, text: &str) {
        let deadline = Instant::now() + HANG_GUARD;
        while !self.log().contains(text) {
            assert!(
                Instant::now() < deadline,
                "the log should contain {text:?}: {}",
                self.log()
            );
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, given by its name without `SIG`.
    pub(super) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.pid());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits until the exporter has ended, and returns its exit status.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(
                start.elapsed() < HANG_GUARD,
                "the exporter should end: {}",
                self.log()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail if the process has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

//! The real binary, as a process of its own, with a folder of its own. Both end with the test.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::harness::Visitor;

const BINARY: &str = env!("CARGO_BIN_EXE_marketing-messages-exporter");

/// The longest that the process may take to listen, or to end; machines can be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A folder that is gone when the test is.
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

    /// Replaces a file as a whole.
    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let beside = self.path(&format!("{name}.beside"));
        fs::write(&beside, text).unwrap();
        fs::rename(&beside, &path).unwrap();
        path
    }

    pub(super) fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A running binary, serving `config.yaml` of its folder.
pub(super) struct Program {
    child: Child,
    log: PathBuf,
    pub(super) visitor: Visitor,
}

impl Program {
    /// Starts it, and waits until it listens.
    pub(super) async fn start(folder: &Folder, flags: &[&str]) -> Self {
        Self::start_with(folder, flags, "exec \"$0\" \"$@\"").await
    }

    /// The same, in a shell that sets things up first.
    pub(super) async fn start_with(folder: &Folder, flags: &[&str], script: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let log = folder.path(&format!("log-{next}"));
        let config = format!("--config.file={}", folder.path("config.yaml").display());
        let child = Command::new("sh")
            .args(["-c", script, BINARY, &config])
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags)
            .stdin(Stdio::null())
            .stdout(File::create(folder.path("out")).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self {
            child,
            log,
            visitor: Visitor { address: nowhere },
        };
        program.visitor.address = program.address().await;
        program
    }

    /// Where it says that it listens.
    async fn address(&mut self) -> SocketAddr {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("listening"));
            let told = line.and_then(|line| line.split("address=").nth(1));
            if let Some(address) = told.and_then(|rest| rest.split_whitespace().next()) {
                return address.trim_matches('"').parse().unwrap();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended: {log}");
            assert!(Instant::now() < deadline, "it does not listen: {log}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// All that it has logged.
    pub(super) fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap()).into_owned()
    }

    /// Waits until it has logged that.
    pub(super) async fn logs(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < deadline, "no {text:?} in {}", self.log());
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its name.
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

    /// Its exit status, and how long it took to come.
    pub(super) async fn ended(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, start.elapsed());
            }
            assert!(
                start.elapsed() < PATIENCE,
                "it does not end: {}",
                self.log()
            );
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Whether a file is there.
pub(super) fn is_there(path: &Path) -> bool {
    path.exists()
}

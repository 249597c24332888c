//! Socket activation and service notifications: the real binary with passed file descriptors and a
//! notification socket.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_marketing-messages-exporter");

/// Time limit that only ends a hang; busy machines are slow.
const HANG_GUARD: Duration = Duration::from_secs(20);

const CONFIG: &str = "\
graph: { url: 'http://127.0.0.1:9' }
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// A temporary directory with a config, removed when dropped.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("systemd-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.yaml"), CONFIG).unwrap();
        Self(path)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed when dropped.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(
            Command::new("sh")
                .args(["-c", &kill])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Waits for the end of the process and returns its exit status.
    fn wait(&mut self) -> Option<i32> {
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "process should exit");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a command that passes `fd` to the exporter as systemd does, with a `FileDescriptorName=`.
fn with_socket(dir: &TempDir, fd: OwnedFd, name: &str) -> Command {
    // The shell moves standard input to descriptor 3, and sets LISTEN_PID to the process id that
    // exec keeps.
    let script =
        "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" --web.systemd-socket";
    let mut command = Command::new("sh");
    command.args(["-c", script, BINARY]);
    command.current_dir(&dir.0).env("T", "token");
    command.env("LISTEN_FDNAMES", name).stdin(fd);
    command
}

/// Requests `/-/healthy` and returns the whole response.
fn request_healthy(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG_GUARD)).unwrap();
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

/// Returns standard error of a process that should have exited with status 2.
fn refused_stderr(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    stderr
}

#[test]
fn passed_socket_is_served() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let dir = TempDir::new();
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = with_socket(&dir, listener.into(), "metrics");
        let log = fs::File::create(dir.0.join("log")).unwrap();
        let mut exporter = Process(command.stderr(log).spawn().unwrap());
        // Closes this process's copy of the socket.
        drop(command);
        // The kernel queues connections until the exporter accepts them.
        let response = request_healthy(address);
        assert!(
            response.starts_with("HTTP/1.1 200"),
            "{address}: {response}"
        );
        exporter.signal("TERM");
        assert_eq!(exporter.wait(), Some(0));
        let log = fs::read_to_string(dir.0.join("log")).unwrap();
        assert_eq!(log.matches("listening").count(), 1, "{log}");
        assert!(
            TcpStream::connect(address).is_err(),
            "{address} should be closed after the exit"
        );
    }
}

#[test]
fn unusable_socket_is_refused_with_its_name() {
    let dir = TempDir::new();
    let udp_socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let output = with_socket(&dir, udp_socket.into(), "metrics").output();
    let stderr = refused_stderr(&output.unwrap());
    let expected =
        "--web.systemd-socket: fd 3 is not a valid tcp socket (metrics); set ListenStream= to";
    assert!(stderr.contains(expected), "{stderr}");

    let file = fs::File::open(dir.0.join("config.yaml")).unwrap();
    let stderr = refused_stderr(&with_socket(&dir, file.into(), "").output().unwrap());
    assert!(stderr.contains("fd 3 is not a socket; "), "{stderr}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let stderr = refused_stderr(
        &with_socket(&dir, connection.into(), "connection")
            .output()
            .unwrap(),
    );
    let expected = "expected a listening socket, found a connection as fd 3 (connection); ";
    assert!(stderr.contains(expected), "{stderr}");
}

#[test]
fn systemd_flag_without_socket_is_refused() {
    let dir = TempDir::new();
    for (pid, count) in [("", ""), ("1", "1")] {
        let mut command = Command::new(BINARY);
        command.arg("--web.systemd-socket").current_dir(&dir.0);
        if !pid.is_empty() {
            // The sockets of another process.
            command.env("LISTEN_PID", pid).env("LISTEN_FDS", count);
        }
        let stderr = refused_stderr(&command.output().unwrap());
        let expected = "expected a socket from the service manager, found none; ";
        assert!(stderr.contains(expected), "{stderr}");
    }
}

#[test]
fn notifications_cover_the_life_cycle() {
    let dir = TempDir::new();
    let path = dir.0.join("notify");
    let notify_socket = UnixDatagram::bind(&path).unwrap();
    notify_socket.set_read_timeout(Some(HANG_GUARD)).unwrap();
    // Receives notifications until one has this line.
    let receive = |expected: &str| {
        let mut others = Vec::new();
        let deadline = Instant::now() + HANG_GUARD;
        loop {
            let mut bytes = [0; 512];
            let length = notify_socket.recv(&mut bytes).unwrap();
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|line| line == expected) {
                return text;
            }
            others.push(text);
            assert!(
                Instant::now() < deadline,
                "{expected} should be sent: {others:?}"
            );
        }
    };
    let mut exporter = Process(
        Command::new(BINARY)
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(&dir.0)
            .env("T", "token")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "8000000")
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    assert!(receive("READY=1").contains("STATUS=serving\n"));
    receive("WATCHDOG=1");
    receive("WATCHDOG=1");
    exporter.signal("HUP");
    assert!(receive("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(receive("READY=1").contains("STATUS=serving\n"));
    fs::write(dir.0.join("config.yaml"), "nonsense: 1\n").unwrap();
    exporter.signal("HUP");
    receive("RELOADING=1");
    assert!(receive("READY=1").contains("reload failed"));
    exporter.signal("TERM");
    receive("STOPPING=1");
    assert_eq!(exporter.wait(), Some(0));
}

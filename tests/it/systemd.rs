//! Sockets that somebody else opened, and what a service manager hears: the real program, with
//! real descriptors and a real socket of notifications.

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

/// The longest that something may take; machines can be busy.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = "\
graph: { url: 'http://127.0.0.1:9' }
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]
";

/// A folder with a config, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("systemd-{}-{next}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("config.yaml"), CONFIG).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Ends with the test.
struct Running(Child);

impl Running {
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

    fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The program in that folder, with descriptor 3 as systemd would hand it over.
fn with_descriptor(folder: &Folder, descriptor: OwnedFd, name: &str) -> Command {
    // A shell moves it to its place and says whose it is.
    let script =
        "exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$0\" --web.systemd-socket";
    let mut command = Command::new("sh");
    command.args(["-c", script, BINARY]);
    command.current_dir(&folder.0).env("T", "token");
    command.env("LISTEN_FDNAMES", name).stdin(descriptor);
    command
}

fn answer(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn refused(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{told}");
    told
}

#[test]
fn it_serves_on_a_socket_that_was_handed_over() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let folder = Folder::new();
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let mut command = with_descriptor(&folder, listener.into(), "metrics");
        let log = fs::File::create(folder.0.join("log")).unwrap();
        let mut running = Running(command.stderr(log).spawn().unwrap());
        drop(command);
        // The socket listens already: who asks too early waits.
        assert!(answer(address).starts_with("HTTP/1.1 200"), "{address}");
        running.signal("TERM");
        assert_eq!(running.ended(), Some(0));
        let log = fs::read_to_string(folder.0.join("log")).unwrap();
        assert_eq!(log.matches("listening").count(), 1, "{log}");
        assert!(TcpStream::connect(address).is_err(), "somebody listens yet");
    }
}

#[test]
fn a_descriptor_that_cannot_be_listened_on_is_refused_by_its_name() {
    let folder = Folder::new();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let output = with_descriptor(&folder, datagrams.into(), "metrics").output();
    let told = refused(&output.unwrap());
    let wanted = "--web.systemd-socket: fd 3 is not a valid tcp socket (metrics); name an IP";
    assert!(told.contains(wanted), "{told}");

    let file = fs::File::open(folder.0.join("config.yaml")).unwrap();
    let told = refused(&with_descriptor(&folder, file.into(), "").output().unwrap());
    assert!(told.contains("fd 3 is not a socket; "), "{told}");

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let told = refused(
        &with_descriptor(&folder, connection.into(), "connection")
            .output()
            .unwrap(),
    );
    assert!(told.contains("fd 3 (connection) is a connection"), "{told}");
}

#[test]
fn the_flag_without_a_socket_is_refused() {
    let folder = Folder::new();
    for (pid, count) in [("", ""), ("1", "1")] {
        let mut command = Command::new(BINARY);
        command.arg("--web.systemd-socket").current_dir(&folder.0);
        if !pid.is_empty() {
            // Meant for another process.
            command.env("LISTEN_PID", pid).env("LISTEN_FDS", count);
        }
        let told = refused(&command.output().unwrap());
        assert!(told.contains("no socket was handed over; "), "{told}");
    }
}

#[test]
fn a_service_manager_hears_that_it_is_ready_alive_reloading_and_stopping() {
    let folder = Folder::new();
    let path = folder.0.join("notify");
    let hears = UnixDatagram::bind(&path).unwrap();
    hears.set_read_timeout(Some(PATIENCE)).unwrap();
    let hear = |wanted: &str| {
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let mut bytes = [0; 512];
            let length = hears.recv(&mut bytes).expect("a notification in time");
            let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
            if text.lines().any(|line| line == wanted) {
                return text;
            }
            seen.push(text);
            assert!(Instant::now() < deadline, "no {wanted} in {seen:?}");
        }
    };
    let mut running = Running(
        Command::new(BINARY)
            .arg("--web.listen-address=127.0.0.1:0")
            .current_dir(&folder.0)
            .env("T", "token")
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "8000000")
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    assert!(hear("READY=1").contains("STATUS=serving\n"));
    hear("WATCHDOG=1");
    hear("WATCHDOG=1");
    running.signal("HUP");
    assert!(hear("RELOADING=1").contains("MONOTONIC_USEC="));
    assert!(hear("READY=1").contains("STATUS=serving\n"));
    fs::write(folder.0.join("config.yaml"), "nonsense: 1\n").unwrap();
    running.signal("HUP");
    hear("RELOADING=1");
    assert!(hear("READY=1").contains("refused"));
    running.signal("TERM");
    hear("STOPPING=1");
    assert_eq!(running.ended(), Some(0));
}

//! Version and revision are the same on the command line, the metrics page and the landing page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_marketing-messages-exporter");

/// A process that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn version_and_revision_agree_on_all_outputs() {
    let output = Command::new(BINARY).arg("--version").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let start = format!("marketing-messages-exporter, version {version} (revision: ");
    let rest = stdout.strip_prefix(&start).expect(&stdout);
    let (revision, rest) = rest.split_once(")\n  rust version:     ").expect(&stdout);
    let (rust, platform) = rest.split_once("\n  platform:         ").expect(&stdout);
    assert!(platform.starts_with(std::env::consts::OS), "{stdout}");
    assert!(
        revision == "unknown" || revision.bytes().all(|byte| byte.is_ascii_alphanumeric()),
        "revision should be a commit or `unknown`: {stdout}"
    );
    assert!(!rust.is_empty(), "{stdout}");

    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--web.listen-address=127.0.0.1:0"]);
    let demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut demo = Process(demo.unwrap());
    let mut line = String::new();
    BufReader::new(demo.0.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let address = line.trim().strip_prefix("exporter=http://").unwrap();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(address.trim_end_matches('/')).unwrap();
        write!(
            stream,
            "GET {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    };
    let build_info = format!(
        "marketing_messages_exporter_build_info{{revision=\"{revision}\",rustversion=\"{rust}\",version=\"{version}\"}} 1\n"
    );
    let metrics = get("/metrics");
    assert!(
        metrics.contains(&build_info),
        "metrics page should contain {build_info}"
    );
    let landing = get("/");
    assert!(landing.contains(&format!("Version {version}")), "{landing}");
    // The landing page omits an unknown revision.
    let (_, after_revision) = landing.split_once("revision").unwrap_or(("", revision));
    assert!(after_revision.contains(revision), "{landing}");
}

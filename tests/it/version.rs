//! What the program says that it is: the same on the command line, on the page and to people.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_marketing-messages-exporter");

/// Ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[test]
fn version_and_revision_are_the_same_wherever_they_are_said() {
    let told = Command::new(BINARY).arg("--version").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let words: Vec<&str> = told.split([' ', ',', '(', ')', '\n']).collect();
    let after = |word: &str| words[words.iter().position(|w| *w == word).unwrap() + 1];
    let (revision, rust) = (after("revision"), after("rust"));
    let version = after("marketing-messages-exporter");
    assert_eq!(version, env!("CARGO_PKG_VERSION"), "{told}");
    let sane = revision == "unknown" || revision.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert!(sane && !rust.is_empty(), "{told}");

    let mut demo = Command::new(BINARY);
    demo.args(["demo", "--web.listen-address=127.0.0.1:0"]);
    let demo = demo.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut running = Running(demo.unwrap());
    let mut line = String::new();
    BufReader::new(running.0.stdout.take().unwrap())
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
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = get("/metrics");
    let wanted = format!(
        "marketing_messages_exporter_build_info{{revision=\"{revision}\",rustversion=\"{rust}\",version=\"{version}\"}} 1\n"
    );
    assert!(page.contains(&wanted), "no {wanted}");
    let landing = get("/");
    assert!(landing.contains(&format!("Version {version}")), "{landing}");
    // Where it speaks of a revision, it is this one.
    let (_, said) = landing.split_once("revision").unwrap_or(("", revision));
    assert!(said.contains(revision), "{landing}");
}

//! Other implementations that serve the same page: client libraries that encode it at each scrape, and nginx.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use prometheus::{Encoder, GaugeVec, Opts, Registry, TextEncoder};

use crate::child::Child;
use crate::exporter::free_port;

const PYTHON: &str = include_str!("prometheus_client.py");

/// Starts a server with the `prometheus` crate as most exporters use it: gauges with labels, encoded at each scrape.
/// It is a separate process so that its memory can be measured.
pub(crate) fn crate_gauges(page: &Path) -> Option<(Child, u16)> {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let (child, port) = Child::start(command.args(["peer", "gauges"]).arg(page), "port=");
    Some((child, port.parse().unwrap()))
}

/// Starts a server with Python's client library, if that is installed.
pub(crate) fn python(page: &Path) -> Option<(Child, u16)> {
    let has = Command::new("python3")
        .args(["-c", "import prometheus_client"])
        .stderr(Stdio::null())
        .status();
    if !has.is_ok_and(|status| status.success()) {
        return None;
    }
    let port = free_port();
    let mut command = Command::new("python3");
    let command = command
        .args(["-u", "-c", PYTHON])
        .arg(page)
        .arg(port.to_string());
    let (child, _) = Child::start(command, "listening");
    Some((child, port))
}

/// Settings with which nginx sends a file. Which of them is faster depends on the size of the file.
pub(crate) const NGINX_OUTPUTS: [&str; 2] = [
    "sendfile on; tcp_nopush on;",
    "sendfile off; output_buffers 2 1m;",
];

/// Starts nginx with a compressed file, if nginx is installed. `output` is one of [`NGINX_OUTPUTS`].
pub(crate) fn nginx(folder: &Path, output: &str) -> Option<(Child, u16)> {
    let port = free_port();
    let path = folder.display();
    let config = format!(
        "daemon off; worker_processes 2; pid {path}/nginx.pid; error_log {path}/error.log;
events {{}}
http {{
  access_log off; {output} keepalive_requests 1000000;
  client_body_temp_path {path}/a; proxy_temp_path {path}/b; fastcgi_temp_path {path}/c;
  uwsgi_temp_path {path}/d; scgi_temp_path {path}/e;
  server {{
    listen 127.0.0.1:{port};
    location = /metrics {{ alias {path}/page.gz; default_type text/plain; add_header Content-Encoding gzip; }}
  }}
}}
"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, config).unwrap();
    let mut command = Command::new("nginx");
    command
        .arg("-c")
        .arg(&file)
        .stderr(Stdio::null())
        .stdout(Stdio::null());
    // SIGTERM makes nginx end its worker processes.
    let child = command.spawn().ok()?;
    let child = Child::with_sigterm(child);
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        if start.elapsed() > Duration::from_secs(5) {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Some((child, port))
}

/// Runs the server of [`crate_gauges`] until the process is ended.
pub(crate) fn run(peer: &str, page: &str) {
    assert_eq!(peer, "gauges", "unknown peer");
    let text = std::fs::read_to_string(page).unwrap();
    let registry = registry(&text);
    drop(text);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("port={}", listener.local_addr().unwrap().port());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 4096];
        // A request fits into the buffer, and the scraper does not pipeline requests.
        while stream.read(&mut request).is_ok_and(|read| read > 0) {
            let mut body = Vec::new();
            TextEncoder::new()
                .encode(&registry.gather(), &mut body)
                .unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&body).unwrap();
        }
    }
}

/// Creates a registry with every campaign series of the page.
fn registry(page: &str) -> Registry {
    let registry = Registry::new();
    let mut families: HashMap<&str, GaugeVec> = HashMap::new();
    let campaign_page = page.lines().filter(|line| !line.starts_with('#'));
    for line in campaign_page {
        let Some((name, rest)) = line.split_once('{') else {
            continue;
        };
        if name.starts_with("marketing_messages_exporter_") {
            continue;
        }
        let (labels, value) = rest.rsplit_once("} ").unwrap();
        let labels: Vec<(&str, &str)> = labels
            .split("\",")
            .map(|label| label.split_once("=\"").unwrap())
            .map(|(name, value)| (name, value.trim_end_matches('"')))
            .collect();
        let family = families.entry(name).or_insert_with(|| {
            let names: Vec<&str> = labels.iter().map(|(name, _)| *name).collect();
            let family = GaugeVec::new(Opts::new(name, "Help"), &names).unwrap();
            registry.register(Box::new(family.clone())).unwrap();
            family
        });
        let values: Vec<&str> = labels.iter().map(|(_, value)| *value).collect();
        family
            .with_label_values(&values)
            .set(value.parse().unwrap());
    }
    registry
}

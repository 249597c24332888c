//! The real program in a child process: its log, output, exit status and shutdown.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use graph_simulator::DEMO_TOKEN;

use crate::harness::{Api, set_clock, token, wait_until};

/// Config of one ad account with three exported campaigns.
pub(crate) const BUSINESS: &str = "windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_10150000000001101 }] }]
";

/// Limit that ends a test if the process hangs.
const EXIT_TIMEOUT: Duration = Duration::from_secs(20);

/// Child process with a separate config file. Dropping it kills the process and removes the file.
pub(crate) struct Program {
    child: Child,
    config: PathBuf,
    log: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Program {
    pub(crate) fn start(config: &str, arguments: &[&str]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("mme-{}-{number}.yaml", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::write(&path, config).unwrap();
        let flag = format!("--config.file={}", path.display());
        Self::spawn(path, &[&[flag.as_str()], arguments].concat())
    }

    fn spawn(config: PathBuf, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"));
        // `check --live` compares its clock with that of HTTP, which is the system's.
        if !arguments.contains(&"--live") {
            command.env("TEST_CLOCK_OFFSET_MS", set_clock().as_millis().to_string());
        }
        let mut child = command
            .args(arguments)
            .env("T", DEMO_TOKEN)
            .env("AURORA_TOKEN", token("AURORA"))
            .env("NORDLICHT_TOKEN", token("NORDLICHT"))
            .env("APP_SECRET", "simulated-app-secret")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, stderr) = (Arc::clone(&log), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap().push(line);
            }
        });
        Self {
            child,
            config,
            log,
            reader: Some(reader),
        }
    }

    /// Starts the program without a config file.
    pub(crate) fn bare(arguments: &[&str]) -> Self {
        Self::spawn(PathBuf::new(), arguments)
    }

    fn serve(api: &Api, polling: &str) -> Self {
        let url = api.simulator.url();
        let config = format!("graph: {{ url: \"{url}\" }}\npolling: {{ {polling} }}\n{BUSINESS}");
        Self::start(&config, &["--web.listen-address=127.0.0.1:0"])
    }

    /// Returns the log lines that contain `text`.
    pub(crate) fn lines(&self, text: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|line| line.contains(text))
            .cloned()
            .collect()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill").args([name, &id]).status().unwrap();
        assert!(status.success(), "kill {name}: {status}");
    }

    /// Waits for the end of the process; returns exit status, standard output and log.
    pub(crate) async fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let mut stdout = self.child.stdout.take().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let text = tokio::time::timeout(EXIT_TIMEOUT, read);
        let text = text.await.expect("the process should end").unwrap();
        let code = self.child.wait().unwrap().code();
        // The thread may not have read the last lines yet.
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().clone();
        (code, text, log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Errors are ignored: the process may have ended, and there may be no config file.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.config);
    }
}

#[tokio::test]
async fn failed_poll_is_logged_once_with_all_details() {
    let api = Api::demo().await;
    api.inject_faults(&["rejected=803@endpoint:insights"]);
    let program = Program::serve(&api, "interval: 1h, backoff_max: 1h");
    wait_until("a failed poll is logged", || {
        !program.lines("poll failed").is_empty()
    })
    .await;
    program.signal("-TERM");
    let log = Arc::clone(&program.log);
    assert_eq!(program.end().await.0, Some(0));
    let log = log.lock().unwrap();
    let failed: Vec<_> = log
        .iter()
        .filter(|line| line.contains("poll failed"))
        .collect();
    let [line] = failed[..] else {
        panic!("{failed:#?}")
    };
    for text in [
        "business=acme",
        "source=act_10150000000001101",
        "window=today",
        "reason=rejected",
        "code=803",
        "fbtrace_id=",
        "Some of the aliases",
    ] {
        assert!(line.contains(text), "{text}: {line}");
    }
    assert!(log.iter().all(|line| !line.contains(DEMO_TOKEN)));
}

#[tokio::test]
async fn stop_signal_ends_process_while_api_hangs() {
    for signal in ["-TERM", "-INT"] {
        let api = Api::demo().await;
        api.inject_faults(&["hang"]);
        let program = Program::serve(&api, "interval: 1h");
        wait_until("a request hangs", || !api.simulator.requests().is_empty()).await;
        program.signal(signal);
        // Fails after `EXIT_TIMEOUT`, which is shorter than the timeout of a request.
        assert_eq!(program.end().await.0, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn listen_address_in_use_fails_start() {
    let api = Api::demo().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let listen = format!("--web.listen-address={address}");
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, _, log) = Program::start(&config, &[&listen]).end().await;
    assert_eq!(code, Some(1));
    assert!(log.iter().any(|line| line.contains(&address)), "{log:#?}");
    assert!(
        api.simulator.requests().is_empty(),
        "no request should be sent before the address is bound"
    );
}

#[tokio::test]
async fn invalid_config_or_flag_exits_with_2() {
    let (code, out, log) = Program::start("polling: { intervall: 5m }\n", &[])
        .end()
        .await;
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(
        log.iter().any(|line| line.contains("intervall")),
        "{log:#?}"
    );
    let (code, ..) = Program::start(BUSINESS, &["--no.such.flag"]).end().await;
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn once_prints_page_and_exits_with_1_if_a_source_failed() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, out, _) = Program::start(&config, &["once"]).end().await;
    assert_eq!(code, Some(0));
    let page = crate::page::Page::parse(&out);
    assert_eq!(page.all("delivered", &[]).len(), 3);
    api.inject_faults(&["forbidden@endpoint:insights"]);
    let (code, out, log) = Program::start(&config, &["once"]).end().await;
    assert_eq!(code, Some(1));
    crate::page::Page::parse(&out).assert("up", &[], "0");
    assert!(
        log.iter().any(|line| line.contains("poll failed")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn check_prints_estimate_and_sends_no_requests() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, out, _) = Program::start(&config, &["check"]).end().await;
    assert_eq!(code, Some(0));
    for text in [
        "valid",
        "acme",
        "act_10150000000001101",
        "calls/hour",
        "series",
    ] {
        assert!(out.contains(text), "{text}: {out}");
    }
    assert!(api.simulator.requests().is_empty());
}

#[tokio::test]
async fn withheld_and_duplicate_are_logged_once() {
    let api = Api::demo().await;
    let config = format!(
        "graph: {{ url: \"{}\" }}
polling: {{ interval: 100ms }}
windows: [{{ name: today, date_preset: today }}, {{ name: week, date_preset: last_7d }}]
businesses:
  - name: acme
    access_token_env: T
    ad_accounts: [{{ id: act_10150000000001201 }}]
    campaigns: [{{ id: \"120210000000031000\" }}]
",
        api.simulator.url()
    );
    let program = Program::start(&config, &["--web.listen-address=127.0.0.1:0"]);
    wait_until("many polls", || api.simulator.requests().len() > 40).await;
    let count = |text: &str| program.lines(text).len();
    wait_until("both are logged", || {
        count("different attribution settings") > 0 && count("duplicate source") > 0
    })
    .await;
    assert_eq!(count("different attribution settings"), 1);
    assert_eq!(count("duplicate source"), 1);
    program.signal("-TERM");
    assert_eq!(program.end().await.0, Some(0));
}

//! The real program: what it logs, prints and exits with, and how it ends.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use marketing_messages_exporter::simulator::DEMO_TOKEN;

use crate::harness::{Api, token, wait_until};

pub(crate) const BUSINESS: &str = "windows: [{ name: today, date_preset: today }]
businesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_10150000000001101 }] }]
";

/// The program with a config of its own; both end with it.
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
        let mut child = Command::new(env!("CARGO_BIN_EXE_marketing-messages-exporter"))
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

    /// Without a config of its own.
    pub(crate) fn bare(arguments: &[&str]) -> Self {
        Self::spawn(PathBuf::new(), arguments)
    }

    fn serve(api: &Api, polling: &str) -> Self {
        let url = api.simulator.url();
        let config = format!("graph: {{ url: \"{url}\" }}\npolling: {{ {polling} }}\n{BUSINESS}");
        Self::start(&config, &["--web.listen-address=127.0.0.1:0"])
    }

    pub(crate) fn lines(&self, with: &str) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter()
            .filter(|line| line.contains(with))
            .cloned()
            .collect()
    }

    pub(crate) fn signal(&self, name: &str) {
        // This very child, by its id.
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// Exit status and standard output, once it has ended on its own.
    pub(crate) async fn end(mut self) -> (Option<i32>, String, Vec<String>) {
        let mut stdout = self.child.stdout.take().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        let text = tokio::time::timeout(Duration::from_secs(20), read);
        let text = text.await.expect("an end in time").unwrap();
        let code = self.child.wait().unwrap().code();
        // Its last lines may still be on their way.
        self.reader.take().unwrap().join().unwrap();
        let log = self.log.lock().unwrap().clone();
        (code, text, log)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        drop(fs::remove_file(&self.config));
    }
}

#[tokio::test]
async fn a_failed_poll_is_one_line_with_all_that_support_asks_for() {
    let api = Api::demo().await;
    api.break_with(&["rejected=803@endpoint:insights"]);
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
    for part in [
        "business=acme",
        "source=act_10150000000001101",
        "window=today",
        "reason=rejected",
        "code=803",
        "fbtrace_id=",
        "Some of the aliases",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(log.iter().all(|line| !line.contains(DEMO_TOKEN)));
}

#[tokio::test]
async fn it_ends_in_good_order_while_the_api_hangs() {
    for signal in ["-TERM", "-INT"] {
        let api = Api::demo().await;
        api.break_with(&["hang"]);
        let program = Program::serve(&api, "interval: 1h");
        wait_until("a call hangs", || !api.simulator.requests().is_empty()).await;
        let asked = Instant::now();
        program.signal(signal);
        assert_eq!(program.end().await.0, Some(0), "{signal}");
        assert!(asked.elapsed() < Duration::from_secs(5), "{signal}");
    }
}

#[tokio::test]
async fn a_taken_port_fails_the_start() {
    let api = Api::demo().await;
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = format!("--web.listen-address={address}");
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, _, log) = Program::start(&config, &[&listen]).end().await;
    assert_eq!(code, Some(1));
    assert!(log.iter().any(|line| line.contains(&address)), "{log:#?}");
    assert!(
        api.simulator.requests().is_empty(),
        "nothing is asked before it listens"
    );
}

#[tokio::test]
async fn a_bad_config_is_refused() {
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
async fn once_prints_the_page_and_tells_by_its_status_whether_all_is_well() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, out, _) = Program::start(&config, &["once"]).end().await;
    assert_eq!(code, Some(0));
    let page = crate::page::Page::parse(&out);
    assert_eq!(page.all("delivered", &[]).len(), 3);
    api.break_with(&["forbidden@endpoint:insights"]);
    let (code, out, log) = Program::start(&config, &["once"]).end().await;
    assert_eq!(code, Some(1));
    crate::page::Page::parse(&out).assert("up", &[], "0");
    assert!(
        log.iter().any(|line| line.contains("poll failed")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn check_prints_the_plan_and_asks_nothing() {
    let api = Api::demo().await;
    let url = api.simulator.url();
    let config = format!("graph: {{ url: \"{url}\" }}\n{BUSINESS}");
    let (code, out, _) = Program::start(&config, &["check"]).end().await;
    assert_eq!(code, Some(0));
    for part in [
        "valid",
        "acme",
        "act_10150000000001101",
        "calls/hour",
        "series",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(api.simulator.requests().is_empty());
}

#[tokio::test]
async fn what_is_withheld_and_who_gives_way_is_said_once() {
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
    let said = |words: &str| program.lines(words).len();
    wait_until("both are said", || {
        said("different attribution settings") > 0 && said("the ad account's rows stand") > 0
    })
    .await;
    assert_eq!(said("different attribution settings"), 1);
    assert_eq!(said("the ad account's rows stand"), 1);
    program.signal("-TERM");
    assert_eq!(program.end().await.0, Some(0));
}

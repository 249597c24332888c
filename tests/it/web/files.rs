//! Files that hang, are unreadable or are invalid affect only their own business; reload and shutdown
//! do not wait for them.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::{Folder, HANG_GUARD, request, served_address};
use crate::harness::{Api, token, wait_until};
use crate::process::Program;

fn make_fifo(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
}

fn business(name: &str, token: &Path, account: &str) -> String {
    format!(
        "- {{ name: {name}, access_token_file: {}, ad_accounts: [{{ id: act_1015000000000{account} }}] }}\n",
        token.display()
    )
}

fn main_config(api: &Api) -> String {
    format!(
        "graph: {{ url: \"{}\" }}\nwindows: [{{ name: today, date_preset: today }}]\n",
        api.simulator.url()
    )
}

/// Exporter with a folder of files.
struct Served {
    program: Program,
    address: std::net::SocketAddr,
}

impl Served {
    async fn start(folder: &Folder, config: &str, flags: &[&str]) -> Self {
        let path = folder.write("config.yaml", config);
        let config = format!("--config.file={}", path.display());
        let mut arguments = vec![
            config.as_str(),
            "--web.listen-address=127.0.0.1:0",
            "--web.enable-lifecycle",
        ];
        arguments.extend_from_slice(flags);
        let program = Program::bare(&arguments);
        let address = served_address(&program).await;
        Self { program, address }
    }

    async fn get(&self, path: &str) -> String {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        request(stream, path, "").await
    }

    async fn post(&self, path: &str, headers: &str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let text = format!("POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n");
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut response = String::new();
        let read = stream.read_to_string(&mut response);
        tokio::time::timeout(HANG_GUARD, read)
            .await
            .unwrap()
            .unwrap();
        response
    }

    /// Waits for a metrics page that contains all of these lines.
    async fn page_with(&self, lines: &[&str]) -> String {
        let start = Instant::now();
        loop {
            let page = self.get("/metrics").await;
            if lines.iter().all(|line| page.contains(line)) {
                return page;
            }
            assert!(
                start.elapsed() < HANG_GUARD * 2,
                "never: {lines:?} in {page}"
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

const AURORA_UP: &str = "marketing_messages_up{business=\"aurora\",source=\"act_10150000000001101\",window=\"today\"} 1";
const NORDLICHT_DOWN: &str = "marketing_messages_up{business=\"nordlicht\",source=\"act_10150000000001201\",window=\"today\"} 0";

#[tokio::test]
async fn token_file_that_hangs_affects_only_its_business() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let good = folder.write("aurora", &token("AURORA"));
    let hanging = folder.0.join("nordlicht");
    make_fifo(&hanging);
    let businesses = format!(
        "businesses:\n{}{}",
        business("nordlicht", &hanging, "1201"),
        business("aurora", &good, "1101")
    );
    let config = main_config(&api) + &businesses;
    let served = Served::start(&folder, &config, &[]).await;
    let page = served.page_with(&[AURORA_UP, NORDLICHT_DOWN]).await;
    assert!(
        page.contains("last_success_timestamp_seconds{business=\"aurora\""),
        "{page}"
    );
    wait_until("file is named in the log", || {
        !served
            .program
            .lines("no response of the file system")
            .is_empty()
    })
    .await;
    let lines = served.program.lines("no response of the file system");
    assert!(lines[0].contains("nordlicht"), "{lines:?}");
    assert!(served.get("/-/healthy").await.starts_with("HTTP/1.1 200 "));
    // Taking the business out helps, and is in force when the reload is answered.
    folder.write(
        "config.yaml",
        &(main_config(&api) + "businesses:\n" + &business("aurora", &good, "1101")),
    );
    let response = served.post("/-/reload", "").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    let status = served.get("/api/status").await;
    assert!(!status.contains("nordlicht"), "{status}");
    served.program.signal("-TERM");
    let (code, _, _) = served.program.end().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn shutdown_does_not_wait_for_files() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let hanging = folder.0.join("token");
    make_fifo(&hanging);
    let config = main_config(&api) + "businesses:\n" + &business("aurora", &hanging, "1101");
    let served = Served::start(&folder, &config, &[]).await;
    served.program.signal("-TERM");
    let (code, _, _) = served.program.end().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn invalid_business_files_are_refused_individually_at_start() {
    use std::os::unix::ffi::OsStrExt;
    let api = Api::demo().await;
    let folder = Folder::new();
    let conf = folder.0.join("conf.d");
    std::fs::create_dir(&conf).unwrap();
    let aurora = folder.write("aurora", &token("AURORA"));
    folder.write("conf.d/a-good.yaml", &business("aurora", &aurora, "1101"));
    folder.write("conf.d/b-typo.yaml", "- { name: typo, acount: 1 }\n");
    folder.write("conf.d/c-empty.yaml", "");
    folder.write(
        "conf.d/d-duplicate.yaml",
        &business("aurora", &aurora, "1102"),
    );
    std::fs::write(conf.join("e-bytes.yaml"), b"\xff\xfe\x00").unwrap();
    std::fs::create_dir(conf.join("f-folder.yaml")).unwrap();
    std::os::unix::fs::symlink("gone", conf.join("g-dangling.yaml")).unwrap();
    make_fifo(&conf.join("h-hangs.yaml"));
    // Temporary files of editors and mounts.
    std::os::unix::fs::symlink("gone", conf.join(".#a-good.yaml")).unwrap();
    std::fs::write(conf.join(std::ffi::OsStr::from_bytes(b"..data.yaml")), "x").unwrap();
    let config = main_config(&api) + "business_files: [conf.d/*.yaml, none.d/*.yaml]\n";
    let served = Served::start(&folder, &config, &[]).await;
    let page = served
        .page_with(&[
            AURORA_UP,
            "marketing_messages_exporter_config_files_refused 7\n",
            "marketing_messages_exporter_config_last_reload_successful 0\n",
        ])
        .await;
    assert!(!page.contains("typo"), "{page}");
    let landing = served.get("/").await;
    for name in [
        "b-typo",
        "c-empty",
        "d-duplicate",
        "e-bytes",
        "f-folder",
        "g-dangling",
        "h-hangs",
    ] {
        assert!(
            landing.contains(name),
            "{name} should be on the landing page: {landing}"
        );
    }
    let warnings = served.program.lines("/none.d matches `none.d/*.yaml`");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    for name in [
        "b-typo",
        "c-empty",
        "d-duplicate",
        "e-bytes",
        "g-dangling",
        "h-hangs",
    ] {
        std::fs::remove_file(conf.join(format!("{name}.yaml"))).unwrap();
    }
    std::fs::remove_dir(conf.join("f-folder.yaml")).unwrap();
    let response = served.post("/-/reload", "").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    served
        .page_with(&[
            "marketing_messages_exporter_config_files_refused 0\n",
            "marketing_messages_exporter_config_last_reload_successful 1\n",
        ])
        .await;
    assert!(!served.get("/").await.contains("not in force"));
}

#[tokio::test]
async fn changed_files_are_reloaded_automatically() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let aurora = folder.write("aurora", &token("AURORA"));
    let nordlicht = folder.write("other", &token("NORDLICHT"));
    std::fs::create_dir(folder.0.join("conf.d")).unwrap();
    folder.write("conf.d/a.yaml", &business("aurora", &aurora, "1101"));
    let config = main_config(&api) + "business_files: [conf.d/*.yaml]\n";
    let served = Served::start(&folder, &config, &["--config.auto-reload-interval=50ms"]).await;
    served.page_with(&[AURORA_UP]).await;
    folder.write("conf.d/b.yaml", &business("nordlicht", &nordlicht, "1201"));
    let up = NORDLICHT_DOWN.replace("} 0", "} 1");
    served.page_with(&[AURORA_UP, &up]).await;
    folder.write("conf.d/b.yaml", "- { name: nordlicht, acount: 1 }\n");
    served
        .page_with(&[&up, "marketing_messages_exporter_config_files_refused 1\n"])
        .await;
    // One line each for the valid and the invalid change, and none for files without changes.
    wait_until("reloads are logged", || {
        served.program.lines("config reloaded").len() == 2
    })
    .await;
}

#[tokio::test]
async fn changed_token_path_takes_effect_at_once() {
    let api = Api::demo().await;
    let folder = Folder::new();
    let missing = folder.0.join("missing");
    let config = |token: &Path| {
        main_config(&api)
            + "polling: { interval: 1h }\nbusinesses:\n"
            + &business("aurora", token, "1101")
    };
    let served = Served::start(&folder, &config(&missing), &[]).await;
    let down = AURORA_UP.replace("} 1", "} 0");
    served
        .page_with(&[&down, "polls_total{business=\"aurora\"} 1\n"])
        .await;
    let aurora = folder.write("aurora", &token("AURORA"));
    folder.write("config.yaml", &config(&aurora));
    let response = served.post("/-/reload", "").await;
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    served.page_with(&[AURORA_UP]).await;
}

#[tokio::test]
async fn second_signal_ends_the_process_with_its_number() {
    let folder = Folder::new();
    let config = "graph: { url: \"http://127.0.0.1:9\" }\nbusinesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]\n";
    let served = Served::start(&folder, config, &[]).await;
    // A request that does not end keeps the shutdown waiting.
    let mut slow = tokio::net::TcpStream::connect(served.address)
        .await
        .unwrap();
    let pipelined = "GET /metrics HTTP/1.1\r\nHost: h\r\n\r\n".repeat(2000);
    tokio::io::AsyncWriteExt::write_all(&mut slow, pipelined.as_bytes())
        .await
        .unwrap();
    served.program.signal("-TERM");
    served.program.signal("-INT");
    let (code, _, _) = served.program.end().await;
    assert!(matches!(code, Some(130 | 143 | 0)), "{code:?}");
}

#[tokio::test]
async fn process_is_not_dumpable() {
    let folder = Folder::new();
    let config = "graph: { url: \"http://127.0.0.1:9\" }\nbusinesses: [{ name: acme, access_token_env: T, ad_accounts: [{ id: act_1 }] }]\n";
    let served = Served::start(&folder, config, &[]).await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", served.program.id())).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert!(
        core.split_whitespace()
            .skip(4)
            .take(2)
            .all(|limit| limit == "0"),
        "{core}"
    );
}

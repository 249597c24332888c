//! `backfill`: history that is true, resumable, and that Prometheus reads.

mod faults;
mod history;
mod resume;
mod text;
mod truth;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use clap::Parser;
use jiff::Timestamp;
use marketing_messages_exporter::cli::{Cli, Command};
use marketing_messages_exporter::commands::Failure;
use marketing_messages_exporter::commands::backfill::{self, Around};

use self::history::History;
use crate::harness::{Api, NOW, token};

/// Three time zones with a change of the clock in each of two: Los Angeles and New York on 1
/// November, Berlin on 25 October, Tokyo never.
const THREE_ZONES: &str = "
  - { name: aurora, access_token_file: TOKEN, labels: { team: growth }, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001201, campaigns: [\"120210000000031000\", \"120210000000032000\", \"120210000000034000\"] }] }
  - { name: hinode, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// The days that most tests ask for.
const AUTUMN: [&str; 2] = ["--since=2026-10-20", "--until=2026-11-05"];

/// A folder with a config and a token, gone when it is dropped.
struct Desk {
    folder: PathBuf,
}

impl Desk {
    /// `TOKEN` in the config is the file of the token that sees all, `DEAD` that of a dead one.
    fn new(api: &Api, head: &str, businesses: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("mme-backfill-{}-{number}", std::process::id());
        let desk = Self {
            folder: std::env::temp_dir().join(folder),
        };
        fs::create_dir_all(&desk.folder).unwrap();
        fs::write(desk.path("token"), token("EVERYONE")).unwrap();
        fs::write(desk.path("dead"), "EAASimulatedTokenOfNobody").unwrap();
        desk.config(api, head, businesses);
        desk
    }

    fn config(&self, api: &Api, head: &str, businesses: &str) {
        let businesses = businesses.replace("TOKEN", &self.shown("token"));
        let businesses = businesses.replace("DEAD", &self.shown("dead"));
        let text = format!(
            "graph: {{ url: \"{}\" }}\npolling: {{ backoff_max: 5ms, concurrency: 32 }}\n{head}\nbusinesses:{businesses}",
            api.simulator.url()
        );
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The command to standard output, at the harness' moment.
    async fn run(&self, arguments: &[&str]) -> (Result<bool, Failure>, String) {
        self.run_at(|| NOW.parse().unwrap(), arguments).await
    }

    /// The same at another moment.
    async fn run_at(
        &self,
        now: fn() -> Timestamp,
        arguments: &[&str],
    ) -> (Result<bool, Failure>, String) {
        let file = format!("--config.file={}", self.shown("config.yaml"));
        let words = ["exporter", "backfill", &file];
        let cli = Cli::try_parse_from([&words, arguments].concat()).unwrap();
        let Some(Command::Backfill(options)) = &cli.command else {
            panic!("another command")
        };
        let out = Printed::default();
        let around = Around {
            stop: std::future::pending(),
            show: |_: &str| {},
            watched: false,
            now,
            out: out.clone(),
        };
        let ended = backfill::run(&cli.flags, options, around).await;
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        (ended, text)
    }

    /// The same to the file `history`.
    async fn to_file(&self, arguments: &[&str]) -> Result<bool, Failure> {
        let flag = format!("--output.file={}", self.shown("history"));
        let (ended, printed) = self.run(&[arguments, &[&flag]].concat()).await;
        assert_eq!(printed, "");
        ended
    }

    /// A history that is all there.
    async fn whole(&self, arguments: &[&str]) -> History {
        let (ended, text) = self.run(arguments).await;
        assert!(ended.unwrap(), "all of it is there");
        History::parse(&text)
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

fn is_there(path: &Path) -> bool {
    path.try_exists().unwrap()
}

#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

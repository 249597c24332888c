//! `backfill`: correctness of the history, its format, resumption, and handling of errors.

mod faults;
mod history;
mod resume;
mod simulator_agreement;
mod text;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use indicatif::ProgressDrawTarget;
use jiff::Timestamp;
use marketing_messages_exporter::cli::{Command, parse_from};
use marketing_messages_exporter::commands::CommandError;
use marketing_messages_exporter::commands::backfill::{self, BackfillEnv};

use self::history::History;
use crate::harness::{Api, NOW, token};

/// Businesses in Los Angeles and New York (daylight saving time ends on 1 November), Berlin (25 October) and Tokyo (no
/// daylight saving time). `TOKEN` is replaced by the path of a token file.
const THREE_ZONES: &str = "
  - { name: aurora, access_token_file: TOKEN, labels: { team: growth }, ad_accounts: [{ id: act_10150000000001101 }, { id: act_10150000000001102 }] }
  - { name: nordlicht, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001201, campaigns: [\"120210000000031000\", \"120210000000032000\", \"120210000000034000\"] }] }
  - { name: hinode, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001301 }] }
";

/// Days that most tests backfill.
const AUTUMN: [&str; 2] = ["--since=2026-10-20", "--until=2026-11-05"];

/// Temporary folder with a config and tokens, removed on drop.
struct BackfillFixture {
    folder: PathBuf,
}

impl BackfillFixture {
    /// Creates the folder. In `businesses`, `TOKEN` is replaced by the path of a token with access to every ad account,
    /// and `INVALID` by the path of an invalid token.
    fn new(api: &Api, head: &str, businesses: &str) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = format!("mme-backfill-{}-{number}", std::process::id());
        let fixture = Self {
            folder: std::env::temp_dir().join(folder),
        };
        fs::create_dir_all(&fixture.folder).unwrap();
        fs::write(fixture.path("token"), token("EVERYONE")).unwrap();
        fs::write(fixture.path("invalid"), "EAASimulatedTokenOfNoBusiness").unwrap();
        fixture.write_config(api, head, businesses);
        fixture
    }

    fn write_config(&self, api: &Api, head: &str, businesses: &str) {
        let businesses = businesses.replace("TOKEN", &self.path_text("token"));
        let businesses = businesses.replace("INVALID", &self.path_text("invalid"));
        let text = format!(
            "graph: {{ url: \"{}\" }}\npolling: {{ backoff_max: 5ms, concurrency: 32 }}\n{head}\nbusinesses:{businesses}",
            api.simulator.url()
        );
        fs::write(self.path("config.yaml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn path_text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs `backfill` at the time of the harness; returns its result and standard output.
    async fn run(&self, arguments: &[&str]) -> (Result<bool, CommandError>, String) {
        self.run_at(|| NOW.parse().unwrap(), arguments).await
    }

    /// Runs `backfill` at another time.
    async fn run_at(
        &self,
        now: fn() -> Timestamp,
        arguments: &[&str],
    ) -> (Result<bool, CommandError>, String) {
        let out = CapturedOutput::default();
        let result = self.run_with_output(now, arguments, out.clone()).await;
        let text = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
        (result, text)
    }

    /// Runs `backfill` with another standard output.
    async fn run_with_output(
        &self,
        now: fn() -> Timestamp,
        arguments: &[&str],
        out: impl Write + Send + 'static,
    ) -> Result<bool, CommandError> {
        let file = format!("--config.file={}", self.path_text("config.yaml"));
        let command = ["exporter", "backfill", &file];
        let cli = parse_from([&command, arguments].concat()).unwrap();
        let Some(Command::Backfill(options)) = &cli.command else {
            panic!("not a backfill command")
        };
        let env = BackfillEnv {
            stop: std::future::pending(),
            draw_target: ProgressDrawTarget::hidden(),
            now,
            out,
        };
        backfill::run(&cli.flags, options, env).await
    }

    /// Runs `backfill` with the output file `history`.
    async fn run_to_file(&self, arguments: &[&str]) -> Result<bool, CommandError> {
        let flag = format!("--output.file={}", self.path_text("history"));
        let (result, printed) = self.run(&[arguments, &[&flag]].concat()).await;
        assert_eq!(printed, "");
        result
    }

    /// Runs `backfill`, which has to be complete, and parses its output.
    async fn complete_history(&self, arguments: &[&str]) -> History {
        let (result, text) = self.run(arguments).await;
        assert!(result.unwrap(), "the history should be complete");
        History::parse(&text)
    }
}

impl Drop for BackfillFixture {
    fn drop(&mut self) {
        // A remaining temporary folder does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn exists(path: &Path) -> bool {
    path.try_exists().unwrap()
}

/// Writer that keeps what is written.
#[derive(Clone, Default)]
struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl Write for CapturedOutput {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

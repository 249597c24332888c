//! Everything at once, for a while: random faults, reloads and rotated tokens, from a seed that is
//! printed; and at the end every number is true, and nothing has grown.
//!
//! `SOAK_SECONDS` and `SOAK_SEED` choose how long and which; `.ci/soak` runs it for minutes.

use std::fs;
use std::time::Duration;

use jiff::{Timestamp, ToSpan};
use marketing_messages_exporter::simulator::{Status, World};
use tokio::time::{Instant, sleep};

use super::program::{Folder, Program};
use crate::harness::{Api, Exporter, NOW, parse, token};
use crate::page::Page;
use crate::truth::assert_row;

/// Faults that end when they are ended. None of them is told how long to wait: who is told so
/// waits that long.
const FAULTS: [&str; 34] = [
    "denied",
    "denied=463",
    "denied=102",
    "forbidden",
    "forbidden=33",
    "rejected",
    "rejected=803",
    "rejected=2635",
    "too_large=5",
    "too_large=3;code=1504018",
    "unavailable=1",
    "unavailable=2",
    "unavailable=104",
    "unavailable=960",
    "unavailable=500",
    "unavailable=503",
    "reset",
    "hang",
    "slow=300",
    "cut",
    "empty",
    "html",
    "error_in_200",
    "deep",
    "huge=33",
    "shape",
    "figures=NaN",
    "figures=object",
    "no_ids",
    "no_dates",
    "other_dates",
    "version=v25.0",
    "usage=60",
    "repeating_cursor",
];

/// Told to wait for a minute.
const THROTTLES: [&str; 3] = [
    "throttled=80000;minutes=1",
    "throttled=17;minutes=1;strings",
    "usage=97;minutes=1;header=business-use-case-usage",
];

const BUSINESSES: [(&str, &[u64]); 4] = [
    ("aurora", &[10_150_000_000_001_101, 10_150_000_000_001_102]),
    ("nordlicht", &[10_150_000_000_001_201]),
    ("hinode", &[10_150_000_000_001_301]),
    ("kereru", &[10_150_000_000_001_401]),
];

/// What is asked about of `nordlicht`.
const CHOSEN: [&str; 2] = ["120210000000031000", "120210000000032000"];

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    /// One of `0..sides`.
    fn throw(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % sides as u64).unwrap()
    }

    /// One to three faults, each for somebody.
    fn faults(&mut self, throttles: bool) -> Vec<String> {
        let count = 1 + self.throw(3);
        let mut faults = Vec::new();
        for _ in 0..count {
            let kind = match throttles && self.throw(10) == 0 {
                true => THROTTLES[self.throw(THROTTLES.len())],
                false => FAULTS[self.throw(FAULTS.len())],
            };
            let (business, accounts) = BUSINESSES[self.throw(BUSINESSES.len())];
            let scope = match self.throw(4) {
                0 => format!("business:{business}"),
                1 => format!("act_{}", accounts[self.throw(accounts.len())]),
                2 => format!("business:{business}&endpoint:insights"),
                _ => "all".to_owned(),
            };
            let chance = [10, 30, 60, 100][self.throw(4)];
            faults.push(format!("{kind}@{scope}~{chance}"));
        }
        faults
    }
}

fn config(url: &str, folder: &Folder, interval: u32) -> String {
    let mut text = format!(
        "graph: {{ url: \"{url}\", timeout: 700ms }}
polling: {{ interval: {interval}ms, backoff_max: 400ms, stale_after: 3s, discovery_interval: 2s }}
windows:
  - {{ name: today, date_preset: today }}
  - {{ name: yesterday, date_preset: yesterday }}
  - {{ name: last_7d, date_preset: last_7d }}
  - {{ name: launch, time_range: {{ since: 2026-08-01, until: 2026-11-20 }}, interval: 300ms }}
businesses:
"
    );
    for (name, accounts) in BUSINESSES {
        let path = folder.path(name);
        // Of one account, the campaigns that show everything as it is: no old one, whose dates the
        // API does not heed, and none of mixed attribution.
        let only = match name {
            "nordlicht" => format!(", campaigns: {CHOSEN:?}"),
            _ => String::new(),
        };
        let accounts = accounts
            .iter()
            .map(|id| format!("{{ id: act_{id}{only} }}"));
        let accounts: Vec<_> = accounts.collect();
        text += &format!(
            "  - {{ name: {name}, access_token_file: {}, ad_accounts: [{}] }}\n",
            path.display(),
            accounts.join(", ")
        );
    }
    text
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
struct Weight {
    kibibytes: u64,
    threads: u64,
    files: usize,
}

fn weigh(program: &Program) -> Weight {
    let status = fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let of = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    Weight {
        kibibytes: of("VmRSS:"),
        threads: of("Threads:"),
        files: fs::read_dir(format!("/proc/{}/fd", program.pid()))
            .unwrap()
            .count(),
    }
}

fn sum(page: &Page, name: &str) -> f64 {
    page.all(name, &[])
        .iter()
        .map(|sample| sample.value())
        .sum()
}

/// All that the page says of the campaigns is what is true at that moment.
fn assert_true(api: &Api, page: &Page) -> usize {
    let mut rows = 0;
    for account in World::demo().accounts {
        // What is left out has rows that are not shown: of switched off campaigns.
        let number = account.id % 10_000;
        if number == 1_401 {
            continue;
        }
        let zone = jiff::tz::TimeZone::get(&account.time_zone).unwrap();
        let today = api.now().to_zoned(zone).date();
        let before = |days: i64| today.checked_sub(days.days()).unwrap().to_string();
        let windows = [
            ("today", before(0), before(0)),
            ("yesterday", before(1), before(1)),
            ("last_7d", before(7), before(1)),
            ("launch", "2026-08-01".to_owned(), "2026-11-20".to_owned()),
        ];
        for campaign in account.campaigns {
            let chosen = number != 1_201 || CHOSEN.contains(&campaign.id.to_string().as_str());
            if !campaign.is_message || campaign.status == Status::Archived || !chosen {
                continue;
            }
            let id = campaign.id.to_string();
            for (window, since, until) in &windows {
                if let Some(truth) = api.truth(&id, since, until) {
                    assert_row(page, &[("campaign_id", &id), ("window", window)], &truth);
                    rows += 1;
                }
            }
        }
    }
    rows
}

/// Faults, and what people do meanwhile.
struct Storm<'a> {
    api: &'a Api,
    folder: &'a Folder,
    program: &'a Program,
    dice: Dice,
    now: Timestamp,
    slowest: Duration,
    scrapes: u32,
}

impl Storm<'_> {
    async fn rage(&mut self, length: Duration) {
        let start = Instant::now();
        let mut next = start;
        while start.elapsed() < length {
            if Instant::now() >= next {
                // Who is told to wait a minute must have waited by the end.
                let left = length.saturating_sub(start.elapsed());
                self.turn(left > Duration::from_secs(75));
                next =
                    Instant::now() + Duration::from_millis(200 + 100 * self.dice.throw(8) as u64);
            }
            self.now += 15.seconds();
            self.api.set_time(&self.now.to_string());
            let asked = Instant::now();
            // It panics where the page breaks a rule of the format.
            self.program.visitor.page().await;
            self.slowest = self.slowest.max(asked.elapsed());
            self.scrapes += 1;
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Other faults, and now and then another token or another config.
    fn turn(&mut self, throttles: bool) {
        let faults = self.dice.faults(throttles);
        let faults: Vec<_> = faults.iter().map(String::as_str).collect();
        self.api.break_with(&faults);
        match self.dice.throw(8) {
            0 => drop(self.folder.write("aurora", &token("EVERYONE"))),
            1 => drop(self.folder.write("aurora", &token("AURORA"))),
            2 => {
                let interval = [150, 200, 250][self.dice.throw(3)];
                let text = config(&self.api.simulator.url(), self.folder, interval);
                self.folder.write("config.yaml", &text);
                self.program.signal("HUP");
            }
            _ => {}
        }
    }

    /// The page once everything was asked again after the last fault. From here on nothing moves.
    async fn calm(&self) -> Page {
        self.api.mend();
        let now = marketing_messages_exporter::poll::clock::now();
        let frozen = now.as_duration().as_secs_f64();
        self.program
            .visitor
            .page_within(Duration::from_secs(100), |page| {
                let fresh = page.all("last_success_timestamp_seconds", &[]);
                fresh.len() == 20
                    && fresh.iter().all(|success| success.value() > frozen + 1.5)
                    && page.all("up", &[]).iter().all(|up| up.number == "1")
            })
            .await
    }
}

#[tokio::test]
async fn soak_random_faults_leave_every_number_true_and_nothing_grown() {
    let set = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse::<u64>().ok())
    };
    let seconds = set("SOAK_SECONDS").unwrap_or(5);
    let seed = set("SOAK_SEED").unwrap_or(20_261_123);
    println!("SOAK_SECONDS={seconds} SOAK_SEED={seed}");
    let api = Api::demo().await;
    let folder = Folder::new();
    for (name, _) in BUSINESSES {
        folder.write(name, &token(&name.to_uppercase()));
    }
    folder.write("config.yaml", &config(&api.simulator.url(), &folder, 200));
    let state = format!("--state.file={}", folder.path("state").display());
    let program = Program::start(&folder, &[&state, "--log.level=info"]).await;
    program.visitor.page_up().await;
    let mut storm = Storm {
        api: &api,
        folder: &folder,
        program: &program,
        dice: Dice(seed),
        now: NOW.parse().unwrap(),
        slowest: Duration::ZERO,
        scrapes: 0,
    };
    // What a first storm made grow has grown: a second one, twice as long, must not add to it.
    storm.rage(Duration::from_secs(seconds) / 3).await;
    storm.calm().await;
    let early = weigh(&program);
    storm.rage(Duration::from_secs(seconds) * 2 / 3).await;
    let page = storm.calm().await;
    let late = weigh(&program);
    let (slowest, scrapes) = (storm.slowest, storm.scrapes);
    let rows = assert_true(&api, &page);
    let polls = sum(&page, "exporter_polls_total");
    let failures = sum(&page, "exporter_poll_failures_total");
    println!(
        "{polls} polls, {failures} failed, {rows} rows true; {scrapes} scrapes, the slowest {slowest:?}; {early:?}, then {late:?}"
    );
    assert!(rows >= 30, "{rows}");
    assert!(polls >= 10.0 * seconds as f64, "{polls}");
    assert!(failures > 0.0);
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
    page.assert(
        "exporter_poll_failures_total",
        &[("business", "aurora"), ("reason", "panicked")],
        "0",
    );
    assert!(
        late.kibibytes < early.kibibytes * 5 / 4 + 16 * 1024,
        "{early:?} {late:?}"
    );
    assert!(late.threads <= early.threads + 4, "{early:?} {late:?}");
    assert!(late.files <= early.files + 16, "{early:?} {late:?}");
    let log = program.log();
    assert!(!log.contains("panicked at"), "{log}");
}

#[tokio::test]
async fn soak_no_task_outlives_what_it_was_for() {
    let api = Api::demo().await;
    let folder = Folder::new();
    for (name, _) in BUSINESSES {
        folder.write(name, &token(&name.to_uppercase()));
    }
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let exporter = Exporter::start(&parse(
        &config(&api.simulator.url(), &folder, 100),
        &api.simulator.url(),
    ))
    .await;
    exporter.page_up().await;
    let mut dice = Dice(7);
    let mut most = 0;
    for _ in 0..30 {
        let faults = dice.faults(false);
        api.break_with(&faults.iter().map(String::as_str).collect::<Vec<_>>());
        sleep(Duration::from_millis(100)).await;
        exporter.page().await;
        most = most.max(tasks());
    }
    api.mend();
    exporter.page_up().await;
    // At most one poll a source, its connection at both ends, and what serves.
    assert!(most < before + 60, "{before} {most}");
    exporter.stop().await;
    drop(api);
    // What serves a connection hears of its end a moment later.
    crate::harness::wait_until("every task has ended", || tasks() <= before).await;
}

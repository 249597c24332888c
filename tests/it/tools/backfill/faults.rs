//! Errors: each affects only its own scope, and the rest of the history is written.

use graph_simulator::World;
use marketing_messages_exporter::commands::CommandError;

use super::{AUTUMN, BackfillFixture, History, THREE_ZONES};
use crate::harness::{Api, wait_until};
use crate::process::Program;

#[tokio::test]
async fn invalid_token_affects_only_its_business() {
    let api = Api::demo().await;
    let businesses = THREE_ZONES.replacen("TOKEN", "INVALID", 1);
    let fixture = BackfillFixture::new(&api, "", &businesses);
    let (result, text) = fixture.run(&AUTUMN).await;
    assert!(!result.unwrap());
    let history = History::parse(&text);
    let page = history.at("2026-10-25", "Europe/Berlin");
    assert!(
        page.find("spend", &[("campaign_id", "120210000000031000")])
            .is_some()
    );
    assert!(!text.contains("business=\"aurora\""));
    // After the first error, no further source of the business is queried.
    let requests = api.simulator.requests();
    let rejected = requests.iter().filter(|call| call.status == 400);
    assert_eq!(rejected.count(), 1);
}

#[tokio::test]
async fn ad_account_with_unknown_time_zone_is_omitted() {
    let api = Api::demo().await;
    api.simulator
        .update_world(|world| world.accounts[3].time_zone = "Mars/Olympus".to_owned());
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let (result, text) = fixture.run(&AUTUMN).await;
    assert!(!result.unwrap());
    assert!(!text.contains("business=\"hinode\"") && text.contains("business=\"nordlicht\""));
    assert_eq!(api.calls("/act_10150000000001301/insights"), 0);
}

#[tokio::test]
async fn too_large_response_is_queried_in_parts() {
    let api = Api::start(World::with_campaigns(40, 5)).await;
    let many = "\n  - { name: many, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000009001 }] }\n";
    let days = ["--since=2026-10-01", "--until=2026-10-31"];
    let fixture = BackfillFixture::new(&api, "", many);
    let (_, complete) = fixture.run(&days).await;
    let baseline = api.simulator.requests().len();
    api.inject_faults(&["too_large=100"]);
    let before = api.simulator.requests().len();
    let (result, text) = fixture.run(&days).await;
    assert!(result.unwrap());
    assert_eq!(text, complete);
    let requests = api.simulator.requests().len() - before;
    // Pages of 62 rows instead of 500, six requests until the page size is small enough, and discovery in parts.
    assert!(
        requests < baseline * 12,
        "{requests} requests, {baseline} without the fault"
    );
}

#[tokio::test]
async fn rejected_field_is_omitted() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    api.inject_faults(&["rejected_field=website_purchase_roas"]);
    let history = fixture.complete_history(&AUTUMN).await;
    assert_eq!(history.count("website_purchase_roas"), 0);
    assert!(history.count("conversions") > 0 && history.count("spend") > 0);
}

#[tokio::test]
async fn invalid_responses_are_retried_and_not_written() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let (_, complete) = fixture.run(&AUTUMN).await;
    api.inject_faults(&[
        "cut*3",
        "html@endpoint:insights*2",
        "reset*2",
        "unavailable*4",
    ]);
    let (result, text) = fixture.run(&AUTUMN).await;
    assert!(result.unwrap());
    assert_eq!(text, complete);
    for fault in ["no_dates", "repeating_cursor"] {
        api.inject_faults(&[&format!("{fault}@act_10150000000001301&endpoint:insights")]);
        let (result, text) = fixture.run(&AUTUMN).await;
        assert!(!result.unwrap(), "{fault}");
        assert!(!text.contains("business=\"hinode\""), "{fault}");
        assert!(text.contains("business=\"aurora\""), "{fault}");
    }
    // Rows with dates that were not requested are discarded.
    api.inject_faults(&["other_dates@endpoint:insights"]);
    let (result, text) = fixture.run(&AUTUMN).await;
    assert!(!result.unwrap());
    assert_eq!(text, "# EOF\n");
}

#[tokio::test]
async fn backfill_without_data_writes_nothing() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    api.inject_faults(&["denied"]);
    let result = fixture.run_to_file(&AUTUMN).await;
    assert!(matches!(result, Err(CommandError::Failed(_))), "{result:?}");
    assert!(!super::exists(&fixture.path("history")));
    // A journal without responses is replaced, even if the parameters differ.
    api.clear_faults();
    let days = ["--since=2026-10-20", "--until=2026-10-21"];
    assert!(fixture.run_to_file(&days).await.unwrap());
}

#[tokio::test]
async fn exhausted_quota_pauses_only_its_ad_account() {
    let api = Api::demo().await;
    let now = marketing_messages_exporter::platform::clock::now();
    api.set_time(&now.to_string());
    api.inject_faults(&["throttled=80000;minutes=9@act_10150000000001102&endpoint:insights"]);
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let day = |days_ago: i64| {
        let time = now - jiff::ToSpan::hours(24 * days_ago);
        time.strftime("%Y-%m-%d").to_string()
    };
    let (since, until) = (
        format!("--since={}", day(20)),
        format!("--until={}", day(3)),
    );
    let file = format!("--output.file={}", fixture.path_text("history"));
    let arguments = ["backfill", &since, &until, &file];
    let program = Program::start(&fixture.read("config.yaml"), &arguments);
    wait_until("the source is paused", || {
        !program.lines("source paused").is_empty()
    })
    .await;
    let line = program.lines("source paused").remove(0);
    for text in ["source=act_10150000000001102", "until=", "code 80000"] {
        assert!(line.contains(text), "{text}: {line}");
    }
    wait_until("the other sources are queried", || {
        api.calls("/insights") >= 7
    })
    .await;
    // The second request of the paused ad account may already have been sent.
    program.signal("-TERM");
    assert_eq!(program.end().await.0, Some(1));
    assert!(api.calls("/act_10150000000001102/insights") <= 2);
    api.clear_faults();
    let before = api.simulator.requests().len();
    let (code, _, log) = Program::start(&fixture.read("config.yaml"), &arguments)
        .end()
        .await;
    assert_eq!(code, Some(0), "{log:#?}");
    let requests = api.simulator.requests();
    assert!(requests.len() - before <= 4, "{}", requests.len() - before);
}

#[tokio::test]
async fn stop_signal_ends_backfill_while_api_hangs() {
    let api = Api::demo().await;
    let now = marketing_messages_exporter::platform::clock::now();
    api.set_time(&now.to_string());
    api.inject_faults(&["hang@endpoint:insights"]);
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let day = (now - jiff::ToSpan::hours(24 * 5)).strftime("%Y-%m-%d");
    let (since, until) = (format!("--since={day}"), format!("--until={day}"));
    let arguments = ["backfill", &since, &until];
    let program = Program::start(&fixture.read("config.yaml"), &arguments);
    wait_until("requests hang", || api.calls("/insights") > 0).await;
    // Waits for less than the timeout of a request.
    program.signal("-TERM");
    let (code, out, log) = program.end().await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        log.iter().any(|line| line.contains("--output.file")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn invalid_arguments_are_refused_without_requests() {
    let api = Api::demo().await;
    let head = "windows: [{ name: today, date_preset: yesterday }]";
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let misnamed_window = BackfillFixture::new(&api, head, THREE_ZONES);
    let refused =
        async |fixture: &BackfillFixture, arguments: &[&str]| match fixture.run(arguments).await {
            (Err(CommandError::InvalidInput(error)), text) if text.is_empty() => error,
            (result, _) => panic!("{arguments:?}: {result:?}"),
        };
    for (arguments, expected) in [
        (
            ["--since=2026-11-05", "--until=2026-11-04", ""],
            "exchange them",
        ),
        (
            ["--since=2023-10-23", "--until=2026-11-04", ""],
            "use 2023-10-24 or later",
        ),
        (
            ["--since=2026-11-20", "--until=2026-11-30", ""],
            "not in the future",
        ),
        (
            ["--since=2026-11-24", "--until=2026-11-24", ""],
            "expected a day that has ended",
        ),
        (
            ["--since=2026-11-01", "--until=2026-11-02", "--label=team=a"],
            "label `team` is already set",
        ),
        (
            [
                "--since=2026-11-01",
                "--until=2026-11-02",
                "--output.file=/dev/null",
            ],
            "expected a regular file",
        ),
    ] {
        let arguments: Vec<&str> = arguments
            .into_iter()
            .filter(|argument| !argument.is_empty())
            .collect();
        let error = refused(&fixture, &arguments).await;
        assert!(error.contains(expected), "{error}");
    }
    let error = refused(&misnamed_window, &AUTUMN).await;
    assert!(error.contains("date_preset: today"), "{error}");
    assert!(api.simulator.requests().is_empty());
    for flag in [
        "--since=yesterday",
        "--until=2026-1-1",
        "--label=a",
        "--label=window=b",
    ] {
        let (code, ..) = Program::bare(&["backfill", flag]).end().await;
        assert_eq!(code, Some(2), "{flag}");
    }
}

#[tokio::test]
async fn history_without_rows_is_not_complete() {
    let api = Api::demo().await;
    let kereru = "
  - { name: kereru, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001401, campaigns: [\"120210000000054000\"] }] }
";
    // Before the campaign was created.
    let days = ["--since=2026-09-01", "--until=2026-09-05"];
    let (result, text) = BackfillFixture::new(&api, "", kereru).run(&days).await;
    assert_eq!((result.unwrap(), text.as_str()), (false, "# EOF\n"));
}

/// Standard output that is closed after some bytes, as by `head`.
struct ClosedPipe {
    remaining: usize,
}

impl std::io::Write for ClosedPipe {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        if self.remaining == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        let written = text.len().min(self.remaining);
        self.remaining -= written;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn closed_standard_output_fails_the_backfill() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let out = ClosedPipe { remaining: 1000 };
    let now = || crate::harness::NOW.parse().unwrap();
    let result = fixture.run_with_output(now, &AUTUMN, out).await;
    let error = result.unwrap_err().to_string();
    assert!(
        error.contains("closed before the end of the history"),
        "{error}"
    );
}

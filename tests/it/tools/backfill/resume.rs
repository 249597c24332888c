//! Resumption: an interrupted or incomplete backfill continues from its journal, and repeats no request.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use jiff::{Timestamp, ToSpan};
use marketing_messages_exporter::commands::CommandError;
use marketing_messages_exporter::platform::clock;

use super::{AUTUMN, BackfillFixture, THREE_ZONES, exists};
use crate::harness::{Api, wait_until};
use crate::process::Program;

#[tokio::test]
async fn resume_after_error_requests_only_missing_days() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let (_, complete) = fixture.run(&AUTUMN).await;
    let first = api.simulator.requests().len();
    api.inject_faults(&["unavailable=503@act_10150000000001102&endpoint:insights"]);
    assert!(
        !fixture.run_to_file(&AUTUMN).await.unwrap(),
        "one ad account should be missing"
    );
    let partial = fixture.read("history");
    assert!(partial.contains("120210000000011000") && partial.contains("120210000000041000"));
    assert!(!partial.contains("120210000000021000"));
    assert!(exists(&fixture.path("history.partial")));
    let before = api.simulator.requests().len();
    api.clear_faults();
    assert!(fixture.run_to_file(&AUTUMN).await.unwrap());
    let requests = api.simulator.requests();
    let resumed = &requests[before..];
    assert!(!resumed.is_empty() && resumed.len() < first / 2);
    for call in resumed {
        assert!(
            call.path.ends_with("/act_10150000000001102/insights"),
            "{}",
            call.path
        );
    }
    assert_eq!(fixture.read("history"), complete);
    assert!(!exists(&fixture.path("history.partial")));
}

#[tokio::test]
async fn truncated_journal_is_refused_and_unchanged() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let (_, complete) = fixture.run(&AUTUMN).await;
    // The journal is kept because one ad account fails.
    api.inject_faults(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!fixture.run_to_file(&AUTUMN).await.unwrap());
    api.clear_faults();
    let path = fixture.path("history.partial");
    let journal = fs::read(&path).unwrap();
    fs::write(&path, &journal[..journal.len() - 7]).unwrap();
    let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
        panic!("should be refused")
    };
    assert!(
        error.contains("damaged") && error.contains("remove the file"),
        "{error}"
    );
    assert!(fs::read(&path).unwrap() == journal[..journal.len() - 7]);
    fs::remove_file(&path).unwrap();
    assert!(fixture.run_to_file(&AUTUMN).await.unwrap());
    assert_eq!(fixture.read("history"), complete);
}

#[tokio::test]
async fn other_parameters_are_refused_and_files_kept() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    api.inject_faults(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!fixture.run_to_file(&AUTUMN).await.unwrap());
    let history = fixture.read("history");
    let before = api.simulator.requests().len();
    let Err(CommandError::InvalidInput(error)) = fixture
        .run_to_file(&["--since=2026-10-21", "--until=2026-11-05"])
        .await
    else {
        panic!("should be refused")
    };
    assert!(
        error.contains("previously \"days 2026-10-20 to 2026-11-05\", now \"days 2026-10-21 to"),
        "{error}"
    );
    assert!(error.contains("history.partial"), "{error}");
    fixture.write_config(&api, "insights: { level: ad }", THREE_ZONES);
    let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
        panic!("should be refused")
    };
    assert!(error.contains("level campaign"), "{error}");
    assert_eq!(api.simulator.requests().len(), before);
    assert!(exists(&fixture.path("history.partial")));
    assert_eq!(fixture.read("history"), history);
    // Labels and `zero_fill` do not affect the responses and may differ.
    fixture.write_config(
        &api,
        "insights: { zero_fill: all }",
        &THREE_ZONES.replace("growth", "sales"),
    );
    assert!(!fixture.run_to_file(&AUTUMN).await.unwrap());
    assert!(fixture.read("history").contains("team=\"sales\""));
    fs::write(fixture.path("history.partial"), "other content").unwrap();
    let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
        panic!("should be refused")
    };
    assert!(error.contains("not a backfill journal"), "{error}");
    assert_eq!(fixture.read("history.partial"), "other content");
}

#[tokio::test]
async fn foreign_file_is_refused_and_unchanged() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    fs::write(fixture.path("history"), "businesses: []\n").unwrap();
    let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
        panic!("should be refused")
    };
    assert!(error.contains("not written by `backfill`"), "{error}");
    assert_eq!(fixture.read("history"), "businesses: []\n");
    assert!(api.simulator.requests().is_empty());
}

#[tokio::test]
async fn history_with_fewer_samples_does_not_replace_a_larger_one() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    assert!(fixture.run_to_file(&AUTUMN).await.unwrap());
    let complete = fixture.read("history");
    let Err(CommandError::Failed(error)) = fixture
        .run_to_file(&["--since=2026-11-04", "--until=2026-11-05"])
        .await
    else {
        panic!("should fail")
    };
    assert!(error.contains("choose another name"), "{error}");
    assert_eq!(fixture.read("history"), complete);
}

#[tokio::test]
async fn other_field_kind_is_refused() {
    let api = Api::demo().await;
    let head = |kind, metric| {
        format!(
            "insights: {{ extra_fields: [{{ field: ctr, metric: {metric}, kind: {kind}, help: Clicks }}] }}"
        )
    };
    let fixture = BackfillFixture::new(&api, &head("percent", "ctr_ratio"), THREE_ZONES);
    api.inject_faults(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!fixture.run_to_file(&AUTUMN).await.unwrap());
    api.clear_faults();
    fixture.write_config(&api, &head("count", "ctr"), THREE_ZONES);
    let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
        panic!("should be refused")
    };
    assert!(
        error.contains("ctr=percent") && error.contains("ctr=count"),
        "{error}"
    );
    // The metric name does not affect the values and may differ.
    fixture.write_config(&api, &head("percent", "clicks_ratio"), THREE_ZONES);
    assert!(fixture.run_to_file(&AUTUMN).await.unwrap());
    assert!(fixture.read("history").contains("clicks_ratio"));
}

#[tokio::test]
async fn resume_skips_days_that_meta_no_longer_keeps() {
    const LATER: &str = "2026-11-25T11:30:00Z";
    let later = || LATER.parse().unwrap();
    let aurora = "
  - name: aurora
    access_token_file: TOKEN
    ad_accounts: [{ id: act_10150000000001101, conversions: false }, { id: act_10150000000001102, conversions: false }]
";
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", aurora);
    // The first day is the oldest that is accepted at the time of the harness.
    let days = ["--since=2023-10-24", "--until=2026-11-05"];
    let (_, complete) = fixture.run(&days).await;
    assert!(complete.contains("120210000000021000"));
    api.inject_faults(&["unavailable=503@act_10150000000001102&endpoint:insights"]);
    assert!(!fixture.run_to_file(&days).await.unwrap());
    api.clear_faults();
    api.set_time(LATER);
    let other = format!("--output.file={}", fixture.path_text("other"));
    let (result, _) = fixture
        .run_at(later, &[&days[..], &[&other]].concat())
        .await;
    let Err(CommandError::InvalidInput(error)) = result else {
        panic!("should be refused")
    };
    assert!(error.contains("use 2023-10-26 or later"), "{error}");
    assert!(!exists(&fixture.path("other.partial")));
    let before = api.simulator.requests().len();
    let file = format!("--output.file={}", fixture.path_text("history"));
    let (result, _) = fixture.run_at(later, &[&days[..], &[&file]].concat()).await;
    assert!(!result.unwrap(), "the expired days should be missing");
    let requests = api.simulator.requests();
    let refused: Vec<_> = requests[before..]
        .iter()
        .filter(|call| call.status != 200)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    // Not affected, because the campaigns started after the expired days.
    assert_eq!(fixture.read("history"), complete);
}

#[tokio::test]
async fn second_backfill_of_same_file_is_refused() {
    let api = Api::demo().await;
    let fixture = BackfillFixture::new(&api, "", THREE_ZONES);
    let (_, complete) = fixture.run(&AUTUMN).await;
    fs::write(fixture.path("history.new"), "other content").unwrap();
    let before = api.calls("/insights");
    api.inject_faults(&["slow=300@endpoint:insights"]);
    let second = async {
        wait_until("some responses", || api.calls("/insights") > before).await;
        let Err(CommandError::InvalidInput(error)) = fixture.run_to_file(&AUTUMN).await else {
            panic!("should be refused")
        };
        assert!(
            error.contains("in use by another process; wait until it ends"),
            "{error}"
        );
        assert!(error.contains("history.partial"), "{error}");
        api.clear_faults();
    };
    let (first, ()) = tokio::join!(fixture.run_to_file(&AUTUMN), second);
    assert!(first.unwrap());
    assert_eq!(fixture.read("history"), complete);
    let mode = |name| fs::metadata(fixture.path(name)).unwrap().mode();
    assert_eq!(
        mode("history"),
        mode("history.new"),
        "the umask should apply"
    );
    // No temporary file remains, and no other file is removed.
    let mut names: Vec<_> = fs::read_dir(&fixture.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["config.yaml", "history", "history.new", "invalid", "token"]
    );
    assert_eq!(fixture.read("history.new"), "other content");
}

/// Flags for the days from a year ago to the day before yesterday. The child process uses the real time.
fn last_year(now: Timestamp) -> [String; 2] {
    let day = |days_ago: i64| {
        (now - (24 * days_ago).hours())
            .strftime("%Y-%m-%d")
            .to_string()
    };
    [
        format!("--since={}", day(360)),
        format!("--until={}", day(2)),
    ]
}

#[tokio::test]
async fn signal_interrupts_and_next_run_resumes() {
    let api = Api::demo().await;
    let now = clock::now();
    api.set_time(&now.to_string());
    let one = "\n  - { name: kereru, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001401 }] }\n";
    let fixture = BackfillFixture::new(&api, "", one);
    let config = fixture.read("config.yaml");
    let flag = format!("--output.file={}", fixture.path_text("history"));
    let [since, until] = &last_year(now);
    let arguments = ["backfill", since, until, &flag];
    for (signal, calls) in [("-INT", 4), ("-TERM", 6)] {
        api.inject_faults(&["slow=300@endpoint:insights"]);
        let program = Program::start(&config, &arguments);
        wait_until("some responses", || api.calls("/insights") >= calls).await;
        program.signal(signal);
        let (code, out, log) = program.end().await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{log:#?}");
        assert!(
            log.iter()
                .any(|line| line.contains("repeat the same command to resume")),
            "{log:#?}"
        );
        assert!(exists(&fixture.path("history.partial")));
        assert!(!exists(&fixture.path("history")));
    }
    api.clear_faults();
    let (code, _, log) = Program::start(&config, &arguments).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(!exists(&fixture.path("history.partial")));
    let resumed = fixture.read("history");
    // Only the requests that a signal interrupted are repeated: at most two for each of the two signals.
    let mut counts: HashMap<String, usize> = HashMap::new();
    for call in api.simulator.requests() {
        let request = format!("{} {:?}", call.path, call.query);
        *counts.entry(request).or_default() += 1;
    }
    let repeated: usize = counts.values().map(|count| count - 1).sum();
    assert!(repeated <= 4, "{repeated} repeated requests: {counts:#?}");
    let (code, complete, _) = Program::start(&config, &arguments[..3]).end().await;
    assert_eq!(code, Some(0));
    assert_eq!(resumed, complete);
}

//! A backfill that was stopped goes on where it was, and asks nothing twice.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

use jiff::{Timestamp, ToSpan};
use marketing_messages_exporter::commands::Failure;
use marketing_messages_exporter::poll::clock;

use super::{AUTUMN, Desk, THREE_ZONES, is_there};
use crate::harness::{Api, wait_until};
use crate::process::Program;

#[tokio::test]
async fn after_a_fault_only_what_misses_is_asked_for() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let (_, whole) = desk.run(&AUTUMN).await;
    let first = api.simulator.requests().len();
    api.break_with(&["unavailable=503@act_10150000000001102&endpoint:insights"]);
    assert!(!desk.to_file(&AUTUMN).await.unwrap(), "a part is missing");
    let part = desk.read("history");
    assert!(part.contains("120210000000011000") && part.contains("120210000000041000"));
    assert!(!part.contains("120210000000021000"));
    assert!(is_there(&desk.path("history.partial")));
    let before = api.simulator.requests().len();
    api.mend();
    assert!(desk.to_file(&AUTUMN).await.unwrap());
    let requests = api.simulator.requests();
    let asked = &requests[before..];
    assert!(!asked.is_empty() && asked.len() < first / 2);
    for call in asked {
        assert!(
            call.path.ends_with("/act_10150000000001102/insights"),
            "{}",
            call.path
        );
    }
    assert_eq!(desk.read("history"), whole);
    assert!(!is_there(&desk.path("history.partial")));
}

#[tokio::test]
async fn a_torn_journal_costs_what_was_torn() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let (_, whole) = desk.run(&AUTUMN).await;
    // The one that fails keeps the journal there.
    api.break_with(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!desk.to_file(&AUTUMN).await.unwrap());
    api.mend();
    let path = desk.path("history.partial");
    let journal = fs::read(&path).unwrap();
    for (kept, garbage) in [
        (journal.len() - 7, ""),
        (journal.len(), "garbage behind it"),
    ] {
        let torn = [&journal[..kept], garbage.as_bytes()].concat();
        fs::write(&path, torn).unwrap();
        let before = api.calls("/insights");
        assert!(desk.to_file(&AUTUMN).await.unwrap());
        let asked = api.calls("/insights") - before;
        assert_eq!(asked, if garbage.is_empty() { 3 } else { 2 });
        assert_eq!(desk.read("history"), whole);
    }
}

#[tokio::test]
async fn another_question_is_refused_and_what_was_brought_stays() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    api.break_with(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!desk.to_file(&AUTUMN).await.unwrap());
    let (journal, history) = (
        fs::read(desk.path("history.partial")).unwrap(),
        desk.read("history"),
    );
    let before = api.simulator.requests().len();
    let Err(Failure::Refused(why)) = desk
        .to_file(&["--since=2026-10-21", "--until=2026-11-05"])
        .await
    else {
        panic!("not refused")
    };
    assert!(
        why.contains("then \"days 2026-10-20 to 2026-11-05\", now \"days 2026-10-21 to"),
        "{why}"
    );
    assert!(why.contains("history.partial"), "{why}");
    desk.config(&api, "insights: { level: ad }", THREE_ZONES);
    let Err(Failure::Refused(why)) = desk.to_file(&AUTUMN).await else {
        panic!("not refused")
    };
    assert!(why.contains("level campaign"), "{why}");
    assert_eq!(api.simulator.requests().len(), before);
    assert_eq!(fs::read(desk.path("history.partial")).unwrap(), journal);
    assert_eq!(desk.read("history"), history);
    // Labels and zeros are no part of the question.
    desk.config(
        &api,
        "insights: { zero_fill: all }",
        &THREE_ZONES.replace("growth", "sales"),
    );
    assert!(!desk.to_file(&AUTUMN).await.unwrap());
    assert!(desk.read("history").contains("team=\"sales\""));
    fs::write(desk.path("history.partial"), "somebody's notes").unwrap();
    let Err(Failure::Refused(why)) = desk.to_file(&AUTUMN).await else {
        panic!("not refused")
    };
    assert!(why.contains("no journal"), "{why}");
    assert_eq!(desk.read("history.partial"), "somebody's notes");
}

#[tokio::test]
async fn a_field_of_another_kind_is_another_question() {
    let api = Api::demo().await;
    let head = |kind, metric| {
        format!(
            "insights: {{ extra_fields: [{{ field: ctr, metric: {metric}, kind: {kind}, help: Clicks }}] }}"
        )
    };
    let desk = Desk::new(&api, &head("percent", "ctr_ratio"), THREE_ZONES);
    api.break_with(&["forbidden@act_10150000000001301&endpoint:insights"]);
    assert!(!desk.to_file(&AUTUMN).await.unwrap());
    api.mend();
    desk.config(&api, &head("count", "ctr"), THREE_ZONES);
    let Err(Failure::Refused(why)) = desk.to_file(&AUTUMN).await else {
        panic!("not refused")
    };
    assert!(
        why.contains("ctr=percent") && why.contains("ctr=count"),
        "{why}"
    );
    // The metric's name alone changes no number.
    desk.config(&api, &head("percent", "clicks_ratio"), THREE_ZONES);
    assert!(desk.to_file(&AUTUMN).await.unwrap());
    assert!(desk.read("history").contains("clicks_ratio"));
}

#[tokio::test]
async fn what_meta_forgets_meanwhile_keeps_nothing_else_from_being_asked() {
    const LATER: &str = "2026-11-25T11:30:00Z";
    let later = || LATER.parse().unwrap();
    let aurora = "
  - name: aurora
    access_token_file: TOKEN
    ad_accounts: [{ id: act_10150000000001101, conversions: false }, { id: act_10150000000001102, conversions: false }]
";
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", aurora);
    // From the oldest day on that it takes at the harness' moment.
    let days = ["--since=2023-10-24", "--until=2026-11-05"];
    let (_, whole) = desk.run(&days).await;
    assert!(whole.contains("120210000000021000"));
    api.break_with(&["unavailable=503@act_10150000000001102&endpoint:insights"]);
    assert!(!desk.to_file(&days).await.unwrap());
    api.mend();
    api.set_time(LATER);
    let other = format!("--output.file={}", desk.shown("other"));
    let (begun, _) = desk.run_at(later, &[&days[..], &[&other]].concat()).await;
    let Err(Failure::Refused(why)) = begun else {
        panic!("not refused")
    };
    assert!(why.contains("can be asked for is 2023-10-26"), "{why}");
    assert!(!is_there(&desk.path("other.partial")));
    let before = api.simulator.requests().len();
    let file = format!("--output.file={}", desk.shown("history"));
    let (ended, _) = desk.run_at(later, &[&days[..], &[&file]].concat()).await;
    assert!(!ended.unwrap(), "a day is missing");
    let requests = api.simulator.requests();
    let refused: Vec<_> = requests[before..]
        .iter()
        .filter(|call| call.status != 200)
        .collect();
    assert!(refused.is_empty(), "{refused:?}");
    // Campaigns of these ad accounts began later than that.
    assert_eq!(desk.read("history"), whole);
}

#[tokio::test]
async fn of_two_that_write_one_file_the_second_is_refused() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let (_, whole) = desk.run(&AUTUMN).await;
    fs::write(desk.path("history.new"), "somebody's notes").unwrap();
    let before = api.calls("/insights");
    api.break_with(&["slow=300@endpoint:insights"]);
    let second = async {
        wait_until("some answers", || api.calls("/insights") > before).await;
        let journal = fs::read(desk.path("history.partial")).unwrap();
        let Err(Failure::Refused(why)) = desk.to_file(&AUTUMN).await else {
            panic!("not refused")
        };
        assert!(why.contains("another backfill is writing this"), "{why}");
        assert!(why.contains("history.partial"), "{why}");
        let after = fs::read(desk.path("history.partial")).unwrap();
        assert!(after.starts_with(&journal), "torn");
        api.mend();
    };
    let (first, ()) = tokio::join!(desk.to_file(&AUTUMN), second);
    assert!(first.unwrap());
    assert_eq!(desk.read("history"), whole);
    let mode = |name| fs::metadata(desk.path(name)).unwrap().mode();
    assert_eq!(mode("history"), mode("history.new"), "the umask's");
    // Nothing is left behind, and nothing of others' is gone.
    let mut names: Vec<_> = fs::read_dir(&desk.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        ["config.yaml", "dead", "history", "history.new", "token"]
    );
    assert_eq!(desk.read("history.new"), "somebody's notes");
}

/// The program itself lives by the wall clock: a year ago until the day before yesterday.
fn last_year(now: Timestamp) -> [String; 2] {
    let day = |ago: i64| (now - (24 * ago).hours()).strftime("%Y-%m-%d").to_string();
    [
        format!("--since={}", day(360)),
        format!("--until={}", day(2)),
    ]
}

#[tokio::test]
async fn signals_end_it_and_it_goes_on_from_there() {
    let api = Api::demo().await;
    let now = clock::now();
    api.set_time(&now.to_string());
    let one = "\n  - { name: kereru, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000001401 }] }\n";
    let desk = Desk::new(&api, "", one);
    let config = desk.read("config.yaml");
    let flag = format!("--output.file={}", desk.shown("history"));
    let [since, until] = &last_year(now);
    let arguments = ["backfill", since, until, &flag];
    for (signal, calls) in [("-INT", 4), ("-TERM", 6)] {
        api.break_with(&["slow=300@endpoint:insights"]);
        let program = Program::start(&config, &arguments);
        wait_until("some answers", || api.calls("/insights") >= calls).await;
        program.signal(signal);
        let (code, out, log) = program.end().await;
        assert_eq!((code, out.as_str()), (Some(1), ""), "{log:#?}");
        assert!(
            log.iter().any(|line| line.contains("goes on from there")),
            "{log:#?}"
        );
        assert!(is_there(&desk.path("history.partial")));
        assert!(!is_there(&desk.path("history")));
    }
    api.mend();
    let (code, _, log) = Program::start(&config, &arguments).end().await;
    assert_eq!(code, Some(0), "{log:#?}");
    assert!(!is_there(&desk.path("history.partial")));
    let resumed = desk.read("history");
    // Nothing that had been answered was asked for again: what was under way alone, at most two
    // questions each time.
    let mut asked: HashMap<String, usize> = HashMap::new();
    for call in api.simulator.requests() {
        let what = format!("{} {:?}", call.path, call.query);
        *asked.entry(what).or_default() += 1;
    }
    let twice: usize = asked.values().map(|times| times - 1).sum();
    assert!(twice <= 4, "{twice}");
    let (code, whole, _) = Program::start(&config, &arguments[..3]).end().await;
    assert_eq!(code, Some(0));
    assert_eq!(resumed, whole);
}

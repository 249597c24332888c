//! What goes wrong costs what it must, and what is there is told.

use marketing_messages_exporter::commands::Failure;
use marketing_messages_exporter::simulator::World;

use super::{AUTUMN, Desk, History, THREE_ZONES};
use crate::harness::{Api, wait_until};
use crate::process::Program;

#[tokio::test]
async fn a_dead_token_costs_its_own_business_alone() {
    let api = Api::demo().await;
    let businesses = THREE_ZONES.replacen("TOKEN", "DEAD", 1);
    let desk = Desk::new(&api, "", &businesses);
    let (ended, text) = desk.run(&AUTUMN).await;
    assert!(!ended.unwrap());
    let history = History::parse(&text);
    let page = history.at("2026-10-25", "Europe/Berlin");
    assert!(
        page.find("spend", &[("campaign_id", "120210000000031000")])
            .is_some()
    );
    assert!(!text.contains("business=\"aurora\""));
    // Whoever is refused once is not asked about the next source.
    let refused = api.simulator.requests();
    let refused = refused.iter().filter(|call| call.status == 400);
    assert_eq!(refused.count(), 1);
}

#[tokio::test]
async fn an_ad_account_whose_zone_nobody_knows_is_not_guessed_at() {
    let api = Api::demo().await;
    api.simulator
        .update_world(|world| world.accounts[3].time_zone = "Mars/Olympus".to_owned());
    let desk = Desk::new(&api, "", THREE_ZONES);
    let (ended, text) = desk.run(&AUTUMN).await;
    assert!(!ended.unwrap());
    assert!(!text.contains("business=\"hinode\"") && text.contains("business=\"nordlicht\""));
    assert_eq!(api.calls("/act_10150000000001301/insights"), 0);
}

#[tokio::test]
async fn what_is_too_large_is_asked_for_in_parts() {
    let api = Api::start(World::with_campaigns(40, 5)).await;
    let many = "\n  - { name: many, access_token_file: TOKEN, ad_accounts: [{ id: act_10150000000009001 }] }\n";
    let days = ["--since=2026-10-01", "--until=2026-10-31"];
    let desk = Desk::new(&api, "", many);
    let (_, whole) = desk.run(&days).await;
    let usual = api.simulator.requests().len();
    api.break_with(&["too_large=100"]);
    let before = api.simulator.requests().len();
    let (ended, text) = desk.run(&days).await;
    assert!(ended.unwrap());
    assert_eq!(text, whole);
    let asked = api.simulator.requests().len() - before;
    // Pages of 62 rows instead of 500, and six calls to find that out.
    assert!(asked < usual * 9, "{asked} instead of {usual}");
}

#[tokio::test]
async fn a_field_that_is_not_taken_is_left_out_and_the_others_told() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    api.break_with(&["rejected_field=website_purchase_roas"]);
    let history = desk.whole(&AUTUMN).await;
    assert_eq!(history.count("website_purchase_roas"), 0);
    assert!(history.count("conversions") > 0 && history.count("spend") > 0);
}

#[tokio::test]
async fn nonsense_is_asked_again_and_never_told() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    let (_, whole) = desk.run(&AUTUMN).await;
    api.break_with(&[
        "cut*3",
        "html@endpoint:insights*2",
        "reset*2",
        "unavailable*4",
    ]);
    let (ended, text) = desk.run(&AUTUMN).await;
    assert!(ended.unwrap());
    assert_eq!(text, whole);
    for fault in ["no_dates", "repeating_cursor"] {
        api.break_with(&[&format!("{fault}@act_10150000000001301&endpoint:insights")]);
        let (ended, text) = desk.run(&AUTUMN).await;
        assert!(!ended.unwrap(), "{fault}");
        assert!(!text.contains("business=\"hinode\""), "{fault}");
        assert!(text.contains("business=\"aurora\""), "{fault}");
    }
    // Days of another time are believed of nobody.
    api.break_with(&["other_dates@endpoint:insights"]);
    let (ended, text) = desk.run(&AUTUMN).await;
    assert!(!ended.unwrap());
    assert_eq!(text, "# EOF\n");
}

#[tokio::test]
async fn where_nothing_is_brought_nothing_is_written() {
    let api = Api::demo().await;
    let desk = Desk::new(&api, "", THREE_ZONES);
    api.break_with(&["denied"]);
    let ended = desk.to_file(&AUTUMN).await;
    assert!(matches!(ended, Err(Failure::Failed(_))), "{ended:?}");
    assert!(!super::is_there(&desk.path("history")));
    // A journal of nothing stands in nobody's way.
    api.mend();
    let days = ["--since=2026-10-20", "--until=2026-10-21"];
    assert!(desk.to_file(&days).await.unwrap());
}

#[tokio::test]
async fn a_quota_that_is_spent_holds_its_ad_account_off_and_nobody_else() {
    let api = Api::demo().await;
    let now = marketing_messages_exporter::poll::clock::now();
    api.set_time(&now.to_string());
    api.break_with(&["throttled=80000;minutes=9@act_10150000000001102&endpoint:insights"]);
    let desk = Desk::new(&api, "", THREE_ZONES);
    let day = |ago: i64| {
        let day = now - jiff::ToSpan::hours(24 * ago);
        day.strftime("%Y-%m-%d").to_string()
    };
    let (since, until) = (
        format!("--since={}", day(20)),
        format!("--until={}", day(3)),
    );
    let file = format!("--output.file={}", desk.shown("history"));
    let arguments = ["backfill", &since, &until, &file];
    let program = Program::start(&desk.read("config.yaml"), &arguments);
    wait_until("it is held off", || !program.lines("held off").is_empty()).await;
    let line = program.lines("held off").remove(0);
    for part in ["source=act_10150000000001102", "until=", "code 80000"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    wait_until("the others are told", || api.calls("/insights") >= 7).await;
    // One more call of the one that is held off may have been under way.
    program.signal("-TERM");
    assert_eq!(program.end().await.0, Some(1));
    assert!(api.calls("/act_10150000000001102/insights") <= 2);
    api.mend();
    let before = api.simulator.requests().len();
    let (code, _, log) = Program::start(&desk.read("config.yaml"), &arguments)
        .end()
        .await;
    assert_eq!(code, Some(0), "{log:#?}");
    let requests = api.simulator.requests();
    assert!(requests.len() - before <= 4, "{}", requests.len() - before);
}

#[tokio::test]
async fn it_ends_at_once_while_the_api_hangs() {
    let api = Api::demo().await;
    let now = marketing_messages_exporter::poll::clock::now();
    api.set_time(&now.to_string());
    api.break_with(&["hang@endpoint:insights"]);
    let desk = Desk::new(&api, "", THREE_ZONES);
    let day = (now - jiff::ToSpan::hours(24 * 5)).strftime("%Y-%m-%d");
    let (since, until) = (format!("--since={day}"), format!("--until={day}"));
    let arguments = ["backfill", &since, &until];
    let program = Program::start(&desk.read("config.yaml"), &arguments);
    wait_until("calls hang", || api.calls("/insights") > 0).await;
    let asked = std::time::Instant::now();
    program.signal("-TERM");
    let (code, out, log) = program.end().await;
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(asked.elapsed() < std::time::Duration::from_secs(5));
    assert!(
        log.iter().any(|line| line.contains("--output.file")),
        "{log:#?}"
    );
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_asked() {
    let api = Api::demo().await;
    let head = "windows: [{ name: today, date_preset: yesterday }]";
    let businesses = THREE_ZONES;
    let desk = Desk::new(&api, "", businesses);
    let odd = Desk::new(&api, head, businesses);
    let refused = async |desk: &Desk, arguments: &[&str]| match desk.run(arguments).await {
        (Err(Failure::Refused(why)), text) if text.is_empty() => why,
        (ended, _) => panic!("{arguments:?}: {ended:?}"),
    };
    for (arguments, words) in [
        (
            ["--since=2026-11-05", "--until=2026-11-04", ""],
            "exchange them",
        ),
        (
            ["--since=2023-10-23", "--until=2026-11-04", ""],
            "the first day that can be asked for is 2023-10-24",
        ),
        (
            ["--since=2026-11-24", "--until=2026-11-30", ""],
            "no day of that is over",
        ),
        (
            ["--since=2026-11-01", "--until=2026-11-02", "--label=team=a"],
            "that label already",
        ),
        (
            [
                "--since=2026-11-01",
                "--until=2026-11-02",
                "--output.file=/dev/null",
            ],
            "an ordinary file",
        ),
    ] {
        let arguments: Vec<&str> = arguments
            .into_iter()
            .filter(|word| !word.is_empty())
            .collect();
        let why = refused(&desk, &arguments).await;
        assert!(why.contains(words), "{why}");
    }
    let why = refused(&odd, &AUTUMN).await;
    assert!(why.contains("date_preset: today"), "{why}");
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

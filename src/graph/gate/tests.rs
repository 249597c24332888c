//! What the gate as a whole lets through, and when.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{Gate, Lane, Limits};
use crate::graph::error::{Class, Error};
use crate::graph::usage::Headers;
use crate::row::AccountId;

fn gate() -> Gate {
    Gate::new(Limits {
        concurrency: 8,
        requests_a_second: 1_000_000.0,
        quota_share: 0.75,
        backoff_max: Duration::from_secs(900),
    })
}

fn lane(business: &str, account: &str) -> Lane {
    Lane {
        business: business.into(),
        app: None,
        account: AccountId::parse(account),
        source: format!("act_{account}").into(),
    }
}

fn standard() -> Headers {
    Headers {
        tier: Some("standard_access".to_owned()),
        ..Headers::default()
    }
}

#[tokio::test(start_paused = true)]
async fn one_business_has_a_quarter_and_unwell_ones_half_together() {
    let gate = gate();
    let lanes: Vec<Lane> = (0..8).map(|n| lane(&format!("business{n}"), "1")).collect();
    let mut permits = Vec::new();
    for _ in 0..2 {
        permits.push(gate.enter(&lanes[0]).await.unwrap());
    }
    let third = timeout(Duration::from_secs(60), gate.enter(&lanes[0])).await;
    assert!(third.is_err(), "a third request of one business waits");
    let outage = Error::unavailable("gone");
    for lane in &lanes[1..4] {
        gate.enter(lane)
            .await
            .unwrap()
            .leave(Some(&outage), &standard());
    }
    for lane in &lanes[1..3] {
        permits.push(gate.enter(lane).await.unwrap());
        permits.push(gate.enter(lane).await.unwrap());
    }
    let fifth = timeout(Duration::from_secs(60), gate.enter(&lanes[3])).await;
    assert!(
        fifth.is_err(),
        "a fifth request of businesses with an outage waits"
    );
    let well = timeout(Duration::from_secs(60), gate.enter(&lanes[4])).await;
    permits.push(well.expect("the others find room").unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_first_start_is_never_the_cause_of_a_development_block() {
    let gate = gate();
    let lanes = [
        lane("acme", "1"),
        Lane {
            account: None,
            ..lane("acme", "1")
        },
    ];
    let start = Instant::now();
    let mut starts = Vec::new();
    for call in 0..200 {
        let permit = gate
            .enter(&lanes[usize::from(call % 3 == 0)])
            .await
            .unwrap();
        starts.push(start.elapsed());
        permit.leave(None, &Headers::default());
    }
    for (place, at) in starts.iter().enumerate() {
        let window = starts[..=place]
            .iter()
            .filter(|s| **s + Duration::from_secs(300) > *at);
        assert!(window.count() <= 50);
    }
    assert!(starts[49] < Duration::from_secs(1), "a burst is fine");
    gate.enter(&lanes[0])
        .await
        .unwrap()
        .leave(None, &standard());
    let settled = Instant::now();
    for _ in 0..200 {
        gate.enter(&lanes[0])
            .await
            .unwrap()
            .leave(None, &standard());
    }
    assert!(
        settled.elapsed() < Duration::from_secs(1),
        "standard access is not slowed down"
    );
}

#[tokio::test(start_paused = true)]
async fn many_that_wait_for_the_last_place_of_a_quota_do_not_all_take_it() {
    let gate = Gate::new(Limits {
        concurrency: 400,
        ..gate().limits()
    });
    let lane = lane("acme", "1");
    let mut calls = tokio::task::JoinSet::new();
    let (gate, lane) = (std::sync::Arc::new(gate), std::sync::Arc::new(lane));
    for _ in 0..90 {
        let (gate, lane) = (std::sync::Arc::clone(&gate), std::sync::Arc::clone(&lane));
        calls.spawn(async move {
            let permit = gate.enter(&lane).await.unwrap();
            let at = Instant::now();
            tokio::time::sleep(Duration::from_millis(1)).await;
            permit.leave(None, &Headers::default());
            at
        });
    }
    let start = Instant::now();
    let starts = calls.join_all().await;
    let burst = starts
        .iter()
        .filter(|at| **at < start + Duration::from_secs(299));
    assert_eq!(burst.count(), 50);
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_its_turn_is_not_started_after_a_refusal() {
    let gate = Gate::new(Limits {
        requests_a_second: 1.0,
        ..gate().limits()
    });
    let lane = lane("acme", "1");
    let first = gate.enter(&lane).await.unwrap();
    let refused = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let denied = Error {
            class: Class::Denied,
            ..Error::unavailable("190")
        };
        first.leave(Some(&denied), &standard());
    };
    let (second, ()) = tokio::join!(gate.enter(&lane), refused);
    assert_eq!(second.unwrap_err().class, Class::Held);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_started_after_a_refusal_until_its_pause_is_over() {
    let gate = gate();
    let (ours, others) = (lane("acme", "1"), lane("other", "2"));
    let denied = Error {
        class: Class::Denied,
        ..Error::unavailable("190")
    };
    gate.enter(&ours)
        .await
        .unwrap()
        .leave(Some(&denied), &standard());
    assert_eq!(gate.enter(&ours).await.unwrap_err().class, Class::Held);
    assert_eq!(
        gate.held_until(&ours),
        Some(Instant::now() + Duration::from_secs(30))
    );
    gate.enter(&others).await.unwrap().leave(None, &standard());
    gate.admit("acme");
    gate.enter(&ours).await.unwrap().leave(None, &standard());
}

#[tokio::test(start_paused = true)]
async fn requests_keep_the_pace() {
    let gate = Gate::new(Limits {
        requests_a_second: 10.0,
        concurrency: 100,
        quota_share: 0.75,
        backoff_max: Duration::from_secs(900),
    });
    let lane = lane("acme", "1");
    let start = Instant::now();
    for _ in 0..21 {
        gate.enter(&lane).await.unwrap().leave(None, &standard());
    }
    assert_eq!(start.elapsed().as_secs(), 2);
}

//! The landing page: what this is, where everything stands, and how every business fares.
//!
//! One document that loads nothing and runs nothing. What is in trouble comes first and open;
//! what is well can be folded open, and is left out where the page would grow too long.
//!
//! It is loaded anew by `<meta http-equiv=refresh>`: browsers keep the place that somebody has
//! scrolled to, but fold everything as it was sent. Keeping that too needs a script, and a page
//! that shows other people's texts is safest where no script may run; so whoever wants to watch
//! a business follows its link, which shows that one alone, and whoever wants to read can stop it.

mod business;
mod html;
mod words;

use std::sync::LazyLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::digest;

use self::business::{Seen, card, is_troubled, is_waiting};
use self::html::Html;
use self::words::{Counted, Percent};
use super::status::{PAUSE_RATIO, State, Status};

const STYLE: &str = include_str!("style.css");

/// How often it is loaded anew, in seconds.
const REFRESH: u32 = 15;

/// As many businesses are shown open although they are well.
const FEW: usize = 8;

/// Businesses are added until the page has so many bytes: what a phone opens without a thought.
const LONGEST: usize = 400_000;

/// Nothing is loaded or run; only the style of this very page is believed, and only its own form
/// may be sent.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
});

/// What a visitor asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Visit {
    /// Only these businesses; empty: all.
    pub(super) businesses: Vec<String>,
    /// Whether it is to stand still.
    pub(super) still: bool,
}

impl Visit {
    /// What the query says.
    pub(super) fn of(query: Option<&str>) -> Self {
        let mut visit = Self::default();
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match key.as_ref() {
                "business" if !value.is_empty() => visit.businesses.push(value.into_owned()),
                "refresh" => visit.still = value == "off",
                _ => {}
            }
        }
        visit
    }
}

/// The page as HTML. `series` is how many there are, where that may be told.
pub(super) fn html(
    status: &Status<'_>,
    series: Option<u64>,
    telemetry_path: &str,
    visit: &Visit,
) -> String {
    let mut html = Html::default();
    let seen = Seen {
        now: status.now_timestamp_seconds,
        quota_share: status.quota_share_ratio,
        telemetry_path,
    };
    head(&mut html, status, visit);
    html.raw("<header><h1>Marketing Messages exporter</h1><p>Version ");
    html.text(status.version)
        .raw(" · revision <code>")
        .text(status.revision)
        .raw("</code>");
    if status.shard.count > 1 {
        html.raw(" · shard ").text(status.shard.index);
        html.raw(" of ")
            .text(status.shard.count)
            .raw(", counted from 0");
    }
    html.raw("<nav aria-label=Pages><ul><li><a href='.")
        .text(telemetry_path);
    link_all(&mut html, visit);
    html.raw("'>Metrics</a><li><a href='./api/status");
    link_all(&mut html, visit);
    html.raw("'>Status as JSON</a><li><a href='./-/healthy'>Health</a><li><a href='./-/ready'>Readiness</a></ul></nav></header><main>");
    glance(&mut html, status, series);
    businesses(&mut html, status, visit, seen);
    foot(&mut html, status, visit);
    html.finish()
}

fn head(html: &mut Html, status: &Status<'_>, visit: &Visit) {
    html.raw("<!doctype html><html lang=en><head><meta charset=utf-8><meta name=viewport content='width=device-width,initial-scale=1'><meta name=color-scheme content='light dark'>");
    if !visit.still {
        html.raw("<meta http-equiv=refresh content=")
            .text(REFRESH)
            .raw(">");
    }
    html.raw("<title>");
    let troubled = status
        .businesses
        .iter()
        .filter(|one| is_troubled(one))
        .count();
    if troubled > 0 {
        html.text(Counted(
            troubled,
            "business in trouble",
            "businesses in trouble",
        ));
        html.raw(" – ");
    }
    // The empty icon: browsers ask for none then.
    html.raw("Marketing Messages exporter</title><link rel=icon href='data:,'><style>");
    html.raw(STYLE).raw("</style></head><body>");
}

/// Everything in a few numbers.
fn glance(html: &mut Html, status: &Status<'_>, series: Option<u64>) {
    let sources = || status.businesses.iter().flat_map(|one| &one.sources);
    let in_state = |state| {
        let windows = sources().flat_map(|source| &source.windows);
        windows.filter(|window| window.state == state).count()
    };
    let quotas = status.businesses.iter().flat_map(|one| &one.quotas);
    let fullest = quotas.map(|quota| quota.ratio).reduce(f64::max);
    html.raw("<section aria-labelledby=glance><h2 id=glance>At a glance</h2><dl class=tiles>");
    tile(html, "Businesses", status.businesses.len(), "");
    tile(html, "Sources", sources().count(), "");
    tile(html, "Windows up", in_state(State::Up), "");
    let down = in_state(State::Down);
    tile(
        html,
        "Windows down",
        down,
        if down > 0 { "down" } else { "" },
    );
    match in_state(State::NotPolled) {
        0 => {}
        waiting => tile(html, "Not yet polled", waiting, "wait"),
    }
    if let Some(fullest) = fullest {
        let class = match fullest {
            ratio if ratio >= PAUSE_RATIO => "down",
            ratio if ratio > status.quota_share_ratio => "warn",
            _ => "",
        };
        tile(html, "Fullest quota", Percent(fullest), class);
    }
    if let Some(series) = series {
        tile(html, "Series", series, "");
    }
    html.raw("</dl></section>");
}

fn tile(html: &mut Html, name: &'static str, value: impl std::fmt::Display, class: &'static str) {
    html.raw("<div><dt>")
        .raw(name)
        .raw("<dd class='")
        .raw(class)
        .raw("'>");
    html.text(value).raw("</div>");
}

fn businesses(html: &mut Html, status: &Status<'_>, visit: &Visit, seen: Seen<'_>) {
    let all = || status.businesses.iter();
    let few = status.businesses.len() <= FEW;
    let mut troubled: Vec<_> = all().filter(|one| is_troubled(one)).collect();
    troubled.sort_by_key(|one| one.troubles.first().copied());
    let waiting = all().filter(|one| !is_troubled(one) && is_waiting(one));
    let well = all().filter(|one| !is_troubled(one) && !is_waiting(one));
    let mut left_out = 0;
    for (id, title, group, open) in [
        ("trouble", "Needs a look", troubled, true),
        ("waiting", "Not yet polled", waiting.collect(), few),
        ("well", "All is well", well.collect(), few),
    ] {
        if group.is_empty() {
            continue;
        }
        html.raw("<section aria-labelledby=")
            .raw(id)
            .raw("><h2 id=")
            .raw(id)
            .raw(">");
        html.raw(title)
            .raw(" <small>")
            .text(group.len())
            .raw("</small></h2>");
        let mut hidden = 0;
        for business in group {
            match html.len() < LONGEST {
                true => card(html, business, open, seen),
                false => hidden += 1,
            }
        }
        if hidden > 0 {
            html.raw("<p>… and ")
                .text(Counted(hidden, "business that is", "businesses that are"));
            html.raw(" not shown here.</p>");
        }
        html.raw("</section>");
        left_out += hidden;
    }
    if left_out > 0 || !visit.businesses.is_empty() {
        html.raw("<form role=search><label for=business>Look at one business</label> <input id=business name=business required spellcheck=false> <button>Show</button>");
        if !visit.businesses.is_empty() {
            html.raw(" <a href='./'>all businesses</a>");
        }
        html.raw("</form>");
    }
}

fn foot(html: &mut Html, status: &Status<'_>, visit: &Visit) {
    html.raw("</main><footer><p>As of ");
    let at = status.now_timestamp_seconds;
    match moment(at) {
        Some(moment) => time(html, at, moment.strftime("%Y-%m-%d %H:%M:%S UTC")),
        None => {
            html.raw("now");
        }
    }
    let mut query: Vec<(&str, &str)> = named(visit).collect();
    if visit.still {
        html.raw(", standing still. <a href='./");
        link(html, &query);
        html.raw("'>Keep it fresh</a>");
    } else {
        query.push(("refresh", "off"));
        html.raw(", loaded anew every ")
            .text(REFRESH)
            .raw(" s. <a href='./");
        link(html, &query);
        html.raw("'>Stop that</a>");
    }
    html.raw("<p>Polls slow down above ")
        .text(Percent(status.quota_share_ratio));
    html.raw(" of a quota and pause at ")
        .text(Percent(PAUSE_RATIO));
    html.raw(". What each state and fault means, and what to do: <code>docs/web.md</code> and <code>docs/runbooks.md</code>.</footer></body></html>\n");
}

/// A moment, said in those words.
fn time(html: &mut Html, at: f64, words: impl std::fmt::Display) {
    match moment(at) {
        Some(moment) => html
            .raw("<time datetime='")
            .text(moment.strftime("%FT%TZ"))
            .raw("'>"),
        None => html.raw("<time>"),
    };
    html.text(words).raw("</time>");
}

fn moment(at: f64) -> Option<jiff::Timestamp> {
    let since = jiff::SignedDuration::try_from_secs_f64(at).ok()?;
    jiff::Timestamp::from_duration(since).ok()
}

fn named(visit: &Visit) -> impl Iterator<Item = (&str, &str)> {
    visit
        .businesses
        .iter()
        .map(|name| ("business", name.as_str()))
}

fn link_all(html: &mut Html, visit: &Visit) {
    link(html, &named(visit).collect::<Vec<_>>());
}

/// The query of a link.
fn link(html: &mut Html, query: &[(&str, &str)]) {
    if !query.is_empty() {
        let mut encoded = form_urlencoded::Serializer::new(String::new());
        html.raw("?").text(encoded.extend_pairs(query).finish());
    }
}

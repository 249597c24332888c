//! One business on the landing page: its token, its sources, its quotas.

use super::super::status::{Business, PAUSE_RATIO, QuotaUse, Source, State, Window};
use super::html::Html;
use super::words::{self, Beginning, Counted, Percent, Span};
use super::{link, time};

/// Sources of one business that are shown; those in trouble first.
const SOURCES: usize = 40;

/// Quotas of one business that are shown at once, the fullest first; more where more are in use
/// by this much. The others can be folded open.
const FIRST_QUOTAS: usize = 4;
const FULL: f64 = 0.5;

/// As many of the others at most.
const QUOTAS: usize = 40;

/// The moment and the limits that everything is seen against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    /// Seconds since 1970.
    pub(super) now: f64,
    /// Above it polls slow down.
    pub(super) quota_share: f64,
    /// Where the metrics stand.
    pub(super) telemetry_path: &'a str,
}

/// A business as a part that can be folded.
pub(super) fn card(html: &mut Html, business: &Business<'_>, open: bool, seen: Seen<'_>) {
    html.raw("<details class=card");
    html.raw(if open { " open>" } else { ">" });
    html.raw("<summary><h3>").text(business.name).raw("</h3> ");
    for [grave, words] in business.troubles.iter().copied().map(words::trouble) {
        html.raw("<span class='badge ").text(grave).raw("'>");
        html.text(words).raw("</span> ");
    }
    html.raw("<span class=brief>");
    html.text(Counted(business.sources.len(), "source", "sources"));
    let fullest = business.quotas.iter().map(|quota| quota.ratio);
    if let Some(fullest) = fullest.reduce(f64::max) {
        html.raw(" · quota ").text(Percent(fullest));
    }
    html.raw("</span></summary><p class=token>Token ");
    token(html, business, seen);
    html.raw(" · <a href='./");
    link(html, &[("business", business.name)]);
    html.raw("'>only <b>")
        .text(business.name)
        .raw("</b></a> · <a href='.");
    html.text(seen.telemetry_path);
    link(html, &[("business", business.name)]);
    html.raw("'>its metrics</a></p><div class=pair>");
    sources(html, business, seen);
    quotas(html, &business.quotas, seen);
    html.raw("</div></details>");
}

fn token(html: &mut Html, business: &Business<'_>, seen: Seen<'_>) {
    match business.token.valid {
        None => html.raw("not yet tried"),
        Some(true) => html.raw("<span class=up>accepted</span>"),
        Some(false) => html.raw("<b class=down>refused</b>"),
    };
    if let Some(at) = business.token.expires_timestamp_seconds {
        let left = at - seen.now;
        if left > 0.0 {
            html.raw(", expires in ");
            time(html, at, Span(left));
        } else {
            html.raw(", expired ");
            time(html, at, Span(-left));
            html.raw(" ago");
        }
    }
}

fn sources(html: &mut Html, business: &Business<'_>, seen: Seen<'_>) {
    html.raw("<table><caption>Sources</caption><thead><tr><th scope=col>Window<th scope=col>State<th scope=col>Data age<th scope=col>Next poll</thead>");
    let mut sources: Vec<&Source<'_>> = business.sources.iter().collect();
    sources.sort_by_key(|source| source.windows.iter().map(|window| window.state).min());
    for source in sources.iter().take(SOURCES) {
        html.raw("<tbody><tr><th scope=rowgroup colspan=4><code>");
        html.text(source.name).raw("</code>");
        if source.gives_way {
            html.raw(" <span class=badge>gives way to its ad account</span>");
        }
        if let Some(until) = source.held_until_timestamp_seconds {
            html.raw(" <span class='badge warn'>held off for ");
            time(html, until, Span(until - seen.now));
            html.raw("</span>");
        }
        for known in &source.windows {
            window(html, known, seen);
        }
        html.raw("</tbody>");
    }
    let more = sources.len().saturating_sub(SOURCES);
    if more > 0 {
        html.raw("<tbody><tr><td colspan=4>… and ");
        html.text(Counted(more, "source", "sources"));
        html.raw(" that fare no worse</tbody>");
    }
    html.raw("</table>");
}

fn window(html: &mut Html, window: &Window<'_>, seen: Seen<'_>) {
    let [class, sign, word] = words::state(window.state);
    html.raw("<tr><th scope=row>").text(window.name);
    html.raw("<td class=")
        .text(class)
        .raw("><span aria-hidden=true>")
        .text(sign);
    html.raw("</span> ").text(word).raw("<td>");
    match window.last_success_timestamp_seconds {
        None => {
            html.raw("none");
        }
        Some(at) => {
            let age = seen.now - at;
            time(html, at, Span(age));
            if age > window.stale_after_seconds {
                html.raw(", withdrawn");
            }
        }
    }
    html.raw("<td>");
    match window.next_poll_timestamp_seconds {
        Some(at) if at > seen.now => {
            html.raw("in ");
            time(html, at, Span(at - seen.now));
        }
        _ => {
            html.raw("now");
        }
    }
    let Some(fault) = &window.fault else { return };
    html.raw("<tr class=fault><td colspan=4><b>")
        .text(fault.reason)
        .raw("</b>");
    match (fault.code, fault.subcode) {
        (Some(code), Some(subcode)) => {
            html.raw(" (code ").text(code);
            html.raw(", subcode ").text(subcode).raw(")");
        }
        (Some(code), None) => {
            html.raw(" (code ").text(code).raw(")");
        }
        _ => {}
    }
    html.raw(": ").text(Beginning(fault.message));
}

fn quotas(html: &mut Html, quotas: &[QuotaUse], seen: Seen<'_>) {
    if quotas.is_empty() {
        html.raw("<p class=none>Meta has named no quota yet.</p>");
        return;
    }
    let mut fullest: Vec<&QuotaUse> = quotas.iter().collect();
    fullest.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    let full = fullest.partition_point(|quota| quota.ratio >= FULL);
    let (first, rest) = fullest.split_at(full.clamp(FIRST_QUOTAS, QUOTAS).min(fullest.len()));
    html.raw("<div>");
    bars(html, "Quota in use", first, seen);
    if let Some(next) = rest.first() {
        html.raw("<details class=rest><summary>");
        html.text(Counted(rest.len(), "more quota", "more quotas"));
        html.raw(", at most ")
            .text(Percent(next.ratio))
            .raw("</summary>");
        let shown = rest.get(..QUOTAS).unwrap_or(rest);
        bars(html, "Less in use", shown, seen);
        if shown.len() < rest.len() {
            html.raw("<p class=none>… and ")
                .text(rest.len() - shown.len());
            html.raw(" more, less in use still.</p>");
        }
        html.raw("</details>");
    }
    html.raw("</div>");
}

fn bars(html: &mut Html, caption: &'static str, quotas: &[&QuotaUse], seen: Seen<'_>) {
    html.raw("<table class=quotas><caption>").raw(caption);
    html.raw("</caption><thead><tr><th scope=col>Limit<th scope=col>In use</thead>");
    // Whose they are, the one with the fullest first.
    let mut owners: Vec<Owner<'_>> = Vec::new();
    for owner in quotas.iter().map(|quota| Owner::of(quota)) {
        if !owners.contains(&owner) {
            owners.push(owner);
        }
    }
    for owner in owners {
        html.raw("<tbody><tr><th scope=rowgroup colspan=2>");
        match owner {
            Owner::App => html.raw("The app"),
            Owner::AdAccount(id) => html.raw("Ad account <code>").text(id).raw("</code>"),
            Owner::NotNamed => html.raw("An ad account that Meta did not name"),
        };
        for quota in quotas.iter().filter(|quota| Owner::of(quota) == owner) {
            bar(html, quota, seen);
        }
        html.raw("</tbody>");
    }
    html.raw("</table>");
}

/// Whose a quota is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner<'a> {
    App,
    AdAccount(&'a str),
    NotNamed,
}

impl<'a> Owner<'a> {
    fn of(quota: &'a QuotaUse) -> Self {
        match (quota.account_id.as_deref(), quota.limit.as_str()) {
            (Some(id), _) => Self::AdAccount(id),
            (None, "app" | "insights_app") => Self::App,
            (None, _) => Self::NotNamed,
        }
    }
}

fn bar(html: &mut Html, quota: &QuotaUse, seen: Seen<'_>) {
    let (class, words) = match quota.ratio {
        ratio if ratio >= PAUSE_RATIO => ("bad", "nearly spent"),
        ratio if ratio > seen.quota_share => ("warn", "above share"),
        _ => ("good", ""),
    };
    let percent = |ratio: f64| (ratio.clamp(0.0, 1.0) * 1000.0).round() / 10.0;
    html.raw("<tr><th scope=row>").text(&quota.limit);
    html.raw(" <small>").text(&quota.quantity).raw("</small>");
    if !words.is_empty() {
        html.raw(" <span class='badge ").text(class).raw("'>");
        html.text(words).raw("</span>");
    }
    html.raw("<td><div class=use><svg class=bar viewBox='0 0 100 8' preserveAspectRatio=none aria-hidden=true><rect class=track width=100 height=8 /><rect class=");
    html.text(class).raw(" width=").text(percent(quota.ratio));
    html.raw(" height=8 /><path d='M")
        .text(percent(seen.quota_share));
    html.raw(" 0v8'/></svg> <b class=").text(class).raw(">");
    html.text(Percent(quota.ratio)).raw("</b></div>");
}

/// Whether somebody should look at it.
pub(super) fn is_troubled(business: &Business<'_>) -> bool {
    !business.troubles.is_empty()
}

/// Whether its first round is not over.
pub(super) fn is_waiting(business: &Business<'_>) -> bool {
    business.state == State::NotPolled
}

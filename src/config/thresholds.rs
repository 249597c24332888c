//! The limits that the owner sets, per window and bound, and whose setting wins.
//!
//! Nothing is judged here: limits become metrics, and the alerting rules join them.

use std::collections::BTreeMap;

use super::complaint::{Notes, shown};
use super::place::Place;
use super::raw::RawThreshold;
use super::scalar::{Given, List, Number};

/// The limits of one window; each is finite and not negative.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    /// Spend must not pass it; major units of the ad account's currency.
    pub max_spend: Option<f64>,
    /// Return on ad spend must not fall below it; 2.0 is twice the spend.
    pub min_roas: Option<f64>,
    /// Major units of the ad account's currency.
    pub max_cost_per_purchase: Option<f64>,
    /// Major units of the ad account's currency.
    pub max_cost_per_link_click: Option<f64>,
    /// 0 to 1.
    pub min_read_ratio: Option<f64>,
    /// Below this spend the others are not judged; major units of the ad account's currency.
    pub from_spend: Option<f64>,
}

impl Bounds {
    /// These, and over them the nearer ones, bound by bound.
    fn under(&self, nearer: &Self) -> Self {
        Self {
            max_spend: nearer.max_spend.or(self.max_spend),
            min_roas: nearer.min_roas.or(self.min_roas),
            max_cost_per_purchase: nearer.max_cost_per_purchase.or(self.max_cost_per_purchase),
            max_cost_per_link_click: nearer
                .max_cost_per_link_click
                .or(self.max_cost_per_link_click),
            min_read_ratio: nearer.min_read_ratio.or(self.min_read_ratio),
            from_spend: nearer.from_spend.or(self.from_spend),
        }
    }

    /// Whether there is a limit beside `from_spend`, which alone limits nothing.
    fn judges(&self) -> bool {
        let without = Self {
            from_spend: None,
            ..*self
        };
        without != Self::default()
    }
}

/// The limits of one source, at most one set for each window.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Thresholds(BTreeMap<String, Bounds>);

impl Thresholds {
    /// The limits of the window of that name.
    pub fn of_window(&self, name: &str) -> Option<&Bounds> {
        self.0.get(name)
    }

    /// Window name and limits of each, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bounds)> {
        self.0.iter().map(|(name, bounds)| (name.as_str(), bounds))
    }

    /// These, and over them the nearer ones, window by window and bound by bound.
    pub(super) fn under(&self, nearer: &Self) -> Self {
        let mut merged = self.0.clone();
        for (window, bounds) in &nearer.0 {
            let farther = merged.get(window).copied().unwrap_or_default();
            merged.insert(window.clone(), farther.under(bounds));
        }
        Self(merged)
    }
}

/// Checks what stands under `thresholds`, given the names of all windows.
pub(super) fn check(
    notes: &mut Notes<'_>,
    at: &Place,
    thresholds: &Given<List<RawThreshold>>,
    windows: &[String],
) -> Thresholds {
    let mut checked = BTreeMap::new();
    for (index, raw) in thresholds.items().iter().enumerate() {
        let at = at.index(index);
        let bounds = bounds(notes, &at, raw);
        let Some(window) = raw.window.get() else {
            notes.add(
                &at,
                format!(
                    "a threshold needs its window; add `window:`, {}",
                    one_of(windows)
                ),
            );
            continue;
        };
        if !windows.contains(&window.0) {
            let trouble = format!(
                "there is no window {}; name {}",
                shown(&window.0),
                one_of(windows)
            );
            notes.add(&at.key("window"), trouble);
        }
        if checked.insert(window.0.clone(), bounds).is_some() {
            notes.add(
                &at.key("window"),
                "this list has a threshold for that window already; put both together",
            );
        }
    }
    Thresholds(checked)
}

/// Complains of thresholds that judge nothing even after the business' own were put under them.
pub(super) fn check_merged(
    notes: &mut Notes<'_>,
    at: &Place,
    thresholds: &Given<List<RawThreshold>>,
    merged: &Thresholds,
) {
    for (index, raw) in thresholds.items().iter().enumerate() {
        let bounds = raw
            .window
            .get()
            .and_then(|window| merged.of_window(&window.0));
        if raw.from_spend.get().is_some() && bounds.is_some_and(|bounds| !bounds.judges()) {
            notes.add(
                &at.index(index),
                "from_spend alone limits nothing; add what it is for, such as max_spend or min_roas",
            );
        }
    }
}

fn bounds(notes: &mut Notes<'_>, at: &Place, raw: &RawThreshold) -> Bounds {
    let mut bound = |key: &'static str, number: &Given<Number>, most: f64| {
        let number = number.get()?.0;
        if (0.0..=most).contains(&number) && number.is_finite() {
            return Some(number);
        }
        let right = match most.is_finite() {
            true => "a ratio from 0 to 1",
            false => "a finite number that is not negative",
        };
        notes.add(
            &at.key(key),
            format!("this is out of range; {right} is right"),
        );
        // Something was meant: that it is out of range should be the only complaint about it.
        Some(0.0)
    };
    let any = f64::INFINITY;
    let bounds = Bounds {
        max_spend: bound("max_spend", &raw.max_spend, any),
        min_roas: bound("min_roas", &raw.min_roas, any),
        max_cost_per_purchase: bound("max_cost_per_purchase", &raw.max_cost_per_purchase, any),
        max_cost_per_link_click: bound(
            "max_cost_per_link_click",
            &raw.max_cost_per_link_click,
            any,
        ),
        min_read_ratio: bound("min_read_ratio", &raw.min_read_ratio, 1.0),
        from_spend: bound("from_spend", &raw.from_spend, any),
    };
    if bounds == Bounds::default() {
        notes.add(
            at,
            "a threshold without a bound limits nothing; add one, such as max_spend or min_roas",
        );
    }
    bounds
}

/// The windows that there are, for the end of a complaint.
fn one_of(windows: &[String]) -> String {
    let names: Vec<String> = windows.iter().map(|name| shown(name)).collect();
    format!("one of {}", names.join(", "))
}

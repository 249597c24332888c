//! The process about itself: the `process_*` family, read from `/proc` at the scrape.
//!
//! Written here since the `prometheus` crate's own counts CPU time in whole seconds. Where there
//! is no `/proc`, there are no such metrics.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, Metric, MetricFamily, MetricType};

/// The kernel's clock ticks a second, as every program but the kernel sees them: a constant of
/// Linux on all of its architectures that Rust knows.
const TICKS: f64 = 100.0;

/// What is read.
#[derive(Debug)]
pub struct Process {
    descs: Vec<Desc>,
    /// When the machine started, in seconds since 1970.
    boot: Option<f64>,
}

/// Name, help, and whether it only grows.
const FAMILIES: [(&str, &str, bool); 7] = [
    (
        "process_cpu_seconds_total",
        "User and system CPU time spent in seconds",
        true,
    ),
    ("process_open_fds", "Number of open file descriptors", false),
    (
        "process_max_fds",
        "Maximum number of open file descriptors",
        false,
    ),
    (
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes",
        false,
    ),
    (
        "process_resident_memory_bytes",
        "Resident memory size in bytes",
        false,
    ),
    (
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds",
        false,
    ),
    (
        "process_threads",
        "Number of OS threads in the process",
        false,
    ),
];

impl Process {
    /// A collector for this process.
    ///
    /// # Errors
    /// None that the names above cause.
    pub fn new() -> prometheus::Result<Self> {
        let desc = |(name, help, _): &(&str, &str, bool)| {
            Desc::new(
                (*name).to_owned(),
                (*help).to_owned(),
                Vec::new(),
                std::collections::HashMap::new(),
            )
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime "));
        Ok(Self {
            descs: FAMILIES.iter().map(desc).collect::<Result<_, _>>()?,
            boot: boot.and_then(|seconds| seconds.trim().parse().ok()),
        })
    }

    /// The values of [`FAMILIES`], in their order.
    fn values(&self) -> [Option<f64>; 7] {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let field = |number: usize| {
            fields
                .get(number - 3)
                .and_then(|text| text.parse::<f64>().ok())
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kilobytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace()
                .next()?
                .parse::<f64>()
                .ok()
                .map(|kb| kb * 1024.0)
        };
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let max_fds = limits
            .lines()
            .find_map(|line| line.strip_prefix("Max open files"));
        let open = fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|fds| u32::try_from(fds.count()).ok());
        [
            field(14)
                .zip(field(15))
                .map(|(user, system)| (user + system) / TICKS),
            open.map(f64::from),
            max_fds.and_then(|line| line.split_whitespace().next()?.parse().ok()),
            kilobytes("VmSize:"),
            kilobytes("VmRSS:"),
            field(22)
                .zip(self.boot)
                .map(|(ticks, boot)| boot + ticks / TICKS),
            field(20),
        ]
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let families = FAMILIES.iter().zip(self.values());
        families
            .filter_map(|(family, value)| Some(family_of(*family, value?)))
            .collect()
    }
}

fn family_of((name, help, grows): (&str, &str, bool), value: f64) -> MetricFamily {
    let mut metric = Metric::default();
    let kind = if grows {
        let mut counter = Counter::default();
        counter.set_value(value);
        metric.set_counter(counter);
        MetricType::COUNTER
    } else {
        let mut gauge = Gauge::default();
        gauge.set_value(value);
        metric.set_gauge(gauge);
        MetricType::GAUGE
    };
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(vec![metric]);
    family
}

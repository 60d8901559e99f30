//! Histograms, and what the kernel says of a process.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// Steps between one power of two and the next: values are right to 1 in 64.
const STEPS: u64 = 64;

/// Ticks a second of `/proc/PID/stat`, on every Linux.
const TICKS: f64 = 100.0;

/// Log-linear histogram of nanoseconds.
#[derive(Clone)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    highest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: vec![0; 60 * STEPS as usize],
            total: 0,
            highest: 0,
        }
    }
}

impl Histogram {
    pub fn record(&mut self, elapsed: Duration) {
        let nanoseconds = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get_mut(place(nanoseconds)) {
            *count += 1;
        }
        self.total += 1;
        self.highest = self.highest.max(nanoseconds);
    }

    pub fn add(&mut self, other: &Histogram) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.highest = self.highest.max(other.highest);
    }

    /// Microseconds that so many of a hundred took at most.
    fn percentile(&self, percent: f64) -> f64 {
        let wanted = (self.total as f64 * percent / 100.0).ceil() as u64;
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted.max(1) {
                return value(at).min(self.highest) as f64 / 1e3;
            }
        }
        self.highest as f64 / 1e3
    }

    pub fn json(&self) -> Value {
        json!({
            "p50": self.percentile(50.0), "p90": self.percentile(90.0), "p99": self.percentile(99.0),
            "p999": self.percentile(99.9), "max": self.highest as f64 / 1e3,
        })
    }
}

fn place(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    let power = u64::from(nanoseconds.ilog2());
    let step = (nanoseconds >> (power - 6)) - STEPS;
    ((power - 5) * STEPS + step) as usize
}

/// The highest value of a place.
fn value(place: usize) -> u64 {
    let (power, step) = (place as u64 / STEPS, place as u64 % STEPS);
    if power == 0 {
        return step;
    }
    ((STEPS + step + 1) << (power - 1)) - 1
}

/// CPU time of a process so far.
pub struct Cpu {
    /// Of all threads that ever were, in hundredths of a second.
    ticks: f64,
    /// Of each thread that is, in nanoseconds.
    threads: BTreeMap<String, u64>,
}

impl Cpu {
    pub fn of(process: &str) -> Cpu {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        // The name may hold anything, but it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let field = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
        let mut threads = BTreeMap::new();
        for task in fs::read_dir(format!("/proc/{process}/task"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let text = fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
            if let Some(run) = text.split_whitespace().next().and_then(|run| run.parse().ok()) {
                threads.insert(task.file_name().to_string_lossy().into_owned(), run);
            }
        }
        Cpu {
            ticks: (field(11) + field(12)) / TICKS,
            threads,
        }
    }

    /// Seconds since `before`: exact, unless a thread has ended meanwhile.
    pub fn since(&self, before: &Cpu) -> f64 {
        if before.threads.is_empty() || before.threads.keys().any(|thread| !self.threads.contains_key(thread)) {
            return self.ticks - before.ticks;
        }
        let earlier = |thread| before.threads.get(thread).copied().unwrap_or(0);
        let run: u64 = self.threads.iter().map(|(thread, run)| run - earlier(thread)).sum();
        run as f64 / 1e9
    }
}

/// Resident memory of a process in KiB: now, at its highest, and what of it is no file.
pub fn memory(process: u32) -> Value {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
    };
    json!({ "now_kib": line("VmRSS:"), "peak_kib": line("VmHWM:"), "anonymous_kib": line("RssAnon:"), "file_kib": line("RssFile:") })
}

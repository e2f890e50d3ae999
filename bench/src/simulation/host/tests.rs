//! A server's series are what they are said to be, and every kind of incident really changes them.

use std::collections::BTreeSet;

use super::*;
use crate::simulation::{Kind, Plan, WINDOWS_A_DAY, incident::tests::EXTENT};

/// The values of all series over some windows; `None` where the server was silent.
type Seen = Vec<Option<Vec<f64>>>;

fn seen(host: &mut Host, windows: std::ops::Range<i64>) -> Seen {
    windows.map(|window| host.window(window).is_some().then(|| host.values().to_vec())).collect()
}

fn of(host: &Host, metric: &str) -> usize {
    host.frame.layout.iter().position(|series| series.metric == metric).unwrap()
}

/// A server while an incident is on, and the same server without it.
fn pair(kind: Kind) -> (Host, Seen, Seen) {
    let plan = Plan::new(9, EXTENT).unwrap();
    let incident = plan.incidents.iter().find(|incident| incident.kind == kind).unwrap();
    let number = incident.servers[0];
    let (mut with, mut without) =
        (Host::new(9, number, Some(Arc::clone(incident))), Host::new(9, number, None));
    let before = incident.windows.start - 30..incident.windows.start;
    assert_eq!(seen(&mut with, before.clone()), seen(&mut without, before), "nothing before it begins");
    let (changed, usual) =
        (seen(&mut with, incident.windows.clone()), seen(&mut without, incident.windows.clone()));
    let after = incident.windows.end..incident.windows.end + 30;
    assert_eq!(seen(&mut with, after.clone()), seen(&mut without, after), "nothing after it ended");
    (with, changed, usual)
}

fn column(windows: &[Option<Vec<f64>>], index: usize) -> Vec<f64> {
    windows.iter().flatten().map(|values| values[index]).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The scatter from one window to the next.
fn scatter(values: &[f64]) -> f64 {
    mean(&values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect::<Vec<_>>())
}

#[test]
fn a_server_has_the_collectors_series_and_consistent_windows() {
    for number in 0..50 {
        let mut host = Host::new(1, number, None);
        let before = host.window(0).unwrap().clone();
        assert!((20..=40).contains(&before.layout.len()), "{}", before.layout.len());
        let distinct: BTreeSet<_> =
            before.layout.iter().map(|series| (&series.metric, &series.labels)).collect();
        assert_eq!(distinct.len(), before.layout.len());
        let next = host.window(1).unwrap().clone();
        assert!(next.is_consistent());
        for (index, series) in next.layout.iter().enumerate() {
            let value = host.values()[index];
            assert!(value.is_finite() && value >= 0.0, "{} {value}", series.metric);
            if series.kind == SeriesKind::Counter {
                let rate = (next.last[index] - before.last[index]) / 10.0;
                assert!((rate - value).abs() <= 1e-9 * next.last[index].abs(), "{}", series.metric);
            }
        }
    }
}

#[test]
fn a_series_depends_on_seed_and_server_alone() {
    let day = |seed, number| seen(&mut Host::new(seed, number, None), 0..600);
    assert_eq!(day(1, 3), day(1, 3));
    assert_ne!(day(1, 3), day(2, 3));
    assert_ne!(day(1, 3), day(1, 4));
}

#[test]
fn constants_stay_and_the_rest_moves() {
    let mut host = Host::new(4, 1, None);
    let day = seen(&mut host, 0..WINDOWS_A_DAY);
    let spread = |metric: &str| {
        let values = column(&day, of(&host, metric));
        values.iter().copied().fold(f64::MIN, f64::max) - values.iter().copied().fold(f64::MAX, f64::min)
    };
    for metric in ["node_memory_MemTotal_bytes", "node_boot_time_seconds", "tidewatch_host_info"] {
        assert_eq!(spread(metric), 0.0, "{metric}");
    }
    for metric in ["tidewatch_host_cpu_busy_percent", "node_filesystem_avail_bytes", "node_forks_total"] {
        assert!(spread(metric) > 0.0, "{metric}");
    }
}

#[test]
fn a_spike_a_shift_and_a_drift_raise_the_processors() {
    for (kind, least) in [(Kind::Spike, 25.0), (Kind::LevelShift, 8.0), (Kind::SlowDrift, 5.0)] {
        let (host, changed, usual) = pair(kind);
        let cpu = of(&host, "tidewatch_host_cpu_busy_percent");
        let (changed, usual) = (column(&changed, cpu), column(&usual, cpu));
        assert!(mean(&changed) > mean(&usual) + least, "{}", kind.name());
        if kind == Kind::SlowDrift {
            assert!(changed[0] - usual[0] < 0.1, "it begins with nothing");
        }
    }
}

#[test]
fn a_leak_ends_with_no_memory() {
    let (host, changed, usual) = pair(Kind::Leak);
    let memory = of(&host, "tidewatch_host_memory_used_percent");
    let (changed, usual) = (column(&changed, memory), column(&usual, memory));
    assert!(changed[0] - usual[0] < 0.5 && *changed.last().unwrap() > 97.0 && *usual.last().unwrap() < 90.0);
}

#[test]
fn a_flat_line_repeats_itself_where_the_server_does_not() {
    let (host, changed, usual) = pair(Kind::FlatLine);
    for metric in ["tidewatch_host_cpu_busy_percent", "node_load1", "node_context_switches_total"] {
        let index = of(&host, metric);
        assert_eq!(scatter(&column(&changed, index)), 0.0, "{metric}");
        assert!(scatter(&column(&usual, index)) > 0.0, "{metric}");
    }
    let memory = of(&host, "tidewatch_host_memory_used_percent");
    assert_eq!(column(&changed, memory), column(&usual, memory), "what it does not touch");
}

#[test]
fn silence_says_nothing() {
    let (_, changed, usual) = pair(Kind::Silence);
    assert!(changed.iter().all(Option::is_none) && usual.iter().all(Option::is_some));
}

#[test]
fn a_noise_burst_scatters_around_the_same_mean() {
    let (host, changed, usual) = pair(Kind::NoiseBurst);
    let traffic = of(&host, "tidewatch_host_network_bytes_per_second");
    let (changed, usual) = (column(&changed, traffic), column(&usual, traffic));
    assert!(scatter(&changed) > 2.0 * scatter(&usual));
    assert!((0.6..1.6).contains(&(mean(&changed) / mean(&usual))));
}

#[test]
fn what_is_correlated_waits_and_does_less() {
    let (host, changed, usual) = pair(Kind::Correlated);
    let of = |metric: &str| {
        let index = of(&host, metric);
        (mean(&column(&changed, index)), mean(&column(&usual, index)))
    };
    let (waits, waited) = of("node_pressure_io_waiting_seconds_total");
    let (talks, talked) = of("tidewatch_host_network_bytes_per_second");
    assert!(waits > 0.15 && waited < 0.1, "{waits} {waited}");
    assert!(talks < 0.5 * talked);
}

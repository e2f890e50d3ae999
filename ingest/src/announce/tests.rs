//! When frames name their layout and when they carry it: the decisions alone, then with a Kafka that is made up.

use std::sync::atomic::{AtomicBool, Ordering};

use tidewatch_schemas::decode;
use tidewatch_service_kit::config::assemble;

use super::*;
use crate::publish::PublishError;

const NOW: i64 = 1_700_000_000_000;
const SCRAPE: i64 = 10_000;

fn config(set: &[(&str, &str)]) -> Config {
    assemble::<Config>("ingest", set).unwrap()
}

fn layout(device: &str) -> Vec<Series> {
    vec![Series::gauge("load", ""), Series::counter("bytes", "bytes").with("device", device)]
}

fn id(device: &str) -> i64 {
    Layout::of(layout(device)).unwrap().layout_id
}

/// A host in front of the decisions.
struct Host {
    naming: Naming,
    device: &'static str,
    now: i64,
}

impl Host {
    fn new(set: &[(&str, &str)]) -> Self {
        Self { naming: Naming::new(&config(set)), device: "", now: NOW }
    }

    /// The ids of so many scrapes of a host with that device.
    fn scrape(&mut self, device: &'static str, times: usize) -> Vec<i64> {
        (0..times)
            .map(|_| {
                self.now += SCRAPE;
                let changed = std::mem::replace(&mut self.device, device) != device;
                self.naming.scraped(&layout(device), changed, self.now).unwrap()
            })
            .collect()
    }

    fn due(&self) -> Option<i64> {
        self.naming.due(self.now).map(|layout| layout.layout_id)
    }

    fn acknowledge(&mut self, device: &str) {
        self.naming.acknowledged(id(device), self.now);
    }

    /// A layout that is announced and acknowledged as soon as it may be.
    fn settled(device: &'static str) -> Self {
        let mut host = Self::new(&[]);
        host.scrape(device, 3);
        host.acknowledge(device);
        host
    }
}

#[test]
fn a_layout_is_announced_when_it_stood_for_three_scrapes_and_named_when_kafka_has_it() {
    let mut host = Host::new(&[]);
    assert_eq!(host.scrape("eth0", 2), [0, 0]);
    assert_eq!(host.due(), None);
    assert_eq!(host.scrape("eth0", 1), [0]);
    assert_eq!(host.due(), Some(id("eth0")));
    assert_eq!(host.scrape("eth0", 200), [0; 200], "nobody acknowledged it");
    host.acknowledge("eth0");
    assert_eq!(host.due(), None);
    assert_eq!(host.scrape("eth0", 3), [id("eth0"); 3]);
}

#[test]
fn what_is_announced_is_the_layout_under_its_own_id() {
    let mut host = Host::new(&[]);
    host.scrape("eth0", 3);
    let announced = host.naming.due(host.now).unwrap();
    let (read, _) = decode::<Layout>(&announced.bytes).unwrap();
    assert_eq!(read, Layout { layout_id: announced.layout_id, layout: layout("eth0") });
    assert!(read.is_named_right());
}

#[test]
fn a_changed_layout_is_carried_until_kafka_has_it_too() {
    let mut host = Host::settled("eth0");
    assert_eq!(host.scrape("eth0", 1), [id("eth0")]);
    assert_eq!(host.scrape("veth1", 2), [0, 0]);
    assert_eq!(host.due(), None, "what is gone is not announced anymore");
    host.scrape("veth1", 8);
    host.acknowledge("eth0");
    assert_eq!(host.scrape("veth1", 1), [0], "that was the acknowledgement of another layout");
    assert_eq!(host.due(), Some(id("veth1")));
    host.acknowledge("veth1");
    assert_eq!(host.scrape("veth1", 1), [id("veth1")]);
}

#[test]
fn a_layout_that_comes_back_is_announced_anew() {
    let mut host = Host::settled("eth0");
    host.scrape("veth1", 1);
    assert_eq!(host.scrape("eth0", 6), [0; 6]);
    assert_eq!(host.due(), Some(id("eth0")));
}

#[test]
fn a_layout_in_use_is_announced_every_day_and_not_named_after_two_without() {
    let mut host = Host::settled("eth0");
    let first = host.now;
    host.now = first + DAY_MS - 2 * SCRAPE;
    assert_eq!(host.scrape("eth0", 1), [id("eth0")]);
    assert_eq!(host.due(), None);
    assert_eq!(host.scrape("eth0", 1), [id("eth0")], "it is good while it is announced again");
    assert_eq!(host.due(), Some(id("eth0")));

    host.now = first + 2 * DAY_MS - 2 * SCRAPE;
    assert_eq!(host.scrape("eth0", 2), [id("eth0"), 0], "it was not acknowledged again");
    host.acknowledge("eth0");
    assert_eq!(host.scrape("eth0", 1), [id("eth0")]);
    assert_eq!(host.due(), None);
}

#[test]
fn an_announcement_of_the_future_is_none() {
    let mut host = Host::settled("eth0");
    host.now -= 3_600_000;
    assert_eq!(host.scrape("eth0", 1), [0], "the clock was set back");
    assert_eq!(host.due(), Some(id("eth0")));
}

/// Announcements of a host whose layout changes every so many scrapes.
fn announced(every: usize, changes: usize) -> usize {
    let (mut host, mut announced) = (Host::new(&[]), 0);
    for n in 0..changes {
        let device = ["eth0", "eth1"][n % 2];
        for _ in 0..every {
            host.scrape(device, 1);
            if host.due().is_some() {
                announced += 1;
                host.acknowledge(device);
            }
        }
    }
    announced
}

#[test]
fn a_host_that_never_settles_does_not_flood_the_topic() {
    assert_eq!(announced(2, 1_000), 0);
    assert_eq!(announced(10, 1_000), 2, "after 3 scrapes, after 6, and not after 12");
    assert_eq!(announced(90, 1_000), 5);
    assert_eq!(announced(100, 1_000), 1_000, "each was worth it");
}

#[test]
fn a_host_that_settles_is_trusted_again() {
    let mut host = Host::settled("eth0");
    host.scrape("eth1", 5);
    assert_eq!(host.due(), None, "the last one did not last: six scrapes now");
    host.scrape("eth1", 1);
    assert_eq!(host.due(), Some(id("eth1")));
    host.scrape("eth1", 94);
    host.scrape("eth2", 3);
    assert_eq!(host.due(), Some(id("eth2")));
}

#[test]
fn a_host_that_may_not_or_has_nothing_to_name_announces_nothing() {
    for set in [("collect-layout-ids", "false"), ("backlog-age", "25h")] {
        let mut host = Host::new(&[set]);
        assert_eq!(host.scrape("eth0", 10), [0; 10], "{set:?}");
        assert_eq!(host.due(), None, "{set:?}");
    }
    let mut naming = Naming::new(&config(&[("backlog-age", "24h")]));
    for at in 0..10 {
        assert_eq!(naming.scraped(&[], at == 0, at), Ok(0));
    }
    assert_eq!(naming.due(10), None, "an empty layout has nothing to save");
    for at in 0..3 {
        naming.scraped(&layout("eth0"), at == 0, at).unwrap();
    }
    assert!(naming.due(3).is_some());
}

#[derive(Clone, Default)]
struct Kafka {
    away: Arc<AtomicBool>,
    tried: Arc<Mutex<Vec<i64>>>,
}

impl Announce for Kafka {
    async fn announce(&self, layout: &Announcement) -> Result<(), PublishError> {
        self.tried.lock().unwrap().push(layout.layout_id);
        if self.away.load(Ordering::Acquire) { Err(PublishError::Open) } else { Ok(()) }
    }
}

impl Kafka {
    fn tried(&self) -> usize {
        self.tried.lock().unwrap().len()
    }
}

struct Service {
    layouts: Arc<Layouts>,
    kafka: Kafka,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Service {
    fn start() -> Self {
        let metrics = Metrics::new(&tidewatch_service_kit::Metrics::default());
        let layouts = Arc::new(Layouts::new(&config(&[]), metrics));
        let (kafka, shutdown) = (Kafka::default(), Shutdown::new());
        let task = tokio::spawn(announce(Arc::clone(&layouts), kafka.clone(), shutdown.clone()));
        Self { layouts, kafka, shutdown, task }
    }

    /// What a scrape sends.
    fn scrape(&self, device: &str, changed: bool) -> MetricFrame {
        let frame = MetricFrame {
            server: "a".into(),
            sequence: 7,
            collected_at: collect::now_ms(),
            layout_id: 0,
            layout: layout(device),
            values: vec![1.5, f64::NAN],
            histograms: vec![],
        };
        let encoded = self.layouts.encode(&frame, changed).unwrap();
        assert_eq!((encoded.samples, encoded.collected_at), (1, frame.collected_at));
        let (sent, _) = decode::<MetricFrame>(&encoded.bytes).unwrap();
        assert_eq!((&sent.server, sent.sequence, sent.values[0]), (&frame.server, 7, 1.5));
        assert_eq!(sent.values.len(), 2);
        assert_eq!(sent.layout.is_empty(), sent.layout_id != 0, "a layout or its id, and never both");
        sent
    }
}

#[tokio::test(start_paused = true)]
async fn frames_carry_the_layout_until_the_announcement_is_through() {
    let service = Service::start();
    for n in 0..3 {
        assert_eq!(service.scrape("eth0", n == 0).layout, layout("eth0"));
        assert_eq!(service.kafka.tried(), 0);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(service.scrape("eth0", false).layout_id, id("eth0"));
    assert_eq!(service.scrape("eth1", true).layout, layout("eth1"));
    tokio::time::sleep(Duration::from_hours(1)).await;
    assert_eq!(*service.kafka.tried.lock().unwrap(), [id("eth0")]);
    service.shutdown.trigger();
    service.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_failed_announcement_is_tried_again_until_kafka_has_it() {
    let service = Service::start();
    service.kafka.away.store(true, Ordering::Release);
    for n in 0..3 {
        service.scrape("eth0", n == 0);
    }
    tokio::time::sleep(Duration::from_mins(1)).await;
    let tried = service.kafka.tried();
    assert!((10..40).contains(&tried), "pauses grow to five seconds: {tried} tries");
    assert_eq!(service.scrape("eth0", false).layout_id, 0);
    service.kafka.away.store(false, Ordering::Release);
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(service.scrape("eth0", false).layout_id, id("eth0"));
    assert_eq!(service.kafka.tried(), tried + 1);
    service.shutdown.trigger();
    service.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_layout_that_is_gone_is_not_tried_again() {
    let service = Service::start();
    service.kafka.away.store(true, Ordering::Release);
    for n in 0..3 {
        service.scrape("eth0", n == 0);
    }
    tokio::time::sleep(Duration::from_secs(10)).await;
    service.scrape("eth1", true);
    let tried = service.kafka.tried();
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(service.kafka.tried(), tried);
    service.shutdown.trigger();
    service.task.await.unwrap();
}

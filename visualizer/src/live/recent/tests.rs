//! What a reader gets who comes back, to this instance or to another one: everything once, or the word that it is not so.

use proptest::prelude::*;

use super::*;
use crate::live::{
    Events,
    place::{TOPICS, Topic},
};

const PARTITIONS: usize = 3;

fn event(place: Place) -> Event {
    Event::new(place, "a".into(), super::super::Told::Alert(format!("{place:?}")))
}

fn place(topic: Topic, partition: usize, offset: i64) -> Place {
    Place { topic, partition, offset }
}

/// An instance that has read so much of each partition of the same topics.
struct Instance {
    events: Events,
    read: Position,
}

impl Instance {
    fn start(at: &Position) -> Self {
        let events = Events::default();
        events.begin(at);
        Self { events, read: at.clone() }
    }

    /// One more record of a partition; each third is none that readers see.
    fn read(&mut self, topic: Topic, partition: usize, now: i64) {
        let at = place(topic, partition, self.read.next(topic, partition));
        if at.offset % 3 != 2 {
            self.events.publish(event(at), now);
        }
        self.read.pass(at);
    }
}

/// A reader that notes what it got, and checks it against what there was.
#[derive(Default)]
struct Reader {
    id: Option<String>,
    /// Up to where it got everything, since it was told to load again.
    seen: Option<Position>,
    resyncs: usize,
    got: usize,
}

impl Reader {
    fn visit(
        &mut self,
        instance: &mut Instance,
        while_there: &[(Topic, usize)],
        now: i64,
    ) -> Result<(), TestCaseError> {
        let mut stream = instance.events.subscribe(self.id.as_deref());
        if stream.is_lost || self.seen.is_none() {
            self.resyncs += usize::from(stream.is_lost);
            // the page is loaded: it knows what the instance knows
            self.seen = Some(instance.read.clone());
        }
        for &(topic, partition) in while_there {
            instance.read(topic, partition, now);
        }
        let seen = self.seen.get_or_insert_default();
        while let Some(next) = stream.try_next() {
            let Place { topic, partition, offset } = next.place;
            let expected = seen.next(topic, partition);
            // what lies between is what no reader sees
            let between = (expected..offset).filter(|at| at % 3 != 2).count();
            prop_assert!(offset >= expected, "twice: {:?}, expected {}", next.place, expected);
            prop_assert_eq!(between, 0, "missed before {:?}, expected {}", next.place, expected);
            seen.pass(next.place);
            self.got += 1;
        }
        self.id = Some(stream.seen.to_string());
        Ok(())
    }
}

proptest! {
    /// Two instances read the same partitions in orders of their own and forget on their own; a reader goes to and fro.
    #[test]
    fn nothing_is_missed_and_nothing_comes_twice(
        visits in prop::collection::vec(
            (0_usize..2, prop::collection::vec((0_usize..2, 0..PARTITIONS), 0..20), prop::collection::vec((0_usize..2, 0..PARTITIONS), 0..20), 0_i64..40_000),
            1..40,
        ),
    ) {
        let mut start = Position::default();
        for topic in TOPICS {
            for partition in 0..PARTITIONS {
                start.go_to(place(topic, partition, 100 * partition as i64));
            }
        }
        let mut instances = [Instance::start(&start), Instance::start(&start)];
        let mut reader = Reader::default();
        let mut now = 0;
        for (which, there, elsewhere, pause) in visits {
            now += pause;
            for (topic, partition) in elsewhere {
                instances[1 - which].read(TOPICS[topic], partition, now);
            }
            let there: Vec<_> = there.into_iter().map(|(topic, partition)| (TOPICS[topic], partition)).collect();
            reader.visit(&mut instances[which], &there, now)?;
        }
    }
}

fn first() -> Position {
    let mut at = Position::default();
    at.go_to(place(Topic::Windows, 0, 50));
    at.go_to(place(Topic::Alerts, 0, 7));
    at
}

#[test]
fn a_reader_of_before_a_restart_goes_on_where_it_was() {
    let mut before = Instance::start(&first());
    let mut reader = Reader::default();
    reader.visit(&mut before, &[(Topic::Windows, 0); 5], 0).expect("all of it");
    // it begins a minute back
    let mut after = Instance::start(&first());
    for _ in 0..9 {
        after.read(Topic::Windows, 0, 1_000);
    }
    reader.visit(&mut after, &[], 1_000).expect("all of it");
    assert_eq!((reader.resyncs, reader.got), (0, 6), "50, 51, 53, 54 and 56, 57");
}

#[test]
fn who_was_away_too_long_is_told_so() {
    let mut instance = Instance::start(&first());
    let mut reader = Reader::default();
    reader.visit(&mut instance, &[(Topic::Windows, 0)], 0).expect("all of it");
    for step in 1..=4 {
        instance.read(Topic::Windows, 0, step * AGE / 2);
    }
    reader.visit(&mut instance, &[], 2 * AGE).expect("all of it");
    assert_eq!(reader.resyncs, 1);
}

#[test]
fn an_id_of_nobody_is_answered_by_resync() {
    let instance = Instance::start(&first());
    for id in ["t-1795443360000", "", "rubbish", "~", "0~0", "ffffffff~7", "32~ffffffff"] {
        assert!(instance.events.subscribe(Some(id)).is_lost, "{id}");
    }
    assert!(!instance.events.subscribe(Some("32~7")).is_lost);
    assert!(!instance.events.subscribe(None).is_lost, "a new reader has lost nothing");
    assert!(Events::default().subscribe(Some("32~7")).is_lost, "nothing was read yet");
}

#[test]
fn the_memory_of_a_minute_is_bounded() {
    let instance = Instance::start(&first());
    let id = instance.events.subscribe(None).seen.to_string();
    let text = "x".repeat(MOST / 4);
    for offset in 50..56 {
        let told = super::super::Told::Alert(text.clone());
        instance.events.publish(Event::new(place(Topic::Windows, 0, offset), "a".into(), told), 0);
    }
    assert!(instance.events.subscribe(Some(&id)).is_lost);
    let recent = instance.events.recent();
    assert!(recent.bytes <= MOST && recent.events.len() == 3, "{} in {}", recent.bytes, recent.events.len());
}

#[test]
fn a_topic_made_anew_begins_anew() {
    let mut instance = Instance::start(&first());
    let mut reader = Reader::default();
    reader.visit(&mut instance, &[(Topic::Windows, 0); 4], 0).expect("all of it");
    instance.events.publish(event(place(Topic::Windows, 0, 0)), 0);
    let again = instance.events.subscribe(None);
    assert_eq!(again.seen.next(Topic::Windows, 0), 1);
    instance.events.publish(event(place(Topic::Windows, 0, 1)), 0);
    let mut late = instance.events.subscribe(Some(&again.seen.to_string()));
    assert_eq!(late.try_next().map(|event| event.place.offset), Some(1));
    assert!(late.try_next().is_none());
}

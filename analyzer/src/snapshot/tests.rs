//! Sealed and opened again: whole, or not at all.

use super::*;

/// Bytes that do not get shorter.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 7_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    (0..length).map(|_| next()).collect()
}

fn opened(entries: &[Entry]) -> BTreeMap<String, Result<Whole, Unusable>> {
    let mut shelf = Shelf::default();
    for entry in entries {
        shelf.put(&entry.key, entry.payload.as_deref());
    }
    shelf.open().collect()
}

#[test]
fn a_state_comes_back_whole_however_long() {
    for length in [0, 1, 1_000, 3 * PIECE_BYTES] {
        let state = noise(length);
        let entries = seal("web-1", 42, 7, &state).unwrap();
        assert_eq!(entries[0].key, b"web-1");
        assert!(entries.iter().all(|entry| entry.payload.as_ref().unwrap().len() < 900_000));
        let pieces = entries.len() as u16;
        assert_eq!(
            opened(&entries)["web-1"],
            Ok(Whole { place: Place { offset: 42, clock: 7, pieces }, state })
        );
    }
}

#[test]
fn the_newest_counts_and_a_deleted_one_is_none() {
    let (older, newer) = (seal("a", 1, 7, b"older").unwrap(), seal("a", 2, 7, b"newer").unwrap());
    let mut entries: Vec<Entry> = [older, newer].concat();
    assert_eq!(opened(&entries)["a"].as_ref().unwrap().state, b"newer");
    entries.extend(erase("a", 0..1));
    assert!(opened(&entries).is_empty());
}

#[test]
fn what_is_torn_is_never_a_state() {
    let entries = seal("a", 42, 7, &noise(2 * PIECE_BYTES + 1)).unwrap();
    assert!(entries.len() >= 3);
    for missing in 0..entries.len() {
        let mut some = entries.clone();
        some.remove(missing);
        assert_eq!(opened(&some)["a"], Err(Unusable::Torn), "without piece {missing}");
    }
    // a piece of another time
    let mut mixed = entries.clone();
    mixed[1] = seal("a", 43, 7, &noise(2 * PIECE_BYTES + 1)).unwrap().swap_remove(1);
    assert_eq!(opened(&mixed)["a"], Err(Unusable::Torn));
    let small = seal("a", 42, 7, b"state").unwrap();
    let payload = small[0].payload.clone().unwrap();
    for place in 0..payload.len() {
        let mut broken = payload.clone();
        broken[place] ^= 0x40;
        let entry = Entry { key: b"a".to_vec(), payload: Some(broken) };
        assert!(opened(&[entry])["a"].is_err(), "a bit of byte {place}");
        let entry = Entry { key: b"a".to_vec(), payload: Some(payload[..place].to_vec()) };
        assert!(opened(&[entry])["a"].is_err(), "cut off at {place}");
    }
    let other = Entry { key: b"b".to_vec(), payload: Some(payload) };
    assert_eq!(opened(&[other])["b"], Err(Unusable::Torn), "another server's");
}

#[test]
fn another_format_is_named() {
    for (version, wanted) in [(0, Unusable::Older(0)), (VERSION + 1, Unusable::Newer(VERSION + 1))] {
        let mut entry = seal("a", 42, 7, b"state").unwrap().swap_remove(0);
        entry.payload.as_mut().unwrap()[0] = version;
        assert_eq!(opened(&[entry])["a"], Err(wanted));
    }
    assert_eq!(Unusable::Newer(9).to_string(), format!("it is of format 9, newer than {VERSION}"));
}

#[test]
fn foreign_keys_are_passed_over_and_few_names_are_named() {
    assert!(opened(&[Entry { key: vec![0xff, 0xfe], payload: Some(vec![1]) }]).is_empty());
    assert!(opened(&[Entry { key: b"a\0\0".to_vec(), payload: Some(vec![1]) }]).is_empty());
    let names = (0..7).map(|number| format!("s{number}")).collect();
    assert_eq!(named(&names), "s0, s1, s2, s3, s4 and 2 more");
}

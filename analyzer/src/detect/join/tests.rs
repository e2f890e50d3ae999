//! What is said of series and servers: what they are for, and what must hold of any input.

use proptest::prelude::*;

use super::*;

/// A day's wave with a little noise that is the same each time.
fn usual(t: u32, interval: f64) -> f64 {
    let day = (f64::from(t) * interval * std::f64::consts::TAU / 86_400.0).sin();
    50.0 + 10.0 * day + f64::from(t * 7 % 11) / 5.0
}

fn run(joined: &mut Joined, rows: impl IntoIterator<Item = (f64, f64)>) -> Vec<Option<Opinion>> {
    rows.into_iter().map(|(seconds, value)| joined.step(seconds, value)).collect()
}

/// Where an alert is said.
fn alerts(said: &[Option<Opinion>]) -> Vec<usize> {
    let speaks = |opinion: Opinion| opinion.score >= 1.0;
    said.iter().enumerate().filter(|(_, opinion)| opinion.is_some_and(speaks)).map(|(i, _)| i).collect()
}

#[test]
fn a_spike_is_an_alert_at_once_and_only_it() {
    for interval in [10.0, 60.0, 300.0] {
        let spike = |t| usual(t, interval) + if t == 3_000 { 200.0 } else { 0.0 };
        let rows = (0..3_500).map(|t| (f64::from(t) * interval, spike(t)));
        let said = run(&mut Joined::default(), rows);
        assert_eq!(alerts(&said), [3_000], "every {interval} s");
    }
}

#[test]
fn an_episode_raises_the_bar_of_novelty_and_a_week_lowers_it() {
    let mut joined = Joined::default();
    let spike = |t| usual(t, 300.0) + if t == 2_000 { 400.0 } else { 0.0 };
    run(&mut joined, (0..2_001).map(|t| (f64::from(t) * 300.0, spike(t))));
    assert_eq!(joined.raised, STEP);
    let after = |days: f64| {
        let mut later = joined.clone();
        later.step(2_000.0 * 300.0 + days * 86_400.0, usual(2_000, 300.0));
        later.raised
    };
    assert!((after(3.5) - STEP / 2.0).abs() < 1e-12);
    assert_eq!(after(30.0), 0.0);
    assert_eq!(after(-3.0), STEP, "a clock that steps back gives nothing for free");
}

#[test]
fn fast_values_are_judged_for_novelty_once_in_five_minutes() {
    let rows = (0..360).map(|t| (f64::from(t) * 10.0, usual(t, 10.0)));
    let said = run(&mut Joined::default(), rows);
    assert_eq!(said.iter().flatten().filter(|opinion| opinion.rarity.is_some()).count(), 12);
}

#[test]
fn what_is_not_a_number_changes_nothing() {
    let (mut with, mut without) = (Joined::default(), Joined::default());
    for t in 0..400 {
        let seconds = f64::from(t) * 60.0;
        assert_eq!(with.step(seconds, f64::NAN), None);
        assert_eq!(with.step(seconds, f64::INFINITY), None);
        assert_eq!(with.step(seconds, usual(t, 60.0)), without.step(seconds, usual(t, 60.0)));
    }
}

#[test]
fn a_constant_says_nothing_and_one_value_a_day_is_borne() {
    let said = run(&mut Joined::default(), (0..2_000).map(|t| (f64::from(t) * 60.0, 17.0)));
    assert!(said.iter().flatten().all(|opinion| opinion.raw == 0.0));
    let said = run(&mut Joined::default(), (0..1_000).map(|t| (f64::from(t) * 86_400.0, usual(t, 3_600.0))));
    assert!(said.iter().flatten().all(|opinion| opinion.raw.is_finite()));
}

#[test]
fn a_series_takes_less_than_four_kilobytes() {
    let mut joined = Joined::default();
    let bytes = |joined: &Joined| size_of::<Joined>() + joined.heap_bytes();
    run(&mut joined, (0..2_000).map(|t| (f64::from(t) * 10.0, 0.1)));
    assert!(bytes(&joined) <= 900, "it never moved: {}", bytes(&joined));
    run(&mut joined, (2_000..2_100).map(|t| (f64::from(t) * 10.0, usual(t, 10.0))));
    assert!((2_048..4_096).contains(&bytes(&joined)), "{}", bytes(&joined));
}

#[test]
fn what_is_odd_within_its_band_says_in_which_way() {
    let judgement = Loud::default().step(0.0, 1.0).unwrap();
    let rarity = Rarity { decades: [0.0, 0.0, 0.0, 7.0, 1.0] };
    let mut opinion =
        Opinion { score: 1.2, raw: 1.2, novelty: 1.2, stuck: 0.3, judgement, rarity: Some(rarity) };
    assert_eq!((opinion.oddness(), opinion.oddness().name()), (Oddness::New(Kind::Flat), "novelty.flat"));
    opinion.stuck = 1.0;
    assert_eq!((opinion.oddness(), opinion.oddness().name()), (Oddness::Stuck, "stuck"));
    assert_eq!(opinion.size(), LOUD_AT_ONE);
    opinion.judgement.score = 1.1;
    assert_eq!(opinion.oddness(), Oddness::Loud, "outside of its band");
    let usual = Opinion { novelty: 0.4, stuck: 0.4, judgement, ..opinion };
    assert_eq!(usual.oddness().name(), "loud");
}

#[test]
fn a_stuck_sensor_is_said_once_however_long_it_lasts() {
    let held = |t| usual(if (2_000..3_000).contains(&t) { 2_000 } else { t }, 10.0);
    let said = run(&mut Joined::default(), (0..3_500).map(|t| (f64::from(t) * 10.0, held(t))));
    assert_eq!(alerts(&said), [2_029]);
    let opinion = said[2_999].unwrap();
    assert_eq!((opinion.oddness(), opinion.raw), (Oddness::Stuck, LOUDER));
    assert!(opinion.stuck > 30.0 && opinion.size() > 100.0, "{opinion:?}");
    assert!((opinion.against(2.0).stuck - opinion.stuck / 2.0).abs() < 1e-12);
}

#[test]
fn a_server_hears_when_four_of_its_sensors_are_stuck() {
    let mut server = JoinedServer::new(6, 60.0);
    let mut said = Vec::new();
    for t in 0..2_000_u32 {
        let values = [0_u32, 1, 2, 3, 4, 5].map(|series| {
            let stuck = series < 4 && (1_500..1_700).contains(&t);
            usual(if stuck { 1_500 } else { t } + 100 * series, 60.0)
        });
        let (verdict, _) = server.step(f64::from(t) * 60.0, &values, |_, _| {});
        if verdict.score >= 1.0 {
            said.push(t);
        }
    }
    assert!((1_520..1_530).contains(&said[0]), "{said:?}");
    assert!(said.len() <= 3, "and again only when it sticks out much farther: {said:?}");
}

#[test]
fn one_series_alone_is_no_incident_of_a_server_but_four_are() {
    let mut server = JoinedServer::new(6, 60.0);
    let mut said = Vec::new();
    for t in 0..1_200_u32 {
        let mut values = [0_u32, 1, 2, 3, 4, 5].map(|series| usual(t + 100 * series, 60.0));
        match t {
            700 => values[2] += 10.0,
            900 => values[1..5].iter_mut().for_each(|value| *value += 10.0),
            _ => {}
        }
        let (verdict, first) = server.step(f64::from(t) * 60.0, &values, |_, _| {});
        if verdict.score >= 1.0 {
            said.push((t, first.is_some()));
        }
    }
    assert_eq!(said, [(900, true)]);
}

#[test]
fn a_server_bears_missing_values() {
    let mut server = JoinedServer::new(2, 60.0);
    let mut judged = 0;
    for t in 0..500_u32 {
        let values = [f64::NAN, if t % 3 == 0 { f64::NAN } else { usual(t, 60.0) }];
        let (verdict, _) = server.step(f64::from(t) * 60.0, &values, |place, _| {
            assert_eq!(place, 1);
            judged += 1;
        });
        assert!(verdict.score.is_finite());
    }
    assert_eq!(judged, 333);
}

proptest! {
    /// However a log is cut into batches, and whoever goes on with the state after one: the same to the bit.
    #[test]
    fn any_cut_into_batches_gives_the_same(
        values in proptest::collection::vec(prop_oneof![9 => -10.0..10.0_f64, 1 => any::<f64>()], 200..400),
        steps in proptest::collection::vec(prop_oneof![Just(10.0_f64), Just(300.0_f64), -500.0..9e4_f64], 400),
        cuts in proptest::collection::vec(0..200_usize, 0..5),
    ) {
        let mut seconds = 1.6e9;
        let rows: Vec<(f64, f64)> = values.into_iter().zip(steps).map(|(value, step)| {
            seconds += step;
            (seconds, value)
        }).collect();
        let whole = run(&mut Joined::default(), rows.clone());
        let mut cuts = cuts;
        cuts.sort_unstable();
        let mut joined = Joined::default();
        let mut begin = 0;
        let mut parts = Vec::new();
        for cut in cuts.into_iter().chain([rows.len()]) {
            let mut moved = joined.clone();
            parts.extend(run(&mut moved, rows[begin..cut].iter().copied()));
            joined = moved;
            begin = cut;
        }
        prop_assert_eq!(format!("{parts:?}"), format!("{whole:?}"));
        prop_assert!(parts.iter().flatten().all(|opinion| opinion.score >= 0.0));
    }
}

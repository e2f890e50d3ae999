//! What began on many servers at once, told as one.
//!
//! In: incidents, each as its alerts make it up. Out: the same, those that belong together as one. Pure. Invariant: a
//! function of the alerts that are there, so it needs no memory, and nothing of it can be lost.

use std::collections::{BTreeMap, BTreeSet};

use super::Incident;

/// Each begins at most so long after the one before ...
const APART_MS: i64 = 60_000;
/// ... and after the first: in a large fleet something always follows on something.
const SPAN_MS: i64 = 600_000;
/// On fewer servers it may be chance.
const SERVERS: usize = 3;

/// Incidents that began with the same, one shortly after the other, as one with the id of the first; newest first.
pub fn joined(mut incidents: Vec<Incident>) -> Vec<Incident> {
    // from the oldest on: what comes later does not change what was joined
    incidents.sort_by(|a, b| (a.started_ms, &a.id).cmp(&(b.started_ms, &b.id)));
    let mut groups: Vec<Vec<Incident>> = Vec::new();
    let mut newest: BTreeMap<String, usize> = BTreeMap::new();
    for incident in incidents {
        let place = newest.get(&incident.moved).copied().filter(|&place| follows(&groups[place], &incident));
        if let Some(place) = place {
            groups[place].push(incident);
        } else {
            newest.insert(incident.moved.clone(), groups.len());
            groups.push(vec![incident]);
        }
    }
    let mut all = Vec::new();
    for group in groups {
        let servers = servers_of(&group);
        if servers < SERVERS {
            all.extend(group);
        } else {
            all.extend(group.into_iter().reduce(merge).map(|one| finish(one, servers - 1)));
        }
    }
    all.sort_by(|a, b| (b.started_ms, &a.id).cmp(&(a.started_ms, &b.id)));
    all
}

fn servers_of(group: &[Incident]) -> usize {
    group.iter().flat_map(|incident| &incident.servers).collect::<BTreeSet<_>>().len()
}

fn follows(group: &[Incident], incident: &Incident) -> bool {
    let since = |other: Option<&Incident>| other.map_or(0, |other| incident.started_ms - other.started_ms);
    since(group.last()) <= APART_MS && since(group.first()) <= SPAN_MS
}

fn merge(mut one: Incident, other: Incident) -> Incident {
    one.is_firing |= other.is_firing;
    one.severity = one.severity.max(other.severity);
    one.updated_ms = one.updated_ms.max(other.updated_ms);
    one.ended_ms = one.ended_ms.max(other.ended_ms);
    one.alerts += other.alerts;
    one.false_alarms += other.false_alarms;
    one.servers.extend(other.servers);
    one.joined.push(other.id);
    one
}

fn finish(mut one: Incident, others: usize) -> Incident {
    if one.is_firing {
        one.ended_ms = None;
    }
    one.servers.sort_unstable();
    one.servers.dedup();
    one.title = format!("{}, and the same on {others} more servers", one.title);
    one
}

#[cfg(test)]
mod tests {
    use tidewatch_schemas::Severity;

    use super::*;

    fn incident(id: &str, server: &str, moved: &str, seconds: i64) -> Incident {
        let started_ms = seconds * 1_000;
        Incident {
            id: id.to_owned(),
            is_firing: false,
            severity: Severity::Warning,
            title: format!("{moved} on {server}"),
            moved: moved.to_owned(),
            started_ms,
            updated_ms: started_ms + 5,
            ended_ms: Some(started_ms + 5),
            servers: vec![server.to_owned()],
            alerts: 1,
            false_alarms: 1,
            joined: Vec::new(),
        }
    }

    fn ids(incidents: &[Incident]) -> Vec<(&str, Vec<&str>)> {
        incidents
            .iter()
            .map(|one| (one.id.as_str(), one.joined.iter().map(String::as_str).collect()))
            .collect()
    }

    #[test]
    fn the_same_on_three_servers_within_a_minute_is_one() {
        let mut worst = incident("c", "web-1", "cpu", 90);
        worst.severity = Severity::Critical;
        worst.is_firing = true;
        worst.ended_ms = None;
        let mut newest_first = vec![
            worst,
            incident("b", "web-3", "cpu", 40),
            incident("x", "web-4", "load", 35),
            incident("a", "web-2", "cpu", 30),
        ];
        let all = joined(newest_first.clone());
        assert_eq!(ids(&all), [("x", vec![]), ("a", vec!["b", "c"])]);
        let one = &all[1];
        assert_eq!(one.title, "cpu on web-2, and the same on 2 more servers");
        assert_eq!(one.servers, ["web-1", "web-2", "web-3"]);
        assert_eq!((one.is_firing, one.ended_ms, one.severity), (true, None, Severity::Critical));
        assert_eq!((one.started_ms, one.updated_ms), (30_000, 90_005));
        assert_eq!((one.alerts, one.false_alarms), (3, 3));
        newest_first.reverse();
        assert_eq!(joined(newest_first), all, "in whichever order they come");
    }

    #[test]
    fn two_servers_or_one_server_thrice_may_be_chance() {
        let two = vec![incident("b", "web-2", "cpu", 40), incident("a", "web-1", "cpu", 30)];
        assert_eq!(joined(two.clone()), two);
        let thrice: Vec<_> = ["c", "b", "a"]
            .iter()
            .zip([50, 40, 30])
            .map(|(id, at)| incident(id, "web-1", "cpu", at))
            .collect();
        assert_eq!(joined(thrice.clone()), thrice);
    }

    #[test]
    fn what_begins_later_than_a_minute_is_another_one() {
        let at = [(0, "a"), (10, "b"), (20, "c"), (81, "d"), (90, "e"), (141, "f")];
        let all: Vec<_> = at.iter().map(|(at, id)| incident(id, id, "cpu", *at)).collect();
        assert_eq!(ids(&joined(all)), [("d", vec!["e", "f"]), ("a", vec!["b", "c"])]);
    }

    #[test]
    fn a_chain_does_not_go_on_for_ever_and_what_comes_later_changes_nothing() {
        let all: Vec<_> =
            (0..40).map(|k| incident(&format!("{k:02}"), &format!("s{k}"), "cpu", k * 30)).collect();
        let groups = joined(all.clone());
        assert_eq!(groups.len(), 2);
        assert_eq!(groups[1].joined.len(), 20, "ten minutes");
        let earlier = joined(all[..30].to_vec());
        assert_eq!(earlier.last(), groups.last());
    }
}

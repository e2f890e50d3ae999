//! Which line of an answer a series belongs to. In: series, servers, the labels to group by. Out: groups in order of
//! metric, server and labels, and the number of the group of each series. Pure.

use std::collections::{BTreeMap, HashMap};

use tidewatch_schemas::{
    Labels,
    validate::{Limits, check_metric_name},
};
use tidewatch_service_kit::http::Problem;
use tidewatch_store::{SeriesMeta, Server};

use crate::{
    app::Directory,
    matchers::{SERVER, of_server},
    params::{Params, bad},
};

/// One line to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Group {
    pub(super) metric: String,
    /// When all of its series are of one.
    pub(super) server: Option<(i32, String)>,
    pub(super) labels: Labels,
    /// Empty when the series do not agree.
    pub(super) unit: String,
    pub(super) series: usize,
}

/// Metric, name of the server, labels, id of the server.
type Key<'a> = (&'a str, &'a str, Labels, i32);

/// `by`: names with commas between.
pub(super) fn labels(params: &Params) -> Result<Vec<String>, Problem> {
    let Some(list) = params.get("by") else { return Ok(Vec::new()) };
    let mut labels: Vec<String> = Vec::new();
    for name in list.split(',') {
        check_metric_name(name, &Limits::default()).map_err(|_| {
            bad("by", "has to be server, server.<label> or a label, several with commas between")
        })?;
        if !labels.iter().any(|known| known == name) {
            labels.push(name.to_owned());
        }
    }
    if labels.len() > super::MAX_BY {
        return Err(bad("by", &format!("may name {} labels at most", super::MAX_BY)));
    }
    Ok(labels)
}

/// The groups, and for each series the number of its own. Not `grouped`: each series is one.
pub(super) fn group(
    series: &[SeriesMeta],
    directory: &Directory,
    grouped: bool,
    by: &[String],
) -> (Vec<Group>, Vec<i32>) {
    let servers: HashMap<i32, &Server> = directory.servers.iter().map(|server| (server.id, server)).collect();
    let by_server = !grouped || by.iter().any(|label| label == "server");
    let mut groups: BTreeMap<Key<'_>, (Group, Vec<usize>)> = BTreeMap::new();
    for (index, one) in series.iter().enumerate() {
        let server = servers.get(&one.server_id).copied();
        let labels = if grouped { labels_by(one, server, by) } else { one.labels.clone() };
        // a server that came a moment ago has no name here yet
        let name = if by_server { server.map_or("", |server| server.name.as_str()) } else { "" };
        let id = if by_server { one.server_id } else { 0 };
        let (group, members) = groups.entry((&one.metric_name, name, labels, id)).or_insert_with_key(
            |(metric, name, labels, id)| {
                let group = Group {
                    metric: (*metric).to_owned(),
                    server: by_server.then(|| (*id, (*name).to_owned())),
                    labels: labels.clone(),
                    unit: one.unit.clone(),
                    series: 0,
                };
                (group, Vec::new())
            },
        );
        if group.unit != one.unit {
            group.unit.clear();
        }
        group.series += 1;
        members.push(index);
    }
    let mut of = vec![0; series.len()];
    let mut found = Vec::with_capacity(groups.len());
    for (group, members) in groups.into_values() {
        for member in members {
            of[member] = found.len() as i32;
        }
        found.push(group);
    }
    (found, of)
}

fn labels_by(series: &SeriesMeta, server: Option<&Server>, by: &[String]) -> Labels {
    let value = |label: &String| match label.strip_prefix(SERVER) {
        Some(of) => server.map_or("", |server| of_server(server, of)),
        None => series.labels.get(label).map_or("", String::as_str),
    };
    by.iter()
        .filter(|label| *label != "server")
        .map(|label| (label.clone(), value(label).to_owned()))
        .collect()
}

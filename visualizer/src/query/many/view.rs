//! What an answer over many servers looks like. In: values by group and step. Out: lines on one grid, as JSON or a table. Pure.

use serde::Serialize;
use tidewatch_schemas::{Labels, time::rfc3339};
use utoipa::ToSchema;

use super::{Found, ServerName};
use crate::{
    format::{Csv, Field, Table, labels_text},
    openapi::schemas,
    rate::finite,
};

#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Lines)]
pub(crate) struct ManyView<'a> {
    pub(super) from: i64,
    pub(super) to: i64,
    pub(super) step: i64,
    pub(super) tier: &'static str,
    pub(super) as_of: i64,
    pub(super) agg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) q: Option<f64>,
    pub(super) by: &'a [String],
    pub(super) group: Option<&'static str>,
    pub(super) t0: i64,
    pub(super) series: Vec<Line<'a>>,
}

#[derive(Debug, PartialEq, Serialize, ToSchema)]
pub(super) struct Line<'a> {
    pub(super) metric: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) server: Option<ServerName<'a>>,
    #[schema(schema_with = schemas::labels)]
    pub(super) labels: &'a Labels,
    pub(super) unit: &'a str,
    /// How many series it stands for.
    pub(super) series: usize,
    /// How far a quantile may be off, as a share of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) relative_error: Option<f64>,
    pub(super) values: Vec<Option<f64>>,
}

impl Table for ManyView<'_> {
    fn rows(&self, csv: &mut Csv) -> csv::Result<()> {
        csv.row(["time", "metric", "server", "labels", "value"].map(Field::Text))?;
        for line in &self.series {
            let labels = labels_text(line.labels);
            let server = line.server.as_ref().map_or(Field::None, |server| Field::Text(server.name));
            for (i, value) in line.values.iter().enumerate().filter(|(_, value)| value.is_some()) {
                let time = rfc3339(self.t0 + i as i64 * self.step);
                let names = [Field::Text(&time), Field::Text(line.metric), server, Field::Text(&labels)];
                csv.row(names.into_iter().chain([(*value).into()]))?;
            }
        }
        Ok(())
    }
}

/// The values in their steps; a group without any is left out.
pub(super) fn lines(found: &Found) -> Vec<Line<'_>> {
    let (grid, groups) = (found.grid, &found.groups);
    let mut values: Vec<Vec<Option<f64>>> = vec![Vec::new(); groups.len()];
    for one in &found.reduced.values {
        let step = grid.index(one.ts_ms);
        let line = usize::try_from(one.group).ok().and_then(|group| values.get_mut(group));
        if let (Some(line), Some(step)) = (line, step) {
            line.resize(grid.len, None);
            line[step] = finite(one.value);
        }
    }
    let mut lines = Vec::new();
    for ((group, values), error) in groups.iter().zip(values).zip(&found.errors) {
        if values.iter().any(Option::is_some) {
            lines.push(Line {
                metric: &group.metric,
                server: group.server.as_ref().map(|(id, name)| ServerName { id: *id, name }),
                labels: &group.labels,
                unit: &group.unit,
                series: group.series,
                relative_error: *error,
                values,
            });
        }
    }
    lines
}

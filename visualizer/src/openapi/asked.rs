//! What may be asked: the parameters of each call with their bounds, as the document tells them. A test asks the parsers
//! whether these are the ones that they know, and whether the bounds are theirs.
#![expect(dead_code, reason = "read by the macros alone")]

use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{
        ObjectBuilder, RefOr, Schema, SchemaFormat,
        schema::{AnyOfBuilder, KnownFormat, Type},
    },
};

use crate::{
    chart::THEMES,
    fleet::status::Status,
    format::NAMES,
    query::many::{ACROSS, OVER_TIME},
    servers::{KEYS, STATUSES},
};

/// Texts whose schema is made of the lists that the parsers read.
macro_rules! texts {
    ($($name:ident: $schema:expr;)*) => {$(
        pub(crate) struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

texts! {
    Time: time();
    Sort: pattern(format!("^-?({})$", KEYS.map(|(name, _)| name).join("|")));
    Statuses: { let one = STATUSES.map(Status::as_str).join("|"); pattern(format!("^({one})(,({one}))*$")) };
    AlertStatus: super::schemas::alert_status();
    SilenceState: super::schemas::silence_state();
    Agg: names(&[&OVER_TIME.map(|(name, _)| name)[..], &["quantile"]].concat());
    Group: names(&[&ACROSS.map(|(name, _)| name)[..], &["merge"]].concat());
    Theme: names(&THEMES.map(|(name, _)| name));
    Written: names(&NAMES.map(|(name, _)| name));
}

fn names(names: &[&str]) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names.iter().copied())).build().into()
}

fn pattern(pattern: String) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).build().into()
}

fn time() -> Schema {
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let format = SchemaFormat::KnownFormat(KnownFormat::DateTime);
    let whole = ObjectBuilder::new().schema_type(Type::Integer);
    AnyOfBuilder::new()
        .item(text().pattern(Some("^now([-+][0-9]+(ms|s|m|h|d|w))?$")).build())
        .item(text().format(Some(format)).build())
        .item(whole.minimum(Some(946_684_800_000_i64)).maximum(Some(7_258_118_400_000_i64)).build())
        .build()
        .into()
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Servers {
    /// Matchers on the server's labels: `name=value`, `!=`, `=~` or `!~` and a regular expression; all have to hold
    #[param(max_items = 20, example = json!(["os=~Debian.*"]))]
    label: Option<Vec<String>>,
    /// What the servers have to be, several with commas between
    #[param(inline)]
    status: Option<Statuses>,
    /// Text in the name, the address or a label's value, in any case
    #[param(max_length = 256)]
    q: Option<String>,
    /// The order; a `-` in front turns it round
    #[param(inline)]
    sort: Option<Sort>,
    /// Servers of one page; 1000 when any other parameter is given, else all
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<i64>,
    /// From the `Link` header of the page before
    cursor: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Metrics {
    /// Names of metrics, also with commas between; all when absent
    #[param(max_items = 200, example = json!(["node_load1"]))]
    metric: Option<Vec<String>>,
    /// Begin, inclusive: RFC 3339, milliseconds or relative; `now-1h` when absent, at most 400 days before `to`
    #[param(inline)]
    from: Option<Time>,
    /// End, exclusive; `now` when absent
    #[param(inline)]
    to: Option<Time>,
    /// Seconds: 10 (default), 60 or a multiple of 60
    #[param(minimum = 10, maximum = 86_400, multiple_of = 10)]
    step: Option<i64>,
    /// Rows of one page; 1000 when absent
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<i64>,
    /// From the `Link` header of the page before
    cursor: Option<String>,
    /// Instead of the `Accept` header
    #[param(inline)]
    format: Option<Written>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Query {
    /// Id or name of a server; without it the answer is over all that have the metric
    #[param(example = "web-1")]
    server: Option<String>,
    /// Names of metrics, also with commas between; required without `server`
    #[param(max_items = 200, example = json!(["node_load1"]))]
    metric: Option<Vec<String>>,
    /// Without `server` or with `agg`: matchers on labels of the series, or with `server.` in front of their servers
    #[param(rename = "match", max_items = 20, example = json!(["server.name=~web-.*"]))]
    matchers: Option<Vec<String>>,
    /// What becomes of a series in a step; without `server` and when absent `rate` of counters, else `avg`
    #[param(inline)]
    agg: Option<Agg>,
    /// With `agg=quantile`, of histograms: the share of what was observed that is not above it
    #[param(example = 0.99)]
    q: Option<f64>,
    /// Without `server` or with `agg`: what makes a group, at most 8 with commas between: `server`, `server.<label>`, a label
    by: Option<String>,
    /// Without `server` or with `agg`: what becomes of the series of a group in a step; `avg` with `by`, `merge` of histograms
    #[param(inline)]
    group: Option<Group>,
    /// Begin, inclusive: RFC 3339, milliseconds or relative; `now-1h` when absent, at most 400 days before `to`
    #[param(inline)]
    from: Option<Time>,
    /// End, exclusive; `now` when absent
    #[param(inline)]
    to: Option<Time>,
    /// Pixels: at most two points for each; 600 when absent
    #[param(minimum = 10, maximum = 10_000)]
    width: Option<i64>,
    /// Milliseconds, instead of `width`; above 60000 a multiple of it
    #[param(minimum = 10_000, maximum = 31_622_400_000_i64, multiple_of = 10_000)]
    step: Option<i64>,
    /// Instead of the `Accept` header
    #[param(inline)]
    format: Option<Written>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Chart {
    /// Names of metrics of one unit, also with commas between
    #[param(max_items = 200, example = json!(["node_load1"]))]
    metric: Vec<String>,
    /// Matchers on labels of the series; all have to hold
    #[param(rename = "match", max_items = 20, example = json!(["mode!=idle"]))]
    matchers: Option<Vec<String>>,
    /// Begin, inclusive: RFC 3339, milliseconds or relative; `now-1h` when absent, at most 400 days before `to`
    #[param(inline)]
    from: Option<Time>,
    /// End, exclusive; `now` when absent
    #[param(inline)]
    to: Option<Time>,
    /// Milliseconds; above 60000 a multiple of it; by the width when absent
    #[param(minimum = 10_000, maximum = 31_622_400_000_i64, multiple_of = 10_000)]
    step: Option<i64>,
    /// Pixels; 800 when absent
    #[param(minimum = 200, maximum = 4_000)]
    width: Option<i64>,
    /// Pixels; 320 when absent
    #[param(minimum = 100, maximum = 2_000)]
    height: Option<i64>,
    /// PNG: dots for a pixel; 2 when absent, 1 where that would be too many
    #[param(minimum = 1, maximum = 4)]
    scale: Option<i64>,
    /// `light` when absent
    #[param(inline)]
    theme: Option<Theme>,
    /// In place of the metrics' names
    #[param(max_length = 200)]
    title: Option<String>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Fleet {
    /// Begin of the sparklines: RFC 3339, milliseconds or relative; `now-2h` when absent
    #[param(inline)]
    from: Option<Time>,
    /// Their end; `now` when absent
    #[param(inline)]
    to: Option<Time>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Alerts {
    /// What the alerts have to be
    #[param(inline)]
    status: Option<AlertStatus>,
    /// Id or name of a server
    #[param(example = "web-1")]
    server: Option<String>,
    /// Those that overlap the range from here: RFC 3339, milliseconds or relative
    #[param(inline)]
    from: Option<Time>,
    /// To here
    #[param(inline)]
    to: Option<Time>,
    /// Whether somebody takes care of them
    acknowledged: Option<bool>,
    /// Whether a silence fits them: now while they fire, else when they did
    silenced: Option<bool>,
    /// 100 when absent
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Incidents {
    /// `firing` while any of its alerts is
    #[param(inline)]
    state: Option<AlertStatus>,
    /// Id or name of a server that has an alert in it
    #[param(example = "web-1")]
    server: Option<String>,
    /// Those that overlap the range from here: RFC 3339, milliseconds or relative
    #[param(inline)]
    from: Option<Time>,
    /// To here
    #[param(inline)]
    to: Option<Time>,
    /// 100 when absent
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Silences {
    /// Where they are in their time
    #[param(inline)]
    state: Option<SilenceState>,
    /// 100 when absent
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Anomalies {
    /// Id or name of a server
    #[param(example = "web-1")]
    server: Option<String>,
    /// Begin, inclusive: RFC 3339, milliseconds or relative
    #[param(inline)]
    from: Option<Time>,
    /// End, exclusive
    #[param(inline)]
    to: Option<Time>,
    /// 100 when absent
    #[param(minimum = 1, maximum = 1_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MetricNames {
    /// Matchers on servers: `server.name=~web-.*`, `server.dc=fra`; all have to hold
    #[param(rename = "match", max_items = 20, example = json!(["server.name=~web-.*"]))]
    matchers: Option<Vec<String>>,
    /// What the names begin with
    #[param(max_length = 256)]
    prefix: Option<String>,
    /// Text in the names, in any case
    #[param(max_length = 256)]
    q: Option<String>,
    /// 1000 when absent
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct LabelValues {
    /// Only of series of these metrics, also with commas between
    #[param(max_items = 200, example = json!(["node_load1"]))]
    metric: Option<Vec<String>>,
    /// Matchers on servers: `server.name=~web-.*`, `server.dc=fra`; all have to hold
    #[param(rename = "match", max_items = 20, example = json!(["server.name=~web-.*"]))]
    matchers: Option<Vec<String>>,
    /// What the values begin with
    #[param(max_length = 256)]
    prefix: Option<String>,
    /// Text in the values, in any case
    #[param(max_length = 256)]
    q: Option<String>,
    /// 1000 when absent
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<i64>,
}

#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Live {
    /// Id or name of a server, for its windows; without it one line for each window of each server
    #[param(example = "web-1")]
    server: Option<String>,
    /// The id of the last event that came, for who cannot set the header `Last-Event-ID` (which wins)
    last_event_id: Option<String>,
}

//! The shape of a rules file, before its words are understood: what stands where. Unknown keys are refused here.

use serde::Deserialize;
use serde_saphyr::Spanned;
use tidewatch_schemas::Severity;

use super::Of;

/// A text and where it stands.
pub(super) type Text = Spanned<String>;
/// A number and where it stands.
pub(super) type Number = Spanned<f64>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) rules: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) name: Text,
    pub(super) metric: Option<Text>,
    pub(super) absent: Option<Spanned<Absent>>,
    #[serde(default)]
    pub(super) labels: Vec<Text>,
    pub(super) server: Option<Text>,
    pub(super) above: Option<Number>,
    pub(super) below: Option<Number>,
    pub(super) clear_below: Option<Number>,
    pub(super) clear_above: Option<Number>,
    pub(super) of: Option<Spanned<Of>>,
    pub(super) change_over: Option<Text>,
    pub(super) per: Option<Text>,
    pub(super) divided_by: Option<Text>,
    pub(super) within: Option<Text>,
    #[serde(rename = "for")]
    pub(super) hold: Option<Text>,
    pub(super) keep: Option<Text>,
    #[serde(default)]
    pub(super) quiet: Vec<Text>,
    #[serde(default)]
    pub(super) severity: Severity,
    pub(super) summary: Option<String>,
    pub(super) runbook: Option<String>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Absent {
    Server,
    Series,
    Metric,
}

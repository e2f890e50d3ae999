//! Alerting rules of Prometheus, as far as they fit: `tidewatch rules import`.
//!
//! In: the text of a rule file. Out: a file of our rules, and a word about everything in it that is not, or not as it was.
//! Invariant: every rule of the input stands in the output or in the list of what does not fit, with its line; what
//! is written is a good file of rules.

mod expr;
mod token;
mod translate;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    path::Path,
};

use serde::Deserialize;
use serde_saphyr::Spanned;
use tidewatch_schemas::{Limits, validate::check_metric_name};
use translate::{Condition, duration, quoted};

use crate::rules::{self, LEARNED, RuleError, read_yaml};

/// What became of a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Import {
    /// Our rules, with the notes and the list of what does not fit as comments.
    pub yaml: String,
    /// How many rules it has.
    pub rules: usize,
    /// What is not as it was.
    pub notes: Vec<Remark>,
    /// What is not there.
    pub left_out: Vec<Remark>,
}

/// A word about a rule of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    pub line: u64,
    pub rule: String,
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    name: Spanned<String>,
    interval: Option<String>,
    query_offset: Option<String>,
    limit: Option<String>,
    partial_response_strategy: Option<String>,
    labels: Option<Texts>,
    #[serde(default)]
    rules: Vec<Spanned<Raw>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    record: Option<String>,
    alert: Option<String>,
    expr: Spanned<String>,
    #[serde(rename = "for")]
    hold: Option<Spanned<String>>,
    keep_firing_for: Option<Spanned<String>>,
    labels: Option<Texts>,
    annotations: Option<Texts>,
}

type Texts = BTreeMap<String, String>;

/// Our rules of a file's text; `path` is only for complaints and comments.
pub fn import(text: &str, path: &Path) -> Result<Import, RuleError> {
    let complain = |(line, message): (u64, String)| RuleError { path: path.to_owned(), line, message };
    let file: File = read_yaml(text).map_err(complain)?;
    let mut import = Import::default();
    let mut names = BTreeSet::new();
    let mut body = String::new();
    for group in file.groups {
        import.note_group(&group);
        for rule in group.rules {
            let line = rule.defined.line();
            let name = title(&rule.value);
            match written(&rule.value, group.labels.as_ref(), &mut names) {
                Ok((yaml, notes)) => {
                    import.rules += 1;
                    let _ = write!(body, "\n  # {}:{line}\n", path.display());
                    for note in notes {
                        let _ = writeln!(body, "  # {}", one_line(&note));
                        import.notes.push(Remark { line, rule: name.clone(), text: note });
                    }
                    body.push_str(&yaml);
                }
                Err(text) => import.left_out.push(Remark { line, rule: name, text }),
            }
        }
    }
    import.yaml = if import.rules == 0 { "rules: []\n".to_owned() } else { format!("rules:{body}") };
    for Remark { line, rule, text } in &import.left_out {
        let about = one_line(&format!("{rule}: {text}"));
        let _ = write!(import.yaml, "\n# not imported, {}:{line}: {about}\n", path.display());
    }
    Ok(import)
}

impl Import {
    /// What a group says of all its rules.
    fn note_group(&mut self, group: &Group) {
        let settings = [
            ("interval", &group.interval),
            ("query_offset", &group.query_offset),
            ("limit", &group.limit),
            ("partial_response_strategy", &group.partial_response_strategy),
        ];
        for (key, value) in settings {
            if let Some(value) = value {
                self.notes.push(Remark {
                    line: group.name.defined.line(),
                    rule: format!("group {}", group.name.value),
                    text: format!("left out `{key}: {value}`: rules look at each window of 10 s"),
                });
            }
        }
    }
}

fn title(raw: &Raw) -> String {
    raw.alert.clone().or_else(|| raw.record.clone()).unwrap_or_default()
}

/// Whatever a file contains, a comment is one line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A rule in our words, with what is to be said of it; or why there is none.
fn written(
    raw: &Raw,
    of_group: Option<&Texts>,
    names: &mut BTreeSet<String>,
) -> Result<(String, Vec<String>), String> {
    let Some(alert) = &raw.alert else {
        return Err("a recording rule: a filter derives series (docs/filters.md)".to_owned());
    };
    let Condition { mut keys, is_absence, mut notes } = translate::translate(&expr::parse(&raw.expr.value)?)?;
    let name = free_name(alert, names, &mut notes);
    keys.insert(0, ("name", quoted(&name)));
    let mut hold = time("for", raw.hold.as_ref())?;
    if is_absence && hold < LEAST_ABSENCE_MS {
        notes.push("`for` is 30s: it is the least for what is absent".to_owned());
        hold = LEAST_ABSENCE_MS;
    }
    for (key, millis) in [("for", hold), ("keep", time("keep_firing_for", raw.keep_firing_for.as_ref())?)] {
        if millis > 0 {
            keys.push((key, duration(millis)));
        }
    }
    keys.extend(words(raw, of_group, &mut notes));
    let mut yaml = String::new();
    for (i, (key, value)) in keys.iter().enumerate() {
        let _ = writeln!(yaml, "{} {key}: {value}", if i == 0 { "  -" } else { "   " });
    }
    // what does not fit is found by those who know it
    rules::parse(&format!("rules:\n{yaml}"), Path::new("")).map_err(|error| error.message)?;
    names.insert(name);
    Ok((yaml, notes))
}

/// A rule about what is absent waits at least so long.
const LEAST_ABSENCE_MS: i64 = 30_000;

/// A name that is one for us, and that no rule has yet.
fn free_name(alert: &str, names: &BTreeSet<String>, notes: &mut Vec<String>) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '.' | '-' | '/');
    let mut name: String = alert.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if check_metric_name(&name, &Limits::default()).is_err() {
        name.insert_str(0, "alert_");
    }
    let mut free = name.clone();
    let mut number = 2;
    while names.contains(&free) || free == LEARNED {
        free = format!("{name}_{number}");
        number += 1;
    }
    if free != alert {
        notes.push(format!("its name was {alert:?}"));
    }
    free
}

fn time(key: &str, text: Option<&Spanned<String>>) -> Result<i64, String> {
    let Some(text) = text else { return Ok(0) };
    if text.value == "0" {
        return Ok(0);
    }
    token::duration(&text.value).ok_or_else(|| format!("`{key}: {}` is no duration", text.value))
}

/// Severity, summary and runbook; whatever else is said is said of.
fn words(raw: &Raw, of_group: Option<&Texts>, notes: &mut Vec<String>) -> Vec<(&'static str, String)> {
    let mut keys = Vec::new();
    let mut labels = of_group.cloned().unwrap_or_default();
    labels.extend(raw.labels.clone().unwrap_or_default());
    if let Some(severity) = labels.remove("severity") {
        match severity.to_ascii_lowercase().as_str() {
            "critical" | "page" | "error" => keys.push(("severity", "critical".to_owned())),
            "warning" | "warn" => keys.push(("severity", "warning".to_owned())),
            "info" | "notice" | "none" => keys.push(("severity", "info".to_owned())),
            _ => notes.push(format!("severity {severity:?} is none of ours: it is a warning")),
        }
    }
    let mut annotations = raw.annotations.clone().unwrap_or_default();
    for (annotation, key) in [("summary", "summary"), ("runbook_url", "runbook")] {
        match annotations.get(annotation) {
            Some(text) if !text.contains("{{") => {
                let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
                keys.push((key, quoted(&text)));
            }
            Some(_) => notes.push(format!("left out `{annotation}`: alerts are not made of templates")),
            None => {}
        }
        annotations.remove(annotation);
    }
    let all = [("label", labels), ("annotation", annotations)];
    for (what, left) in all.into_iter().filter(|(_, left)| !left.is_empty()) {
        let names: Vec<String> = left.into_keys().map(|name| format!("`{name}`")).collect();
        notes.push(format!("left out the {what} {}", names.join(", ")));
    }
    keys
}

#[cfg(test)]
mod tests;

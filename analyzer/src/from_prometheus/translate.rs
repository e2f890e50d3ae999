//! From an expression to a condition. In: a tree. Out: the keys of a rule that holds when the expression has a value, or why
//! there is none.
//!
//! Invariant: nothing is left out of an expression; what changes its meaning is a note.

use super::expr::{Expr, Select};

/// The keys of a condition, in the order they are written in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Condition {
    pub(super) keys: Vec<(&'static str, String)>,
    pub(super) is_absence: bool,
    pub(super) notes: Vec<String>,
}

/// A series as it is, or what is made of it.
#[derive(Debug, Clone, PartialEq)]
enum Base {
    Value(Select),
    /// A counter's growth a second, over milliseconds.
    Rate(Select, i64),
    /// The same, in all of that time.
    Increase(Select, i64),
    /// A gauge's change in all of that time.
    Delta(Select, i64),
    Ratio(Select, String),
    /// Where it is in so many milliseconds, by a line through so many.
    Ahead(Select, i64, i64),
}

/// `factor * base + offset`; a number when there is no base.
#[derive(Debug, Clone, PartialEq)]
struct Linear {
    base: Option<Base>,
    factor: f64,
    offset: f64,
}

/// The condition of an expression.
pub(super) fn translate(expr: &Expr) -> Result<Condition, String> {
    match expr {
        Expr::Call(name, args) if name == "absent" => {
            let [Expr::Select(select)] = &args[..] else {
                return Err("`absent` of something that is no plain series".to_owned());
            };
            absence(select)
        }
        Expr::Binary(sign @ ("<" | ">" | "<=" | ">="), left, right) => {
            limit(sign, &linear(left)?, &linear(right)?)
        }
        Expr::Binary("==" | "!=", left, right) => {
            let is_up =
                |expr: &Expr| matches!(expr, Expr::Select(select) if select.metric.as_deref() == Some("up"));
            Err(if is_up(left) || is_up(right) {
                UP.to_owned()
            } else {
                "`==` and `!=` are no limits: write `above` or `below`".to_owned()
            })
        }
        _ => Err("it compares nothing: it fires for whatever value there is".to_owned()),
    }
}

const UP: &str =
    "`up` is made by Prometheus when it scrapes: `absent: server` tells of a server that is silent";

fn limit(sign: &str, left: &Linear, right: &Linear) -> Result<Condition, String> {
    let (base, linear, number, is_above) = match (&left.base, &right.base) {
        (Some(base), None) => (base, left, right.offset, sign.starts_with('>')),
        (None, Some(base)) => (base, right, left.offset, sign.starts_with('<')),
        (Some(_), Some(_)) => {
            return Err("it compares two series: `divided_by` with a limit of 1 may say the same".to_owned());
        }
        (None, None) => return Err("it compares two numbers".to_owned()),
    };
    let mut level = (number - linear.offset) / linear.factor;
    if !level.is_finite() {
        return Err("its limit is no finite number".to_owned());
    }
    let is_above = is_above == (linear.factor > 0.0);
    let (mut keys, mut notes) = of_base(base)?;
    if sign.ends_with('=') {
        // a limit itself is not beyond the limit
        level = if is_above { level.next_down() } else { level.next_up() };
        notes.push(format!("`{sign}` includes the limit, so the limit is the number next to it"));
    }
    keys.push((if is_above { "above" } else { "below" }, level.to_string()));
    Ok(Condition { keys, is_absence: false, notes })
}

type Keys = Vec<(&'static str, String)>;

fn of_base(base: &Base) -> Result<(Keys, Vec<String>), String> {
    let (select, more) = match base {
        Base::Value(select) => (select, vec![("of", "last".to_owned())]),
        Base::Rate(select, over) => {
            (select, vec![("of", "rate".to_owned()), ("change_over", duration(*over))])
        }
        Base::Increase(select, over) => {
            let time = duration(*over);
            (select, vec![("of", "rate".to_owned()), ("change_over", time.clone()), ("per", time)])
        }
        Base::Delta(select, over) => {
            let time = duration(*over);
            (select, vec![("of", "last".to_owned()), ("change_over", time.clone()), ("per", time)])
        }
        Base::Ratio(select, by) => (select, vec![("divided_by", quoted(by)), ("of", "last".to_owned())]),
        Base::Ahead(select, _, within) => {
            (select, vec![("of", "last".to_owned()), ("within", duration(*within))])
        }
    };
    let (mut keys, mut notes) = of_select(select)?;
    if matches!(base, Base::Ratio(..)) {
        notes.push("divided by nothing it has no value here, and is infinite there".to_owned());
    }
    if let Base::Ahead(_, over, _) = base {
        notes.push(format!(
            "a line through as much as is straight, not through {}; what is beyond the limit already is not foretold",
            duration(*over)
        ));
    }
    keys.extend(more);
    Ok((keys, notes))
}

fn absence(select: &Select) -> Result<Condition, String> {
    let (mut keys, mut notes) = of_select(select)?;
    keys.push(("absent", "metric".to_owned()));
    notes
        .push("Prometheus asks whether there is one anywhere; this asks each server that reports".to_owned());
    Ok(Condition { keys, is_absence: true, notes })
}

fn of_select(select: &Select) -> Result<(Keys, Vec<String>), String> {
    let mut metrics: Vec<String> = select.metric.iter().cloned().collect();
    let mut labels = Vec::new();
    let mut notes = Vec::new();
    for (label, operator, value) in &select.matchers {
        match label.as_str() {
            "__name__" if *operator == "=" => metrics.push(value.clone()),
            "__name__" => metrics.push(format!("{operator}{}", text(value))),
            "job" | "instance" => notes.push(format!(
                "left out {label}{operator}{value:?}: Prometheus sets it when it scrapes; `server` chooses servers"
            )),
            _ => {
                let value = if operator.ends_with('~') { text(value) } else { exact(value) };
                labels.push(format!("{label}{operator}{value}"));
            }
        }
    }
    let [metric] = &metrics[..] else { return Err("it does not name one metric".to_owned()) };
    if metric == "up" {
        return Err(UP.to_owned());
    }
    let mut keys = vec![("metric", quoted(metric))];
    if !labels.is_empty() {
        let labels: Vec<String> = labels.iter().map(|label| quoted(label)).collect();
        keys.push(("labels", format!("[{}]", labels.join(", "))));
    }
    Ok((keys, notes))
}

/// A value that may hold what a matcher would take for a sign of its own.
fn exact(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':');
    if value.chars().all(is_plain) { value.to_owned() } else { format!("\"{value}\"") }
}

/// A regular expression: quotes and spaces at its ends would be lost.
fn text(value: &str) -> String {
    if value.trim() == value && !value.starts_with('"') { value.to_owned() } else { format!("\"{value}\"") }
}

/// A text in YAML, on one line.
pub(super) fn quoted(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("'{}'", line.replace('\'', "''"))
}

/// A duration as rules have it.
pub(super) fn duration(millis: i64) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    let unit = units.into_iter().find(|(size, _)| millis % size == 0);
    unit.map_or_else(|| format!("{millis}ms"), |(size, name)| format!("{}{name}", millis / size))
}

fn linear(expr: &Expr) -> Result<Linear, String> {
    let of_base = |base| Ok(Linear { base: Some(base), factor: 1.0, offset: 0.0 });
    match expr {
        Expr::Number(number) => Ok(Linear { base: None, factor: 1.0, offset: *number }),
        Expr::Select(select) => of_base(Base::Value(select.clone())),
        Expr::Range(..) => Err("a series over a time without a function".to_owned()),
        Expr::Minus(inner) => Ok(scaled(linear(inner)?, -1.0)),
        Expr::Call(name, args) => call(name, args),
        Expr::Binary("+", left, right) => added(linear(left)?, linear(right)?),
        Expr::Binary("-", left, right) => added(linear(left)?, scaled(linear(right)?, -1.0)),
        Expr::Binary("*", left, right) => match (linear(left)?, linear(right)?) {
            (number, other) | (other, number) if number.base.is_none() => Ok(scaled(other, number.offset)),
            _ => Err("it multiplies two series: derive one from them first (docs/filters.md)".to_owned()),
        },
        Expr::Binary("/", left, right) => divided(linear(left)?, linear(right)?),
        Expr::Binary("%", ..) => Err("`%` is no arithmetic that a limit can take over".to_owned()),
        Expr::Binary(sign, ..) => Err(format!("`{sign}` within an expression filters: a rule compares once")),
    }
}

fn scaled(linear: Linear, factor: f64) -> Linear {
    Linear { factor: linear.factor * factor, offset: linear.offset * factor, ..linear }
}

fn added(left: Linear, right: Linear) -> Result<Linear, String> {
    let offset = left.offset + right.offset;
    match (left.base, right.base) {
        (Some(_), Some(_)) => {
            Err("it adds or subtracts two series: derive one from them first (docs/filters.md)".to_owned())
        }
        (base @ Some(_), None) => Ok(Linear { base, factor: left.factor, offset }),
        (None, base) => Ok(Linear { base, factor: right.factor, offset }),
    }
}

fn divided(left: Linear, right: Linear) -> Result<Linear, String> {
    match (left.base, right.base) {
        (base, None) => {
            let whole = Linear { base, factor: left.factor, offset: left.offset };
            Ok(scaled(whole, 1.0 / right.offset))
        }
        (None, Some(_)) => {
            Err("it divides by a series: derive one from it first (docs/filters.md)".to_owned())
        }
        (Some(Base::Value(dividend)), Some(Base::Value(divisor))) => {
            if left.offset != 0.0 || right.offset != 0.0 {
                return Err("it divides sums: derive a series from them first (docs/filters.md)".to_owned());
            }
            let base = Some(ratio(dividend, divisor)?);
            Ok(Linear { base, factor: left.factor / right.factor, offset: 0.0 })
        }
        (Some(_), Some(_)) => {
            Err("it divides what is made of series: `divided_by` takes series as they are".to_owned())
        }
    }
}

/// Both have the same labels, so what the divisor's have to be the dividend's have to be.
fn ratio(mut dividend: Select, divisor: Select) -> Result<Base, String> {
    let Some(by) = divisor.metric else { return Err("it does not name the metric it divides by".to_owned()) };
    for matcher in divisor.matchers {
        if !dividend.matchers.contains(&matcher) {
            dividend.matchers.push(matcher);
        }
    }
    Ok(Base::Ratio(dividend, by))
}

fn call(name: &str, args: &[Expr]) -> Result<Linear, String> {
    let base = match (name, args) {
        ("rate", [Expr::Range(select, over)]) => Base::Rate(select.clone(), *over),
        ("increase", [Expr::Range(select, over)]) => Base::Increase(select.clone(), *over),
        ("delta", [Expr::Range(select, over)]) => Base::Delta(select.clone(), *over),
        ("absent", _) => return Err("`absent` within an expression: a rule asks one thing".to_owned()),
        ("irate" | "idelta", _) => {
            return Err(format!(
                "`{name}` looks at two samples: a rule looks at windows of 10 s, or use `rate`"
            ));
        }
        ("predict_linear", [Expr::Range(select, over), within]) => {
            let Linear { base: None, offset: seconds, .. } = linear(within)? else {
                return Err("`predict_linear` looks ahead for a time that is no number".to_owned());
            };
            Base::Ahead(select.clone(), *over, (seconds * 1_000.0).round() as i64)
        }
        ("deriv", _) => {
            return Err("`deriv` draws a line through a time: `change_over` takes its two ends".to_owned());
        }
        ("time", _) => {
            return Err("`time()` is the clock's: `change_over` tells of what does not move".to_owned());
        }
        (name, _) if name.ends_with("_over_time") => {
            return Err(format!("`{name}` looks at more than a window of 10 s: `for` may say the same"));
        }
        (name, _) => return Err(format!("`{name}()` has no equivalent")),
    };
    Ok(Linear { base: Some(base), factor: 1.0, offset: 0.0 })
}

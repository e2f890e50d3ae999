//! What is wrong in a file is told with its line, in one line.

use super::*;

fn wrong(text: &str) -> FilterError {
    let error = Filter::parse(text).expect_err(text);
    assert!(!error.to_string().contains('\n'), "{error}");
    error
}

/// A file, the line and a part of what it is told.
const WRONG: &[(&str, u64, &str)] = &[
    ("rulez: []", 1, "rulez"),
    ("{}", 1, "missing field `rules`"),
    ("# nothing\n", 1, "it has no `rules`"),
    ("rules:\n  - drop: { metrik: a }\n", 2, "read yaml: unknown field `metrik`"),
    ("rules:\n  - drop:\n      metric: a\n      to: b\n", 4, "unknown field `to`"),
    ("rules:\n  - drop: { metric: a, metric: b }\n", 2, "duplicate mapping key: metric"),
    ("rules:\n\n  - metric: a\n", 3, "unknown field `metric`, expected one of drop, keep"),
    (
        "rules:\n  - drop:\n      metric: a\n  - drop: { metric: a }\n    keep: { metric: b }\n",
        4,
        "two actions, `drop` and `keep`",
    ),
    ("rules:\n  - {}\n", 2, "no action: drop, keep, rename, relabel, scale or derive"),
    ("rules:\n  - drop:\n", 2, "no action"),
    ("rules:\n  - drop: {}\n", 2, "nothing would be left"),
    ("rules:\n  - keep: { server: 'web-*' }\n", 2, "to leave out servers, use `drop`"),
    ("rules:\n  - drop:\n      metric: *_bytes\n", 3, "quote a text that begins with `*`"),
    ("rules:\n  - drop:\n      metric: !go_*\n", 3, "quote a text that begins with `!`"),
    ("rules:\n  - drop: &a { metric: x }\n", 2, "anchor"),
    ("rules:\n  - drop: { metric: 'a b' }\n", 2, "use `a b`: it is no metric name"),
    ("rules:\n  - drop: { metric: 'a b*' }\n", 2, "no metric name"),
    ("rules:\n  - drop: { metric: '' }\n", 2, "no metric name"),
    ("rules:\n  - drop: { metric: '/(/' }\n", 2, "compile `/(/`: "),
    ("rules:\n  - drop:\n      labels:\n        ok: x\n        a: '/)/'\n", 5, "compile `/)/`"),
    ("rules:\n  - drop: { labels: { 'a b': x } }\n", 2, "use `a b`: it is no label name"),
    ("rules:\n  - drop: { server: '/[/' }\n", 2, "compile"),
    ("rules:\n  - rename: { metric: a }\n", 2, "missing field `to`"),
    ("rules:\n  - rename: { to: a }\n", 2, "missing field `metric`"),
    ("rules:\n  - rename:\n      metric: a*\n      to: b c\n", 4, "use `b c`: it is no metric name"),
    ("rules:\n  - rename:\n      metric: a*\n      to: b $1\n", 4, "no metric name"),
    ("rules:\n  - rename:\n      metric: a*\n      to: '**'\n", 4, "more stars than `a*`"),
    ("rules:\n  - rename: { metric: '/(a)/', to: $2 }\n", 2, "`/(a)/` has no group `2`"),
    ("rules:\n  - rename: { metric: '!a', to: $0 }\n", 2, "no group"),
    ("rules:\n  - relabel: { metric: a }\n", 2, "needs `set`, `remove` or `rename`"),
    ("rules:\n  - relabel: { set: { 1a: x } }\n", 2, "no label name"),
    ("rules:\n  - relabel: { set: { a: \"x\\ny\" } }\n", 2, "set label `a`: bad_label"),
    ("rules:\n  - relabel: { set: { a: 1 } }\n", 2, "numbers in quotes"),
    ("rules:\n  - relabel:\n      set:\n        a: { from: b, mach: c }\n", 4, "unknown field `mach`"),
    (
        "rules:\n  - relabel:\n      set:\n        a:\n          from: b\n          match: '/(/'\n",
        6,
        "compile",
    ),
    (
        "rules:\n  - relabel:\n      set:\n        a:\n          from: b\n          match: /b/\n",
        6,
        "no group `1`",
    ),
    ("rules:\n  - relabel: { set: { a: { from: b c } } }\n", 2, "no label name"),
    ("rules:\n  - relabel: { remove: ['/(/'] }\n", 2, "compile"),
    ("rules:\n  - relabel: { rename: { a: 'b c' } }\n", 2, "no label name"),
    ("rules:\n  - relabel:\n      rename:\n        a: c\n        b: c\n", 5, "another one is already"),
    ("rules:\n  - scale: { metric: a }\n", 2, "needs `factor`, `offset` or `unit`"),
    ("rules:\n  - scale: { metric: a, factor: 0 }\n", 2, "use `factor`: it is zero"),
    ("rules:\n  - scale: { metric: a, factor: .inf }\n", 2, "finite"),
    ("rules:\n  - scale: { metric: a, factor: 1e101 }\n", 2, "beyond"),
    ("rules:\n  - scale: { metric: a, offset: .nan }\n", 2, "finite"),
    ("rules:\n  - scale: { metric: a, factor: ten }\n", 2, ""),
    ("rules:\n  - scale: { metric: a, unit: \"a\\tb\" }\n", 2, "use `unit`"),
    ("rules:\n  - derive: { name: a b, value: x, operands: { x: y } }\n", 2, "use `a b`"),
    ("rules:\n  - derive: { name: a, value: 1, operands: {} }\n", 2, "1 to 16"),
    (
        "rules:\n  - derive:\n      name: a\n      value: x + z\n      operands: { x: y }\n",
        4,
        "read `x + z`: `z` is not among the operands",
    ),
    (
        "rules:\n  - derive:\n      name: a\n      value: x +\n      operands: { x: y }\n",
        4,
        "a value is missing at its end",
    ),
    (
        "rules:\n  - derive:\n      name: a\n      value: x\n      operands:\n        x: y\n        z: y\n",
        7,
        "use operand `z`: `value` does not",
    ),
    ("rules:\n  - derive: { name: a, value: x, operands: { x: 'y z' } }\n", 2, "use `y z`"),
    (
        "rules:\n  - derive: { name: a, value: x, operands: { x: { labels: {} } } }\n",
        2,
        "missing field `metric`",
    ),
    (
        "rules:\n  - derive: { name: a, value: x, operands: { x: { metric: y, by: z } } }\n",
        2,
        "unknown field `by`",
    ),
    ("rules:\n  - derive: { name: a, value: x, by: ['a b'], operands: { x: y } }\n", 2, "no label name"),
    ("rules:\n  - derive: { name: a, kind: sum, value: x, operands: { x: y } }\n", 2, "sum"),
    (
        "rules:\n  - derive:\n      name: a\n      kind: counter\n      value: x - y\n      operands: { x: x, y: y }\n",
        5,
        "only grow",
    ),
    ("rules:\n  - drop: { metric: a\n", 2, ""),
    ("rules:\n  - drop:\n    metric: a\n  keep:\n", 3, ""),
    ("rules: 5\n", 1, ""),
    ("rules:\n  - drop: { metric: \"a\\nb\" }\n", 2, "use `a b`"),
    ("rules: []\n---\nrules: []\n", 2, "one document"),
];

#[test]
fn a_wrong_file_is_told_which_line_and_why() {
    filter("rules:\n  - drop:\n      metric: a\n");
    for &(text, line, part) in WRONG {
        let error = wrong(text);
        assert_eq!(error.line, line, "{text}\n{error}");
        assert!(error.message.contains(part), "{text}\n{error}");
        assert!(error.to_string().starts_with(&format!("line {line}: ")), "{error}");
    }
}

#[test]
fn a_file_beyond_the_limits_is_refused() {
    let rule = "  - drop: { metric: a }\n";
    filter(&format!("rules:\n{}", rule.repeat(MOST_RULES)));
    let error = wrong(&format!("rules:\n{}", rule.repeat(MOST_RULES + 1)));
    assert_eq!(error.to_string(), "line 502: read a rule: more than 500 of them");
    let error = wrong(&format!("rules: []{}", " ".repeat(MOST_BYTES)));
    assert_eq!(error.to_string(), "line 1: read a file of 262153 bytes: the limit is 262144");
    let regexes: String = (0..300).map(|_| "  - relabel: { remove: [/a/, /b/, /c/, /d/] }\n").collect();
    assert!(wrong(&format!("rules:\n{regexes}")).message.contains("more than 1000 regular expressions"));
    let deep = format!("rules: {}{}", "[".repeat(5_000), "]".repeat(5_000));
    assert_eq!(wrong(&deep).line, 1);
}

#[test]
fn a_long_text_is_told_in_part() {
    let error = wrong(&format!("rules:\n  - drop: {{ metric: {} }}\n", "x".repeat(900)));
    assert!(error.message.ends_with("xxx...") && error.message.len() < 310, "{error}");
}

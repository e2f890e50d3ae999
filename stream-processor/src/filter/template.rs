//! Filter: new names out of old ones. In: `host_*`, `$1_bytes`, `${disk}`, and the groups of a match. Out: a text.
//!
//! Invariant: a template that exists names only groups its matcher has, so rendering can't fail.

use super::matcher::Matcher;

/// Parts of one template: what it makes stays small, whatever the groups hold.
const MOST_PARTS: usize = 64;

#[derive(Debug, Clone)]
pub(super) struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Group(usize),
}

impl Template {
    /// `$1`, `${1}`, `$name`, `${name}`, `$$` for a dollar; after a glob also `*`, the n-th for the n-th star.
    pub(super) fn parse(text: &str, matcher: &Matcher) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut stars = 0;
        let mut rest = text;
        while let Some(at) = rest.find(['$', '*']) {
            literal.push_str(&rest[..at]);
            let (sign, after) = rest[at..].split_at(1);
            rest = after;
            let group = if sign == "*" {
                if matcher.stars() == 0 {
                    literal.push('*');
                    continue;
                }
                stars += 1;
                if stars > matcher.stars() {
                    return Err(format!("use `{text}`: it has more stars than `{}`", matcher.source()));
                }
                stars
            } else if let Some(after) = rest.strip_prefix('$') {
                literal.push('$');
                rest = after;
                continue;
            } else {
                let (name, after) = reference(rest)
                    .ok_or_else(|| format!("use `{text}`: after $ comes a group, or $ for a dollar"))?;
                rest = after;
                group(name, matcher)
                    .ok_or_else(|| format!("use `{text}`: `{}` has no group `{name}`", matcher.source()))?
            };
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Group(group));
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        if parts.len() > MOST_PARTS {
            return Err(format!("use a template: it has more than {MOST_PARTS} parts"));
        }
        Ok(Self { parts })
    }

    /// The text itself, when it has no groups.
    pub(super) fn fixed(&self) -> Option<&str> {
        match &self.parts[..] {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The texts between the groups.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(text.as_str()),
            Part::Group(_) => None,
        })
    }

    pub(super) fn render(&self, groups: &[&str]) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Group(group) => groups.get(*group).copied().unwrap_or_default(),
            })
            .collect()
    }
}

/// The name after a dollar, and what follows it.
fn reference(rest: &str) -> Option<(&str, &str)> {
    if let Some(braced) = rest.strip_prefix('{') {
        return braced.split_once('}').filter(|(name, _)| !name.is_empty());
    }
    let numeric = rest.starts_with(|c: char| c.is_ascii_digit());
    let inside = |c: char| c.is_ascii_digit() || (!numeric && (c.is_ascii_alphabetic() || c == '_'));
    let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
    (end > 0).then(|| rest.split_at(end))
}

fn group(name: &str, matcher: &Matcher) -> Option<usize> {
    let most = matcher.groups()?;
    name.parse().ok().filter(|&number| number <= most).or_else(|| matcher.group_named(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(matcher: &str, template: &str, text: &str) -> Result<String, String> {
        let matcher = Matcher::parse(matcher).unwrap();
        Ok(Template::parse(template, &matcher)?.render(&matcher.captures(text).unwrap()))
    }

    #[test]
    fn groups_and_stars_are_filled_in() {
        for (matcher, template, text, wanted) in [
            ("node_*", "host_*", "node_cpu", "host_cpu"),
            ("a*b*", "$2-*-*", "axby", "y-x-y"),
            ("/(?<disk>sd.)(\\d)/", "${disk}_$2x", "sda1", "sda_1x"),
            ("/(a)(b)?/", "$1$$$2*", "a", "a$*"),
            ("up", "is_$0", "up", "is_up"),
            ("!x", "plain", "y", "plain"),
        ] {
            assert_eq!(render(matcher, template, text).unwrap(), wanted, "{matcher} {template}");
        }
    }

    #[test]
    fn a_group_that_is_not_there_is_refused() {
        for (matcher, template, text) in [
            ("node_*", "*_*", "node_x"),
            ("up", "$1", "up"),
            ("/(a)/", "$2", "a"),
            ("/(a)/", "$name", "a"),
            ("/(a)/", "${}", "a"),
            ("/(a)/", "${1", "a"),
            ("/(a)/", "cost $", "a"),
            ("!x", "$0", "y"),
        ] {
            render(matcher, template, text).unwrap_err();
        }
        render("/(a)/", &"$1".repeat(65), "a").unwrap_err();
    }
}

//! Filter: the shape of a file of rules, before its words are understood. In: YAML. Out: the texts of each rule, each with
//! its line.
//!
//! Invariant: unknown keys, keys that stand twice, anchors and tags are refused here: nothing in a file goes unread.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_saphyr::Spanned;
use tidewatch_schemas::SeriesKind;

/// A text and where it stands.
pub(super) type Text = Spanned<String>;

/// Texts by name. The line of a name is that of its text.
pub(super) type Texts = BTreeMap<String, Text>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) rules: Vec<Spanned<Rule>>,
}

/// One of them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) drop: Option<Spanned<When>>,
    pub(super) keep: Option<Spanned<When>>,
    pub(super) rename: Option<Spanned<Rename>>,
    pub(super) relabel: Option<Spanned<Relabel>>,
    pub(super) scale: Option<Spanned<Scale>>,
    pub(super) derive: Option<Spanned<Derive>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct When {
    pub(super) metric: Option<Text>,
    #[serde(default)]
    pub(super) labels: Texts,
    pub(super) server: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rename {
    pub(super) metric: Text,
    #[serde(default)]
    pub(super) labels: Texts,
    pub(super) server: Option<Text>,
    pub(super) to: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Relabel {
    pub(super) metric: Option<Text>,
    #[serde(default)]
    pub(super) labels: Texts,
    pub(super) server: Option<Text>,
    #[serde(default)]
    pub(super) rename: Texts,
    #[serde(default)]
    pub(super) remove: Vec<Text>,
    #[serde(default)]
    pub(super) set: BTreeMap<String, Spanned<TextOr<Capture>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Capture {
    pub(super) from: Text,
    #[serde(rename = "match")]
    pub(super) pattern: Option<Text>,
    pub(super) to: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scale {
    pub(super) metric: Text,
    #[serde(default)]
    pub(super) labels: Texts,
    pub(super) server: Option<Text>,
    pub(super) factor: Option<Spanned<f64>>,
    pub(super) offset: Option<Spanned<f64>>,
    pub(super) unit: Option<Text>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Derive {
    pub(super) name: Text,
    pub(super) unit: Option<Text>,
    #[serde(default)]
    pub(super) kind: SeriesKind,
    pub(super) by: Option<Vec<Text>>,
    pub(super) server: Option<Text>,
    pub(super) value: Text,
    pub(super) operands: BTreeMap<String, Spanned<TextOr<Operand>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Operand {
    pub(super) metric: Text,
    #[serde(default)]
    pub(super) labels: Texts,
}

/// The short form, or the long one. By hand, since `untagged` loses the lines and says nothing useful.
pub(super) enum TextOr<T> {
    Text(String),
    Map(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for TextOr<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrVisitor(PhantomData))
    }
}

struct TextOrVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for TextOrVisitor<T> {
    type Value = TextOr<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text (numbers in quotes) or a map")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(TextOr::Text(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(TextOr::Map)
    }
}

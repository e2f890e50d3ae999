//! How an answer is written: JSON, CSV or MessagePack. In: `format=`, else the `Accept` header. Out: bytes.
//!
//! Keeps: JSON and MessagePack hold the same; CSV is one row for each value that is there, in RFC 4180's quoting, with labels as
//! JSON in one field.

use axum::http::{HeaderMap, header};
use bytes::Bytes;
use serde::Serialize;
use tidewatch_schemas::Labels;
use tidewatch_service_kit::http::Problem;

use crate::{
    app::Failure,
    params::{Params, bad},
};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) enum Format {
    #[default]
    Json,
    Csv,
    MessagePack,
}

pub(crate) const NAMES: [(&str, Format); 3] =
    [("json", Format::Json), ("csv", Format::Csv), ("msgpack", Format::MessagePack)];

impl Format {
    /// What is asked for; a browser or a client that takes anything gets JSON.
    pub(crate) fn of(params: &Params, headers: &HeaderMap) -> Result<Self, Problem> {
        if let Some(text) = params.get("format") {
            let found = NAMES.iter().find(|(name, _)| *name == text).map(|(_, format)| *format);
            return found.ok_or_else(|| bad("format", "has to be json, csv or msgpack"));
        }
        let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut best = (0.0, Self::Json);
        for one in accepted.flat_map(|list| list.split(',')) {
            let mut parts = one.split(';').map(str::trim);
            let format = match parts.next().unwrap_or_default() {
                "application/json" | "application/*" | "*/*" => Self::Json,
                "text/csv" => Self::Csv,
                "application/msgpack" | "application/vnd.msgpack" | "application/x-msgpack" => {
                    Self::MessagePack
                }
                _ => continue,
            };
            let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.parse().ok());
            let weight = weight.unwrap_or(0.0);
            if weight > best.0 {
                best = (weight, format);
            }
        }
        Ok(best.1)
    }

    /// As `format=` names it.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, format)| *format == self).map_or("json", |(name, _)| name)
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::MessagePack => "application/msgpack",
        }
    }

    pub(crate) fn write<T: Serialize + Table + ?Sized>(self, value: &T) -> Result<Bytes, Failure> {
        let bytes = match self {
            Self::Json => serde_json::to_vec(value).map_err(|error| error.to_string()),
            Self::MessagePack => rmp_serde::to_vec_named(value).map_err(|error| error.to_string()),
            Self::Csv => csv_of(value).map_err(|error| error.to_string()),
        };
        bytes.map(Bytes::from).map_err(Failure::Outage)
    }
}

fn csv_of<T: Table + ?Sized>(value: &T) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut csv = Csv::default();
    value.rows(&mut csv)?;
    Ok(csv.0.into_inner()?)
}

/// What can be rows; the first is the names of the columns.
pub(crate) trait Table {
    fn rows(&self, csv: &mut Csv) -> csv::Result<()>;
}

/// Rows in the making.
#[derive(Debug)]
pub(crate) struct Csv(csv::Writer<Vec<u8>>);

impl Default for Csv {
    fn default() -> Self {
        Self(csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new()))
    }
}

/// A field of a row.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Text(&'a str),
    Number(f64),
    Whole(i64),
    None,
}

impl From<Option<f64>> for Field<'_> {
    fn from(value: Option<f64>) -> Self {
        value.map_or(Self::None, Self::Number)
    }
}

impl Csv {
    pub(crate) fn row<'a>(&mut self, fields: impl IntoIterator<Item = Field<'a>>) -> csv::Result<()> {
        for field in fields {
            match field {
                Field::Text(text) => self.0.write_field(text)?,
                // the shortest text that reads back as the same number
                Field::Number(number) => self.0.write_field(number.to_string())?,
                Field::Whole(number) => self.0.write_field(number.to_string())?,
                Field::None => self.0.write_field("")?,
            }
        }
        self.0.write_record(None::<&[u8]>)
    }
}

/// Labels in one field.
pub(crate) fn labels_text(labels: &Labels) -> String {
    serde_json::to_string(labels).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(query: &str, accept: &str) -> Option<&'static str> {
        let params = Params::parse(Some(query), &["format"]).ok()?;
        let headers = [(header::ACCEPT, accept.parse().ok()?)].into_iter().collect();
        Format::of(&params, &headers).ok().map(Format::name)
    }

    #[test]
    fn the_parameter_goes_before_the_header_and_the_best_of_the_header_wins() {
        for (query, accept, format) in [
            ("", "", "json"),
            ("", "*/*", "json"),
            ("", "text/html,application/xhtml+xml,*/*;q=0.8", "json"),
            ("", "text/csv", "csv"),
            ("", "text/csv;q=0.5, application/msgpack", "msgpack"),
            ("", "application/json, text/csv", "json"),
            ("", "text/csv;q=0", "json"),
            ("", "image/png", "json"),
            ("format=csv", "application/json", "csv"),
            ("format=json", "text/csv", "json"),
        ] {
            assert_eq!(of(query, accept), Some(format), "{query} {accept}");
        }
        assert_eq!(of("format=xml", ""), None);
    }

    fn text(csv: Csv) -> String {
        String::from_utf8(csv.0.into_inner().expect("bytes")).expect("text")
    }

    #[test]
    fn what_would_break_a_row_is_quoted() {
        let mut csv = Csv::default();
        let fields =
            [Field::Text("a,b"), Field::Text("say \"x\""), Field::Number(0.1), Field::Whole(-7), Field::None];
        csv.row(fields).expect("row");
        csv.row([
            Field::Text("plain"),
            Field::from(None),
            Field::from(Some(1e150)),
            Field::None,
            Field::None,
        ])
        .expect("row");
        let big = format!("{}", 1e150);
        assert_eq!(text(csv), format!("\"a,b\",\"say \"\"x\"\"\",0.1,-7,\r\nplain,,{big},,\r\n"));
    }

    proptest! {
        #[test]
        fn a_number_reads_back(value in prop::num::f64::NORMAL) {
            let mut csv = Csv::default();
            csv.row([Field::Number(value)]).expect("row");
            prop_assert_eq!(text(csv).trim_end().parse(), Ok(value));
        }
    }
}

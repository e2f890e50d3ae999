//! What an answer says of itself, so that it can be kept and asked for again: as of when it is true, how old it is, its tag, how
//! long it may be kept. In: an answer. Out: its headers, or 304 for those who have it already.
//!
//! Keeps: RFC 9110 and 9111. A tag is weak: the same in every encoding, and a moment later when all but `as_of` is the same.
//! One that is stale or degraded has another tag: a 304 takes no header away from those who kept it.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use memchr::memmem;
use tidewatch_schemas::time::rfc3339;
use twox_hash::XxHash3_64;

use crate::{format::Format, keep::Answer, params::MINUTE};

pub(crate) static SOURCE: HeaderName = HeaderName::from_static("x-tidewatch-source");
pub(crate) static STALE: HeaderName = HeaderName::from_static("x-tidewatch-stale");
static AS_OF: HeaderName = HeaderName::from_static("x-tidewatch-as-of");

/// How long after its end a time is taken to be over: far longer than samples may be late and windows wait for them.
const OVER: i64 = 15 * MINUTE;

/// So near to its begin an answer says its `as_of`: behind the longest name of a server.
const HEAD: usize = 4_096;

/// How an answer is given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Given {
    pub(crate) stale: bool,
    pub(crate) degraded: bool,
    /// Milliseconds since 1970.
    pub(crate) now: i64,
}

/// The answer with its headers.
pub(crate) fn respond(answer: Answer, given: Given) -> Response {
    let (tag, cache_control) = (tag(&answer, given), cache_control(&answer, given));
    let mut response = answer.body.into_response();
    let headers = response.headers_mut();
    let fixed = HeaderValue::from_static;
    headers.insert(header::CONTENT_TYPE, fixed(answer.format.media_type()));
    // what else it varies by is known at the door: who asks
    headers.insert(header::VARY, fixed("accept, accept-encoding"));
    headers.insert(header::CACHE_CONTROL, fixed(cache_control));
    headers.insert(SOURCE.clone(), fixed(answer.source.as_str()));
    let texts = [
        (AS_OF.clone(), Some(rfc3339(answer.as_of))),
        (header::ETAG, Some(tag)),
        (header::LINK, answer.link),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::try_from(text).ok()) {
            headers.insert(name, value);
        }
    }
    if given.stale {
        headers.insert(STALE.clone(), fixed("true"));
        headers.insert(header::AGE, ((given.now - answer.as_of).max(0) / 1_000).into());
    }
    response
}

/// What is over stays as it is; anything else has to be asked for again, which a tag makes cheap.
fn cache_control(answer: &Answer, given: Given) -> &'static str {
    match answer.ends {
        _ if given.stale => "private, no-cache",
        Some(ends) if ends <= given.now - OVER => "private, max-age=300",
        _ => "private, max-age=0, must-revalidate",
    }
}

/// Of all that is given out but `as_of`; of the `Link` too, which a 304 would leave as it was.
fn tag(answer: &Answer, given: Given) -> String {
    let (before, behind) = around_as_of(answer);
    let mut hash = u64::from(given.stale) | (u64::from(given.degraded) << 1);
    for part in [answer.link.as_deref().unwrap_or_default().as_bytes(), before, behind] {
        hash = XxHash3_64::oneshot_with_seed(hash, part);
    }
    format!("W/\"{hash:016x}\"")
}

fn around_as_of(answer: &Answer) -> (&[u8], &[u8]) {
    let said = if answer.format == Format::Json {
        format!("\"as_of\":{}", answer.as_of).into_bytes()
    } else if answer.format == Format::MessagePack {
        // a text of five, a whole number of eight bytes
        [b"\xa5as_of\xcf", &answer.as_of.to_be_bytes()[..]].concat()
    } else {
        Vec::new()
    };
    let body = &answer.body[..];
    let head = &body[..body.len().min(HEAD)];
    let at = if said.is_empty() { None } else { memmem::find(head, &said) };
    at.map_or((body, &[]), |at| (&body[..at], &body[at + said.len()..]))
}

/// Middleware: 304 in place of an answer that the asker has.
pub(crate) async fn conditional(request: Request, next: Next) -> Response {
    let asked = request.headers().clone();
    let response = next.run(request).await;
    let tag = response.headers().get(header::ETAG).and_then(|tag| tag.to_str().ok());
    if tag.is_none_or(|tag| !is_known(&asked, tag)) {
        return response;
    }
    let (mut head, _) = response.into_parts();
    head.status = StatusCode::NOT_MODIFIED;
    for of_the_body in [header::CONTENT_TYPE, header::CONTENT_LENGTH] {
        head.headers.remove(of_the_body);
    }
    Response::from_parts(head, Body::empty())
}

/// Whether `If-None-Match` has this tag, compared weakly (RFC 9110, 13.1.2).
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let bare = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|one| one.trim() == "*" || bare(one) == bare(tag))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;
    use crate::keep::Source;

    const NOW: i64 = 1_795_443_360_000;
    const FRESH: Given = Given { stale: false, degraded: false, now: NOW };

    #[derive(Serialize)]
    struct Body<'a> {
        name: &'a str,
        as_of: i64,
        values: &'a [f64],
    }

    fn answer(format: Format, name: &str, as_of: i64, values: &[f64]) -> Answer {
        let body = Body { name, as_of, values };
        let body = match format {
            Format::Json => serde_json::to_vec(&body).expect("JSON"),
            Format::MessagePack => rmp_serde::to_vec_named(&body).expect("MessagePack"),
            Format::Csv | Format::Svg | Format::Png => format!("{name}\r\n{values:?}").into_bytes(),
        };
        Answer { body: Bytes::from(body), format, source: Source::Postgres, link: None, as_of, ends: None }
    }

    #[test]
    fn what_is_over_may_be_kept_and_what_is_stale_may_not() {
        let of = |ends, stale| {
            let answer = Answer { ends, ..answer(Format::Json, "a", NOW, &[]) };
            cache_control(&answer, Given { stale, ..FRESH })
        };
        assert_eq!(of(None, false), "private, max-age=0, must-revalidate");
        assert_eq!(of(Some(NOW), false), "private, max-age=0, must-revalidate");
        assert_eq!(of(Some(NOW - OVER + 1), false), "private, max-age=0, must-revalidate");
        assert_eq!(of(Some(NOW - OVER), false), "private, max-age=300");
        assert_eq!(of(Some(NOW - OVER), true), "private, no-cache");
    }

    #[test]
    fn a_tag_tells_how_an_answer_was_given_and_where_it_goes_on() {
        let plain = answer(Format::Json, "a", NOW, &[1.0]);
        let linked = Answer { link: Some("</x>; rel=\"next\"".into()), ..plain.clone() };
        let tags = [
            tag(&plain, FRESH),
            tag(&plain, Given { stale: true, ..FRESH }),
            tag(&plain, Given { degraded: true, ..FRESH }),
            tag(&plain, Given { stale: true, degraded: true, ..FRESH }),
            tag(&linked, FRESH),
        ];
        for (i, one) in tags.iter().enumerate() {
            assert!(!tags[i + 1..].contains(one), "{tags:?}");
        }
    }

    #[test]
    fn only_stale_answers_have_an_age() {
        let age = |stale, as_of| {
            let response = respond(answer(Format::Json, "a", as_of, &[]), Given { stale, ..FRESH });
            response.headers().get(header::AGE).map(|age| age.to_str().expect("digits").to_owned())
        };
        assert_eq!(age(false, NOW - 90_000), None);
        assert_eq!(age(true, NOW - 90_999).as_deref(), Some("90"));
        assert_eq!(age(true, NOW + 5_000).as_deref(), Some("0"), "a clock that went back");
    }

    proptest! {
        #[test]
        fn a_tag_is_of_all_but_as_of(
            names in ("\\PC{0,250}", "\\PC{0,250}"), times in (1_i64..4_000_000_000_000, 1_i64..4_000_000_000_000),
            values in prop::collection::vec(-1e9..1e9, 0..9), changed in prop::num::f64::NORMAL
        ) {
            for format in [Format::Json, Format::MessagePack, Format::Csv] {
                let of = |name: &str, as_of, values: &[f64]| tag(&answer(format, name, as_of, values), FRESH);
                let first = of(&names.0, NOW + times.0, &values);
                prop_assert_eq!(&of(&names.0, NOW + times.1, &values), &first);
                prop_assert_eq!(of(&names.1, NOW + times.0, &values) == first, names.0 == names.1);
                let other = [&values[..], &[changed]].concat();
                prop_assert_ne!(of(&names.0, NOW + times.0, &other), first);
            }
        }

        #[test]
        fn no_header_makes_the_comparison_fail(text in "[\\x20-\\x7e]{0,40}") {
            let asked = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_str(&text).expect("ASCII"))]);
            let is_star = text.split(',').any(|one| one.trim() == "*");
            prop_assert_eq!(is_known(&asked, "W/\"00112233445566778899\""), is_star);
        }
    }
}

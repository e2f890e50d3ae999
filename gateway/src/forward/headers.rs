//! The headers of both ways: what is for one hop stays on it, what only we may say is ours alone.
//!
//! Keeps: no credential leaves the door; a service can believe `X-Tidewatch-Client`, `-Role` and `X-Forwarded-*`.

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};

use super::Upload;
use crate::{
    authenticate::Caller,
    peer::{FORWARDED_FOR, FORWARDED_HOST, FORWARDED_PROTO, Peer},
};

/// For one hop only (RFC 9110, 7.6.1), besides those that `Connection` names.
const HOP: [&str; 9] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Credentials, and what the next hop says itself.
const OURS: [&str; 7] = ["authorization", "x-api-key", "cookie", "host", "expect", "forwarded", "x-real-ip"];

const INTERNAL: &str = "x-tidewatch-";

pub(super) fn to_service(head: &mut Parts, peer: Peer, caller: Option<&Caller>) {
    let headers = &mut head.headers;
    let host = headers.get(header::HOST).cloned();
    let kept = |name: &str| headers.get(name).filter(|_| peer.proxied).cloned();
    let (proto, outer_host) = (kept(FORWARDED_PROTO), kept(FORWARDED_HOST));
    strip_hop(headers);
    for name in OURS.into_iter().chain([FORWARDED_FOR, FORWARDED_PROTO, FORWARDED_HOST]) {
        headers.remove(name);
    }
    let internal: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with(INTERNAL)).cloned().collect();
    for name in internal {
        headers.remove(name);
    }
    // one address: the one that we believe
    set(headers, FORWARDED_FOR, HeaderValue::try_from(peer.address.to_string()).ok());
    set(headers, FORWARDED_PROTO, Some(proto.unwrap_or(HeaderValue::from_static("http"))));
    set(headers, FORWARDED_HOST, outer_host.or(host));
    if let Some(caller) = caller {
        set(headers, "x-tidewatch-client", HeaderValue::from_str(&caller.name).ok());
        set(headers, "x-tidewatch-role", Some(HeaderValue::from_static(caller.role.as_str())));
    }
}

pub(super) fn to_client(headers: &mut HeaderMap) {
    strip_hop(headers);
    // cookies and names of servers are the door's to give
    headers.remove(header::SET_COOKIE);
    headers.remove(header::SERVER);
}

/// A body that a GET should not have stays here.
pub(super) fn without_body(headers: &mut HeaderMap) {
    for name in [header::CONTENT_LENGTH, header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        headers.remove(name);
    }
}

/// The request as one instance gets it.
pub(super) fn request(head: &Parts, address: SocketAddr, body: Upload) -> Request<Upload> {
    let path = head.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
    let mut request = plain(head.method.clone(), address, path, body);
    *request.headers_mut() = head.headers.clone();
    request
}

pub(super) fn plain(
    method: Method,
    address: SocketAddr,
    path: PathAndQuery,
    body: Upload,
) -> Request<Upload> {
    let mut request = Request::new(body);
    *request.method_mut() = method;
    let mut uri = http::uri::Parts::default();
    uri.scheme = Some(Scheme::HTTP);
    // an address is always a good authority
    uri.authority = Authority::try_from(address.to_string()).ok();
    uri.path_and_query = Some(path);
    *request.uri_mut() = Uri::from_parts(uri).unwrap_or_default();
    request
}

fn set(headers: &mut HeaderMap, name: &'static str, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn strip_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&str, &str)], proxied: bool) -> HeaderMap {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        let mut head = request.into_parts().0;
        to_service(&mut head, Peer { address: [1, 2, 3, 4].into(), proxied }, None);
        head.headers
    }

    #[test]
    fn one_hop_stays_one_hop() {
        let headers = sent(
            &[
                ("connection", "close, X-Mine"),
                ("x-mine", "1"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("accept", "a/b"),
            ],
            false,
        );
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["accept", "x-forwarded-for", "x-forwarded-proto"]);
    }

    #[test]
    fn nobody_speaks_for_the_door() {
        let lies = [
            ("host", "door"),
            ("authorization", "Bearer x"),
            ("x-api-key", "x"),
            ("cookie", "tidewatch_session=x"),
            ("x-tidewatch-role", "admin"),
            ("X-Tidewatch-Client", "root"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "elsewhere"),
            ("forwarded", "for=9.9.9.9"),
        ];
        let headers = sent(&lies, false);
        assert_eq!(headers.len(), 3, "{headers:?}");
        assert_eq!(headers[FORWARDED_FOR], "1.2.3.4");
        assert_eq!(headers[FORWARDED_PROTO], "http");
        assert_eq!(headers[FORWARDED_HOST], "door");
        let headers = sent(&lies, true);
        assert_eq!(headers[FORWARDED_PROTO], "https");
        assert_eq!(headers[FORWARDED_HOST], "elsewhere");
    }
}

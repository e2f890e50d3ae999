//! The embedded pages. In: any path that is no API. Out: the file npm built, or `index.html` for the pages' own paths.
//!
//! Keeps: names with a hash in them are cached for ever, `index.html` never; nothing but our own scripts runs in a page.

use axum::{
    body::Body,
    extract::Request,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use rust_embed::RustEmbed;
use tidewatch_service_kit::http::Problem;

use crate::fresh::is_known;

/// What `build.rs` found: the built pages or a line that says how to build them.
#[derive(RustEmbed)]
#[folder = "$TIDEWATCH_WEB_DIST"]
struct Pages;

const INDEX: &str = "index.html";

/// Where Vite puts files whose names change with their contents.
const HASHED: &str = "assets/";

const POLICY: &str = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'";

/// What follows the first slash: a page, a file, or nothing of ours.
pub(crate) async fn page(request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return method_not_allowed().await.into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    let (name, file) = if let Some(file) = Pages::get(path) {
        (path, file)
    } else {
        match Pages::get(INDEX) {
            Some(file) if is_page(path) => (INDEX, file),
            _ => return unknown_path().into_response(),
        }
    };
    let tag = tag(&file.metadata.sha256_hash());
    let cache = if name.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = if is_known(request.headers(), &tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = mime_guess::from_path(name).first_or_octet_stream();
        let kind = if mime.type_() == "text" { format!("{mime}; charset=utf-8") } else { mime.to_string() };
        let mut response = Body::from(file.data.into_owned()).into_response();
        if let Ok(kind) = HeaderValue::from_str(&kind) {
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// Server names have dots in them, so a dot makes no file: only the folder of assets and the root hold files.
fn is_page(path: &str) -> bool {
    !path.starts_with("api/")
        && path != "api"
        && !path.starts_with(HASHED)
        && (path.contains('/') || !path.contains('.'))
}

/// Weak: the same tag stands for the file and for its compressed form.
fn tag(hash: &[u8]) -> String {
    use std::fmt::Write;
    let mut tag = "W/\"".to_owned();
    for byte in &hash[..8] {
        let _ = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    tag
}

fn unknown_path() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "unknown_path", "there is nothing at this path")
}

pub(crate) async fn method_not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "unknown_path", "this path does not answer this method")
}

/// Middleware: what a browser may do with our answers.
pub(crate) async fn security_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        // what an answer says of itself is stricter
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str, known: Option<&str>) -> Response {
        let request = Request::get(path);
        let request = known.into_iter().fold(request, |r, tag| r.header(header::IF_NONE_MATCH, tag));
        page(request.body(Body::empty()).expect("request")).await
    }

    #[tokio::test]
    async fn a_page_is_asked_for_again_only_when_it_changed() {
        let first = get("/", None).await;
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(first.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
        assert_eq!(first.headers()[header::CACHE_CONTROL], "no-cache");
        let tag = first.headers()[header::ETAG].to_str().expect("ascii").to_owned();
        for known in
            [tag.clone(), tag.trim_start_matches("W/").to_owned(), format!("\"x\", {tag}"), "*".into()]
        {
            let again = get("/", Some(&known)).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{known}");
            assert_eq!(again.headers()[header::ETAG], tag.as_str());
        }
        assert_eq!(get("/", Some("W/\"0011223344556677\"")).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn the_pages_own_paths_are_the_index_and_a_missing_file_is_404() {
        for page in ["/servers/web-1", "/servers/db.fra-2.example", "/alerts"] {
            assert_eq!(get(page, None).await.status(), StatusCode::OK, "{page}");
        }
        for missing in ["/assets/index-00.js", "/favicon.ico", "/api/v1/nothing", "/api"] {
            assert_eq!(get(missing, None).await.status(), StatusCode::NOT_FOUND, "{missing}");
        }
        let post = Request::post("/").body(Body::empty()).expect("request");
        assert_eq!(page(post).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}

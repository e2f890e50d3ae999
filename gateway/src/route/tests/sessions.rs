//! Browsers: signing in by key and by code, the cookie, foreign pages, signing out.

use super::*;
use crate::keys::{hash, hex};

const CODE: &str = "kWq1d3-a_Zx9";

async fn door(settings: &[(&str, &str)]) -> (TestDoor, Behind) {
    let behind = Behind::start().await;
    let door = TestDoor::start(&[behind.address], settings).await;
    (door, behind)
}

/// The cookie of a `Set-Cookie`, as a browser sends it back.
fn cookie(answer: &Answer) -> String {
    answer.header("set-cookie").split(';').next().unwrap().to_owned()
}

async fn sign_in(door: &TestDoor, key: &str, headers: &[(&str, &str)]) -> Answer {
    let body: &'static str = Box::leak(format!("{{\"key\": \"{key}\"}}").into_boxed_str());
    door.ask(Method::POST, "/api/v1/session", headers, body).await
}

#[tokio::test]
async fn a_key_becomes_a_cookie_and_the_cookie_ends() {
    let (door, _behind) = door(&[]).await;
    let answer = sign_in(&door, &door.viewer, &[]).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &br#"{"name":"viewer","role":"viewer"}"#[..]));
    let set = answer.header("set-cookie");
    for part in ["tidewatch_session=", "; Path=/", "; Max-Age=43200", "; HttpOnly", "; SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
    assert!(!set.contains("Secure"));
    assert_eq!(answer.header("cache-control"), "no-store");
    let cookie = cookie(&answer);
    let with = [("cookie", cookie.as_str())];
    assert_eq!(door.ask(Method::GET, "/api/v1/servers", &with, "").await.status, 200);
    let who = door.ask(Method::GET, "/api/v1/session", &with, "").await;
    let who: serde_json::Value = serde_json::from_slice(&who.body).unwrap();
    assert_eq!((who["name"].as_str(), who["role"].as_str()), (Some("viewer"), Some("viewer")));
    let expires = chrono::DateTime::parse_from_rfc3339(who["expires_at"].as_str().unwrap()).unwrap();
    assert!((43_190..=43_200).contains(&(expires.timestamp() - now())));
    // signing out needs our own page
    let answer = door.ask(Method::DELETE, "/api/v1/session", &with, "").await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "cross_origin"));
    let own = [("cookie", cookie.as_str()), ("sec-fetch-site", "same-origin")];
    let answer = door.ask(Method::DELETE, "/api/v1/session", &own, "").await;
    assert_eq!(answer.status, 204);
    assert!(answer.header("set-cookie").starts_with("tidewatch_session=; Path=/; Max-Age=0"));
    let answer = door.ask(Method::GET, "/api/v1/servers", &with, "").await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "expired_session"));
}

#[tokio::test]
async fn cookies_are_secure_where_the_way_is() {
    let (door, _behind) = door(&[]).await;
    let answer = sign_in(&door, &door.viewer, &[("x-forwarded-proto", "https")]).await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
    let behind = Behind::start().await;
    let hash = hex(&hash(CODE));
    let door = TestDoor::start(&[behind.address], &[("sign-in-code-sha256", &hash)]).await;
    let answer =
        door.ask(Method::GET, &format!("/sign-in?code={CODE}"), &[("x-forwarded-proto", "https")], "").await;
    assert!(answer.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn a_code_signs_one_browser_in() {
    let hash = hex(&hash(CODE));
    let (door, _behind) = door(&[("sign-in-code-sha256", &hash)]).await;
    let path = format!("/sign-in?code={CODE}");
    for wrong in ["/sign-in", "/sign-in?code=", "/sign-in?code=nonsense", "/sign-in?edoc=kWq1d3-a_Zx9"] {
        let answer = door.ask(Method::GET, wrong, &[], "").await;
        assert_eq!((answer.status, answer.header("location")), (303, "/?sign-in=expired"), "{wrong}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    let answer = door.ask(Method::GET, &path, &[], "").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/"));
    let cookie = cookie(&answer);
    let own = [("cookie", cookie.as_str()), ("origin", &format!("http://{}", door.address))];
    assert_eq!(door.ask(Method::POST, "/api/v1/ingest", &own, "{}").await.status, 200, "an admin's");
    let foreign = [("cookie", cookie.as_str()), ("origin", "http://elsewhere")];
    assert_eq!(door.ask(Method::POST, "/api/v1/ingest", &foreign, "{}").await.code(), "cross_origin");
    let answer = door.ask(Method::GET, &path, &[], "").await;
    assert_eq!((answer.status, answer.header("location")), (303, "/?sign-in=expired"));
}

#[tokio::test]
async fn many_browsers_with_one_code_are_one() {
    let hash = hex(&hash(CODE));
    let (door, _behind) = door(&[("sign-in-code-sha256", &hash)]).await;
    let path = format!("/sign-in?code={CODE}");
    let all = (0..8).map(|_| door.ask(Method::GET, &path, &[], ""));
    let answers = futures_util::future::join_all(all).await;
    assert_eq!(answers.iter().filter(|answer| answer.header("location") == "/").count(), 1);
}

#[tokio::test]
async fn failed_sign_ins_are_slowed_down() {
    let (door, _behind) = door(&[]).await;
    for _ in 0..10 {
        let answer = sign_in(&door, "tw_v_nonsense", &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (401, "wrong_key"));
    }
    let answer = sign_in(&door, &door.viewer, &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too_many_requests"));
    assert_eq!(answer.header("retry-after"), "6");
    assert_eq!(door.ask(Method::GET, "/sign-in?code=x", &[], "").await.status, 429);
    assert_eq!(door.get("/api/v1/servers").await.status, 200, "a good key goes on working");
}

#[tokio::test]
async fn a_bad_sign_in_is_told_what_is_wrong() {
    let (door, _behind) = door(&[]).await;
    for body in ["", "x", "[]", "{}", "{\"key\": 1}", "{\"key\": \"x\", \"more\": 1}"] {
        let answer = door.ask(Method::POST, "/api/v1/session", &[], body).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad_json"), "{body}");
    }
    let large: &'static str = Box::leak("x".repeat(5_000).into_boxed_str());
    assert_eq!(door.ask(Method::POST, "/api/v1/session", &[], large).await.status, 413);
    let answer = sign_in(&door, &door.viewer, &[("sec-fetch-site", "cross-site")]).await;
    assert_eq!(answer.code(), "cross_origin");
}

#[tokio::test]
async fn only_an_admin_changes_a_server_and_with_a_cookie_only_from_our_own_page() {
    let (door, mut behind) = door(&[]).await;
    let kind = ("content-type", "application/merge-patch+json");
    let patch = async |who: &[(&str, &str)]| {
        door.ask(Method::PATCH, "/api/v1/servers/web-1", &[&[kind][..], who].concat(), "{}").await
    };
    for key in [&door.viewer, &door.writer] {
        let answer = patch(&[("x-api-key", key), ("x-tidewatch-role", "admin")]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "role_not_allowed"));
    }
    let cookie = cookie(&sign_in(&door, &door.admin, &[]).await);
    let answer = patch(&[("cookie", &cookie)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "cross_origin"));
    assert_eq!(behind.asked(), 0);
    assert_eq!(patch(&[("x-api-key", &door.admin)]).await.status, 200);
    assert_eq!(patch(&[("cookie", &cookie), ("sec-fetch-site", "same-origin")]).await.status, 200);
    for _ in 0..2 {
        let head = behind.seen.recv().await.unwrap();
        assert_eq!((head.method, head.uri.path()), (Method::PATCH, "/api/v1/servers/web-1"));
        assert_eq!(head.headers["x-tidewatch-role"], "admin");
        assert_eq!(head.headers["content-type"], kind.1);
    }
}

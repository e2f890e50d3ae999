//! Who is let in and who is not: keys in every wrong shape, cookies that were bent, sessions that are over.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;

use super::*;
use crate::keys::{KeyFile, create, generate, replace};

struct World {
    folder: tempfile::TempDir,
    viewer: String,
    keys: Arc<KeySet>,
    sessions: Sessions,
}

const NOW: i64 = 1_800_000_000;

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys.yaml");
    let viewer = create(&path, "ines", Role::Viewer).unwrap().reveal().to_owned();
    let keys = KeyFile::load(path).unwrap().keys();
    World { folder, viewer, keys, sessions: Sessions::new(None, Duration::from_mins(1)).unwrap() }
}

impl World {
    fn ask(&self, headers: &[(&str, &str)]) -> Result<Caller, Stranger> {
        self.ask_at(headers, NOW)
    }

    fn ask_at(&self, headers: &[(&str, &str)], now: i64) -> Result<Caller, Stranger> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
            map.append(name.parse::<http::HeaderName>().unwrap(), value);
        }
        authenticate(&map, &self.keys, &self.sessions, now)
    }

    fn session(&self) -> String {
        let id = self.keys.find(&self.viewer).unwrap().id();
        self.sessions.begin("ines", Role::Viewer, Some(id), NOW).1
    }
}

#[test]
fn a_key_is_taken_from_either_header() {
    let world = world();
    let key = world.viewer.as_str();
    for headers in [
        &[("authorization", format!("Bearer {key}"))],
        &[("authorization", format!("bearer {key}"))],
        &[("x-api-key", key.to_owned())],
    ] {
        let [(name, value)] = headers;
        let caller = world.ask(&[(name, value)]).unwrap();
        assert_eq!((&*caller.name, caller.role, caller.shown), ("ines", Role::Viewer, Shown::Key));
    }
}

#[test]
fn nothing_near_a_key_is_one() {
    let world = world();
    let key = world.viewer.as_str();
    let random = &key[5..];
    let mut wrong = vec![
        String::new(),
        " ".into(),
        random.to_owned(),
        key[..47].to_owned(),
        format!("{key}A"),
        format!("{key}="),
        format!(" {key}"),
        format!("{key} "),
        format!("{key}\t"),
        key.to_uppercase(),
        key.replacen("tw_v_", "TW_V_", 1),
        key.replacen("tw_v_", "tw_a_", 1),
        key.replacen("tw_v_", "tw_w_", 1),
        key.replacen("tw_v_", "tw_x_", 1),
        key.replacen("tw_v_", "tw-v-", 1),
        format!("tw_v_{}", "A".repeat(43)),
        format!("tw_v_{}", "é".repeat(21)),
        format!("tw_v_{}+", &random[..42]),
        "x".repeat(100_000),
        generate(Role::Viewer).reveal().to_owned(),
        generate(Role::Admin).reveal().to_owned(),
        crate::keys::hex(&crate::keys::hash(key)),
    ];
    // each character of it changed
    for at in 0..key.len() {
        let mut other = key.as_bytes().to_vec();
        other[at] = if other[at] == b'A' { b'B' } else { b'A' };
        wrong.push(String::from_utf8(other).unwrap());
    }
    for wrong in wrong {
        assert_eq!(world.ask(&[("x-api-key", &wrong)]), Err(Stranger::WrongKey), "{wrong:.60}");
        assert_eq!(
            world.ask(&[("authorization", &format!("Bearer {wrong}"))]),
            Err(Stranger::WrongKey),
            "{wrong:.60}"
        );
    }
    for scheme in ["", "Bearer", "Basic ", "Token ", "Bearer\t", "Bearer  "] {
        let value = format!("{scheme}{key}");
        assert_eq!(world.ask(&[("authorization", &value)]), Err(Stranger::WrongKey), "{scheme:?}");
    }
    assert_eq!(world.ask(&[]), Err(Stranger::ShowedNothing));
}

#[test]
fn the_most_explicit_credential_counts() {
    let world = world();
    let (key, cookie) = (world.viewer.as_str(), format!("{COOKIE}={}", world.session()));
    let bearer = format!("Bearer {key}");
    for headers in [
        [("authorization", "Bearer nonsense"), ("cookie", &*cookie)],
        [("authorization", "Bearer nonsense"), ("x-api-key", key)],
        [("x-api-key", "nonsense"), ("cookie", &*cookie)],
        [("authorization", &*bearer), ("authorization", &*bearer)],
        [("x-api-key", key), ("x-api-key", "nonsense")],
    ] {
        assert_eq!(world.ask(&headers), Err(Stranger::WrongKey), "{headers:?}");
    }
    assert!(world.ask(&[("x-api-key", key), ("cookie", "tidewatch_session=x")]).is_ok());
}

#[test]
fn a_session_lasts_its_time() {
    let world = world();
    let cookie = format!("theme=dark; {COOKIE}={}; other=1", world.session());
    for (now, good) in [(NOW - 1, true), (NOW, true), (NOW + 59, true), (NOW + 60, false), (i64::MAX, false)]
    {
        let asked = world.ask_at(&[("cookie", &cookie)], now);
        assert_eq!(asked.is_ok(), good, "{now}");
        assert!(good || asked == Err(Stranger::ExpiredSession));
    }
}

#[test]
fn a_bent_cookie_is_no_session() {
    let world = world();
    let value = world.session();
    let (payload, mac) = value.split_once('.').unwrap();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    let admin = URL_SAFE_NO_PAD.encode(claims.replace("viewer", "admin"));
    let other = Sessions::new(None, Duration::from_mins(1)).unwrap();
    let mut bent = vec![
        String::new(),
        ".".into(),
        payload.to_owned(),
        format!("{payload}."),
        format!(".{mac}"),
        format!("{admin}.{mac}"),
        format!("{payload}.{mac}."),
        format!("{payload}.{mac}="),
        format!("{payload}.{}", &mac[..20]),
        "A".repeat(2_000),
        other.begin("ines", Role::Viewer, None, NOW).1,
    ];
    for at in (0..value.len()).filter(|at| *at != payload.len()) {
        let mut changed = value.clone().into_bytes();
        changed[at] = if changed[at] == b'A' { b'E' } else { b'A' };
        bent.push(String::from_utf8(changed).unwrap());
    }
    for bent in bent {
        assert_eq!(
            world.ask(&[("cookie", &format!("{COOKIE}={bent}"))]),
            Err(Stranger::ExpiredSession),
            "{bent}"
        );
    }
    assert!(world.ask(&[("cookie", &format!("{COOKIE}={value}"))]).is_ok());
}

#[test]
fn who_signs_out_is_out_and_only_he() {
    let world = world();
    let (one, two) = (world.session(), world.session());
    let claims = world.sessions.verify(&one, NOW).unwrap();
    world.sessions.end(&claims, NOW);
    assert!(world.sessions.verify(&one, NOW).is_none());
    assert!(world.sessions.verify(&two, NOW).is_some());
}

#[test]
fn a_revoked_key_takes_its_sessions_with_it() {
    let mut world = world();
    let cookie = format!("{COOKIE}={}", world.session());
    assert!(world.ask(&[("cookie", &cookie)]).is_ok());
    let path = world.folder.path().join("keys.yaml");
    // a new key of the same name and role does not revive the old one's session
    replace(&path, "ines", Role::Viewer).unwrap();
    world.keys = KeyFile::load(path).unwrap().keys();
    assert_eq!(world.ask(&[("cookie", &cookie)]), Err(Stranger::ExpiredSession));
    assert_eq!(world.ask(&[("x-api-key", &world.viewer)]), Err(Stranger::WrongKey));
}

#[test]
fn instances_that_share_a_secret_read_each_others_cookies() {
    let secret = tidewatch_service_kit::Secret::new("0123456789abcdef0123456789abcdef");
    let make = || Sessions::new(Some(&secret), Duration::from_mins(1)).unwrap();
    let (claims, value) = make().begin("ines", Role::Viewer, None, NOW);
    assert_eq!(make().verify(&value, NOW), Some(claims));
}

#[test]
fn a_page_of_another_origin_is_told_apart() {
    for (headers, answer) in [
        (&[][..], None),
        (&[("sec-fetch-site", "same-origin")], Some(true)),
        (&[("sec-fetch-site", "same-site")], Some(false)),
        (&[("sec-fetch-site", "cross-site")], Some(false)),
        (&[("sec-fetch-site", "none")], Some(false)),
        (&[("sec-fetch-site", "cross-site"), ("origin", "http://door"), ("host", "door")], Some(false)),
        (&[("origin", "http://door:1"), ("host", "door:1")], Some(true)),
        (&[("origin", "https://door"), ("host", "door")], Some(true)),
        (&[("origin", "http://door:2"), ("host", "door:1")], Some(false)),
        (&[("origin", "http://door.evil"), ("host", "door")], Some(false)),
        (&[("origin", "null"), ("host", "door")], Some(false)),
        (&[("origin", "http://door")], Some(false)),
    ] {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, HeaderValue::from_static(value));
        }
        assert_eq!(is_same_origin(&map), answer, "{headers:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_a_key_or_a_session(text in "[ -~]{0,80}") {
        let keys = KeySet::default();
        let sessions = Sessions::new(None, Duration::from_mins(1)).unwrap();
        for (name, value) in [("x-api-key", text.clone()), ("cookie", format!("{COOKIE}={text}"))] {
            let mut map = HeaderMap::new();
            map.insert(name, HeaderValue::from_str(&value).unwrap());
            prop_assert!(authenticate(&map, &keys, &sessions, NOW).is_err());
        }
    }
}

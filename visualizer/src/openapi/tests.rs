//! The document against the code: every path of the router and no other, every parameter of the parsers with their bounds,
//! and nothing in it that points nowhere.

use std::collections::{BTreeMap, BTreeSet};

use tower::ServiceExt;

use super::*;
use crate::{
    chart::ChartQuestion,
    events::Filter,
    fleet,
    format::Format,
    live::{self, stream},
    names::NamesQuestion,
    params::{HOUR, parse_time},
    query::{Question, many::ManyQuestion},
    samples::SamplesQuestion,
    servers::ServersQuestion,
    silences::SilencesQuestion,
};

const NOW: i64 = 1_795_443_360_000;

/// Path, method, operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let paths = document["paths"].as_object().expect("paths");
    let operations = paths.iter().flat_map(|(path, item)| {
        let item = item.as_object().expect("a path");
        item.iter().map(|(method, operation)| (path.clone(), method.clone(), operation.clone()))
    });
    operations.collect()
}

fn parameters(operation: &Value, place: &str) -> BTreeMap<String, Value> {
    let all = operation["parameters"].as_array().into_iter().flatten();
    let here = all.filter(|one| one["in"] == place);
    here.map(|one| (one["name"].as_str().expect("a name").to_owned(), one.clone())).collect()
}

/// What a call's parser makes of a query string, and the parameters that it knows.
fn parse(method: &str, path: &str, query: &str) -> (Result<(), Problem>, BTreeSet<&'static str>) {
    let params = |known: &[&str]| Params::parse(Some(query), known);
    let filter = |known: &[&str]| params(known).and_then(|p| Filter::parse(&p, NOW)).map(drop);
    let headers = axum::http::HeaderMap::new();
    let format = |p: &Params| Format::of(p, &headers);
    let set = |known: &[&'static str]| known.iter().copied().collect::<BTreeSet<_>>();
    // what changes something takes no parameters
    if method != "get" {
        return (params(&[]).map(drop), set(&[]));
    }
    match path {
        "/api/v1/servers" => {
            let known = ServersQuestion::KNOWN;
            (params(&known).and_then(ServersQuestion::parse).map(drop), set(&known))
        }
        "/api/v1/metrics/{server}" => {
            let known = SamplesQuestion::KNOWN;
            let read = |p: Params| SamplesQuestion::parse(&p, "a".into(), format(&p)?, NOW);
            (params(&known).and_then(read).map(drop), set(&known))
        }
        "/api/v1/query" => {
            let both = &set(&Question::KNOWN) | &set(&ManyQuestion::KNOWN);
            let names = |name| Params::names(Some(query), name);
            let parsed = if names("server") && !names("agg") {
                params(&Question::KNOWN).and_then(|p| Question::read(&p, format(&p)?, NOW)).map(drop)
            } else {
                params(&ManyQuestion::KNOWN).and_then(|p| ManyQuestion::parse(&p, format(&p)?, NOW)).map(drop)
            };
            (parsed, both)
        }
        "/api/v1/charts/{file}" => {
            let read = ChartQuestion::read("web-1.png", Some(query), NOW);
            (read.map(drop), set(&ChartQuestion::KNOWN))
        }
        "/api/v1/fleet" => {
            let known = fleet::KNOWN;
            (params(&known).and_then(|p| p.range(NOW, 2 * HOUR)).map(drop), set(&known))
        }
        "/api/v1/alerts" => (filter(&Filter::OF_ALERTS), set(&Filter::OF_ALERTS)),
        "/api/v1/incidents" => (filter(&Filter::OF_INCIDENTS), set(&Filter::OF_INCIDENTS)),
        "/api/v1/silences" => {
            let known = SilencesQuestion::KNOWN;
            (params(&known).and_then(|p| SilencesQuestion::parse(&p)).map(drop), set(&known))
        }
        "/api/v1/anomalies" => (filter(&Filter::OF_ANOMALIES), set(&Filter::OF_ANOMALIES)),
        "/api/v1/metric-names" => {
            let known = NamesQuestion::OF_METRICS;
            (params(&known).and_then(|p| NamesQuestion::parse(None, &p)).map(drop), set(&known))
        }
        "/api/v1/label/{name}/values" => {
            let known = NamesQuestion::OF_LABEL;
            let read = |p: Params| NamesQuestion::parse(Some("dc".to_owned()), &p);
            (params(&known).and_then(read).map(drop), set(&known))
        }
        "/api/v1/live" => (params(&stream::KNOWN).map(drop), set(&stream::KNOWN)),
        "/api/v1/servers/{server}"
        | "/api/v1/servers/{server}/collect"
        | "/api/v1/incidents/{id}"
        | "/api/v1/silences/{id}"
        | "/api/v1/openapi.json" => (params(&[]).map(drop), set(&[])),
        other => panic!("say here how {other} reads its parameters"),
    }
}

/// A good question that names nothing but what has to be there.
fn least(path: &str, with: &str) -> &'static str {
    match path {
        "/api/v1/query" if with != "server" && with != "metric" => "metric=a&",
        "/api/v1/charts/{file}" if with != "metric" => "metric=a&",
        _ => "",
    }
}

#[test]
fn every_parameter_of_a_parser_is_in_the_document_and_no_other() {
    for (path, method, operation) in operations(&document()) {
        let described = parameters(&operation, "query");
        let (_, known) = parse(&method, &path, "");
        assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), known, "{method} {path}");
        let in_path: Vec<_> = path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(
            parameters(&operation, "path").into_keys().collect::<Vec<_>>(),
            in_path,
            "{method} {path}"
        );
        for (name, parameter) in described {
            assert!(parameter["description"].as_str().is_some_and(|text| text.len() > 5), "{path}: {name}");
            assert!(!parameter["schema"].to_string().contains("null"), "{path}: {name} is no null");
        }
    }
}

#[test]
fn every_bound_is_the_parsers_own() {
    let mut checked = 0;
    for (path, method, operation) in operations(&document()) {
        for (name, parameter) in parameters(&operation, "query") {
            let schema = &parameter["schema"];
            let accepts = |value: &str| {
                let more = if value == "quantile" { "&q=0.5" } else { "" };
                parse(&method, &path, &format!("{}{name}={value}{more}", least(&path, &name))).0.is_ok()
            };
            for (bound, step) in [("minimum", -1), ("maximum", 1)] {
                if let Some(bound) = schema[bound].as_i64() {
                    let beyond = bound + step * schema["multipleOf"].as_i64().unwrap_or(1);
                    assert!(accepts(&bound.to_string()), "{path}: {name}={bound}");
                    assert!(!accepts(&beyond.to_string()), "{path}: {name}={beyond}");
                    checked += 1;
                }
            }
            if let Some(values) = schema["enum"].as_array() {
                let values: Vec<_> = values.iter().map(|value| value.as_str().expect("text")).collect();
                assert!(values.iter().all(|value| accepts(value)), "{path}: {name} of {values:?}");
                assert!(!accepts("none_of_them"), "{path}: {name}");
                checked += 1;
            }
            if let Some(pattern) = schema["pattern"].as_str() {
                let regex = regex_lite::Regex::new(pattern).expect("a pattern");
                for value in ["name", "-open_alerts", "ok", "odd,critical", "", "-", "ok,", "none", "Name"] {
                    assert_eq!(accepts(value), regex.is_match(value), "{path}: {name}={value}");
                }
                checked += 1;
            }
            if let Some(most) = schema["maxLength"].as_u64() {
                assert!(accepts(&"x".repeat(most as usize)) && !accepts(&"x".repeat(most as usize + 1)));
                checked += 1;
            }
            if let Some(most) = schema["maxItems"].as_u64() {
                let many = |count: u64| {
                    let one = |i| match name.as_str() {
                        "metric" => format!("metric=m{i}"),
                        "match" => format!("match=server.l{i}=x"),
                        _ => format!("{name}=l{i}=x"),
                    };
                    let all: Vec<_> = (0..count).map(one).collect();
                    parse(&method, &path, &format!("{}{}", least(&path, &name), all.join("&"))).0.is_ok()
                };
                assert!(many(most) && !many(most + 1), "{path}: {name} {most} times");
                checked += 1;
            }
            if !schema["anyOf"].is_null() {
                let reads = |text: &str| parse_time(text, NOW).is_some();
                assert!(["now", "now-6h", "now+90s", "2026-11-23T14:16:00Z"].into_iter().all(reads));
                let whole = &schema["anyOf"][2];
                let (least, most) =
                    (whole["minimum"].as_i64().expect("bound"), whole["maximum"].as_i64().expect("bound"));
                assert!(reads(&least.to_string()) && reads(&most.to_string()));
                assert!(!reads(&(least - 1).to_string()) && !reads(&(most + 1).to_string()));
                assert!(!accepts("yesterday"), "{path}: {name}");
                checked += 1;
            }
        }
    }
    assert!(checked > 30, "only {checked} bounds were there to check");
}

#[tokio::test]
async fn the_document_has_every_path_of_the_router_and_no_other() {
    let app = live::tests::app();
    let router = crate::routes::router(app);
    // the router lists its paths to who debugs it, and the methods of each to who asks for one that it has not
    let inside = format!("{router:?}");
    let found = regex_lite::Regex::new("RouteId\\([0-9]+\\): \"(/api/[^\"]*)\"").expect("a pattern");
    let served: BTreeSet<String> = found.captures_iter(&inside).map(|path| path[1].to_owned()).collect();
    assert!(served.len() >= 9, "{served:?}");
    let mut methods = BTreeSet::new();
    for path in &served {
        let request = axum::http::Request::builder().method("TRACE").uri(path.replace(['{', '}'], "x"));
        let request = request.body(axum::body::Body::empty()).expect("request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        let allow = answer.headers()[header::ALLOW].to_str().expect("text").to_owned();
        let allowed = allow.split(',').filter(|method| *method != "HEAD");
        methods.extend(allowed.map(|method| (path.clone(), method.trim().to_ascii_lowercase())));
    }
    let described: BTreeSet<_> =
        operations(&document()).into_iter().map(|(path, method, _)| (path, method)).collect();
    assert_eq!(described, methods);
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                found.insert(reference.to_owned());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_whole() {
    let document = document();
    assert!(document["openapi"].as_str().is_some_and(|version| version.starts_with("3.1.")));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 30, "{found:?}");
    for reference in found {
        let pointer = reference.strip_prefix('#').expect("of this document");
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "{reference}");
    }
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert!(ids.insert(operation["operationId"].to_string()), "{method} {path}: its id is another's");
        // what makes or starts something says so
        let done = ["201", "202"].into_iter().find(|status| operation["responses"][status].is_object());
        let done = done.unwrap_or("200");
        for status in [done, "400", "401", "403", "429", "500", "503", "504"] {
            assert!(operation["responses"][status].is_object(), "{method} {path}: {status}");
        }
        assert!(!operation["responses"][done]["content"].is_null(), "{method} {path}");
    }
}

#[test]
fn what_is_null_when_it_is_not_there_is_always_there() {
    let document = document();
    let required = |schema: &str| document["components"]["schemas"][schema]["required"].to_string();
    for (schema, name) in [
        ("Alert", "ends_at"),
        ("Alert", "acknowledged"),
        ("Incident", "ended"),
        ("Scope", "metric"),
        ("Server", "ip_address"),
        ("LiveServer", "disk"),
        ("Lines", "group"),
    ] {
        assert!(
            required(schema).contains(&format!("\"{name}\"")),
            "{schema}: {name} of {}",
            required(schema)
        );
    }
    assert!(!required("Line").contains("\"server\""), "a group has none");
}

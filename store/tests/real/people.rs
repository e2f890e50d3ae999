//! What people say of a server beside what its collector says: on a real PostgreSQL and Redis.

use std::collections::BTreeMap;

use tidewatch_schemas::Labels;
use tidewatch_store::{
    Error, People, PeoplePatch, Server, ServerRef,
    hot::writer::{HotWriter, Refresh},
    people::Change,
    testing::{Database, Stack},
    write::catalog,
};

const T0: i64 = 1_795_392_000_000;

async fn database() -> (Database, Server) {
    let db = Stack::shared().expect("stack").database().await.expect("database");
    let mut conn = db.store.history.pool().acquire().await.expect("connection");
    let servers = catalog::servers(&mut conn, &[("web", T0), ("db", T0)]).await.expect("servers");
    let server = servers.into_iter().find(|server| server.name == "web").expect("web");
    drop(conn);
    (db, server)
}

fn labels(labels: &[(&str, Option<&str>)]) -> PeoplePatch {
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(name, value)| ((*name).to_owned(), value.map(str::to_owned))).collect();
    PeoplePatch { labels: Change::Set(labels), ..PeoplePatch::default() }
}

fn collector(labels: &[(&str, &str)]) -> Labels {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn now(db: &Database, id: i32) -> Server {
    db.store.history.server(&ServerRef::Id(id)).await.expect("server").expect("there")
}

#[tokio::test]
async fn what_people_say_stands_beside_what_the_collector_says() {
    let (db, server) = database().await;
    let history = &db.store.history;
    let mut conn = history.pool().acquire().await.expect("connection");
    catalog::describe(&mut conn, server.id, None, &collector(&[("os", "linux"), ("dc", "fra")]))
        .await
        .expect("describe");
    let said =
        history.patch_server(server.id, &labels(&[("os", None), ("dc", Some("ams")), ("gone", None)])).await;
    let said = said.expect("patch").expect("there");
    assert_eq!(said, now(&db, server.id).await);
    assert_eq!(said.shown_labels(), collector(&[("dc", "ams")]));
    catalog::describe(&mut conn, server.id, Some("10.0.0.5"), &collector(&[("os", "bsd"), ("kernel", "6")]))
        .await
        .expect("describe");
    let after = now(&db, server.id).await;
    assert_eq!((after.ip_address.as_deref(), &after.people), (Some("10.0.0.5"), &said.people));
    assert_eq!(after.shown_labels(), collector(&[("dc", "ams"), ("kernel", "6")]));
    assert_eq!(history.servers().await.expect("servers")[1], after);
    // the sink learns it with the name, and whenever the server moves
    let named = catalog::servers(&mut conn, &[("web", T0)]).await.expect("servers");
    let moved = catalog::touch(&mut conn, &[(after.id, T0 + 10_000)]).await.expect("touch");
    let other = catalog::touch(&mut conn, &[(after.id, T0 + 10_000)]).await.expect("touch");
    assert_eq!(named, std::slice::from_ref(&after));
    assert_eq!((moved, other), (vec![(after.id, after.people)], vec![]));
}

#[tokio::test]
async fn of_two_who_change_a_server_at_once_neither_is_lost() {
    let (db, server) = database().await;
    let history = &db.store.history;
    let name = PeoplePatch { display_name: Change::Set("Till 4".into()), ..PeoplePatch::default() };
    for round in 0..10 {
        let (a, b) = (format!("a{round}"), format!("b{round}"));
        let (one, other) = (labels(&[(&a, Some("1"))]), labels(&[(&b, Some("2"))]));
        let done = tokio::join!(
            history.patch_server(server.id, &one),
            history.patch_server(server.id, &other),
            history.patch_server(server.id, &name),
        );
        assert!(<[_; 3]>::from(done).into_iter().all(|done| done.expect("patch").is_some()));
    }
    let People { display_name, labels: kept } = now(&db, server.id).await.people;
    assert_eq!((display_name.as_deref(), kept.len()), (Some("Till 4"), 20));
    let many: Vec<String> = (0..13).map(|i| format!("c{i}")).collect();
    let many: Vec<_> = many.iter().map(|name| (name.as_str(), Some("x"))).collect();
    let refused = history.patch_server(server.id, &labels(&many)).await;
    assert!(matches!(refused, Err(Error::TooMuch(32))), "{refused:?}");
    assert_eq!(now(&db, server.id).await.people.labels, kept, "nothing of it");
    assert!(history.patch_server(server.id, &labels(&many[..12])).await.is_ok());
    assert_eq!(history.patch_server(i32::MAX, &name).await.expect("patch"), None);
}

#[tokio::test]
async fn redis_is_told_of_a_server_that_it_knows() {
    let (db, server) = database().await;
    let hot = &db.store.hot;
    hot.replace_server(&server).await;
    assert_eq!(hot.servers_last_known().await, None, "one alone would be taken for all");
    let mut writer = HotWriter::new(hot.clone());
    let refresh = Refresh { servers: vec![server.clone()], ..Refresh::default() };
    writer.refresh(&refresh).await.expect("refresh");
    let people = People { display_name: Some("Till 4".into()), labels: [("os".to_owned(), None)].into() };
    let changed = Server { people, ..server };
    hot.replace_server(&changed).await;
    assert_eq!(hot.servers_last_known().await, Some(vec![changed]));
}

//! `GET /api/v1/servers`: all servers, or those asked for, page by page. In: filters and an order. Out: servers, with the
//! address of the next page.
//!
//! Keeps: without parameters it is everybody by name. With them a page begins behind the last server of the page before,
//! whatever that one's place is by then.

use std::cmp::Ordering;

use tidewatch_service_kit::http::Problem;
use tidewatch_store::Server;

use crate::{
    app::Failure,
    cursor::Cursor,
    fleet::{Overview, status::Status},
    matchers::Matcher,
    params::{Params, bad},
    views::ServerView,
};

/// By what servers are put in order; ties are by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Name,
    Status,
    LastSeen,
    FirstSeen,
    OpenAlerts,
}

pub(crate) const KEYS: [(&str, Key); 5] = [
    ("name", Key::Name),
    ("status", Key::Status),
    ("last_seen", Key::LastSeen),
    ("first_seen", Key::FirstSeen),
    ("open_alerts", Key::OpenAlerts),
];

/// A question for servers.
#[derive(Debug, Clone)]
pub(crate) struct ServersQuestion {
    params: Params,
    labels: Vec<Matcher>,
    statuses: Vec<Status>,
    text: String,
    key: Key,
    is_descending: bool,
    limit: usize,
    after: Option<Cursor>,
}

impl ServersQuestion {
    pub(crate) const KNOWN: [&str; 6] = ["label", "status", "q", "sort", "limit", "cursor"];

    pub(crate) fn parse(params: Params) -> Result<Self, Problem> {
        let sort = params.get("sort").unwrap_or("name");
        let (name, is_descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
        let key = KEYS.iter().find(|(known, _)| *known == name).map(|(_, key)| *key);
        let names = KEYS.map(|(name, _)| name).join(", ");
        let key = key
            .ok_or_else(|| bad("sort", &format!("has to be one of {names}, a - in front turns it round")))?;
        let text = params.get("q").unwrap_or_default().to_lowercase();
        if text.len() > 256 {
            return Err(bad("q", "may have 256 bytes at most"));
        }
        // nothing asked: everybody, as the pages and scripts of old expect
        let default = if params.is_empty() { usize::MAX } else { 1_000 };
        let limit = params.number("limit", 1, 10_000)?.map_or(default, |limit| limit as usize);
        let mut question = Self {
            labels: Matcher::all(&params, "label")?,
            statuses: statuses(&params)?,
            text,
            key,
            is_descending,
            limit,
            after: None,
            params,
        };
        if let Some(text) = question.params.get("cursor") {
            let cursor = Cursor::decode(text, &question.identity());
            let expected = "has to come from the Link header of an answer to the same question";
            question.after = Some(cursor.ok_or_else(|| bad("cursor", expected))?);
        }
        Ok(question)
    }

    /// What has to stay the same from page to page; the limit may change.
    fn identity(&self) -> String {
        format!("servers?{}", self.params.query_without(&["limit", "cursor"]))
    }

    pub(crate) fn key(&self) -> String {
        format!("servers {:?}", self.params)
    }

    /// What decides a server's place before its name does.
    fn rank(&self, overview: &Overview, server: &Server) -> i64 {
        match self.key {
            Key::Name => 0,
            // worst first
            Key::Status => overview.status(server) as i64,
            Key::LastSeen => server.last_seen_ms,
            Key::FirstSeen => server.first_seen_ms,
            Key::OpenAlerts => overview.open(server.id).len() as i64,
        }
    }

    fn order(&self, a: (i64, &str), b: (i64, &str)) -> Ordering {
        if self.is_descending && self.key == Key::Name {
            return b.cmp(&a);
        }
        let rank = if self.is_descending { b.0.cmp(&a.0) } else { a.0.cmp(&b.0) };
        rank.then(a.1.cmp(b.1))
    }

    fn wants(&self, overview: &Overview, server: &Server) -> bool {
        let label = |name: &str| server.labels.get(name).map_or("", String::as_str);
        let has = |text: &str| text.to_lowercase().contains(&self.text);
        self.labels.iter().all(|matcher| matcher.matches(label(&matcher.label)))
            && (self.statuses.is_empty() || self.statuses.contains(&overview.status(server)))
            && (self.text.is_empty()
                || has(&server.name)
                || server.ip_address.as_deref().is_some_and(has)
                || server.labels.values().any(|value| has(value)))
    }

    /// The page, and the `Link` to the next one.
    pub(crate) fn page(&self, overview: &Overview) -> Result<(Vec<ServerView>, Option<String>), Failure> {
        let all = &overview.directory.servers;
        let mut found: Vec<(i64, &Server)> = all
            .iter()
            .filter(|server| self.wants(overview, server))
            .map(|server| (self.rank(overview, server), server))
            .collect();
        let order = |a: &(i64, &Server), b: &(i64, &Server)| self.order((a.0, &a.1.name), (b.0, &b.1.name));
        found.sort_by(order);
        let mut start = 0;
        if let Some(after) = self.after {
            let last = all.iter().find(|server| i64::from(server.id) == after.id);
            let last = last.ok_or_else(|| bad("cursor", "is of a server that is not there any more"))?;
            start = found.partition_point(|one| order(one, &(after.ts, last)) != Ordering::Greater);
        }
        let rest = &found[start..];
        let page = &rest[..rest.len().min(self.limit)];
        let next = page.last().filter(|_| rest.len() > page.len()).map(|(rank, server)| {
            let cursor = Cursor { ts: *rank, id: server.id.into() }.encode(&self.identity());
            let query = self.params.query_without(&["cursor"]);
            format!("</api/v1/servers?{query}&cursor={cursor}>; rel=\"next\"")
        });
        let view = |server: &Server| {
            ServerView::new(server, overview.status(server), overview.open(server.id).len())
        };
        Ok((page.iter().map(|(_, server)| view(server)).collect(), next))
    }
}

/// What a server may be asked to be.
pub(crate) const STATUSES: [Status; 6] =
    [Status::Critical, Status::Warning, Status::Silent, Status::Odd, Status::Learning, Status::Ok];

fn statuses(params: &Params) -> Result<Vec<Status>, Problem> {
    let Some(list) = params.get("status") else { return Ok(Vec::new()) };
    let find = |name: &str| STATUSES.into_iter().find(|status| status.as_str() == name);
    let expected = || {
        bad(
            "status",
            &format!("has to be of {}, several with commas between", STATUSES.map(Status::as_str).join(", ")),
        )
    };
    list.split(',').map(|name| find(name).ok_or_else(expected)).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::app::Directory;

    fn parse(query: &str) -> Result<ServersQuestion, Problem> {
        Params::parse(Some(query), &ServersQuestion::KNOWN).and_then(ServersQuestion::parse)
    }

    /// `n` servers; several have the same last_seen, so that ties matter.
    fn overview(n: i32) -> Overview {
        let server = |id: i32| Server {
            id,
            name: format!("web-{:03}", (id * 37) % 101),
            ip_address: (id % 2 == 0).then(|| format!("10.0.0.{id}")),
            labels: [("dc".to_owned(), ["fra", "ams"][id as usize % 2].to_owned())].into(),
            first_seen_ms: 0,
            last_seen_ms: 1_000 * i64::from(id % 5),
        };
        let mut servers: Vec<_> = (1..=n).map(server).collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        Overview::calm(Arc::new(Directory::new(servers)), 3_600_000)
    }

    fn names(query: &str, overview: &Overview) -> Vec<String> {
        let (views, _) = parse(query).expect(query).page(overview).expect(query);
        views.iter().map(|view| view.name().to_owned()).collect()
    }

    #[test]
    fn filters_leave_who_is_meant() {
        let overview = overview(20);
        assert_eq!(names("", &overview).len(), 20);
        assert_eq!(names("label=dc=fra", &overview).len(), 10);
        assert_eq!(names("label=dc=~f.*&label=rack=", &overview).len(), 10);
        assert_eq!(names("label=dc!=fra&label=dc!~a.s", &overview).len(), 0);
        assert_eq!(names("q=10.0.0.1", &overview).len(), 5, "10, 12, 14, 16, 18");
        assert_eq!(names("q=AMS", &overview).len(), 10);
        assert_eq!(names("status=silent", &overview).len(), 20);
        assert_eq!(names("status=ok,critical", &overview).len(), 0);
    }

    #[test]
    fn an_order_is_by_its_key_and_then_by_name() {
        let overview = overview(20);
        let by_name = names("sort=name", &overview);
        assert!(by_name.is_sorted());
        let mut turned = names("sort=-name", &overview);
        turned.reverse();
        assert_eq!(by_name, turned);
        let seen = |name: &String| {
            overview.directory.servers.iter().find(|s| s.name == *name).map(|s| s.last_seen_ms)
        };
        let newest = names("sort=-last_seen", &overview);
        assert!(newest.is_sorted_by(|a, b| (seen(b), a) <= (seen(a), b)), "{newest:?}");
    }

    #[test]
    fn a_bad_question_names_its_parameter() {
        for (query, parameter) in [
            ("label=dc", "label"),
            ("label=dc=~(", "label"),
            ("status=fine", "status"),
            ("sort=--name", "sort"),
            ("sort=", "sort"),
            ("limit=0", "limit"),
            ("limit=10001", "limit"),
            ("cursor=00", "cursor"),
            ("sort=name&sort=name", "sort"),
        ] {
            let problem = parse(query).expect_err(query);
            assert!(format!("{problem:?}").contains(&format!("\"{parameter}: ")), "{query}: {problem:?}");
        }
    }

    proptest! {
        #[test]
        fn pages_hold_everybody_once_in_order(n in 1_i32..60, limit in 1_usize..20, sort in prop::sample::select(vec!["name", "-name", "last_seen", "-last_seen", "status", "-open_alerts"])) {
            let overview = overview(n);
            let whole = names(&format!("sort={sort}"), &overview);
            let mut query = format!("sort={sort}&limit={limit}");
            let mut paged = Vec::new();
            loop {
                let (views, link) = parse(&query).expect("good").page(&overview).expect("page");
                prop_assert!(views.len() <= limit);
                paged.extend(views.iter().map(|view| view.name().to_owned()));
                let Some(link) = link else { break };
                query = link.split(['?', '>']).nth(1).expect("query").to_owned();
            }
            prop_assert_eq!(paged, whole);
        }
    }

    #[test]
    fn a_cursor_is_of_one_question() {
        let overview = overview(20);
        let (_, link) = parse("limit=3&label=dc%3D~f.%2a").expect("good").page(&overview).expect("page");
        let link = link.expect("more");
        let query = link.split(['?', '>']).nth(1).expect("query");
        assert!(parse(query).is_ok());
        assert!(parse(&query.replace("limit=3", "limit=9")).is_ok(), "the limit may change");
        let problem = parse(&format!("{query}&sort=-name")).expect_err("another order");
        assert!(format!("{problem:?}").contains("cursor: "));
    }
}

//! The places that paths lead to.
//!
//! Keeps: a path has one reading. Whatever a service behind might read differently (doubled slashes, dots, encoded
//! slashes, `%61pi`) is nowhere, so that no spelling of `/api` slips in as a page.

/// Where a path leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Ingest,
    /// Everything that is read: the visualizer's.
    Read,
    /// One server, of which people may say something.
    Server,
    /// That somebody takes care of an alert.
    Acknowledge,
    Silences,
    /// One of them.
    Silence,
    /// Where a server is asked to be collected at once.
    Collect,
    Session,
    SignIn,
    /// The pages and their files, public.
    Page,
    /// Below `/api`, and nothing.
    NowhereInApi,
    Nowhere,
}

/// What the visualizer answers below `/api/v1/`; a new one is let in here on purpose.
const READ: [&str; 13] = [
    "servers",
    "metrics",
    "query",
    "charts",
    "fleet",
    "alerts",
    "incidents",
    "silences",
    "anomalies",
    "metric-names",
    "label",
    "live",
    "openapi.json",
];

/// Answered by each service on its admin address, never through the door.
const ADMIN: [&str; 3] = ["metrics", "healthz", "readyz"];

impl Place {
    pub(crate) fn of(path: &str) -> Self {
        let mut segments = path.strip_prefix('/').unwrap_or(path).split('/');
        let first = segments.next().unwrap_or_default();
        let in_api = decoded(first).eq_ignore_ascii_case("api");
        if !is_plain(path) {
            return if in_api { Self::NowhereInApi } else { Self::Nowhere };
        }
        if first != "api" {
            return match (first, segments.next()) {
                _ if in_api => Self::NowhereInApi,
                ("sign-in", None) => Self::SignIn,
                (name, None) if ADMIN.contains(&name) => Self::Nowhere,
                _ => Self::Page,
            };
        }
        // behind the fourth, only whether there is more
        let rest: [Option<&str>; 5] = std::array::from_fn(|_| segments.next());
        match rest {
            [Some("v1"), Some("ingest"), None, ..] => Self::Ingest,
            [Some("v1"), Some("session"), None, ..] => Self::Session,
            [Some("v1"), Some("servers"), Some(server), None, _] if !server.is_empty() => Self::Server,
            [Some("v1"), Some("servers"), Some(server), Some("collect"), None] if !server.is_empty() => {
                Self::Collect
            }
            [Some("v1"), Some("alerts"), Some(alert), Some("acknowledge"), None] if !alert.is_empty() => {
                Self::Acknowledge
            }
            [Some("v1"), Some("silences"), None, ..] => Self::Silences,
            [Some("v1"), Some("silences"), Some(silence), None, _] if !silence.is_empty() => Self::Silence,
            [Some("v1"), Some(name), ..] if READ.contains(&name) => Self::Read,
            _ => Self::NowhereInApi,
        }
    }

    pub(crate) fn is_in_api(self) -> bool {
        !matches!(self, Self::SignIn | Self::Page | Self::Nowhere)
    }

    /// As the metrics call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Read | Self::Server | Self::Acknowledge | Self::Silences | Self::Silence => "read",
            Self::Collect => "collect",
            Self::Session => "session",
            Self::SignIn => "sign-in",
            Self::Page => "page",
            Self::NowhereInApi | Self::Nowhere => "unknown",
        }
    }
}

/// Nothing in it that one reader folds away and another does not.
fn is_plain(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    let odd = ["%2f", "%5c", "%00", "\\"].iter().any(|odd| lower.contains(odd));
    let folded = |segment: &str| matches!(decoded(segment).as_str(), "." | "..");
    path.starts_with('/') && !odd && !path.contains("//") && !path.split('/').any(folded)
}

/// Percent-decoded; what is no ASCII comes out as something else, which is never `api`.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut text = String::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 3).and_then(|digits| std::str::from_utf8(digits).ok());
        let code = digits.filter(|_| byte == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok());
        text.push(char::from(code.unwrap_or(byte)));
        at += if code.is_some() { 3 } else { 1 };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_place() {
        for (path, place) in [
            ("/", Place::Page),
            ("/index.html", Place::Page),
            ("/assets/main-abc.js", Place::Page),
            ("/servers/web-1", Place::Page),
            ("/servers/a%20b", Place::Page),
            ("/apis", Place::Page),
            ("/sign-in", Place::SignIn),
            ("/sign-in/", Place::Page),
            ("/metrics", Place::Nowhere),
            ("/healthz", Place::Nowhere),
            ("/readyz", Place::Nowhere),
            ("/api/v1/ingest", Place::Ingest),
            ("/api/v1/ingest/", Place::NowhereInApi),
            ("/api/v1/ingest/x", Place::NowhereInApi),
            ("/api/v1/session", Place::Session),
            ("/api/v1/servers", Place::Read),
            ("/api/v1/servers/web-1", Place::Server),
            ("/api/v1/servers/", Place::Read),
            ("/api/v1/servers/web-1/", Place::Read),
            ("/api/v1/servers/web-1/x", Place::Read),
            ("/api/v1/alerts", Place::Read),
            ("/api/v1/alerts/a1", Place::Read),
            ("/api/v1/alerts/a1/acknowledge", Place::Acknowledge),
            ("/api/v1/alerts/a1/acknowledge/", Place::Read),
            ("/api/v1/alerts//acknowledge", Place::NowhereInApi),
            ("/api/v1/incidents", Place::Read),
            ("/api/v1/incidents/i1", Place::Read),
            ("/api/v1/silences", Place::Silences),
            ("/api/v1/silences/", Place::Read),
            ("/api/v1/silences/1", Place::Silence),
            ("/api/v1/silences/1/x", Place::Read),
            ("/api/v1/servers/web-1/collect", Place::Collect),
            ("/api/v1/servers/collect", Place::Server),
            ("/api/v1/servers/web-1/collect/", Place::Read),
            ("/api/v1/servers/web-1/collect/x", Place::Read),
            ("/api/v1/servers//collect", Place::NowhereInApi),
            ("/api/v1/metrics/web-1/collect", Place::Read),
            ("/api/v1/metrics/1", Place::Read),
            ("/api/v1/query", Place::Read),
            ("/api/v1/metric-names", Place::Read),
            ("/api/v1/label/server.dc/values", Place::Read),
            ("/api/v1/charts/web-1.svg", Place::Read),
            ("/api/v1/live", Place::Read),
            ("/api/v1/openapi.json", Place::Read),
            ("/api", Place::NowhereInApi),
            ("/api/", Place::NowhereInApi),
            ("/api/v1", Place::NowhereInApi),
            ("/api/v2/servers", Place::NowhereInApi),
            ("/api/v1/secrets", Place::NowhereInApi),
            ("/API/v1/servers", Place::NowhereInApi),
            ("/%61pi/v1/servers", Place::NowhereInApi),
            ("/%41PI/v1/servers", Place::NowhereInApi),
            ("//api/v1/servers", Place::Nowhere),
            ("/./api/v1/servers", Place::Nowhere),
            ("/x/../api/v1/servers", Place::Nowhere),
            ("/x/%2e%2E/api/v1/servers", Place::Nowhere),
            ("/x%2f..%2Fapi", Place::Nowhere),
            ("/api/v1/servers/..%2f", Place::NowhereInApi),
            ("/api//v1/ingest", Place::NowhereInApi),
            ("/x\\api", Place::Nowhere),
            ("/%", Place::Page),
            ("/%6", Place::Page),
            ("*", Place::Nowhere),
            ("", Place::Nowhere),
        ] {
            assert_eq!(Place::of(path), place, "{path}");
        }
    }
}

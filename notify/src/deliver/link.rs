//! Links into the pages, for whoever reads an alert elsewhere. Pure.

use std::fmt::Write;

use crate::config::Endpoint;

/// Where the pages are.
#[derive(Debug, Clone)]
pub(crate) struct Link(String);

impl From<Endpoint> for Link {
    fn from(endpoint: Endpoint) -> Self {
        Self(endpoint.base())
    }
}

impl Link {
    /// The page of a server.
    pub(crate) fn server(&self, name: &str) -> String {
        name.bytes().fold(format!("{}/servers/", self.0), |mut url, byte| {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                url.push(char::from(byte));
            } else {
                let _ = write!(url, "%{byte:02X}");
            }
            url
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_part_of_a_path() {
        let link = Link::from("https://a.example/tw/".parse::<Endpoint>().unwrap());
        assert_eq!(link.server("web-1"), "https://a.example/tw/servers/web-1");
        assert_eq!(link.server("a/b c\u{e4}"), "https://a.example/tw/servers/a%2Fb%20c%C3%A4");
    }
}

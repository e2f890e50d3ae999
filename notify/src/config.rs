//! Settings of the notifier, and the addresses that they name.
//!
//! Keeps: an address never reaches a log with its path, which may hold a token.

use std::{fmt, str::FromStr, time::Duration};

use clap::Args;
use http::{
    Uri,
    uri::{Authority, Scheme},
};
use sha2::{Digest, Sha256};
use tidewatch_service_kit::{Secret, config, kafka::KafkaConfig};

use crate::deliver::webhook::SigningKey;

#[derive(Debug, Clone, Args)]
pub struct Config {
    #[command(flatten)]
    pub kafka: KafkaConfig,
    /// Alertmanagers, such as http://host:9093; each gets every alert, as those of a cluster want it
    #[arg(
        long = "notify-alertmanager",
        env = "TIDEWATCH_NOTIFY_ALERTMANAGER",
        value_name = "URL,..",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub alertmanagers: Vec<Endpoint>,
    /// Addresses that get a signed POST for each transition
    #[arg(
        long = "notify-webhook",
        env = "TIDEWATCH_NOTIFY_WEBHOOK",
        value_name = "URL,..",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub webhooks: Vec<Endpoint>,
    /// Signs what webhooks get: whsec_ and base64 of 24 to 64 bytes, or a text of at least 24 characters
    #[arg(long = "notify-webhook-secret", env = "TIDEWATCH_NOTIFY_WEBHOOK_SECRET", value_name = "SECRET",
          hide_env_values = true, value_parser = webhook_secret)]
    pub webhook_secret: Option<Secret>,
    /// Address of the pages, for links to them
    #[arg(long = "notify-link", env = "TIDEWATCH_NOTIFY_LINK", value_name = "URL")]
    pub link: Option<Endpoint>,
    /// How often Alertmanager is told again of what fires; well below its resolve_timeout
    #[arg(long = "notify-resend", env = "TIDEWATCH_NOTIFY_RESEND", default_value = "1m", value_name = "TIME",
          value_parser = at_least_a_second)]
    pub resend: Duration,
    /// A firing older than this is left out if its alert was resolved meanwhile
    #[arg(long = "notify-stale-after", env = "TIDEWATCH_NOTIFY_STALE_AFTER", default_value = "1h", value_name = "TIME",
          value_parser = config::duration)]
    pub stale_after: Duration,
    /// Time for one request, connection included
    #[arg(long = "notify-timeout", env = "TIDEWATCH_NOTIFY_TIMEOUT", default_value = "10s", value_name = "TIME",
          value_parser = request_time)]
    pub timeout: Duration,
}

fn webhook_secret(text: &str) -> Result<Secret, String> {
    let secret = Secret::new(text);
    SigningKey::new(&secret).map(|_| secret).ok_or_else(|| {
        "a secret is whsec_ and base64 of 24 to 64 bytes, or a text of at least 24 characters".into()
    })
}

fn at_least_a_second(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    if time < Duration::from_secs(1) { Err(format!("`{text}` is below 1s")) } else { Ok(time) }
}

/// The thread that sends also keeps the membership: it has to be back in time.
fn request_time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    let good = Duration::from_millis(100)..=Duration::from_secs(20);
    if good.contains(&time) { Ok(time) } else { Err(format!("`{text}` is not between 100ms and 20s")) }
}

/// An address of http or https.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Uri);

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/***", self.host())
    }
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let uri = text.trim().parse::<Uri>().map_err(|error| format!("no address: {error}"))?;
        let known = uri.scheme().is_some_and(|scheme| *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
        if !known || uri.host().is_none_or(str::is_empty) {
            return Err("no address such as http://host:9093 or https://host/path".into());
        }
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err("an address with a user and a password is not taken".into());
        }
        Ok(Self(uri))
    }
}

impl Endpoint {
    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }

    pub(crate) fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Everything before the query, without a slash at the end.
    pub(crate) fn base(&self) -> String {
        let scheme = self.0.scheme_str().unwrap_or("http");
        let authority = self.0.authority().map_or("", Authority::as_str);
        format!("{scheme}://{authority}{}", self.0.path().trim_end_matches('/'))
    }

    /// What groups, metrics and logs call it: the same after a restart, another one for another address, and no token in it.
    pub(crate) fn id(&self, kind: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '-' };
        let host: String = self.host().chars().map(plain).collect();
        let digest = Sha256::digest(self.0.to_string().as_bytes());
        let hash = digest.iter().take(4).fold(0_u32, |all, byte| (all << 8) | u32::from(*byte));
        format!("{kind}.{}.{hash:08x}", host.trim_matches('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: &[(&str, &str)]) -> Result<Config, String> {
        config::assemble::<Config>("notify", set).map_err(|error| error.to_string())
    }

    #[test]
    fn nothing_is_named_by_default() {
        let config = parse(&[]).unwrap();
        assert!(config.alertmanagers.is_empty() && config.webhooks.is_empty());
        assert_eq!(config.resend, Duration::from_mins(1));
    }

    #[test]
    fn lists_are_split_and_tokens_are_not_shown() {
        let config = parse(&[
            ("notify-alertmanager", "http://am-0:9093,https://am-1/prefix/"),
            ("notify-webhook", "https://hooks.example/T0/topsecret?key=topsecret"),
            ("notify-webhook-secret", "0123456789abcdef0123456789abcdef"),
        ])
        .unwrap();
        assert_eq!(config.alertmanagers[1].base(), "https://am-1/prefix");
        let id = config.webhooks[0].id("webhook");
        assert!(id.starts_with("webhook.hooks.example.") && id.len() == "webhook.hooks.example.".len() + 8);
        let shown = format!("{config:?} {id}");
        assert!(!shown.contains("topsecret") && !shown.contains("0123456789abcdef"), "{shown}");
    }

    #[test]
    fn two_paths_of_a_host_are_two_targets() {
        let id = |text: &str| text.parse::<Endpoint>().unwrap().id("webhook");
        assert_ne!(id("http://a/x"), id("http://a/y"));
        assert_eq!(id("http://a/x"), id("http://a/x"));
        assert!(id("http://[::1]:8/x").starts_with("webhook.1."));
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        for (flag, value, part) in [
            ("notify-alertmanager", "am-0:9093", "no address"),
            ("notify-alertmanager", "ftp://am-0", "no address"),
            ("notify-webhook", "http://a:b@c/", "user and a password"),
            ("notify-webhook-secret", "short", "at least 24"),
            ("notify-webhook-secret", "whsec_AAAA", "24 to 64 bytes"),
            ("notify-resend", "10ms", "below 1s"),
            ("notify-timeout", "5m", "between 100ms"),
            ("notify-stale-after", "soon", "no duration"),
        ] {
            let message = parse(&[(flag, value)]).unwrap_err();
            assert!(message.contains(part), "{flag}={value}: {message}");
        }
    }
}

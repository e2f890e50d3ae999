//! The settings of the gateway. The words at each field are its documentation.
//!
//! Keeps: what can be wrong with a setting is found while it is parsed, the key file included.

use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use clap::Args;
use tidewatch_service_kit::{Secret, config};

use crate::{
    keys::{KeyFile, unhex},
    limit::Rate,
    peer::Network,
};

#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Address of everything: pages, API, ingest
    #[arg(long, env = "TIDEWATCH_GATEWAY_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub gateway_listen: SocketAddr,
    /// File of keys: a YAML or JSON list of {name, role, sha256, created_at}; read again when it changes
    #[arg(long, env = "TIDEWATCH_KEYS", value_name = "FILE", value_parser = KeyFile::from_flag)]
    pub keys: KeyFile,
    /// Signs the cookies of signed-in browsers, at least 32 characters; the same for all instances
    /// [default: random, so that a restart signs everybody out]
    #[arg(long, env = "TIDEWATCH_SESSION_SECRET", value_name = "SECRET", hide_env_values = true,
          value_parser = session_secret)]
    pub session_secret: Option<Secret>,
    /// How long a signed-in browser stays so
    #[arg(long, env = "TIDEWATCH_GATEWAY_SESSION_TIME", default_value = "12h", value_name = "TIME",
          value_parser = at_least_a_minute)]
    pub session_time: Duration,
    /// SHA-256 (hex) of a code that signs one browser in as admin, once: /sign-in?code=...
    #[arg(long, env = "TIDEWATCH_GATEWAY_SIGN_IN_CODE_SHA256", value_name = "HEX", value_parser = sha256)]
    pub sign_in_code_sha256: Option<[u8; 32]>,
    /// Mark cookies Secure even where nothing in front says that it speaks HTTPS
    #[arg(long, env = "TIDEWATCH_GATEWAY_SECURE_COOKIES")]
    pub secure_cookies: bool,
    /// Networks of proxies in front whose X-Forwarded-For is believed, for example 10.0.0.0/8,::1
    #[arg(long, env = "TIDEWATCH_GATEWAY_TRUSTED_PROXIES", value_name = "NET,..", value_delimiter = ',')]
    pub trusted_proxies: Vec<Network>,

    /// Instances of ingest; a name stands for all its addresses
    #[arg(long, env = "TIDEWATCH_INGEST_UPSTREAMS", default_value = "127.0.0.1:8081", value_name = "HOST:PORT,..",
          value_delimiter = ',', value_parser = upstream)]
    pub ingest_upstreams: Vec<String>,
    /// Instances of the visualizer; a name stands for all its addresses
    #[arg(long, env = "TIDEWATCH_VISUALIZER_UPSTREAMS", default_value = "127.0.0.1:8082", value_name = "HOST:PORT,..",
          value_delimiter = ',', value_parser = upstream)]
    pub visualizer_upstreams: Vec<String>,
    /// Path asked of each instance to see whether it lives; every answer below 500 is good
    #[arg(long, env = "TIDEWATCH_GATEWAY_HEALTH_PATH", default_value = "/healthz", value_name = "PATH",
          value_parser = path)]
    pub health_path: String,
    /// How often to ask
    #[arg(long, env = "TIDEWATCH_GATEWAY_HEALTH_INTERVAL", default_value = "2s", value_name = "TIME",
          value_parser = positive)]
    pub health_interval: Duration,
    /// Time to connect to an instance
    #[arg(long, env = "TIDEWATCH_GATEWAY_CONNECT_TIMEOUT", default_value = "1s", value_name = "TIME",
          value_parser = positive)]
    pub connect_timeout: Duration,
    /// Time for the head of an answer; its body may take as long as it likes
    #[arg(long, env = "TIDEWATCH_GATEWAY_ANSWER_TIMEOUT", default_value = "30s", value_name = "TIME",
          value_parser = positive)]
    pub answer_timeout: Duration,
    /// Further tries of a call that changes nothing
    #[arg(long, env = "TIDEWATCH_GATEWAY_RETRIES", default_value_t = 2, value_name = "COUNT",
          value_parser = clap::value_parser!(u8).range(0..=5))]
    pub retries: u8,
    /// Failures in a row that open the breaker of an instance
    #[arg(long, env = "TIDEWATCH_GATEWAY_BREAKER_FAILURES", default_value_t = 5, value_name = "COUNT",
          value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub breaker_failures: u32,

    /// The largest body of a request, bytes
    #[arg(long, env = "TIDEWATCH_GATEWAY_BODY_BYTES", default_value_t = 4 << 20, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(1_024..))]
    pub body_bytes: u32,
    /// Requests of one client, for example 50/s or 3000/m
    #[arg(long, env = "TIDEWATCH_GATEWAY_RATE", default_value = "50/s", value_name = "RATE")]
    pub rate: Rate,
    /// Requests of one client at once
    #[arg(long, env = "TIDEWATCH_GATEWAY_BURST", default_value = "200", value_name = "COUNT")]
    pub burst: NonZeroU32,
    /// Ingest requests of one client, counted apart from the others
    #[arg(long, env = "TIDEWATCH_GATEWAY_INGEST_RATE", default_value = "500/s", value_name = "RATE")]
    pub ingest_rate: Rate,
    /// Ingest requests of one client at once
    #[arg(long, env = "TIDEWATCH_GATEWAY_INGEST_BURST", default_value = "1000", value_name = "COUNT")]
    pub ingest_burst: NonZeroU32,
}

fn session_secret(text: &str) -> Result<Secret, String> {
    if text.chars().count() < 32 {
        return Err("a secret needs at least 32 characters".into());
    }
    Ok(Secret::new(text))
}

fn sha256(text: &str) -> Result<[u8; 32], String> {
    unhex(text).ok_or_else(|| "a SHA-256 is 64 of 0-9 a-f".into())
}

fn positive(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    if time.is_zero() { Err(format!("`{text}` is no time at all")) } else { Ok(time) }
}

fn at_least_a_minute(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    let year = Duration::from_hours(366 * 24);
    if (Duration::from_mins(1)..=year).contains(&time) {
        Ok(time)
    } else {
        Err(format!("`{text}` is not between 1m and 366d"))
    }
}

fn path(text: &str) -> Result<String, String> {
    let good = text.starts_with('/') && text.parse::<http::uri::PathAndQuery>().is_ok();
    if good { Ok(text.to_owned()) } else { Err(format!("`{text}` is no path such as /healthz")) }
}

/// `host:port`, `address:port` or `[v6]:port`.
fn upstream(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is no host:port");
    if text.parse::<SocketAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let host_is_good = !host.is_empty() && host.len() <= 253 && host.bytes().all(good);
    match port.parse::<u16>() {
        Ok(1..) if host_is_good => Ok(text.to_owned()),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(set: &[(&str, &str)]) -> Result<Config, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[]").unwrap();
        let path = file.path().display().to_string();
        let mut all = set.to_vec();
        if set.iter().all(|(flag, _)| *flag != "keys") {
            all.push(("keys", path.as_str()));
        }
        config::assemble::<Config>("gateway", &all).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_good() {
        let config = parse(&[]).unwrap();
        assert_eq!(config.ingest_upstreams, ["127.0.0.1:8081"]);
        assert_eq!(config.session_time, Duration::from_hours(12));
    }

    #[test]
    fn lists_are_split() {
        let set = [("ingest-upstreams", "a:1,[::1]:2,10.0.0.1:3"), ("trusted-proxies", "10.0.0.0/8,::1")];
        let config = parse(&set).unwrap();
        assert_eq!(config.ingest_upstreams, ["a:1", "[::1]:2", "10.0.0.1:3"]);
        assert_eq!(config.trusted_proxies.len(), 2);
    }

    #[test]
    fn bad_values_are_refused_in_words() {
        for (flag, value, part) in [
            ("session-secret", "short", "at least 32"),
            ("sign-in-code-sha256", "AB", "64 of"),
            ("session-time", "1s", "between 1m"),
            ("trusted-proxies", "10.0.0.0/33", "no network"),
            ("ingest-upstreams", "http://a:1", "no host:port"),
            ("ingest-upstreams", "a:0", "no host:port"),
            ("visualizer-upstreams", "a", "no host:port"),
            ("health-path", "healthz", "no path"),
            ("connect-timeout", "0s", "no time"),
            ("rate", "50", "no rate"),
            ("rate", "0/s", "no rate"),
            ("burst", "0", "burst"),
            ("retries", "9", "retries"),
            ("keys", "/nowhere/keys.yaml", "/nowhere/keys.yaml: read keys"),
        ] {
            let message = parse(&[(flag, value)]).unwrap_err();
            assert!(message.contains(part), "{flag}={value}: {message}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        let config = parse(&[("session-secret", "0123456789abcdef0123456789abcdef")]).unwrap();
        assert!(!format!("{config:?}").contains("0123456789abcdef"));
    }
}

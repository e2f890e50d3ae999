//! Whose connection it is: the peer's address, or what a trusted proxy says of it.
//!
//! Keeps: a header of a stranger never changes the address that limits and logs go by.

use std::{net::IpAddr, str::FromStr};

use http::HeaderMap;

/// An address and how many of its first bits count: `10.0.0.0/8`, `::1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no network such as 10.0.0.0/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| wrong())?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.bits);
                (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.bits);
                (a.to_bits() ^ b.to_bits()).checked_shr(shift).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

pub(crate) const FORWARDED_FOR: &str = "x-forwarded-for";
pub(crate) const FORWARDED_PROTO: &str = "x-forwarded-proto";
pub(crate) const FORWARDED_HOST: &str = "x-forwarded-host";

/// Where a request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer {
    /// The client, as far as it can be known.
    pub address: IpAddr,
    /// The connection is a trusted proxy's: its forwarding headers are passed on.
    pub proxied: bool,
}

impl Peer {
    /// The last address of `X-Forwarded-For` that no trusted proxy owns; without a trusted proxy the peer's own.
    pub(crate) fn of(connection: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> Self {
        let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(address));
        if !is_trusted(connection) {
            return Self { address: connection.to_canonical(), proxied: false };
        }
        let hops: Vec<&str> = headers
            .get_all(FORWARDED_FOR)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(str::trim)
            .collect();
        let mut address = connection;
        for hop in hops.into_iter().rev() {
            // what is behind an unreadable hop is anybody's word
            let Ok(hop) = hop.parse::<IpAddr>() else { break };
            address = hop;
            if !is_trusted(hop) {
                break;
            }
        }
        Self { address: address.to_canonical(), proxied: true }
    }

    /// One household of the IPv6 internet has a /64: addresses in it are one client.
    pub(crate) fn bucket(self) -> IpAddr {
        match self.address {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                std::net::Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
            }
            v4 @ IpAddr::V4(_) => v4,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(connection: &str, forwarded: &[&str], trusted: &[&str]) -> Peer {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        Peer::of(connection.parse().unwrap(), &headers, &trusted)
    }

    #[test]
    fn only_a_trusted_proxy_is_believed() {
        for (connection, forwarded, trusted, address) in [
            ("1.2.3.4", &["9.9.9.9"][..], &[][..], "1.2.3.4"),
            ("1.2.3.4", &["9.9.9.9"], &["10.0.0.0/8"], "1.2.3.4"),
            ("10.1.2.3", &["9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9"),
            ("10.1.2.3", &["6.6.6.6, 9.9.9.9"], &["10.0.0.0/8"], "9.9.9.9"),
            ("10.1.2.3", &["6.6.6.6", "9.9.9.9, 10.9.9.9"], &["10.0.0.0/8"], "9.9.9.9"),
            ("10.1.2.3", &[], &["10.0.0.0/8"], "10.1.2.3"),
            ("10.1.2.3", &["evil"], &["10.0.0.0/8"], "10.1.2.3"),
            ("10.1.2.3", &["6.6.6.6, evil"], &["0.0.0.0/0"], "10.1.2.3"),
            ("::ffff:10.1.2.3", &["9.9.9.9"], &["10.1.2.3"], "9.9.9.9"),
            ("::1", &["9.9.9.9"], &["::/0"], "9.9.9.9"),
            ("fd00::1", &["9.9.9.9"], &["fd00::/8"], "9.9.9.9"),
            ("fe00::1", &["9.9.9.9"], &["fd00::/8"], "fe00::1"),
        ] {
            let found = of(connection, forwarded, trusted).address;
            assert_eq!(found, address.parse::<IpAddr>().unwrap(), "{connection} {forwarded:?} {trusted:?}");
        }
    }

    #[test]
    fn one_v6_household_is_one_client() {
        assert_eq!(of("2001:db8::1", &[], &[]).bucket(), of("2001:db8::ffff:1", &[], &[]).bucket());
        assert_ne!(of("2001:db8::1", &[], &[]).bucket(), of("2001:db8:0:1::1", &[], &[]).bucket());
        assert_ne!(of("1.2.3.4", &[], &[]).bucket(), of("1.2.3.5", &[], &[]).bucket());
    }
}

//! The address by which others most likely reach this host.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use super::source::Source;

/// The source address of the default route, else the first one that is not the loopback's, else that.
pub(super) fn find(source: &mut Source) -> IpAddr {
    // connecting a datagram socket only asks the routing table; nothing is sent to these documentation addresses
    let route = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")];
    let by_route = route.into_iter().find_map(|(from, to)| {
        let socket = UdpSocket::bind(from).ok()?;
        socket.connect(to).ok()?;
        socket
            .local_addr()
            .ok()
            .map(|address| address.ip())
            .filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
    });
    by_route
        .or_else(|| first_local(&source.proc("net/fib_trie").ok()?).map(IpAddr::V4))
        .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// In the kernel's routing tree, an address of our own is a line `|-- 10.0.0.5` before one that says `host LOCAL`.
fn first_local(text: &str) -> Option<Ipv4Addr> {
    let mut address = None;
    text.lines().find_map(|line| {
        if let Some((_, found)) = line.split_once("|-- ") {
            address = found.trim().parse::<Ipv4Addr>().ok();
        }
        if line.contains("host LOCAL") { address.filter(|ip| !ip.is_loopback()) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_routing_tree_names_our_own_address() {
        let text = "\
Local:
  +-- 0.0.0.0/0 3 0 5
     +-- 127.0.0.0/8 2 0 2
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 192.168.1.0/24 2 0 2
        |-- 192.168.1.0
           /24 link UNICAST
        |-- 192.168.1.7
           /32 host LOCAL
";
        assert_eq!(first_local(text), Some(Ipv4Addr::new(192, 168, 1, 7)));
        assert_eq!(first_local("Local:\n |-- 127.0.0.1\n /32 host LOCAL\n"), None);
    }
}

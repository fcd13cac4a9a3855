//! Which addresses a target may have, decided on what a name resolves to when the connection is made.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};

use super::tell::SendError;

/// Addresses of a name that are looked at.
const MAX_ADDRESSES: usize = 16;

/// Cloud metadata services outside of the link-local range on IPv6: AWS and its credentials of pods, Google Cloud,
/// Oracle Cloud.
const METADATA_V6: [Ipv6Addr; 4] = [
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
];
/// On IPv4: Alibaba Cloud, Azure's wire server, Oracle Cloud.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];

/// Whether an address is this machine, its link, a metadata service, or no single host at all.
pub(super) fn is_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_local_v4(ip),
        IpAddr::V6(ip) => embedded(ip).is_some_and(is_local_v4) || is_local_v6(ip),
    }
}

fn is_local_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback()
        || ip.is_link_local()
        || ip.is_multicast()
        || ip.is_broadcast()
        // 0.0.0.0/8 is this host.
        || ip.octets().first() == Some(&0)
        || METADATA_V4.contains(&ip)
}

fn is_local_v6(ip: Ipv6Addr) -> bool {
    ip.is_loopback()
        || ip.is_unspecified()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || METADATA_V6.contains(&ip)
}

/// The IPv4 address that an IPv6 address stands for: mapped, translated, compatible, NAT64, 6to4.
fn embedded(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = ip.segments();
    let v4 = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match [a, b, c, d, e, f] {
        // ::/96 holds the mapped-compatible ones; :: and ::1 are told apart by their own rules.
        [0, 0, 0, 0, 0, 0xffff] | [0, 0, 0, 0, 0xffff, 0] | [0x64, 0xff9b, 0, 0, 0, 0] => Some(v4(g, h)),
        // The NAT64 prefix of a site (RFC 8215), as long as it can be.
        [0x64, 0xff9b, 1, ..] => Some(v4(g, h)),
        [0, 0, 0, 0, 0, 0] if g != 0 => Some(v4(g, h)),
        [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Those of the addresses that may be connected to.
pub(super) fn permitted(
    host: &str,
    addresses: impl Iterator<Item = SocketAddr>,
    allow_local: bool,
) -> Result<Vec<SocketAddr>, SendError> {
    let mut refused = None;
    let mut found = Vec::new();
    for address in addresses.take(MAX_ADDRESSES) {
        if allow_local || !is_local(address.ip()) {
            found.push(address);
        } else {
            refused = Some(address.ip());
        }
    }
    match (found.is_empty(), refused) {
        (false, _) => Ok(found),
        (true, Some(ip)) => Err(SendError::failed(format!(
            "{host} is {ip}, an address of this machine, its link or of cloud metadata, which needs allow_local"
        ))),
        (true, None) => Err(SendError::failed(format!("{host} has no address"))),
    }
}

/// Looks a name up, and gives those of its addresses that may be connected to.
pub(super) fn resolve(host: &str, port: u16, allow_local: bool) -> Result<Vec<SocketAddr>, SendError> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let addresses = (bare, port)
        .to_socket_addrs()
        .map_err(|error| SendError::failed(format!("the name {host} cannot be looked up: {error}")))?;
    permitted(host, addresses, allow_local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_its_link_and_metadata_are_told() {
        for local in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "169.254.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "::1",
            "::",
            "fe80::1",
            "febf::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd00:ec2::23",
            "fd20:ce::254",
            "fd00:c1::a9fe:a9fe",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::a9fe:a9fe",
            "64:ff9b:1:ffff:ffff:ffff:7f00:1",
            "::ffff:0:127.0.0.1",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::1",
        ] {
            assert!(is_local(local.parse().unwrap()), "{local}");
        }
        for other in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.9",
            "192.0.2.7",
            "8.8.8.8",
            "100.64.0.1",
            "fd00:ec2::253",
            "fd12::1",
            "2001:db8::1",
            "::ffff:192.0.2.7",
            "64:ff9b::c000:207",
            "64:ff9b:1::c000:207",
            "::ffff:0:192.0.2.7",
            "2002:c000:207::",
        ] {
            assert!(!is_local(other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn only_permitted_addresses_of_a_name_are_used() {
        let addresses: Vec<SocketAddr> =
            ["127.0.0.1:80", "192.0.2.7:80", "[::1]:80"].iter().map(|a| a.parse().unwrap()).collect();
        let some = permitted("x", addresses.iter().copied(), false).unwrap();
        assert_eq!(some, [addresses[1]]);
        assert_eq!(permitted("x", addresses.iter().copied(), true).unwrap(), addresses);
        let error = permitted("x", addresses[..1].iter().copied(), false).unwrap_err();
        assert!(error.message().contains("allow_local"), "{}", error.message());
        assert!(permitted("x", std::iter::empty(), true).is_err());
        // The resolver of the system reads what people write to get past a filter.
        for host in ["localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"] {
            assert!(resolve(host, 80, false).is_err(), "{host}");
        }
    }
}

//! From a server's name to the addresses to try: both families in turn, so that one that is broken costs one try and not
//! all of them (RFC 8305, section 4; but one try after the other: a bot has no hurry).

use std::net::SocketAddr;

use tokio::net::lookup_host;

use crate::irc::Server;
use crate::irc::reach::dial::DialError;

/// How many addresses of a host are tried: 12. Networks put some twenty servers behind one name.
const MAX_ADDRESSES: usize = 12;

/// The addresses of a server in the order in which they are to be tried, one at least.
///
/// # Errors
/// [`DialError::NotFound`].
pub(crate) async fn addresses(server: &Server) -> Result<Vec<SocketAddr>, DialError> {
    let not_found = |why| DialError::NotFound { host: server.host.clone(), why };
    let found = lookup_host((server.host.as_str(), server.port)).await.map_err(not_found)?;
    match alternating(found) {
        none if none.is_empty() => Err(not_found(std::io::Error::other("it has no address"))),
        addresses => Ok(addresses),
    }
}

/// One of each family in turn, first that of the first address: the system has sorted them (RFC 6724). None comes twice.
fn alternating(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let mut distinct: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !distinct.contains(&address) && distinct.len() < 2 * MAX_ADDRESSES {
            distinct.push(address);
        }
    }
    let first_is_v6 = distinct.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = distinct.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut ordered = Vec::new();
    while ordered.len() < MAX_ADDRESSES {
        let pair = [first.next(), second.next()];
        if pair == [None, None] {
            break;
        }
        ordered.extend(pair.into_iter().flatten());
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(found: &[&str]) -> Vec<String> {
        let found = found.iter().map(|address| SocketAddr::new(address.parse().unwrap(), 6667));
        alternating(found).iter().map(|address| address.ip().to_string()).collect()
    }

    #[test]
    fn the_families_take_turns_the_systems_favourite_first() {
        assert_eq!(ordered(&["::1", "::2", "::3", "10.0.0.1"]), ["::1", "10.0.0.1", "::2", "::3"]);
        assert_eq!(ordered(&["10.0.0.1", "10.0.0.2", "::1"]), ["10.0.0.1", "::1", "10.0.0.2"]);
        assert_eq!(ordered(&["::1", "::1"]), ["::1"]);
        assert_eq!(ordered(&[]), Vec::<String>::new());
    }

    #[test]
    fn there_is_an_end_to_the_addresses_and_both_families_are_among_them() {
        let many: Vec<String> = (1..=200).map(|n| format!("::{n:x}")).collect();
        let mut found: Vec<&str> = many.iter().map(String::as_str).collect();
        found.insert(1, "10.0.0.1");
        let ordered = ordered(&found);
        assert_eq!((ordered.len(), ordered[1].as_str()), (MAX_ADDRESSES, "10.0.0.1"));
    }

    #[tokio::test]
    async fn a_literal_address_is_itself_and_a_host_that_is_no_name_is_not_found() {
        for literal in ["127.0.0.1", "::1"] {
            let found = addresses(&Server::plain(literal, 7000)).await.unwrap();
            assert_eq!(found, [SocketAddr::new(literal.parse().unwrap(), 7000)]);
        }
        let nowhere = addresses(&Server::plain("no host", 7000)).await;
        assert!(matches!(nowhere, Err(DialError::NotFound { host, .. }) if host == "no host"));
    }
}

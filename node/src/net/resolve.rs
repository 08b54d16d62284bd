//! Names of hosts in addresses, by the resolver of the operating system: it knows the hosts file and
//! whatever the machine is set to, and libp2p's own would be another library.

use std::net::IpAddr;

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// Most addresses of one peer.
const MOST: usize = 16;

/// The addresses with every name replaced by what it stands for; without those that stand for nothing.
pub(super) async fn all(addresses: Vec<Multiaddr>) -> Vec<Multiaddr> {
    let mut found = Vec::new();
    for address in addresses {
        match name_of(&address) {
            None => found.push(address),
            Some(name) => {
                let Ok(hosts) = tokio::net::lookup_host((name.host.as_str(), 0)).await else {
                    continue;
                };
                let fitting = hosts.map(|host| host.ip()).filter(|ip| name.fits(*ip));
                found.extend(fitting.map(|ip| with_host(&address, ip)));
            }
        }
    }
    found.truncate(MOST);
    found
}

/// The host at the beginning of an address.
struct Name {
    host: String,
    v4: bool,
    v6: bool,
}

impl Name {
    fn fits(&self, ip: IpAddr) -> bool {
        if ip.is_ipv4() { self.v4 } else { self.v6 }
    }
}

fn name_of(address: &Multiaddr) -> Option<Name> {
    #[expect(clippy::wildcard_enum_match_arm, reason = "most parts of an address are no names")]
    match address.iter().next()? {
        Protocol::Dns(host) => Some(Name { host: host.into_owned(), v4: true, v6: true }),
        Protocol::Dns4(host) => Some(Name { host: host.into_owned(), v4: true, v6: false }),
        Protocol::Dns6(host) => Some(Name { host: host.into_owned(), v4: false, v6: true }),
        _ => None,
    }
}

fn with_host(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    std::iter::once(Protocol::from(ip)).chain(address.iter().skip(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_gives_way_to_its_address_and_the_rest_stays() {
        let address: Multiaddr = "/dns4/localhost/tcp/7700".parse().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let found = runtime.block_on(all(vec![address]));
        assert_eq!(found, ["/ip4/127.0.0.1/tcp/7700".parse().unwrap()]);
    }
}

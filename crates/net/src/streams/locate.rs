//! Locating SIP servers: RFC 3263 §4. From a host name, and what its URI says beside it, to transports and addresses in the order in
//! which they are tried.
//!
//! Questions that do not depend on one another are asked together, so that a server that does not answer one kind of them (many do not
//! know NAPTR) costs its time once.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use parking_lot::Mutex;
use ringback_ua::{Place, Service, Transport};

use super::Naming;
use crate::random_u128;

/// What is to be located.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) host: String,
    /// With the addresses of `host` itself.
    pub(super) port: u16,
    pub(super) service: Service,
}

/// More than this are not tried anyway.
const PLACES_MOST: usize = 8;
/// Records of one answer that are looked at.
const RECORDS_MOST: usize = 32;
/// One question to one name server, and how often it is asked.
const QUERY: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 2;
/// What the resolver is made of.
const SYSTEM_FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

pub(super) struct Locator {
    /// Made anew when the system's files have changed; `None`: the system has none that could be used.
    names: Mutex<Option<(Stamp, Option<Arc<TokioResolver>>)>>,
    naming: Naming,
}

type Stamp = [Option<SystemTime>; 2];

/// A server as an SRV record names it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    priority: u16,
    weight: u16,
    port: u16,
    target: String,
}

impl Locator {
    pub(super) fn new(naming: Naming) -> Self {
        Locator { names: Mutex::new(None), naming }
    }

    /// §4.1: UDP where nothing says otherwise, if there is UDP.
    fn default_transport(&self, service: &Service) -> Transport {
        let has = |transport| self.naming.transports.contains(&transport);
        match service.transport {
            Transport::Udp if !service.transport_named && !has(Transport::Udp) && has(Transport::Tcp) => Transport::Tcp,
            transport => transport,
        }
    }

    pub(super) async fn locate(&self, question: &Question) -> Result<Vec<Place>, String> {
        let Question { host, port, service } = question;
        let default = self.default_transport(service);
        let Some(names) = self.names() else { return by_the_system(host, *port, default).await };
        // §4.2: with a port, or a number, the name is a host's.
        if service.port_named || host.parse::<IpAddr>().is_ok() {
            return places(&names, host, *port, default).await;
        }
        let transports: Vec<Transport> = match service.transport_named {
            true => vec![service.transport],
            false => {
                let usable = |transport: &Transport| {
                    self.naming.transports.contains(transport) && (!service.sips || transport.is_secure())
                };
                Transport::ALL.into_iter().filter(usable).collect()
            }
        };
        let naptr = async {
            match service.transport_named {
                // §4.1: the transport is known.
                true => Vec::new(),
                false => pointers(&names, host, service.sips, &transports).await,
            }
        };
        let srv = async {
            let mut found = Vec::new();
            for transport in &transports {
                let Some(prefix) = service_name(*transport) else { continue };
                found.push((*transport, servers(&names, format!("{prefix}.{host}"))));
            }
            all(found).await
        };
        let own = places(&names, host, *port, default);
        let (pointers, srv, own) = tokio::join!(naptr, srv, own);
        let mut candidates = Vec::new();
        for Pointer { transport, target, is_service, .. } in pointers {
            match is_service {
                true => candidates.push((transport, servers(&names, target).await)),
                false => {
                    let whole = Server { priority: 0, weight: 0, port: transport.default_port(), target };
                    candidates.push((transport, vec![whole]));
                }
            }
            if candidates.len() >= PLACES_MOST {
                break;
            }
        }
        if candidates.iter().all(|(_, servers)| servers.is_empty()) {
            candidates = srv;
        }
        let named = candidates.iter().any(|(_, servers)| !servers.is_empty());
        let mut found: Vec<Place> = Vec::new();
        let mut cause = None;
        for (transport, servers) in candidates {
            // RFC 2782: a service that is decidedly not there.
            let servers = servers.into_iter().filter(|server| server.target != ".");
            for server in in_order(servers.collect(), random) {
                if found.len() >= PLACES_MOST {
                    return Ok(found);
                }
                match places(&names, &server.target, server.port, transport).await {
                    Ok(more) => found.extend(more),
                    Err(why) => cause = Some(why),
                }
            }
        }
        match named {
            // §4.2: no service records, so the name itself.
            false => own,
            true if found.is_empty() => Err(cause.unwrap_or_else(|| "the service is not offered".into())),
            true => {
                found.truncate(PLACES_MOST);
                Ok(found)
            }
        }
    }

    fn names(&self) -> Option<Arc<TokioResolver>> {
        let modified = |path: &str| Path::new(path).metadata().and_then(|file| file.modified()).ok();
        let stamp = SYSTEM_FILES.map(modified);
        let mut names = self.names.lock();
        match &*names {
            Some((made, names)) if *made == stamp => names.clone(),
            _ => {
                let made = resolver(self.naming.nameserver).map(Arc::new);
                *names = Some((stamp, made.clone()));
                made
            }
        }
    }
}

fn resolver(nameserver: Option<SocketAddr>) -> Option<TokioResolver> {
    let mut builder = match nameserver {
        Some(address) => {
            let on_port = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let connections = vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())];
            let server = NameServerConfig::new(address.ip(), true, connections);
            let config = ResolverConfig::from_name_servers(vec![server]);
            TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
        }
        None => match TokioResolver::builder_tokio() {
            Ok(builder) => builder,
            Err(error) => {
                tracing::warn!(target: "ringback.net", %error, "no name servers: names are looked up by the C library, addresses only");
                return None;
            }
        },
    };
    let options: &mut ResolverOpts = builder.options_mut();
    options.timeout = QUERY;
    options.attempts = ATTEMPTS;
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    options.use_hosts_file = ResolveHosts::Always;
    match builder.build() {
        Ok(names) => Some(names),
        Err(error) => {
            tracing::warn!(target: "ringback.net", %error, "the name service cannot be used");
            None
        }
    }
}

/// RFC 3263 §4.2: the label of the service; WebSocket has one only where NAPTR names it (RFC 7118 §5.6).
fn service_name(transport: Transport) -> Option<&'static str> {
    match transport {
        Transport::Udp => Some("_sip._udp"),
        Transport::Tcp => Some("_sip._tcp"),
        Transport::Tls => Some("_sips._tcp"),
        Transport::Ws | Transport::Wss => None,
    }
}

/// A domain is complete as it stands; a lone label is one of the search list's.
fn whole(name: &str) -> String {
    if name.contains('.') && !name.ends_with('.') { format!("{name}.") } else { name.to_owned() }
}

/// Where a NAPTR record leads.
#[derive(Debug)]
struct Pointer {
    order: u16,
    preference: u16,
    transport: Transport,
    target: String,
    /// To SRV records, not to a host.
    is_service: bool,
}

/// §4.1: by order and preference, those that we can use.
async fn pointers(names: &TokioResolver, host: &str, sips: bool, usable: &[Transport]) -> Vec<Pointer> {
    let Ok(answer) = names.lookup(whole(host), RecordType::NAPTR).await else { return Vec::new() };
    let mut found: Vec<Pointer> = Vec::new();
    for record in answer.answers().iter().take(RECORDS_MOST) {
        let RData::NAPTR(naptr) = &record.data else { continue };
        let Some(transport) = transport_of(&naptr.services) else { continue };
        if !usable.contains(&transport) || sips && !transport.is_secure() {
            continue;
        }
        let is_service = match &naptr.flags[..] {
            [b's' | b'S'] => true,
            [b'a' | b'A'] => false,
            _ => continue,
        };
        let (order, preference, target) = (naptr.order, naptr.preference, naptr.replacement.to_ascii());
        found.push(Pointer { order, preference, transport, target, is_service });
    }
    found.sort_by_key(|pointer| (pointer.order, pointer.preference));
    found
}

/// RFC 3263 §4.1, RFC 7118 §5.6.
fn transport_of(services: &[u8]) -> Option<Transport> {
    let known: [(&str, Transport); 5] = [
        ("SIP+D2U", Transport::Udp),
        ("SIP+D2T", Transport::Tcp),
        ("SIPS+D2T", Transport::Tls),
        ("SIP+D2W", Transport::Ws),
        ("SIPS+D2W", Transport::Wss),
    ];
    known.into_iter().find(|(name, _)| services.eq_ignore_ascii_case(name.as_bytes())).map(|(_, transport)| transport)
}

async fn servers(names: &TokioResolver, name: String) -> Vec<Server> {
    let Ok(answer) = names.lookup(whole(&name), RecordType::SRV).await else { return Vec::new() };
    let server = |data: &RData| match data {
        RData::SRV(srv) => {
            Some(Server { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_ascii() })
        }
        _ => None,
    };
    answer.answers().iter().take(RECORDS_MOST).filter_map(|record| server(&record.data)).collect()
}

/// Awaits all of them at once; what they give stays in their order.
async fn all<T, F: Future<Output = Vec<Server>>>(futures: Vec<(T, F)>) -> Vec<(T, Vec<Server>)> {
    let mut waiting: Vec<_> = futures.into_iter().map(|(key, future)| (key, Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (_, future, done) in &mut waiting {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    std::task::Poll::Ready(servers) => *done = Some(servers),
                    std::task::Poll::Pending => pending = true,
                }
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    waiting.into_iter().map(|(key, _, done)| (key, done.unwrap_or_default())).collect()
}

/// RFC 2782: by priority; among equals at random, each as often as its weight says. `random`: a number below the one given.
fn in_order(mut servers: Vec<Server>, mut random: impl FnMut(u32) -> u32) -> Vec<Server> {
    // "All those with weight 0 are placed at the beginning."
    servers.sort_by_key(|server| (server.priority, server.weight != 0));
    let mut ordered = Vec::with_capacity(servers.len());
    while let Some(priority) = servers.first().map(|server| server.priority) {
        let equals = servers.iter().take_while(|server| server.priority == priority).count();
        let sum: u32 = servers.iter().take(equals).map(|server| u32::from(server.weight)).sum();
        let chosen = random(sum + 1);
        let mut running = 0;
        let reached = |server: &Server| {
            running += u32::from(server.weight);
            running >= chosen
        };
        let place = servers.iter().take(equals).position(reached).unwrap_or(0);
        ordered.push(servers.remove(place));
    }
    ordered
}

pub(super) fn random(bound: u32) -> u32 {
    (random_u128() % u128::from(bound.max(1))) as u32
}

/// The addresses of a host, IPv4 first: what most peers can reach.
async fn places(names: &TokioResolver, host: &str, port: u16, transport: Transport) -> Result<Vec<Place>, String> {
    if let Ok(ip) = host.trim_end_matches('.').parse::<IpAddr>() {
        return Ok(vec![Place { transport, address: SocketAddr::new(ip, port) }]);
    }
    let name = Name::from_str_relaxed(host).map_err(|_| "not a host name".to_owned())?;
    let found = names.lookup_ip(name).await.map_err(|error| cause(&error))?;
    let mut ips: Vec<IpAddr> = Vec::new();
    for ip in found.iter() {
        if !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips.sort_by_key(IpAddr::is_ipv6);
    if ips.is_empty() {
        return Err("no address".into());
    }
    let place = |ip| Place { transport, address: SocketAddr::new(ip, port) };
    Ok(ips.into_iter().take(PLACES_MOST).map(place).collect())
}

fn cause(error: &hickory_resolver::net::NetError) -> String {
    if error.is_nx_domain() {
        "no such host".into()
    } else if error.is_no_records_found() {
        "no address".into()
    } else {
        error.to_string()
    }
}

/// Where the system has no name servers to ask.
async fn by_the_system(host: &str, port: u16, transport: Transport) -> Result<Vec<Place>, String> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| error.to_string())?;
    let mut places: Vec<Place> = Vec::new();
    for address in found {
        let place = Place { transport, address };
        if !places.contains(&place) {
            places.push(place);
        }
    }
    if places.is_empty() { Err("no address".into()) } else { Ok(places) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(target: &str, priority: u16, weight: u16) -> Server {
        Server { priority, weight, port: 5060, target: target.into() }
    }

    fn order(random: impl FnMut(u32) -> u32) -> String {
        let servers = vec![server("d", 2, 0), server("a", 1, 60), server("b", 1, 0), server("c", 1, 40)];
        in_order(servers, random).into_iter().map(|server| server.target).collect()
    }

    #[test]
    fn rfc_2782_orders_by_priority_and_weight() {
        assert_eq!(order(|_| 0), "bacd");
        assert_eq!(order(|bound| bound - 1), "cabd");
        assert_eq!(order(|_| 1), "abcd".replace("bc", "cb"));
        let mut first = [0; 3];
        for _ in 0..3000 {
            match &order(random)[..1] {
                "a" => first[0] += 1,
                "b" => first[1] += 1,
                _ => first[2] += 1,
            }
        }
        assert!(first[0] > first[2] && first[2] > first[1], "{first:?}");
    }

    #[test]
    fn services_are_known_by_their_names() {
        assert_eq!(transport_of(b"sips+d2t"), Some(Transport::Tls));
        assert_eq!(transport_of(b"SIPS+D2W"), Some(Transport::Wss));
        assert_eq!(transport_of(b"SIP+D2S"), None, "SCTP");
        assert_eq!(transport_of(b"E2U+sip"), None);
    }
}

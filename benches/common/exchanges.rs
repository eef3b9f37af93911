//! The load of exchanges: kept connections with calls in flight, or handshakes, in a process of its own.

use super::role::tell;
use cambist::proto::token_exchange_client::TokenExchangeClient;
use cambist::proto::{Credential, ExchangeRequest, PeerCertificate, credential};
use prost::Message as _;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

/// Kept connections, or handshakes at a time.
pub const CONNECTIONS: usize = 8;
/// Calls in flight on each kept connection.
pub const IN_FLIGHT: usize = 32;

/// What one measured window gave.
#[derive(serde::Serialize, serde::Deserialize)]
pub struct Window {
    /// Calls answered, or handshakes with one call each.
    pub calls: usize,
    /// Median latency in microseconds.
    pub p50: u32,
    /// 99th percentile in microseconds.
    pub p99: u32,
    /// The longest in microseconds.
    pub worst: u32,
    /// Length in seconds.
    pub seconds: f64,
}

/// Whom to call, and as whom.
#[derive(Clone)]
struct Caller {
    address: String,
    tls: ClientTlsConfig,
    request: ExchangeRequest,
}

impl Caller {
    /// With an API key, or with a certificate where there is none.
    fn new(address: &str, tls: &Path, key: Option<&str>) -> Self {
        let read = |name: &str| std::fs::read(tls.join(name)).unwrap();
        let authority = Certificate::from_pem(read("ca.pem"));
        let mut config = ClientTlsConfig::new()
            .ca_certificate(authority)
            .domain_name("localhost");
        if key.is_none() {
            config = config.identity(Identity::from_pem(
                read("workload.pem"),
                read("workload.key"),
            ));
        }
        let kind = match key {
            Some(key) => credential::Kind::ApiKey(key.to_owned()),
            None => credential::Kind::PeerCertificate(PeerCertificate {}),
        };
        Self {
            address: format!("https://{address}"),
            tls: config,
            request: ExchangeRequest {
                subject: Some(Credential { kind: Some(kind) }),
                audience: "shop".to_owned(),
                scopes: vec!["orders:read".to_owned()],
                ..ExchangeRequest::default()
            },
        }
    }

    async fn connect(&self) -> TokenExchangeClient<Channel> {
        // Every endpoint has a session cache of its own, so each handshake is a full one.
        let endpoint = Endpoint::from_shared(self.address.clone()).unwrap();
        let endpoint = endpoint
            .tls_config(self.tls.clone())
            .unwrap()
            .tcp_nodelay(true);
        TokenExchangeClient::new(endpoint.connect().await.unwrap())
    }

    /// One call; answers the length of token and reply.
    async fn call(&self, client: &mut TokenExchangeClient<Channel>) -> (usize, usize) {
        let reply = client
            .exchange(self.request.clone())
            .await
            .unwrap()
            .into_inner();
        (reply.access_token.len(), reply.encoded_len())
    }
}

/// Runs a window whenever the driver says `go <milliseconds>`: calls on kept connections, or `handshakes`.
/// All calls of a window are over when it ends, and there are none between windows.
pub fn run(runtime: &Runtime, address: &str, tls: &Path, key: Option<&str>, handshakes: bool) {
    let caller = Caller::new(address, tls, key);
    let mut clients = Vec::new();
    let (token, reply) = runtime.block_on(async {
        for _ in 0..CONNECTIONS {
            clients.push(caller.connect().await);
        }
        caller.call(&mut clients[0]).await
    });
    if handshakes {
        clients.clear();
    }
    tell("sizes", &format!("{token} {reply}"));
    for line in std::io::stdin().lines() {
        let length = line.unwrap().strip_prefix("go ").unwrap().parse().unwrap();
        let start = Instant::now();
        let until = start + Duration::from_millis(length);
        let mut latencies = runtime.block_on(async {
            if handshakes {
                connecting(&caller, until).await
            } else {
                calling(&caller, &clients, until).await
            }
        });
        latencies.sort_unstable();
        let at = |percent: usize| {
            latencies
                .get(latencies.len() * percent / 100)
                .copied()
                .unwrap()
        };
        let seconds = start.elapsed().as_secs_f64();
        let window = Window {
            calls: latencies.len(),
            p50: at(50),
            p99: at(99),
            worst: latencies.last().copied().unwrap(),
            seconds,
        };
        tell("window", &serde_json::to_string(&window).unwrap());
    }
}

async fn calling(
    caller: &Caller,
    clients: &[TokenExchangeClient<Channel>],
    until: Instant,
) -> Vec<u32> {
    let mut tasks = JoinSet::new();
    for client in clients {
        for _ in 0..IN_FLIGHT {
            let (caller, mut client) = (caller.clone(), client.clone());
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while Instant::now() < until {
                    let start = Instant::now();
                    caller.call(&mut client).await;
                    latencies.push(micros(start));
                }
                latencies
            });
        }
    }
    tasks.join_all().await.concat()
}

async fn connecting(caller: &Caller, until: Instant) -> Vec<u32> {
    let mut tasks = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let caller = caller.clone();
        tasks.spawn(async move {
            let mut latencies = Vec::new();
            while Instant::now() < until {
                let start = Instant::now();
                let mut client = caller.connect().await;
                caller.call(&mut client).await;
                latencies.push(micros(start));
            }
            latencies
        });
    }
    tasks.join_all().await.concat()
}

fn micros(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_micros()).unwrap_or(u32::MAX)
}

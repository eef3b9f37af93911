//! Unix sockets.

use crate::support::clock::testing::TestClock;
use crate::support::edge::{Client, Server, within};
use crate::support::svid::NOW;
use cambist::clock::SystemRandomness;
use cambist::limits;
use cambist::listener::{
    BindError, Edge, ListenAddress, Listener, ListenerConfig, Observer, Outcome,
};
use cambist::trust::TrustStore;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use tokio::net::UnixStream;

#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {
    fn attempt(&self, _: Outcome) {}
    fn opened(&self) {}
    fn closed(&self) {}
}

fn bind(path: &Path) -> Result<Listener, BindError> {
    let edge = Edge {
        identity: None,
        trust: Arc::new(TrustStore::new()),
        clock: TestClock::at(NOW),
        random: SystemRandomness::shared(),
        observer: Arc::new(Nobody),
    };
    Listener::bind(
        ListenerConfig::at(ListenAddress::Unix(path.to_owned())),
        edge,
    )
}

#[tokio::test]
async fn a_unix_peer_is_known_by_its_user() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cambist.sock");
    let server = Server::with(|config| config.address = ListenAddress::Unix(path.clone()));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let uid = rustix::process::getuid().as_raw();
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut h2 = Client::h2(stream).await.unwrap();
    assert_eq!(h2.get("/peer").await.unwrap().2, format!("- {uid} -"));
    let stream = UnixStream::connect(&path).await.unwrap();
    let mut h1 = Client::h1(stream).await.unwrap();
    assert_eq!(h1.get("/peer").await.unwrap().2, format!("- {uid} -"));
    server.shutdown.drain.cancel();
    let gone = async {
        while path.exists() {
            tokio::task::yield_now().await;
        }
    };
    within("the socket file to go", gone).await;
}

#[tokio::test]
async fn a_dead_socket_is_taken_over_and_a_living_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cambist.sock");
    // Left behind by a process that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = bind(&path).unwrap();
    assert!(bind(&path).is_err());
    UnixStream::connect(&path).await.unwrap();
    drop(first);
    assert!(!path.exists());
    // Somebody else's, who knows nothing of our lock.
    let _foreign = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert!(bind(&path).unwrap_err().to_string().contains("living"));
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cambist.sock");
    fs::write(&path, "precious").unwrap();
    assert!(bind(&path).is_err());
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn tcp_needs_a_server_certificate() {
    let edge = Edge {
        identity: None,
        trust: Arc::new(TrustStore::new()),
        clock: TestClock::at(NOW),
        random: SystemRandomness::shared(),
        observer: Arc::new(Nobody),
    };
    let config = ListenerConfig::at(ListenAddress::Tcp("127.0.0.1:0".parse().unwrap()));
    let refused = Listener::bind(config, edge).unwrap_err();
    assert!(matches!(refused, BindError::NoIdentity(_)));
}

#[tokio::test]
async fn the_longest_path_can_be_listened_at() {
    let folder = tempfile::tempdir().unwrap();
    let room = limits::UNIX_PATH - folder.path().as_os_str().len() - 1;
    let named = |length| folder.path().join("s".repeat(length));
    let _listener = bind(&named(room)).unwrap();
    UnixStream::connect(named(room)).await.unwrap();
    assert!(bind(&named(room + 1)).is_err());
}

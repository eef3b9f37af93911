//! Who is trusted, and what becomes of peers that are not brokers.

use super::{World, endpoint, exchange, key};
use crate::support::edge::until;
use crate::support::pki::Authority;
use crate::support::standin::{Standin, server_config};
use cambist::client::{Endpoint, Error, Source, TlsFiles};
use cambist::limits;
use cambist::proto::Receipt;
use prost::Message as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::task::AbortOnDropHandle;

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let world = World::new();
    let path = world.path("socket");
    let _serving = world
        .standin
        .listen_unix(UnixListener::bind(&path).unwrap());
    let endpoint = Endpoint::parse(&format!("unix://{}", path.display()), None).unwrap();
    exchange(&endpoint, &key()).await.unwrap();
    let absent = Endpoint::unix(world.path("absent")).unwrap();
    let error = exchange(&absent, &key()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn only_the_named_bundle_a_valid_certificate_and_the_right_name_are_trusted() {
    let world = World::new();
    world.write("other.pem", Authority::new("Other CA").pem());
    let good = world.listen().await;
    let other = endpoint(&good, TlsFiles::new(world.path("other.pem")));
    assert_certificate(exchange(&other, &key()).await, "UnknownIssuer");

    let expired = world
        .standin
        .listen(&world.authority.expired_server())
        .await;
    assert_certificate(exchange(&world.endpoint(&expired), &key()).await, "expired");

    let foreign = world
        .standin
        .listen(&world.authority.foreign_server())
        .await;
    assert_certificate(
        exchange(&world.endpoint(&foreign), &key()).await,
        "not valid for name",
    );

    assert!(world.standin.exchanges().is_empty());
    exchange(&world.endpoint(&good), &key()).await.unwrap();
}

fn assert_certificate<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::Certificate(text)) if text.contains(reason) => (),
        other => panic!("expected {reason}: {other:?}"),
    }
}

fn assert_tls<T: std::fmt::Debug>(result: Result<T, Error>, reason: &str) {
    match result {
        Err(Error::Tls(text)) if text.contains(reason) => (),
        other => panic!("expected {reason}: {other:?}"),
    }
}

#[tokio::test]
async fn the_client_certificate_is_shown_and_its_rotation_noticed() {
    let world = World::new();
    let clients = Authority::new("Client CA");
    let listening = world.listen_mutual(&clients).await;
    let none = exchange(&world.endpoint(&listening), &Source::PeerCertificate).await;
    assert_tls(none, "CertificateRequired");

    let endpoint = endpoint(&listening, world.shown());
    let mut shown = Vec::new();
    for name in ["first", "second"] {
        let identity = world.rotate(&clients, name);
        exchange(&endpoint, &Source::PeerCertificate).await.unwrap();
        let leaf = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
        shown.push(Some(leaf.to_vec()));
    }
    assert_eq!(world.standin.peers(), shown);

    // A rotation that went wrong: the last good certificate serves on.
    world.write("key.pem", "garbage");
    exchange(&endpoint, &Source::PeerCertificate).await.unwrap();
    assert_eq!(world.standin.peers().last(), shown.last());
}

#[tokio::test]
async fn pem_files_are_read_up_to_their_bound() {
    let world = World::new();
    let clients = Authority::new("Client CA");
    let listening = world
        .standin
        .listen_mutual(&world.authority.server(), &clients)
        .await;
    let identity = clients.client("web");
    let files = [
        ("ca.pem", world.authority.pem()),
        ("cert.pem", &identity.certificate),
        ("key.pem", &identity.key),
    ];
    let write = |name, text: &str, length: usize| {
        let padding = "\n".repeat(length - text.len());
        world.write(name, &format!("{text}{padding}"));
    };
    for (largest, _) in files {
        for (bound, taken) in [(limits::PEM_FILE, true), (limits::PEM_FILE + 1, false)] {
            for (name, text) in files {
                write(name, text, if name == largest { bound } else { text.len() });
            }
            let tls = world
                .tls()
                .with_certificate(world.path("cert.pem"), world.path("key.pem"));
            let result = exchange(&endpoint(&listening, tls), &Source::PeerCertificate).await;
            assert_eq!(result.is_ok(), taken, "{largest}: {result:?}");
            assert!(
                taken || matches!(result, Err(Error::File { .. })),
                "{largest}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let world = World::new();
    let listening = world.listen().await;
    let endpoint = world.endpoint(&listening);
    exchange(&endpoint, &key()).await.unwrap();
    let address = listening.address;
    drop(listening);
    until("the port is closed", async || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    let error = exchange(&endpoint, &key()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_ends_before_the_answer_is_lost() {
    let world = World::new();
    let path = world.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _closing = AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Enough to know that the client takes the connection for made.
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
        }
    }));
    let error = exchange(&Endpoint::unix(&path).unwrap(), &key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
    assert!(error.is_transient());
}

#[tokio::test]
async fn a_call_ends_in_its_time() {
    let world = World::new();
    let path = world.path("socket");
    // Accepted by the kernel, and never answered.
    let _listener = UnixListener::bind(&path).unwrap();
    let endpoint = Endpoint::unix(&path).unwrap();
    let endpoint = endpoint.with_call_timeout(std::time::Duration::from_millis(50));
    let error = exchange(&endpoint, &key()).await.unwrap_err();
    assert_eq!(error, Error::Unreachable("no answer in time".into()));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_is_unreachable_in_time() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let endpoint = Endpoint::https(&address, world.tls()).unwrap();
    let begun = tokio::time::Instant::now();
    let error = exchange(&endpoint, &key()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)), "{error:?}");
    assert_eq!(begun.elapsed().as_secs(), limits::CLIENT_CONNECT.as_secs());
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_not_trusted() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let _serving = garbage(listener, b"220 mail.example.org ESMTP\r\n");
    let endpoint = Endpoint::https(&address, world.tls()).unwrap();
    match exchange(&endpoint, &key()).await {
        Err(Error::Unreachable(text)) if text.contains("does not speak TLS") => (),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_peer_that_speaks_no_http_2_is_no_broker() {
    let world = World::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = server_config(&world.authority.server(), None, b"");
    let listening = Standin::default().listen_on(listener, config);
    let error = exchange(&world.endpoint(&listening), &key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_peer_that_answers_garbage_is_a_clear_error() {
    let world = World::new();
    let path = world.path("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let _serving = AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(&[0xA5; 4096]).await;
            // Until the client gives up: a reset could overtake the garbage.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }));
    let error = exchange(&Endpoint::unix(path).unwrap(), &key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Lost(_)), "{error:?}");
}

fn garbage(listener: TcpListener, text: &'static [u8]) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(text).await;
            // Until the client gives up: a reset could overtake the text.
            let _ = stream.read_to_end(&mut Vec::new()).await;
        }
    }))
}

#[tokio::test]
async fn an_answer_is_taken_up_to_its_bound() {
    let world = World::new();
    let listening = world.listen().await;
    let endpoint = world.endpoint(&listening);
    for (size, taken) in [(limits::ANSWER, true), (limits::ANSWER + 1, false)] {
        let mut answer = world.standin.token();
        answer.receipt = Some(Receipt {
            origin: "x".repeat(limits::ANSWER - 512),
            index: 0,
        });
        let left = size - answer.encoded_len();
        answer
            .receipt
            .as_mut()
            .unwrap()
            .origin
            .push_str(&"x".repeat(left));
        assert_eq!(answer.encoded_len(), size);
        world.standin.answer(answer);
        let result = exchange(&endpoint, &key()).await;
        assert_eq!(result.is_ok(), taken, "{size}: {result:?}");
        assert!(taken || matches!(result, Err(Error::Protocol(_))));
    }
}

#[tokio::test]
async fn an_answer_that_holds_nonsense_is_a_clear_error() {
    let world = World::new();
    let listening = world.listen().await;
    let mut answer = world.standin.token();
    answer.access_token = "two words".to_owned();
    world.standin.answer(answer);
    let error = exchange(&world.endpoint(&listening), &key())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

//! Certificates of clients and of the server.

use super::client;
use crate::support::edge::{Client, Server, connect, within, write_identity};
use crate::support::svid::{DAY, REVOKED_SERIAL, shift};
use cambist::lifecycle::Lifecycle;
use cambist::lifecycle::files::FileWatch;
use cambist::limits;
use cambist::listener::IdentityError;
use cambist::telemetry::Metrics;
use rcgen::SerialNumber;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

#[tokio::test]
async fn each_bad_certificate_is_refused_in_the_handshake_with_its_own_cause() {
    let mut server = Server::start();
    for (name, identity, code) in server.world.bad_cases() {
        for version in [&TLS13, &TLS12] {
            let config = server.client_of(Some(&identity), &[version]);
            // With TLS 1.3 a client learns of it at its first read.
            if let Ok(stream) = connect(server.socket(), config).await {
                let mut client = Client::h1(stream).await.unwrap();
                assert!(client.get("/peer").await.is_err(), "{name}");
            }
            assert_eq!(server.outcome().await, code, "{name}");
        }
    }
}

#[tokio::test]
async fn no_session_is_resumed_so_no_check_is_skipped() {
    for version in [&TLS13, &TLS12] {
        let mut server = Server::start();
        let home = &server.world.home;
        let identity =
            home.issue(|c| c.serial_number = Some(SerialNumber::from(REVOKED_SERIAL + 1)));
        // Clients of one configuration share a session cache, and resume wherever they can.
        let config = server.client_of(Some(&identity), &[version]);
        for _ in 0..3 {
            let stream = connect(server.socket(), config.clone()).await.unwrap();
            let mut client = Client::h1(stream).await.unwrap();
            client.get("/peer").await.unwrap();
            assert_eq!(server.outcome().await, "ok");
        }
        let stream = connect(server.socket(), config.clone()).await.unwrap();
        assert_eq!(
            stream.get_ref().1.handshake_kind(),
            Some(HandshakeKind::Full)
        );
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
        assert_eq!(server.outcome().await, "ok");
        let home = &server.world.home;
        let list = home.crl(&[REVOKED_SERIAL + 1], -1, DAY);
        server
            .trust
            .replace(vec![home.bundle_with(vec![list])])
            .unwrap();
        if let Ok(mut revoked) = connect(server.socket(), config).await {
            let read = within("the alert", revoked.read(&mut [0])).await;
            assert!(read.is_err());
        }
        assert_eq!(server.outcome().await, "certificate_revoked");
    }
}

/// The serial-independent mark of the certificate that the server shows now.
async fn shown(server: &Server) -> Vec<u8> {
    let stream = connect(server.socket(), server.client(None)).await.unwrap();
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].to_vec()
}

#[tokio::test]
async fn a_renewed_certificate_is_used_and_a_bad_one_is_not() {
    type Expected = fn(&IdentityError) -> bool;
    let server = Server::start();
    let first = shown(&server).await;
    let renewed = server.renewed();
    write_identity(&server.files, &renewed);
    server.identity.reload().unwrap();
    assert_eq!(shown(&server).await, renewed.chain[0].to_vec());
    assert_ne!(first, renewed.chain[0].to_vec());
    let other = server.renewed();
    let is_pem: Expected = |error| matches!(error, IdentityError::Pem { .. });
    let bad: [(_, _, Expected); 4] = [
        // Half written: a certificate and not yet its key.
        (other.chain_pem(), renewed.key_pem.clone(), |error| {
            matches!(error, IdentityError::Mismatch)
        }),
        (String::new(), renewed.key_pem.clone(), is_pem),
        (renewed.chain_pem(), String::new(), is_pem),
        (
            renewed.chain_pem(),
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".to_owned(),
            |error| matches!(error, IdentityError::Key(_)),
        ),
    ];
    for (certificate, key, is_expected) in bad {
        fs::write(&server.files.certificate, certificate).unwrap();
        fs::write(&server.files.key, key).unwrap();
        let error = server.identity.reload().unwrap_err();
        assert!(is_expected(&error), "{error:?}");
        assert!(!error.to_string().contains("AAAA"), "{error}");
        assert_eq!(shown(&server).await, renewed.chain[0].to_vec(), "{error}");
    }
    let home = &server.world.home;
    write_identity(&server.files, &home.issue(|c| shift(c, -DAY, -1)));
    assert!(matches!(
        server.identity.reload(),
        Err(IdentityError::Expired(_))
    ));
    write_identity(&server.files, &home.issue(|c| shift(c, 1, DAY)));
    assert!(matches!(
        server.identity.reload(),
        Err(IdentityError::NotYetValid(_))
    ));
    // It becomes valid, and a further attempt takes it.
    server.clock.advance(1);
    server.identity.reload().unwrap();
}

#[tokio::test]
async fn the_servers_own_files_have_bounds() {
    let server = Server::start();
    let renewed = server.renewed();
    assert_eq!(renewed.chain.len(), 1);
    let files = &server.files;
    fs::write(&files.key, &renewed.key_pem).unwrap();
    let with = |certificate: String| {
        fs::write(&files.certificate, certificate).unwrap();
        server.identity.reload()
    };
    with(renewed.chain_pem().repeat(limits::CHAIN)).unwrap();
    assert!(matches!(
        with(renewed.chain_pem().repeat(limits::CHAIN + 1)),
        Err(IdentityError::ChainTooLong)
    ));
    let padded = |text: &str, length: usize| format!("{text}{}", "\n".repeat(length - text.len()));
    with(padded(&renewed.chain_pem(), limits::TRUST_FILE)).unwrap();
    assert!(matches!(
        with(padded(&renewed.chain_pem(), limits::TRUST_FILE + 1)),
        Err(IdentityError::TooLarge(path)) if path == files.certificate
    ));
    with(renewed.chain_pem()).unwrap();
    fs::write(&files.key, padded(&renewed.key_pem, limits::TRUST_FILE + 1)).unwrap();
    assert!(matches!(
        server.identity.reload(),
        Err(IdentityError::TooLarge(path)) if path == files.key
    ));
}

#[tokio::test]
async fn a_changed_file_is_noticed_without_anybody_calling() {
    let server = Server::start();
    let (lifecycle, metrics) = (Lifecycle::new(), Arc::new(Metrics::new()));
    let (sender, mut applied) = mpsc::unbounded_channel();
    let (identity, paths) = (Arc::clone(&server.identity), server.identity.paths());
    FileWatch::new("server certificate", move || paths.clone())
        .every(Duration::from_millis(50))
        .start(&lifecycle, Arc::clone(&metrics), move || {
            let result = identity.reload();
            let _nobody_listens = sender.send(result.is_ok());
            result
        })
        .unwrap();
    assert!(
        within("the pair of the start", applied.recv())
            .await
            .unwrap()
    );
    let renewed = server.renewed();
    fs::write(&server.files.key, &renewed.key_pem).unwrap();
    assert!(!within("a half pair", applied.recv()).await.unwrap());
    fs::write(&server.files.certificate, renewed.chain_pem()).unwrap();
    let taken = async { while !applied.recv().await.unwrap() {} };
    within("the whole pair", taken).await;
    assert_eq!(shown(&server).await, renewed.chain[0].to_vec());
    let text = metrics.encode().unwrap();
    let line = r#"cambist_reloads_total{what="server certificate",result="refused"}"#;
    assert!(text.contains(line), "{text}");
}

#[tokio::test]
async fn live_connections_survive_a_renewal() {
    let server = Server::start();
    let mut live = client(&server, server.client(None), "h2").await;
    live.get("/peer").await.unwrap();
    write_identity(&server.files, &server.renewed());
    server.identity.reload().unwrap();
    assert!(live.get("/peer").await.is_ok());
}

//! The client for HTTPS, against servers that try to have it their way.

use crate::support::https::Https;
use cambist::https::{body, causes, client};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(10);
/// As long as an answer may be in these tests.
const MOST: usize = 100_000;

/// No redirect leads there in this test: it is where the client is sent from the first.
#[tokio::test]
async fn it_goes_nowhere_but_over_https() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Https::serve(|_| [("/".to_owned(), ("200 OK".to_owned(), String::new()))].into());
    let server = server.await;
    let client = client([server.ca.clone()], PATIENCE).unwrap();
    let refused = client.get(format!("http://{address}/")).send().await;
    let why = causes(refused.unwrap_err());
    assert!(why.contains("scheme"), "{why}");
    // It was not even asked.
    let mut accept = pin!(listener.accept());
    let accepted = accept
        .as_mut()
        .poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(accepted, Poll::Pending));
    let answer = client.get(&server.origin).send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_answer_is_as_long_as_it_may_be_and_not_one_byte_longer() {
    let server = Https::serve(|_| {
        let path = |length: usize| {
            (
                format!("/{length}"),
                ("200 OK".to_owned(), "a".repeat(length)),
            )
        };
        [0, MOST, MOST + 1].map(path).into()
    });
    let server = server.await;
    let client = client([server.ca.clone()], PATIENCE).unwrap();
    let read = async |length: usize| {
        let answer = client.get(format!("{}/{length}", server.origin)).send();
        let read = body(answer.await.unwrap(), MOST).await.unwrap();
        read.map(|body| body.len())
    };
    assert_eq!(read(0).await, Some(0));
    assert_eq!(read(MOST).await, Some(MOST));
    assert_eq!(read(MOST + 1).await, None);
}

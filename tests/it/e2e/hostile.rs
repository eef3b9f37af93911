//! Too much, too little and nonsense: a clear answer, and the broker goes on serving.

use crate::support::broker::{Broker, api_key, ask, refusal};
use crate::support::edge::{Answer, Client, within};
use cambist::clock::{SystemRandomness, random};
use cambist::limits;
use cambist::proto::ExchangeRequest;
use http::{Method, StatusCode, header};
use http_body_util::Full;
use hyper::body::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const EXCHANGE: &str = "/cambist.v1.TokenExchange/Exchange";

/// A request of exactly `size` bytes, whose audience is too long.
fn sized(broker: &Broker, size: usize) -> ExchangeRequest {
    let mut request = ask(api_key(broker.api_key()), "");
    while request.encoded_len() < size {
        let missing = size - request.encoded_len();
        request.audience.push_str(&"a".repeat(missing.div_ceil(2)));
    }
    assert_eq!(request.encoded_len(), size);
    request
}

async fn serves(broker: &Broker) {
    let caller = broker.anybody().await;
    caller.yes(ask(api_key(broker.api_key()), "shop")).await;
}

/// Sends a gRPC body as it is.
async fn raw(client: &mut Client, body: Vec<u8>) -> Answer {
    raw_to(client, EXCHANGE, body).await
}

async fn raw_to(client: &mut Client, path: &str, body: Vec<u8>) -> Answer {
    let request = http::Request::builder()
        .method(Method::POST)
        .uri(format!("https://localhost{path}"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    within("an answer", client.send(request)).await.unwrap()
}

fn framed(flag: u8, length: u32, content: &[u8]) -> Vec<u8> {
    [&[flag], &length.to_be_bytes()[..], content].concat()
}

#[tokio::test]
async fn messages_are_bounded_at_n_and_n_plus_one() {
    let broker = Broker::start().await;
    let caller = broker.anybody().await;
    let fits = caller
        .exchange(sized(&broker, limits::MESSAGE))
        .await
        .unwrap_err();
    assert_eq!(refusal(&fits), "invalid_request");
    let large = caller
        .exchange(sized(&broker, limits::MESSAGE + 1))
        .await
        .unwrap_err();
    assert_eq!(large.code(), tonic::Code::OutOfRange, "{large:?}");
    // On the very same connection.
    caller.yes(ask(api_key(broker.api_key()), "shop")).await;
}

#[tokio::test]
async fn frames_that_lie_are_answered() {
    let broker = Broker::start().await;
    let mut client = broker.http("h2").await;
    let mut codes = Vec::new();
    for body in [
        framed(0, 100, b"ten bytes."),
        framed(0, u32::MAX, b""),
        framed(0, 5, &[0xff; 5]),
        framed(1, 5, &[0; 5]),
        framed(7, 0, b""),
        vec![0, 0],
        Vec::new(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let (status, headers, _) = raw(&mut client, body).await;
        assert_eq!(status, StatusCode::OK, "gRPC says it in its own way");
        let code = headers
            .get("grpc-status")
            .map(|code| code.to_str().unwrap().to_owned());
        codes.push(code.unwrap_or_default());
    }
    assert!(
        codes.iter().all(|code| code != "0" && !code.is_empty()),
        "{codes:?}"
    );
    // Something well-formed that says nothing, and what is not gRPC at all.
    let (_, headers, _) = raw(&mut client, framed(0, 0, b"")).await;
    assert_eq!(headers["grpc-status"], "3");
    let (status, _, _) = client.get(EXCHANGE).await.unwrap();
    assert!(
        status.is_client_error() || status == StatusCode::OK,
        "{status}"
    );
    serves(&broker).await;
}

/// Administrators' messages may be large. Nobody else's is even taken in: the answer does not wait for the message.
#[tokio::test]
async fn a_stranger_is_turned_away_before_his_message() {
    let broker = Broker::start().await;
    let mut client = broker.http("h2").await;
    for path in [
        "/cambist.v1.Policy/CheckPolicies",
        "/cambist.v1.Policy/PutPolicies",
        "/cambist.v1.Inventory/CreateKey",
    ] {
        // Of these bytes only a few ever come.
        let begun = framed(0, 100_000, b"ten bytes.");
        let (_, headers, _) = raw_to(&mut client, path, begun).await;
        assert_eq!(headers["grpc-status"], "7", "{path}");
    }
    serves(&broker).await;
}

#[tokio::test]
async fn requests_to_the_standard_services_are_bounded_at_n_and_n_plus_one() {
    let broker = Broker::start().await;
    let mut client = broker.http("h2").await;
    for (size, fits) in [
        (limits::STANDARD_MESSAGE, true),
        (limits::STANDARD_MESSAGE + 1, false),
    ] {
        // The field's number and length take three bytes.
        let mut message = Vec::new();
        prost::encoding::string::encode(1, &"a".repeat(size - 3), &mut message);
        assert_eq!(message.len(), size);
        let begun = framed(0, u32::try_from(size).unwrap(), &message);
        let (_, headers, _) = raw_to(&mut client, "/grpc.health.v1.Health/Check", begun).await;
        assert_eq!(headers["grpc-status"], if fits { "5" } else { "11" });
    }
    serves(&broker).await;
}

#[tokio::test]
async fn a_megabyte_of_headers_is_turned_away() {
    let broker = Broker::start().await;
    let value = "a".repeat(1024 * 1024);
    for protocol in ["http/1.1", "h2"] {
        let mut client = broker.http(protocol).await;
        let request = http::Request::builder()
            .uri("https://localhost/.well-known/openid-configuration")
            .header(header::HOST, "localhost")
            .header("x-large", &value)
            .body(Full::new(Bytes::new()))
            .unwrap();
        match within("an answer or an end", client.send(request)).await {
            Ok((status, _, _)) => assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
            // Who writes on although he was refused may find the connection closed before he reads the answer.
            Err(error) => {
                let told = format!("{error:?}");
                let closed = ["GoAway", "Reset", "BrokenPipe", "IncompleteMessage"];
                assert!(closed.iter().any(|way| told.contains(way)), "{told}");
            }
        }
        serves(&broker).await;
    }
}

#[tokio::test]
async fn noise_on_the_port_disturbs_nobody() {
    let broker = Broker::start().await;
    let kept = broker.anybody().await;
    let noise: [u8; 8192] = random(&*SystemRandomness::shared()).unwrap();
    let record = [&[22, 3, 1, 0x40, 0][..], &noise].concat();
    for bytes in [
        &noise[..],
        &record,
        b"GET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0",
    ] {
        let mut stream = broker.tcp().await;
        // The broker may hang up before all is written.
        let _ = stream.write_all(bytes).await;
        let _ = stream.shutdown().await;
        let mut answer = Vec::new();
        let _ = within("the end", stream.read_to_end(&mut answer)).await;
    }
    for protocol in ["http/1.1", "h2"] {
        for bytes in [
            &noise[..],
            b"\r\n\r\n\r\n",
            b"BREW /coffee HTCPCP/1.0\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        ] {
            let mut stream = broker.tls(protocol).await;
            let _ = stream.write_all(bytes).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = within("the end", stream.read_to_end(&mut answer)).await;
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.starts_with("HTTP/1.1 2"), "{text}");
        }
    }
    kept.yes(ask(api_key(broker.api_key()), "shop")).await;
    serves(&broker).await;
}

/// A caller in the middle of its request holds up nobody, and its leaving is noticed.
#[tokio::test]
async fn half_a_request_is_no_request() {
    let mut broker = Broker::start().await;
    let mut halves = Vec::new();
    for _ in 0..20 {
        let mut stream = broker.tls("http/1.1").await;
        stream
            .write_all(b"GET /.well-known/openid-config")
            .await
            .unwrap();
        halves.push(stream);
    }
    serves(&broker).await;
    drop(halves);
    serves(&broker).await;
    assert!(broker.terminate().await.success(), "{}", broker.stderr());
}

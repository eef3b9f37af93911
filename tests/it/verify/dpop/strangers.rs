//! Proofs that a library makes of which we wrote nothing: over real TLS, by the real time, at the server's real address.

use super::super::layer::{bind, grpc_at, web_at};
use super::super::world::{OPEN, World};
use super::super::{SIGNER, claims};
use super::guarded;
use crate::interop::foreign::Foreign;
use cambist::clock::{Clock as _, SystemClock};
use cambist::verify::{Layer, Proofs};
use serde_json::{Value, json};

/// What the library makes proofs with.
const ALGORITHMS: [&str; 4] = ["ES256", "Ed25519", "PS256", "RS256"];

/// A key of a stranger, and a token that is bound to it.
async fn bound(world: &World, algorithm: &str) -> String {
    let ca = world.path("ca.pem");
    let said = Foreign::Node.dpop(&ca, &["key", algorithm], "").await.yes();
    let now = SystemClock::shared().now().as_second();
    let mut claims = claims();
    claims["iat"] = json!(now);
    claims["exp"] = json!(now + 600);
    claims["cnf"] = json!({"jkt": said["thumbprint"]});
    let token = SIGNER.token("at+jwt", &claims);
    json!({"key": said["key"], "alg": algorithm, "token": token}).to_string()
}

/// By the real time, which the feed here does not tell: how old it is is of no matter.
async fn world() -> World {
    World::with(|feed| feed.clock(SystemClock::shared())).await
}

fn has(answer: &Value, status: &Value, error: Option<&str>) {
    assert_eq!(answer["status"], *status, "{answer}");
    let challenge = answer["challenge"].as_str().unwrap_or_default();
    match error {
        Some(error) => assert!(
            challenge.contains(&format!("error=\"{error}\"")),
            "{answer}"
        ),
        None => assert_eq!(challenge, "", "{answer}"),
    }
}

/// The same of both kinds of server: `yes` and `no` are what they call it.
fn are_right(answers: &Value, yes: &Value, no: &Value) {
    has(&answers["good"], yes, None);
    has(&answers["another"], yes, None);
    for name in ["again", "elsewhere", "without"] {
        has(&answers[name], no, Some("invalid_dpop_proof"));
    }
    has(&answers["bearer"], no, Some("invalid_token"));
}

#[tokio::test]
async fn a_strangers_proofs_pass_at_an_http_server() {
    let world = world().await;
    let listener = bind().await;
    let port = listener.local_addr().unwrap().port();
    let origin = format!("https://localhost:{port}");
    let guard = guarded(&world, Proofs::at(&origin).unwrap());
    let _server = web_at(listener, &world, Layer::new(guard, OPEN), None);
    for algorithm in ALGORITHMS {
        let input = bound(&world, algorithm).await;
        let url = format!("{origin}/who");
        let ca = world.path("ca.pem");
        let said = Foreign::Node.dpop(&ca, &["web", &url], &input).await;
        let answers = said.yes();
        are_right(&answers, &json!(200), &json!(401));
        assert_eq!(
            answers["good"]["text"],
            "spiffe://example.org/ci deploy read"
        );
    }
}

#[tokio::test]
async fn a_strangers_proofs_pass_at_a_grpc_server() {
    let world = world().await;
    let listener = bind().await;
    let port = listener.local_addr().unwrap().port();
    let origin = format!("https://localhost:{port}");
    let guard = guarded(&world, Proofs::at(&origin).unwrap());
    let _server = grpc_at(listener, &world, Layer::new(guard, OPEN), None);
    let input = bound(&world, "ES256").await;
    let ca = world.path("ca.pem");
    let said = Foreign::Node.dpop(&ca, &["grpc", &origin], &input).await;
    let answers = said.yes();
    are_right(&answers, &json!("OK"), &json!("UNAUTHENTICATED"));
    assert_eq!(answers["again"]["text"], "the DPoP proof was used before");
}

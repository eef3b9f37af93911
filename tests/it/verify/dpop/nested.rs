//! A layer within a layer: the proof of a request is good for both, and for no other request.

use super::*;
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::HeaderValue;
use tower::ServiceExt as _;
use tower::util::MapRequestLayer;

struct Nested {
    router: Router,
    holder: Signer,
    token: String,
}

impl Nested {
    /// What is done to a request between the two, by which the inner one sees another.
    fn new(
        outer: Layer,
        between: impl Fn(&mut http::Request<Body>) + Clone + Send + Sync + 'static,
        inner: Layer,
    ) -> Self {
        let holder = Signer::new();
        let token = bound(&holder, "good");
        let between = MapRequestLayer::new(move |mut request| {
            between(&mut request);
            request
        });
        let router = Router::new().route("/who", get(async || "yes"));
        let router = router.route_layer(inner).layer(between).layer(outer);
        Self {
            router,
            holder,
            token,
        }
    }

    fn proof(&self, id: &str) -> String {
        proof(&self.holder, id, "GET", &format!("{BASE}/who"), &self.token)
    }

    async fn ask(&self, proof: &str, other: Option<&str>) -> StatusCode {
        let request = http::Request::get("/who")
            .header("authorization", format!("DPoP {}", self.token))
            .header("dpop", proof);
        let request = match other {
            Some(other) => request.header("other", other),
            None => request,
        };
        let request = request.body(Body::empty()).unwrap();
        self.router.clone().oneshot(request).await.unwrap().status()
    }
}

/// Puts what was in another header in the proof's place.
fn swapped(request: &mut http::Request<Body>) {
    let other: Option<HeaderValue> = request.headers_mut().remove("other");
    if let Some(other) = other {
        request.headers_mut().insert("dpop", other);
    }
}

#[tokio::test]
async fn a_proof_is_spent_once_for_both() {
    let world = World::new().await;
    let (guard, layer) = layer(&world);
    let scoped = |scopes: &str| layer.clone().scopes(ScopeSet::parse(scopes).unwrap());
    let nested = Nested::new(layer.clone(), |_| (), scoped("read"));
    let first = nested.proof("1");
    assert_eq!(nested.ask(&first, None).await, StatusCode::OK);
    assert_eq!(guard.proofs().unwrap().remembered(), 1);
    assert_eq!(nested.ask(&first, None).await, StatusCode::UNAUTHORIZED);
    let second = nested.proof("2");
    assert_eq!(nested.ask(&second, None).await, StatusCode::OK);
    assert_eq!(guard.stats().accepted(), 4);
    assert_eq!(guard.stats().refused("proof_replayed"), 1);
    // The inner one asks for what it asks for; its refusal comes after the proof was spent.
    let nested = Nested::new(layer.clone(), |_| (), scoped("write"));
    let third = nested.proof("3");
    assert_eq!(nested.ask(&third, None).await, StatusCode::FORBIDDEN);
    assert_eq!(nested.ask(&third, None).await, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn the_inner_one_checks_all_but_what_was_spent() {
    let world = World::new().await;
    let (guard, layer) = layer(&world);
    let nested = Nested::new(layer.clone(), swapped, layer.clone());
    let (first, second) = (nested.proof("1"), nested.proof("2"));
    assert_eq!(nested.ask(&first, None).await, StatusCode::OK);
    // That one proof was spent is nothing to another: one that is used, and one that is not.
    let used = nested.ask(&second, Some(&first)).await;
    assert_eq!(used, StatusCode::UNAUTHORIZED);
    let (third, fourth) = (nested.proof("3"), nested.proof("4"));
    assert_eq!(nested.ask(&third, Some(&fourth)).await, StatusCode::OK);
    assert_eq!(guard.proofs().unwrap().remembered(), 4);
    assert_eq!(nested.ask(&fourth, None).await, StatusCode::UNAUTHORIZED);
    // Of the same name as the one that was spent, and not good.
    let elsewhere = proof(&nested.holder, "5", "GET", BASE, &nested.token);
    let refused = nested.ask(&nested.proof("5"), Some(&elsewhere)).await;
    assert_eq!(refused, StatusCode::UNAUTHORIZED);
    assert_eq!(guard.stats().refused("proof"), 1);
}

#[tokio::test]
async fn who_remembers_for_itself_spends_for_itself() {
    let world = World::new().await;
    let (outer, outer_layer) = layer(&world);
    let (inner, inner_layer) = layer(&world);
    let nested = Nested::new(outer_layer, |_| (), inner_layer.clone());
    let first = nested.proof("1");
    assert_eq!(nested.ask(&first, None).await, StatusCode::OK);
    for guard in [outer, inner] {
        assert_eq!(guard.proofs().unwrap().remembered(), 1);
    }
    // The inner one alone knows it.
    let plain = Layer::new(guarded(&world, Proofs::at(BASE).unwrap()), CLOSED);
    let nested = Nested {
        router: Nested::new(plain, |_| (), inner_layer).router,
        ..nested
    };
    assert_eq!(nested.ask(&first, None).await, StatusCode::UNAUTHORIZED);
}

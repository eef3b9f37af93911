//! Tenants part what is told: nobody is sent what is revoked of another's.

use super::*;
use crate::support::broker::{api_key, ask};
use cambist::limits;
use cambist::proto::revoke_request::Thing as Named;
use cambist::proto::{ExchangeResponse, KeySpec, ReinstateRequest, RevokeRequest};
use serde_json::Value;

/// An audience of `tenant`, and somebody who serves it.
pub(super) async fn put(
    broker: &Site,
    name: &str,
    tenant: &str,
    server: &str,
    revision: u64,
) -> Result<u64, Status> {
    let mut audience = audience(name);
    audience.tenant = tenant.to_owned();
    audience.servers = vec![format!("spiffe://example.org/{server}")];
    let put = PutAudienceRequest {
        audience: Some(audience),
        expected_revision: revision,
        ..PutAudienceRequest::default()
    };
    let put = broker.inventory().await.put_audience(put).await?;
    Ok(put.into_inner().audience.unwrap().revision)
}

pub(super) async fn delete(broker: &Site, name: &str) {
    let delete = DeleteAudienceRequest {
        name: name.to_owned(),
        ..DeleteAudienceRequest::default()
    };
    broker
        .inventory()
        .await
        .delete_audience(delete)
        .await
        .unwrap();
}

/// A verifier of some tenants, one that all share, and those who see everything.
struct World {
    broker: Broker,
}

impl World {
    async fn new() -> Self {
        let readers = "[[log.reader]]\nspiffe_id = \"spiffe://example.org/siem\"\n\
             [[log.reader]]\nspiffe_id = \"spiffe://example.org/team\"\nowners = [\"team-shop\"]\n";
        let broker = Broker::with(|setup| setup.config.push_str(readers)).await;
        put(&broker, "till-a", "a", "a", 0).await.unwrap();
        put(&broker, "till-b", "b", "b", 0).await.unwrap();
        Self { broker }
    }

    async fn channel(&self, name: &str) -> Channel {
        let svid = self.broker.svid(&format!("spiffe://example.org/{name}"));
        self.broker.channel(Some(&svid)).await
    }

    async fn follower(&self, name: &str) -> Follower {
        Follower::start(self.channel(name).await, "").await.unwrap()
    }

    /// Comes back as `name` with what another has.
    async fn back(&self, name: &str, old: &Follower) -> Follower {
        let channel = self.channel(name).await;
        let back = Follower::back(channel, &old.revision, &old.view).await;
        let mut back = back.unwrap();
        back.set.clone_from(&old.set);
        back
    }

    /// A key of a tenant, or of none, for the audience that all share.
    async fn key(&self, tenant: &str) -> (String, String) {
        let spec = KeySpec {
            tenant: tenant.to_owned(),
            ..spec(&["shop"], &["orders:read"])
        };
        let made = self.broker.create_key(spec).await;
        (made.key.unwrap().id, made.secret)
    }

    /// A token of a new key.
    async fn token(&self, tenant: &str) -> ExchangeResponse {
        let (_, secret) = self.key(tenant).await;
        let caller = self.broker.anybody().await;
        caller.yes(ask(api_key(&secret), "shop")).await
    }

    async fn revoke(&self, thing: Named) -> (String, String) {
        let request = RevokeRequest {
            thing: Some(thing),
            ..RevokeRequest::default()
        };
        let mut client = RevocationClient::new(self.broker.local().await);
        let answer = client.revoke(request).await.unwrap().into_inner();
        (answer.markers[0].id.clone(), answer.revision)
    }
}

impl Follower {
    /// Takes messages until it has a revision whole; it was never sent any of these.
    async fn reaches(&mut self, revision: &str, has: &[&str], never: &[&str]) {
        self.until(|follower| follower.snapshots > 0).await;
        self.until(|follower| follower.reached(revision)).await;
        let parsed = |id: &&str| MarkerId::parse(id).unwrap();
        for id in has {
            assert!(self.set.contains_key(&parsed(id)), "{id} is missing");
        }
        for id in never {
            assert!(!self.sent.contains(&parsed(id)), "{id} was sent");
        }
    }
}

#[tokio::test]
async fn nobody_is_sent_what_is_revoked_of_another_tenants() {
    let mut world = World::new().await;
    let mut early = Vec::new();
    for name in ["a", "b", "shop", "siem", "admin", "team"] {
        early.push((name, world.follower(name).await));
    }
    let mut ids = Vec::new();
    for tenant in ["a", "b", ""] {
        let (id, _) = world.key(tenant).await;
        revoke(&world.broker, &id).await;
        ids.push(marker(&id).to_string());
        // By its text: whose it is, is in it.
        let token = world.token(tenant).await;
        ids.push(world.revoke(Named::Token(token.access_token)).await.0);
    }
    let of_a = |record: &Value| record["action"] == "marker.set" && record["tenant"] == "a";
    let set = world.broker.record(of_a).await;
    assert_eq!(set["change"]["marker"], *ids[1]);
    // By its name alone nobody can tell.
    let token = world.token("b").await;
    let (bare, reached) = world.revoke(Named::TokenId(token.token_id)).await;
    ids.push(bare);
    let [a, at, b, bt, n, nt, bare] = ids.iter().map(String::as_str).collect::<Vec<_>>()[..] else {
        panic!("seven markers");
    };
    let all = [a, at, b, bt, n, nt, bare];
    let theirs = |name: &str| match name {
        "a" => (vec![a, at, n, nt, bare], vec![b, bt]),
        "b" => (vec![b, bt, n, nt, bare], vec![a, at]),
        // It reads what a team owns, and serves nobody.
        "team" => (vec![n, nt, bare], vec![a, at, b, bt]),
        _ => (all.to_vec(), Vec::new()),
    };
    for (name, follower) in &mut early {
        let (has, never) = theirs(name);
        follower.reaches(&reached, &has, &never).await;
        assert_eq!(follower.set.len(), has.len(), "{name}");
        // In a snapshot as in deltas.
        let mut late = world.follower(name).await;
        late.reaches(&reached, &has, &never).await;
        assert_eq!(late.set, follower.set, "{name}");
    }
    // It is stored whose they are.
    world.broker.kill9().await;
    world.broker.restart().await;
    for (name, follower) in early {
        let (has, never) = theirs(name);
        let mut anew = world.follower(name).await;
        anew.reaches(&reached, &has, &never).await;
        assert_eq!(anew.set, follower.set, "{name}");
    }
}

#[tokio::test]
async fn what_is_revoked_by_its_name_as_well_is_told_to_all() {
    let mut world = World::new().await;
    let token = world.token("a").await;
    let mut other = world.follower("b").await;
    let (id, at) = world.revoke(Named::Token(token.access_token.clone())).await;
    other.until(|other| other.reached(&at)).await;
    assert!(other.sent.is_empty());
    let (same, at) = world.revoke(Named::TokenId(token.token_id)).await;
    assert_eq!(same, id);
    other.reaches(&at, &[&id], &[]).await;
    // And it stays so, whoever shows it once more, and after a crash.
    let (_, at) = world.revoke(Named::Token(token.access_token)).await;
    world.broker.kill9().await;
    world.broker.restart().await;
    let mut other = world.follower("b").await;
    other.reaches(&at, &[&id], &[]).await;
    let reinstate = ReinstateRequest {
        marker_id: id,
        reason: "tests".to_owned(),
        ..ReinstateRequest::default()
    };
    let mut client = RevocationClient::new(world.broker.local().await);
    client.reinstate(reinstate).await.unwrap();
    other.until(|other| other.set.is_empty()).await;
}

#[tokio::test]
async fn who_serves_other_tenants_than_before_gets_a_snapshot_of_theirs() {
    let world = World::new().await;
    let mut follower = world.follower("a").await;
    let ((a, _), (b, _)) = (world.key("a").await, world.key("b").await);
    revoke(&world.broker, &a).await;
    let reached = revoke(&world.broker, &b).await;
    let (a, b) = (marker(&a).to_string(), marker(&b).to_string());
    follower.reaches(&reached, &[&a], &[&b]).await;
    assert_eq!(follower.snapshots, 1);
    let press = put(&world.broker, "press", "b", "a", 0).await.unwrap();
    follower.until(|follower| follower.snapshots == 2).await;
    follower.reaches(&reached, &[&a, &b], &[]).await;
    // Somebody else serves it from now on.
    put(&world.broker, "press", "b", "other", press)
        .await
        .unwrap();
    follower.until(|follower| follower.snapshots == 3).await;
    assert_eq!(follower.set.len(), 1);
    // Another of the same tenant tells nothing new.
    put(&world.broker, "news", "a", "a", 0).await.unwrap();
    let (c, _) = world.key("a").await;
    let reached = revoke(&world.broker, &c).await;
    follower
        .reaches(&reached, &[&marker(&c).to_string()], &[])
        .await;
    for _ in 0..2 {
        while !matches!(follower.take().await, Ok(Event::Heartbeat(_))) {}
    }
    assert_eq!(follower.snapshots, 3);
}

/// It would check tokens of the other tenant by markers that it lacks, and take them for fresh.
#[tokio::test]
async fn who_serves_another_tenant_is_told_nothing_before_a_snapshot_of_it() {
    let world = World::new().await;
    let mut follower = world.follower("a").await;
    let (b, _) = world.key("b").await;
    let (reached, id) = (revoke(&world.broker, &b).await, marker(&b).to_string());
    follower.reaches(&reached, &[], &[&id]).await;
    let token = world.token("").await;
    put(&world.broker, "press", "b", "a", 0).await.unwrap();
    // Of no tenant: with it everybody is told how fresh what they have is.
    let (bare, told) = world.revoke(Named::TokenId(token.token_id)).await;
    while follower.snapshots == 1 {
        follower.take().await.unwrap();
        let is_whole = follower.snapshots == 2;
        assert!(is_whole || !follower.reached(&told), "it lacks a marker");
    }
    follower.reaches(&told, &[&id, &bare], &[]).await;
    // Where nothing else is told, each comes before the next heartbeat would: four within three of them.
    for _ in 0..2 {
        while !matches!(follower.take().await, Ok(Event::Heartbeat(_))) {}
    }
    let comes = async {
        for (tenant, count) in ["c", "d", "e", "f"].into_iter().zip(3..) {
            put(&world.broker, tenant, tenant, "a", 0).await.unwrap();
            follower.until(|follower| follower.snapshots == count).await;
        }
    };
    let in_time = tokio::time::timeout(limits::WATCH_HEARTBEAT * 3, comes).await;
    assert!(in_time.is_ok());
}

/// Tokens for it are good as long as they live.
#[tokio::test]
async fn who_served_an_audience_that_is_removed_is_told_of_its_tokens_all_the_same() {
    let mut world = World::new().await;
    put(&world.broker, "mall", "", "a", 0).await.unwrap();
    let mut follower = world.follower("a").await;
    let (early, _) = world.key("b").await;
    revoke(&world.broker, &early).await;
    delete(&world.broker, "mall").await;
    // It is looked anew what it serves.
    for _ in 0..2 {
        while !matches!(follower.take().await, Ok(Event::Heartbeat(_))) {}
    }
    let (late, _) = world.key("b").await;
    let reached = revoke(&world.broker, &late).await;
    let ids = [early, late].map(|id| marker(&id).to_string());
    let has = [ids[0].as_str(), &ids[1]];
    follower.reaches(&reached, &has, &[]).await;
    assert_eq!(follower.snapshots, 1);
    world.broker.kill9().await;
    world.broker.restart().await;
    let mut anew = world.follower("a").await;
    anew.reaches(&reached, &has, &[]).await;
    // Who served nothing of the kind is told nothing of it.
    put(&world.broker, "stall", "a", "c", 0).await.unwrap();
    let mut other = world.follower("c").await;
    other.reaches(&reached, &[], &has).await;
}

/// Who reads a part of the log watches for that alone, and is told no less of an audience that it served.
#[tokio::test]
async fn a_reader_who_served_an_audience_that_is_removed_is_told_of_its_tokens_all_the_same() {
    let world = World::new().await;
    put(&world.broker, "stall", "c", "team", 0).await.unwrap();
    delete(&world.broker, "stall").await;
    let [of_c, of_b] = ["c", "b"].map(|tenant| world.key(tenant));
    let ((of_c, _), (of_b, _)) = (of_c.await, of_b.await);
    revoke(&world.broker, &of_b).await;
    let reached = revoke(&world.broker, &of_c).await;
    let ids = [of_c, of_b].map(|id| marker(&id).to_string());
    let mut reader = world.follower("team").await;
    reader.reaches(&reached, &[&ids[0]], &[&ids[1]]).await;
}

#[tokio::test]
async fn who_comes_back_and_sees_more_lacks_nothing() {
    let world = World::new().await;
    let mut follower = world.follower("a").await;
    let ((a, _), (b, _)) = (world.key("a").await, world.key("b").await);
    revoke(&world.broker, &b).await;
    let reached = revoke(&world.broker, &a).await;
    let (a, b) = (marker(&a).to_string(), marker(&b).to_string());
    follower.reaches(&reached, &[&a], &[&b]).await;
    // As it went.
    let mut same = world.back("a", &follower).await;
    let (later, _) = world.key("a").await;
    let reached = revoke(&world.broker, &later).await;
    same.until(|same| same.reached(&reached)).await;
    assert_eq!((same.snapshots, same.set.len()), (0, 2));
    same.view.clone_from(&follower.view);
    // As another who sees everything, with the same set; and as one who sees another tenant's.
    for (name, count) in [("shop", 3), ("b", 1)] {
        let mut other = world.back(name, &same).await;
        other.reaches(&reached, &[&b], &[]).await;
        assert_eq!((other.snapshots, other.set.len()), (1, count), "{name}");
    }
    // And as itself, when it serves another as well.
    put(&world.broker, "press", "b", "a", 0).await.unwrap();
    let mut more = world.back("a", &same).await;
    more.reaches(&reached, &[&a, &b], &[]).await;
    assert_eq!((more.snapshots, more.set.len()), (1, 3));
}

/// Tokens of others may be alive for it, whose revocation its servers would not be told of any more.
#[tokio::test]
async fn an_audience_becomes_shared_by_all_and_never_one_tenants() {
    let world = World::new().await;
    let broker = &world.broker;
    let first = put(broker, "press", "a", "a", 0).await.unwrap();
    let told = put(broker, "press", "b", "a", first).await.unwrap_err();
    assert_eq!(refusal(&told), "invalid_request");
    assert!(told.message().contains("tenant"), "{}", told.message());
    let same = put(broker, "press", "a", "other", first).await.unwrap();
    let shared = put(broker, "press", "", "a", same).await.unwrap();
    let told = put(broker, "press", "a", "a", shared).await.unwrap_err();
    assert_eq!(refusal(&told), "invalid_request");
    // Nor one that takes its name.
    delete(broker, "press").await;
    let told = put(broker, "press", "a", "a", 0).await.unwrap_err();
    assert_eq!(refusal(&told), "conflict");
    put(broker, "press", "", "a", 0).await.unwrap();
    delete(broker, "till-a").await;
    let told = put(broker, "till-a", "b", "a", 0).await.unwrap_err();
    assert_eq!(refusal(&told), "conflict");
    put(broker, "till-a", "a", "a", 0).await.unwrap();
}

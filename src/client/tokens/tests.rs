//! The background work against a scripted broker, on paused time.

pub(in crate::client) mod scripted;

use super::*;
use crate::client::token::tests::answer;
use scripted::{Rig, outage, refusal, seconds};

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_before_the_first_call() {
    let rig = Rig::new();
    let _tokens = rig.tokens();
    tokio::time::sleep(seconds(3600)).await;
    assert_eq!(rig.broker.asked(), Vec::<u64>::new());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_first_calls_make_one_exchange() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.token().await.unwrap().id() })
        })
        .collect();
    let mut ids = Vec::new();
    for call in calls {
        ids.push(call.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    // Their wishes are all granted: none of them causes another exchange later.
    tokio::time::sleep(seconds(600)).await;
    assert_eq!(rig.broker.asked(), [0]);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_renewed_at_its_share_of_the_lifetime() {
    for (draw, due) in [(0, 630), (u64::MAX, 765)] {
        let rig = Rig::drawing(draw);
        let tokens = rig.tokens();
        let first = tokens.token().await.unwrap();
        tokio::time::sleep(seconds(due - 1)).await;
        assert_eq!(tokens.token().await.unwrap().id(), first.id());
        tokio::time::sleep(seconds(2)).await;
        assert_ne!(tokens.token().await.unwrap().id(), first.id());
        assert_eq!(rig.broker.asked(), [0, due]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_ridden_out_with_the_good_token() {
    let rig = Rig::drawing(u64::MAX / 2);
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    rig.broker.fail_with(Some(outage()));
    for _ in 0..899 {
        tokio::time::sleep(seconds(1)).await;
        assert_eq!(tokens.token().await.unwrap().id(), first.id());
    }
    let during = rig.broker.asked().len();
    assert!((5..30).contains(&during), "{during} attempts");
    assert_eq!(tokens.status().failure, Some(outage()));

    tokio::time::sleep(seconds(2)).await;
    let begun = rig.clock.monotonic();
    assert_eq!(tokens.token().await.unwrap_err(), outage());
    let waited = rig.clock.monotonic() - begun;
    assert!(
        waited.abs_diff(limits::CLIENT_PATIENCE) <= seconds(1),
        "{waited:?}"
    );

    rig.broker.fail_with(None);
    tokio::time::sleep(seconds(31)).await;
    assert_ne!(tokens.token().await.unwrap().id(), first.id());
    assert_eq!(tokens.status().failure, None);
}

#[tokio::test(start_paused = true)]
async fn a_first_call_waits_through_a_short_outage() {
    let rig = Rig::new();
    rig.broker.fail_with(Some(outage()));
    let tokens = rig.tokens();
    let call = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.token().await }
    });
    tokio::time::sleep(seconds(3)).await;
    rig.broker.fail_with(None);
    call.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_at_once_and_retried_slowly() {
    let rig = Rig::new();
    rig.broker.fail_with(Some(refusal("policy_denied")));
    let tokens = rig.tokens();
    for _ in 0..1000 {
        assert_eq!(tokens.token().await.unwrap_err(), refusal("policy_denied"));
    }
    assert_eq!(rig.clock.monotonic(), Duration::ZERO);
    assert_eq!(rig.broker.asked(), [0]);

    tokio::time::sleep(seconds(3600)).await;
    let asked = rig.broker.asked();
    let pauses = asked.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(
        pauses.clone().all(|pause| (5..=60).contains(&pause)),
        "{asked:?}"
    );

    rig.broker.fail_with(None);
    tokio::time::sleep(seconds(60)).await;
    tokens.token().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_renewal_leaves_the_good_token_until_it_lapses() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    rig.broker.fail_with(Some(refusal("credential_refused")));
    tokio::time::sleep(seconds(899)).await;
    assert_eq!(tokens.token().await.unwrap().id(), first.id());
    tokio::time::sleep(seconds(2)).await;
    assert_eq!(
        tokens.token().await.unwrap_err(),
        refusal("credential_refused")
    );
}

#[tokio::test(start_paused = true)]
async fn the_last_clone_dropped_ends_the_work() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let clone = tokens.clone();
    tokens.token().await.unwrap();
    drop(tokens);
    tokio::time::sleep(seconds(1000)).await;
    assert_eq!(rig.broker.asked().len(), 2);
    drop(clone);
    tokio::time::sleep(seconds(10_000)).await;
    assert_eq!(rig.broker.asked().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn closed_tokens_are_served_until_they_lapse() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    tokens.close();
    assert_eq!(tokens.successor(&first).await.unwrap_err(), Error::Closed);
    tokio::time::sleep(seconds(899)).await;
    assert_eq!(tokens.token().await.unwrap().id(), first.id());
    tokio::time::sleep(seconds(1)).await;
    assert_eq!(tokens.token().await.unwrap_err(), Error::Closed);
    assert_eq!(rig.broker.asked(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_lapsed_while_the_machine_slept_is_not_served() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    // The monotonic clock stands still in sleep; no timer fires.
    rig.clock.sleep_of_the_machine(seconds(1000));
    assert_ne!(tokens.token().await.unwrap().id(), first.id());
    assert_eq!(rig.broker.asked(), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_wall_clock_that_is_merely_wrong_does_no_harm() {
    for wrong in [-86_400, -60, 60, 800, 899, 86_400] {
        let rig = Rig::new();
        rig.broker.clock_is_ahead(-wrong);
        let tokens = rig.tokens();
        let first = tokens.token().await.unwrap();
        tokio::time::sleep(seconds(500)).await;
        assert_eq!(tokens.token().await.unwrap().id(), first.id(), "{wrong}");
        assert_eq!(rig.broker.asked(), [0], "{wrong}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_successor_is_awaited_however_long_it_takes() {
    let rig = Rig::new();
    let tokens = rig.tokens();
    let first = tokens.token().await.unwrap();
    rig.broker.fail_with(Some(outage()));
    let waiting = tokio::spawn({
        let (tokens, first) = (tokens.clone(), first.clone());
        async move { tokens.successor(&first).await }
    });
    tokio::time::sleep(seconds(2000)).await;
    assert!(!waiting.is_finished());
    rig.broker.fail_with(None);
    assert_ne!(waiting.await.unwrap().unwrap().id(), first.id());
}

mod leases {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_preferred_and_its_successors_are_taken() {
        let rig = Rig::new();
        let lease = rig.broker.offer_lease();
        let tokens = rig.tokens();
        lease.deliver(900, None);
        let mut last = tokens.token().await.unwrap();
        for _ in 0..5 {
            tokio::time::sleep(seconds(700)).await;
            lease.deliver(900, Some(700));
            let next = tokens.successor(&last).await.unwrap();
            assert_ne!(next.id(), last.id());
            last = next;
        }
        assert_eq!(rig.broker.leases(), [0]);
        assert_eq!(rig.broker.asked(), Vec::<u64>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_broker_without_leases_is_asked_for_exchanges_and_not_for_leases_again() {
        for reason in [Error::Unimplemented, refusal("combination_not_allowed")] {
            let rig = Rig::new();
            rig.broker.refuse_leases(reason);
            let tokens = rig.tokens();
            tokens.token().await.unwrap();
            tokio::time::sleep(seconds(2000)).await;
            assert_eq!(rig.broker.leases(), [0]);
            assert_eq!(rig.broker.asked(), [0, 630, 1260, 1890]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_exchange_would_be_refused_for_alike_is_not_asked_twice() {
        let rig = Rig::new();
        rig.broker.refuse_leases(refusal("credential_refused"));
        let tokens = rig.tokens();
        assert!(tokens.token().await.unwrap_err().is_refusal());
        assert_eq!(rig.broker.asked(), Vec::<u64>::new());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_ended_by_a_refusal_leaves_the_good_token() {
        let rig = Rig::new();
        let lease = rig.broker.offer_lease();
        let tokens = rig.tokens();
        lease.deliver(900, None);
        let first = tokens.token().await.unwrap();
        tokio::time::sleep(seconds(100)).await;
        rig.broker.refuse_leases(refusal("credential_refused"));
        lease.end(Err(refusal("credential_refused")));
        tokio::time::sleep(seconds(100)).await;
        assert_eq!(tokens.status().failure, Some(refusal("credential_refused")));
        assert_eq!(tokens.token().await.unwrap().id(), first.id());
        tokio::time::sleep(seconds(701)).await;
        assert_eq!(
            tokens.token().await.unwrap_err(),
            refusal("credential_refused")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_that_was_revoked_is_not_served_and_another_is_asked_for_soon() {
        for (draw, again) in [(0, 105), (u64::MAX / 2, 107)] {
            let rig = Rig::drawing(draw);
            let lease = rig.broker.offer_lease();
            let tokens = rig.tokens();
            lease.deliver(900, None);
            let first = tokens.token().await.unwrap();
            tokio::time::sleep(seconds(100)).await;
            lease.end(Err(refusal("revoked")));
            tokio::time::sleep(seconds(1)).await;
            assert_eq!(tokens.token().await.unwrap_err(), refusal("revoked"));
            let next = rig.broker.offer_lease();
            next.deliver(900, None);
            assert_ne!(tokens.successor(&first).await.unwrap().id(), first.id());
            assert_eq!(rig.broker.leases(), [0, again]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_broken_lease_is_opened_again_when_the_token_is_due_and_not_at_once() {
        for end in [Ok(None), Err(outage())] {
            let rig = Rig::new();
            let lease = rig.broker.offer_lease();
            let tokens = rig.tokens();
            lease.deliver(900, None);
            let first = tokens.token().await.unwrap();
            let next = rig.broker.offer_lease();
            next.deliver(900, None);
            lease.end(end);
            tokio::time::sleep(seconds(629)).await;
            assert_eq!(rig.broker.leases(), [0]);
            assert_ne!(tokens.successor(&first).await.unwrap().id(), first.id());
            assert_eq!(rig.broker.leases(), [0, 630]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_overdue_lease_is_given_up_while_the_token_is_good() {
        // At 90 % of the lifetime where the broker names no time, otherwise soon after the one it named.
        for (named, given_up) in [(None, 810), (Some(700), 705), (Some(5000), 810)] {
            let rig = Rig::new();
            let lease = rig.broker.offer_lease();
            lease.deliver(900, named);
            let tokens = rig.tokens();
            let first = tokens.token().await.unwrap();
            let next = rig.broker.offer_lease();
            next.deliver(900, None);
            assert_ne!(tokens.successor(&first).await.unwrap().id(), first.id());
            assert_eq!(rig.broker.leases(), [0, given_up]);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_with_a_credential_that_was_rotated_is_left() {
        let rig = Rig::new();
        let lease = rig.broker.offer_lease();
        lease.deliver(900, None);
        let tokens = rig.tokens();
        let first = tokens.token().await.unwrap();
        lease.outdate();
        tokio::time::sleep(seconds(600)).await;
        lease.deliver(900, None);
        let second = tokens.successor(&first).await.unwrap();
        let next = rig.broker.offer_lease();
        next.deliver(900, None);
        tokens.successor(&second).await.unwrap();
        assert_eq!(rig.broker.leases(), [0, 600 + 630]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_delivers_nothing_ends_in_time() {
        let rig = Rig::new();
        let silent = rig.broker.offer_lease();
        let tokens = rig.tokens();
        assert!(tokens.token().await.unwrap_err().is_transient());
        let next = rig.broker.offer_lease();
        next.deliver(900, None);
        tokio::time::sleep(limits::CLIENT_CALL).await;
        tokens.token().await.unwrap();
        assert!(silent.is_left());
    }
}

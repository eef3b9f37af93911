//! The bugs that others shipped in what we have as well, each held against us: the test that would find it here, or why
//! there is no room for it.

use crate::house::source;

/// Why a bug of theirs is not one of ours.
enum Cover {
    /// The test that fails if it is, by module and name.
    Test(&'static str),
    /// Nothing here could have it, and why.
    NotOurs(&'static str),
}
use Cover::{NotOurs, Test};

const RIVALS: &[(&str, Cover)] = &[
    // Bootstrap credentials.
    (
        "SPIRE 1.14.2, x509pop: CPU exhaustion before authentication by huge keys and long chains",
        Test("trust::sizes_hold_at_n_and_n_plus_one"),
    ),
    (
        "SPIRE 1.14.2: a request forged on the server's side through an attestation callback",
        Test("jose::attacks::headers_that_ask_for_more_are_refused"),
    ),
    (
        "SPIRE 1.14.6 aws_iid, 1.15.1 azure_imds: one field was verified, another was used",
        Test("jose::attacks::repeated_members_are_refused_at_every_level"),
    ),
    (
        "step-ca 0.29.0: authorisation bypassed in the ACME and SCEP provisioners and in SSH revocation",
        NotOurs("there is no ACME, SCEP or SSH face"),
    ),
    (
        "SPIRE 1.14.6: a join token is redeemed twice in a race",
        Test("e2e::uses::a_race_gives_exactly_as_many_tokens_as_uses"),
    ),
    (
        "OpenBao: the time that a comparison takes tells how much of a token is right",
        Test("house::comparisons::what_a_caller_shows_is_compared_in_constant_time"),
    ),
    (
        "OpenBao CVE-2026-39388: a credential is renewed with another valid certificate",
        Test("e2e::certificates::another_valid_certificate_renews_nothing"),
    ),
    (
        "OpenBao CVE-2026-40264: somebody else's credential is revoked by its accessor",
        Test("e2e::admin::a_key_is_revoked_by_its_own_id_alone"),
    ),
    // Connections.
    (
        "SPIRE 1.14.3: a resumed TLS session skipped the check against the current bundle",
        Test("listener::certificates::no_session_is_resumed_so_no_check_is_skipped"),
    ),
    (
        "RFC 9700 section 4.13: a certificate or address forwarded in a header is believed",
        Test("listener::forwarded_headers_are_not_believed"),
    ),
    // Tokens that come in.
    (
        "SPIRE: a JWT without exp is accepted",
        Test("mint::tests::own_tokens_are_recognised_and_no_others"),
    ),
    (
        "ZITADEL GHSA-g5h5-m4hm-xjrr, keycloak#51000: the audience of a foreign token is not checked",
        NotOurs("foreign tokens are not taken; our own name who may present them"),
    ),
    (
        "keycloak#43394: a JWT-SVID with an iss claim breaks the authentication of SPIFFE clients",
        NotOurs("JWT-SVIDs are not taken"),
    ),
    (
        "github-actions-cache-server#254: the address of the keys is derived instead of read",
        Test("verify::keys_are_fetched_by_the_issuers_metadata"),
    ),
    // What is made of them.
    (
        "ZITADEL CVE-2026-56668: an exchange widens the scope",
        Test("policy::ceiling::tests::what_is_left_is_never_above_any_ceiling"),
    ),
    (
        "OpenBao CVE-2026-46405: an answer holds both an error and a token",
        NotOurs("an answer is a Result: Issued, the only type with a token to send, or a Denial"),
    ),
    (
        "keycloak#53029: introspection leaves out act",
        Test("e2e::revocation::asking::who_serves_an_audience_asks_about_its_tokens_and_no_others"),
    ),
    (
        "keycloak#51633: a revoked chain is extended",
        Test("e2e::ancestry::no_descendant_of_a_revoked_key_is_extended"),
    ),
    (
        "keycloak#37119: a revocation does not reach what was exchanged for the revoked",
        Test(
            "e2e::revocation::reach::a_parent_that_was_revoked_right_before_a_crash_takes_its_child_along_everywhere",
        ),
    ),
    (
        "keycloak#31296: revocations are lost on a restart",
        Test("e2e::ancestry::a_revocation_outlives_the_process"),
    ),
    // Revocation.
    (
        "spire#1934: no token can be revoked, only the authority rotated",
        Test("e2e::revocation::reach::every_way_to_name_a_thing_revokes_that_and_nothing_else"),
    ),
    (
        "spire#1934: nor can a leaf",
        Test(
            "e2e::revocation::reach::a_certificate_takes_what_was_made_from_it_or_is_bound_to_it_along",
        ),
    ),
    (
        "vault#9176: a revocation takes longer the more there are",
        Test("revocation_scale::many_markers_are_held_looked_up_restored_and_dropped"),
    ),
    (
        "openbao#3051: a revocation is not published before a timer says so",
        Test("e2e::watch::what_is_revoked_is_told_and_what_is_taken_back"),
    ),
    (
        "Infisical#7242: a revocation that could not be written is logged, answered with success and not in force",
        Test(
            "faults::revocation::what_cannot_be_written_is_in_force_all_the_same_and_nothing_is_issued_until_it_is",
        ),
    ),
    (
        "Infisical#6417: markers have random ids and pile up",
        Test("e2e::revocation::asking::markers_are_listed_a_page_at_a_time_and_merge_by_maximum"),
    ),
    (
        "istio#61073: an empty list does not clear the one before",
        Test("verify::feed::an_empty_snapshot_clears_what_was_held_before"),
    ),
    (
        "keycloak#51376: one way of revoking sends no event",
        Test("e2e::revocation::reach::every_way_to_name_a_thing_revokes_that_and_nothing_else"),
    ),
    (
        "Abblix/Oidc.Server#392: a subject is revoked by a flag, which takes what it gets later along",
        Test(
            "e2e::revocation::reach::a_subject_is_revoked_up_to_a_time_and_what_it_gets_later_is_good",
        ),
    ),
    (
        "dickhardt/AAuth#64: a token is known by its jti alone, whoever issued it",
        Test("marker::thing::what_differs_in_kind_or_part_differs_in_id"),
    ),
    (
        "useautumn/autumn#2592: a slow look-up puts an old yes into the cache after the no",
        Test("verify::guard::tests::a_slow_miss_brings_back_no_old_yes"),
    ),
    (
        "keycloak#52691: may_act is looked at only when the request names an actor",
        Test("e2e::tokens::what_a_token_says_of_its_actor_decides"),
    ),
    (
        "dex#2806: any client mints for any audience",
        Test("e2e::tokens::an_audience_outside_the_ancestry_is_out_of_reach"),
    ),
    (
        "knox#1354: the code of an error says something else than what is wrong",
        Test("grpc::status::every_denial_carries_its_stable_code_and_hides_its_cause"),
    ),
    // Policy.
    (
        "OpenBao GHSA-59w7-v8rr-pr4p: a wildcard or slash in a claim's value widens a templated policy",
        Test("policy::engine::tests::names_in_values_are_never_patterns_and_never_folded"),
    ),
    (
        "OpenBao CVE-2025-64761: case-folding of policy names grants root",
        Test("policy::engine::tests::names_in_values_are_never_patterns_and_never_folded"),
    ),
    (
        "Cedar: a forbid whose evaluation fails is skipped, and the request allowed",
        Test("policy::engine::tests::an_error_in_any_policy_in_reach_denies"),
    ),
    // The record.
    (
        "OpenBao CVE-2025-62513, CVE-2025-62705: secrets as bytes or raw bodies slip past the log's hashing",
        Test("audit::record::encode::tests::no_secret_that_was_presented_is_written"),
    ),
    (
        "OpenBao CVE-2025-54997: the path of an audit sink is a way to write files",
        // Where the log goes is configured at start; the only path that a call names is a backup's.
        Test("e2e::backup::a_backup_is_a_new_file_outside_of_the_brokers_own_folder"),
    ),
    (
        "hashicorp/vault#31718: the log is removed and the server goes on writing to the unlinked file",
        Test("audit_files::a_log_that_lost_records_under_the_running_writer_is_not_gone_on_with"),
    ),
    (
        "OpenBao CVE-2026-46358: some kinds of credential leave fields of the record out",
        Test("e2e::record::every_token_is_on_the_record_with_what_decided"),
    ),
    (
        "teleport#54249: denials are not on the record",
        Test("e2e::record::every_refusal_is_on_the_record_with_its_reason"),
    ),
    (
        "hashicorp/vault#18943, #5361: a full disk stalls the server",
        Test("faults::log::a_full_disk_stops_issuance_and_nothing_else"),
    ),
    (
        "hashicorp/vault#3725, #37: a sink that never answers hangs it",
        Test("sinks::faults::a_black_hole_neither_stops_issuance_nor_loses_a_record"),
    ),
    (
        "teleport#40126: records are lost on a conflict",
        Test("audit::tests::outbox::what_waits_is_drained_page_by_page_in_order"),
    ),
    (
        "brandonrc/mobula#59: a chain of hashes does not show that its newest records were removed",
        Test("e2e::copies::a_log_behind_its_last_published_checkpoint_does_not_issue"),
    ),
    (
        "smallstep/certificates#473: what is kept grows until the disk is full",
        Test("e2e::archive::old_segments_are_compressed_and_then_removed_and_the_rest_verifies"),
    ),
    // Keys.
    (
        "spiffe/spire#4429: a new key at each restart makes the published set grow",
        Test("keys::a_restart_opens_the_same_keys_and_another_kek_does_not"),
    ),
];

#[test]
fn each_bug_of_theirs_is_covered_here() {
    let tests = source::tests();
    assert!(tests.len() > 100, "found {} tests only", tests.len());
    let missing: Vec<_> = RIVALS
        .iter()
        .filter_map(|(bug, cover)| match cover {
            Test(name) => (!tests.iter().any(|test| test == name)).then_some((bug, *name)),
            NotOurs(why) => why.is_empty().then_some((bug, "no reason")),
        })
        .collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

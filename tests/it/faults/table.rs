//! Each fault of the record, what must come of it, and the test that sees to it.
//!
//! In every case each token that a client got is in the log, and the tree has grown from every checkpoint that was ever
//! published.

use crate::house::source;

/// Fault, what must come of it, tests.
const TABLE: &[(&str, &str, &[&str])] = &[
    (
        "kill -9 at any moment under load",
        "the next start goes on; nothing that was told is lost",
        &["faults::kill::nothing_that_was_told_is_lost_when_the_broker_is_killed"],
    ),
    (
        "power cut: what was not synced is gone, empty or there",
        "a torn tail that no reply depended on is dropped; the tree is taken up, or computed anew",
        &[
            "audit::tests::power::a_power_cut_leaves_every_token_and_every_checkpoint_true",
            "audit::tests::power::a_power_cut_within_a_commit_or_a_rotation_leaves_what_was_answered",
            "faults::calls::a_segment_is_durable_before_it_has_its_name_and_its_name_before_it_is_used",
            "audit::tests::recovery::a_tail_torn_at_any_byte_of_the_last_record_is_dropped",
            "audit::tests::recovery::a_batch_with_a_sector_that_was_never_written_is_dropped_from_there",
        ],
    ),
    (
        "EIO or ENOSPC on write, EIO on fsync",
        "the batch is refused and its segment closed for ever; the next one begins with a gap record",
        &[
            "faults::log::a_disk_that_fails_now_and_then_loses_nothing_that_was_told",
            "audit::tests::faults::each_step_of_a_commit_may_fail_in_each_way",
            "audit::tests::recovery::what_is_read_back_after_a_failed_sync_is_written_again",
        ],
    ),
    (
        "a call by which one segment follows another fails: unlink, open, stat, write, sync or rename of the draft, open or sync of the folder",
        "refusals until it succeeds, which is tried by itself; nothing that was told is lost",
        &["faults::following::each_call_by_which_a_segment_follows_another_may_fail"],
    ),
    (
        "a call that sets the reserve aside fails, and the disk is not full",
        "under the running broker no tokens, not ready, with the reason; revocations are recorded; it comes back by itself. At a start, no start",
        &[
            "faults::following::each_call_that_sets_the_reserve_aside_again_may_fail",
            "faults::following::while_the_reserve_cannot_be_set_aside_again_revocations_are_recorded_and_no_token_is",
            "audit::tests::faults::while_the_reserve_cannot_be_set_aside_revocations_go_on_and_nothing_else",
            "audit::tests::faults::a_start_that_cannot_set_the_reserve_aside_is_refused_and_loses_nothing",
        ],
    ),
    (
        "a call that opens the log, mends its tail or sets the reserve aside fails at a start",
        "no start, with the file; the next one goes on, and nothing that was told is lost. Without room for the reserve it starts, issues nothing and takes revocations",
        &[
            "faults::opening::each_call_that_opens_the_log_may_fail_at_a_start",
            "faults::opening::a_start_that_has_no_room_for_the_reserve_revokes_and_does_not_issue",
        ],
    ),
    (
        "it cannot be told how much is free",
        "everything is recorded, refusals too",
        &["faults::following::where_it_cannot_be_told_how_much_is_free_everything_is_recorded"],
    ),
    (
        "any other system call of writer, publisher or store fails now and then",
        "at most refusals; what is behind catches up",
        &["faults::calls::a_call_that_fails_now_and_then_loses_nothing_that_was_told"],
    ),
    (
        "a rotation fails half-way",
        "the old segment takes no more where the new one may be there",
        &["audit::tests::faults::a_rotation_that_may_have_come_about_closes_the_segment_before_it"],
    ),
    (
        "a crash while the reserve becomes a segment",
        "the next start sets it aside anew",
        &["audit_files::a_reserve_that_holds_something_is_set_aside_anew"],
    ),
    (
        "the disk is full",
        "no tokens, not ready; revocations are recorded in the reserve; it comes back by itself",
        &[
            "faults::log::a_full_disk_stops_issuance_and_nothing_else",
            "faults::log::a_full_disk_keeps_nobody_from_a_start_with_another_audience",
        ],
    ),
    (
        "nothing at all can be written, and something is revoked",
        "applied, not durable: it is in force, no tokens, not ready; what can be written again is, also at a stop; what is not by the next start is said again",
        &[
            "faults::revocation::what_cannot_be_written_is_in_force_all_the_same_and_nothing_is_issued_until_it_is",
            "faults::not_durable::a_key_that_is_revoked_or_reported_ends_though_nothing_can_be_written",
            "faults::not_durable::what_tells_the_owner_of_a_leak_follows_once_it_is_written",
            "faults::stop::a_revocation_that_waits_to_be_written_is_written_at_the_stop",
        ],
    ),
    (
        "kill -9 while an owner's keys are revoked one after the other",
        "the next start revokes the rest, in the name of whoever began",
        &[
            "faults::estate::an_estate_that_a_crash_broke_off_is_revoked_to_its_end_by_the_next_start",
        ],
    ),
    (
        "the file system becomes read-only",
        "no tokens, not ready; what verifiers need is served",
        &[
            "faults::log::a_disk_that_becomes_read_only_stops_issuance_and_loses_nothing",
            "faults::log::a_folder_that_becomes_read_only_stops_what_needs_another_file",
        ],
    ),
    (
        "the segment is removed, truncated, cut, by a byte at least, or replaced by an older copy under the running broker",
        "noticed before the next acknowledgement, before a rotation, and within a second where there is neither; no tokens until it is put back, also after a start, whether or not anything else saw what is gone",
        &[
            "audit::tests::lost::what_the_writer_missed_every_start_misses_until_it_is_back",
            "audit::tests::lost::what_is_missing_is_noticed_before_another_segment_follows",
            "faults::lost::a_segment_that_is_taken_away_stops_issuance_until_it_is_put_back",
            "audit_files::a_log_that_lost_records_under_the_running_writer_is_not_gone_on_with",
            "audit_files::a_lost_segment_is_noticed_while_nothing_is_written",
        ],
    ),
    (
        "a closed segment is removed, truncated, cut or replaced by another one under the running broker",
        "noticed within a second or so, with the file's name; no tokens until it is put back. What the broker itself compresses or removes is not",
        &[
            "faults::closed::a_closed_segment_that_is_taken_away_stops_issuance_until_it_is_put_back",
            "faults::closed::a_closed_segment_behind_a_link_is_looked_at_where_the_link_leads",
            "audit_retention::what_the_broker_itself_compresses_and_removes_is_not_lost",
        ],
    ),
    (
        "something keeps checkpoints from being published, on a disk or by a record that is gone",
        "tokens for a minute, and none after that until one is published; at a stop the store is given one all the same",
        &[
            "faults::closed::nothing_is_issued_once_no_checkpoint_was_published_for_a_minute",
            "e2e::rewritten::what_could_not_be_published_is_known_at_the_next_start",
        ],
    ),
    (
        "there is no file descriptor left to look at closed segments with",
        "the running broker goes on and looks again; a start is refused, with the reason",
        &["faults::closed::a_look_for_which_there_is_no_file_descriptor_finds_no_loss"],
    ),
    (
        "a closed segment is removed while the broker is down, or the first ones are, and `retention` had not told of it",
        "no start until it is put back, with the file's name or the first record there is",
        &[
            "faults::closed::a_log_without_a_closed_segment_is_not_gone_on_with_until_it_is_put_back",
            "audit_retention::a_log_that_was_cut_is_found",
        ],
    ),
    (
        "the segment is moved and put back, or somebody else writes to its end",
        "one batch is refused; the log goes on in a new segment with a gap record",
        &[
            "faults::lost::a_segment_that_somebody_wrote_to_or_put_back_takes_no_token_with_it",
            "audit_files::a_segment_that_was_put_back_or_only_extended_is_gone_on_from",
        ],
    ),
    (
        "that cannot be kept: the disk is full, or fails, when it is noticed",
        "told with the log's state, and kept once it can be; a start before that knows of it only by what else saw the records",
        &["audit::tests::lost::a_loss_that_cannot_be_kept_is_kept_once_it_can_be"],
    ),
    (
        "kill -9 before it is noticed, and a sink had delivered what is gone",
        "no start",
        &["faults::lost::a_log_that_ends_before_what_a_sink_has_delivered_is_not_gone_on_with"],
    ),
    (
        "acknowledged records are gone before a checkpoint is of them",
        "the running broker signs for them all the same, by their hashes, and everybody misses them then; where it must read them, no checkpoint of less: the last one stands, which is counted and told once",
        &[
            "faults::lost::what_is_gone_before_its_checkpoint_is_signed_for_and_missed",
            "faults::log::a_folder_that_becomes_read_only_stops_what_needs_another_file",
            "audit_tree::meanwhile::what_was_acknowledged_and_is_gone_is_not_published_around",
        ],
    ),
    (
        "somebody answers for what is gone, and the broker dies before that is through",
        "refused until it is through; then the log goes on as another one",
        &[
            "faults::lost::whoever_answers_for_what_is_gone_goes_on_from_what_is_left",
            "audit::tests::lost::what_is_missing_stays_known_while_that_is_accepted_and_until_it_is_dropped",
        ],
    ),
    (
        "the segment is replaced by a copy of itself",
        "no tokens; moving the file itself back helps at once, and a restart takes the copy",
        &["faults::lost::a_copy_in_the_place_of_a_segment_is_taken_by_the_next_start"],
    ),
    (
        "the log's folder is moved and put back",
        "no tokens meanwhile",
        &["audit_files::a_folder_that_is_gone_is_healed_when_it_is_back"],
    ),
    (
        "a record before the tail is damaged, or a bit of the log is flipped",
        "no start, with file and offset; never a dropped record",
        &[
            "audit::tests::recovery::damage_before_the_tail_is_named_by_file_and_offset",
            "audit::tests::recovery::a_flipped_bit_never_drops_a_record",
        ],
    ),
    (
        "tiles are lost or damaged",
        "computed anew from the records, if these are the checkpoint's",
        &["audit_tree::tiles_that_are_lost_or_damaged_are_made_again"],
    ),
    (
        "tiles or records are damaged, and `retention` would remove the records",
        "the tiles are written anew first; a segment with a record that is not the tree's stays, and is told of",
        &[
            "audit_retention::what_is_wrong_in_the_tiles_is_mended_before_the_records_go",
            "audit_retention::a_segment_with_another_record_than_was_logged_stays",
        ],
    ),
    (
        "records were changed while the broker was down",
        "no start; the tiles stay as they are, and say which record it is",
        &[
            "audit_tree::a_log_that_is_not_the_checkpoints_is_not_gone_on_with",
            "audit_tree::a_start_on_changed_records_leaves_the_tiles_as_they_are",
        ],
    ),
    (
        "an older copy of the store is put back",
        "revocations and spends are done again from the log",
        &["store_recovery::a_restored_backup_gets_back_what_must_not_be_lost"],
    ),
    (
        "an older copy of the whole data folder is put back",
        "no start where a copy of the checkpoint or a witness knows more, and an end where it says so later; an accepted rollback stays accepted",
        &[
            "e2e::copies::a_log_behind_its_last_published_checkpoint_does_not_issue",
            "e2e::copies::a_log_that_is_behind_overwrites_no_copy_that_was_away_when_it_started",
            "e2e::copies::a_copy_that_was_away_when_a_rollback_was_accepted_is_replaced_later",
            "e2e::witnesses::a_log_that_a_witness_knows_to_be_longer_or_another_does_not_issue",
            "e2e::witnesses::a_witness_that_was_away_when_it_started_ends_a_log_that_is_behind",
        ],
    ),
    (
        "records are changed, and the log's key is taken away with its tree",
        "no start, and no copy is replaced, until the rollback is accepted",
        &[
            "e2e::rewritten::a_log_that_has_lost_its_key_gets_no_other_one",
            "e2e::copies::a_copy_of_a_log_that_was_not_given_up_here_is_not_replaced",
        ],
    ),
];

#[test]
fn each_fault_has_its_test() {
    let tests = source::tests();
    for (fault, expected, of) in TABLE {
        assert!(!expected.is_empty() && !of.is_empty(), "{fault}");
        for name in *of {
            assert!(
                tests.iter().any(|test| test == name),
                "{fault}: no test {name}"
            );
        }
    }
}

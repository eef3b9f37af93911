//! One SQLite transaction: a group of writes that share an fsync, each still its own revision.

use super::fault::SqlFault;
use super::rows;
use super::schema::Meta;
use crate::store::{Batch, Expect, LogPosition, Op, Revision};
use rusqlite::Connection;
use std::sync::Arc;

/// A write that waits for its transaction.
#[derive(Debug)]
pub(super) enum Write {
    Commit(Batch),
    Drained(LogPosition),
}

impl Write {
    /// Whether it may use the reserve. Draining frees room, and is how the log catches up after a full disk.
    pub(super) fn is_reserved(&self) -> bool {
        match self {
            Self::Commit(batch) => batch.is_reserved(),
            Self::Drained(_) => true,
        }
    }
}

/// What became of a write whose transaction was committed.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Committed { revision: Revision, ops: Arc<[Op]> },
    Conflict,
    Drained,
    Refused(&'static str),
}

/// Why a transaction was not committed.
#[derive(Debug)]
pub(super) enum Failed {
    /// Nothing was begun, because another program held the file for [`crate::limits::STORE_BUSY`].
    Busy(String),
    /// Nothing changed; the disk is full.
    Full,
    /// Nothing changed.
    Nothing(String),
    /// It may or may not have happened; what SQLite holds in memory is not to be built on.
    Doubt(String),
}

/// Commits `writes` together. On success the outcomes are in order and `meta` is what the file holds.
pub(super) fn commit(
    connection: &Connection,
    meta: &mut Meta,
    writes: &[Write],
) -> Result<Vec<Outcome>, Failed> {
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| before_commit(connection, &error.into()))?;
    let mut next = meta.clone();
    let staged = stage(connection, &mut next, writes).and_then(|outcomes| {
        if next != *meta {
            next.write(connection, meta.head)?;
        }
        Ok(outcomes)
    });
    let outcomes = staged.map_err(|fault| before_commit(connection, &fault))?;
    connection
        .execute_batch("COMMIT")
        .map_err(|error| at_commit(connection, error.into()))?;
    *meta = next;
    Ok(outcomes)
}

/// Runs `change` and writes `next` in a transaction of its own.
pub(super) fn change_meta(
    connection: &Connection,
    meta: &mut Meta,
    next: Meta,
    change: impl FnOnce(&Connection) -> Result<(), SqlFault>,
) -> Result<(), Failed> {
    connection
        .execute_batch("BEGIN IMMEDIATE")
        .map_err(|error| before_commit(connection, &error.into()))?;
    change(connection)
        .and_then(|()| next.write(connection, meta.head))
        .map_err(|fault| before_commit(connection, &fault))?;
    connection
        .execute_batch("COMMIT")
        .map_err(|error| at_commit(connection, error.into()))?;
    *meta = next;
    Ok(())
}

fn stage(
    connection: &Connection,
    meta: &mut Meta,
    writes: &[Write],
) -> Result<Vec<Outcome>, SqlFault> {
    writes
        .iter()
        .map(|write| match write {
            Write::Commit(batch) => stage_batch(connection, meta, batch),
            Write::Drained(position) => stage_drained(connection, meta, position),
        })
        .collect()
}

/// Every precondition is looked at before anything is written, so a conflict leaves nothing to undo.
fn stage_batch(
    connection: &Connection,
    meta: &mut Meta,
    batch: &Batch,
) -> Result<Outcome, SqlFault> {
    if batch.lacks_record() {
        return Ok(Outcome::Refused("a lasting change has no record"));
    }
    for compare in batch.compares() {
        let holds = match (compare.expect, rows::modified(connection, &compare.key)?) {
            (Expect::Absent, found) => found.is_none(),
            (Expect::Unmodified(at), found) => found == Some(at),
        };
        if !holds {
            return Ok(Outcome::Conflict);
        }
    }
    let revision = Revision {
        counter: meta.head.counter.saturating_add(1),
        ..meta.head
    };
    for (position, op) in batch.ops().iter().enumerate() {
        rows::change(connection, revision.counter, position, op)?;
    }
    if let Some(record) = batch.audit_record() {
        rows::put_record(connection, revision, record, &batch.effects())?;
    }
    meta.head = revision;
    Ok(Outcome::Committed {
        revision,
        ops: batch.ops().into(),
    })
}

fn stage_drained(
    connection: &Connection,
    meta: &mut Meta,
    position: &LogPosition,
) -> Result<Outcome, SqlFault> {
    if position.counter > meta.head.counter {
        return Ok(Outcome::Refused("the log's position is ahead of the store"));
    }
    if let Some(last) = &meta.log
        && last.log == position.log
        && (last.sequence > position.sequence || last.counter > position.counter)
    {
        return Ok(Outcome::Refused(
            "the log's position is behind the one known",
        ));
    }
    rows::take_records(connection, position.counter)?;
    meta.log = Some(*position);
    Ok(Outcome::Drained)
}

/// A statement before COMMIT failed: the transaction is undone. Only if that fails too is there doubt.
fn before_commit(connection: &Connection, fault: &SqlFault) -> Failed {
    let (full, doubt) = (fault.is_full(), matches!(fault, SqlFault::Doubt(_)));
    match rollback(connection) {
        Err(error) => Failed::Doubt(format!("{fault}; undoing it failed: {error}")),
        Ok(()) if fault.is_busy() => Failed::Busy(fault.to_string()),
        Ok(()) if full => Failed::Full,
        Ok(()) if doubt => Failed::Doubt(fault.to_string()),
        Ok(()) => Failed::Nothing(fault.to_string()),
    }
}

/// COMMIT failed. When the disk was full the commit frame was not written, and when a lock was not had nothing was; after
/// anything else, a failed fsync above all, the frames may be on the disk or may not.
fn at_commit(connection: &Connection, fault: SqlFault) -> Failed {
    if fault.is_full() || fault.is_busy() {
        before_commit(connection, &fault)
    } else {
        Failed::Doubt(fault.to_string())
    }
}

fn rollback(connection: &Connection) -> rusqlite::Result<()> {
    // SQLite undoes a transaction by itself after some errors.
    if connection.is_autocommit() {
        Ok(())
    } else {
        connection.execute_batch("ROLLBACK")
    }
}

//! Rows and their checksums: the only statements that read or write the tables of entries, changes and records.

use super::fault::SqlFault;
use super::schema::{counter, crc, incarnation, integer};
use crate::limits;
use crate::store::{Effect, Entry, Key, Op, OutboxEntry, Revision, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use std::sync::Arc;

fn key(text: &str) -> Result<Key, SqlFault> {
    Key::new(text).map_err(|_| SqlFault::corrupt("a key is over its bound"))
}

fn value(blob: &[u8]) -> Result<Value, SqlFault> {
    Value::new(blob).map_err(|_| SqlFault::corrupt("a value is over its bound"))
}

fn checked(row: &Row<'_>, column: usize, parts: &[&[u8]], what: &str) -> Result<(), SqlFault> {
    if row.get::<_, i64>(column)? == crc(parts) {
        Ok(())
    } else {
        Err(SqlFault::Corrupt(format!(
            "the checksum of {what} is wrong"
        )))
    }
}

fn entry(row: &Row<'_>) -> Result<Entry, SqlFault> {
    let text = row.get_ref(0)?.as_str()?;
    let blob = row.get_ref(1)?.as_blob()?;
    let modified: i64 = row.get(2)?;
    let parts: [&[u8]; 3] = [text.as_bytes(), blob, &modified.to_le_bytes()];
    checked(row, 3, &parts, "an entry")?;
    Ok(Entry {
        key: key(text)?,
        value: value(blob)?,
        modified: counter(modified)?,
    })
}

/// One entry.
pub(super) fn read(connection: &Connection, key: &Key) -> Result<Option<Entry>, SqlFault> {
    let mut statement = connection
        .prepare_cached("SELECT key, value, modified, crc FROM entries WHERE key = ?1")?;
    let mut rows = statement.query([key.as_str()])?;
    rows.next()?.map(entry).transpose()
}

/// When a key was last written.
pub(super) fn modified(connection: &Connection, key: &Key) -> Result<Option<u64>, SqlFault> {
    Ok(read(connection, key)?.map(|entry| entry.modified))
}

/// A page of entries, and whether more follow.
pub(super) fn page(
    connection: &Connection,
    prefix: &str,
    after: Option<&Key>,
) -> Result<(Vec<Entry>, bool), SqlFault> {
    // One lower bound: SQLite seeks by one and would filter by the other, row after row.
    let after = after.map(Key::as_str).filter(|after| *after >= prefix);
    let mut statement = connection.prepare_cached(match after {
        Some(_) => "SELECT key, value, modified, crc FROM entries WHERE key > ?1 ORDER BY key",
        None => "SELECT key, value, modified, crc FROM entries WHERE key >= ?1 ORDER BY key",
    })?;
    let mut rows = statement.query([after.unwrap_or(prefix)])?;
    let (mut entries, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let entry = entry(row)?;
        if !entry.key.as_str().starts_with(prefix) {
            return Ok((entries, false));
        }
        if entries.len() >= limits::STORE_PAGE || bytes >= limits::STORE_PAGE_BYTES {
            return Ok((entries, true));
        }
        bytes = bytes.saturating_add(entry.value.as_bytes().len());
        entries.push(entry);
    }
    Ok((entries, false))
}

/// Makes one change of the revision `at`, in the entries and in the history.
pub(super) fn change(
    connection: &Connection,
    at: u64,
    position: usize,
    op: &Op,
) -> Result<(), SqlFault> {
    let at = integer(at)?;
    let position = i64::try_from(position).unwrap_or(i64::MAX);
    let text = op.key().as_str();
    let blob = match op {
        Op::Put(_, value) => {
            let blob = value.as_bytes();
            let check = crc(&[text.as_bytes(), blob, &at.to_le_bytes()]);
            connection
                .prepare_cached("INSERT OR REPLACE INTO entries (key, value, modified, crc) VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![text, blob, at, check])?;
            Some(blob)
        }
        Op::Delete(_) => {
            connection
                .prepare_cached("DELETE FROM entries WHERE key = ?1")?
                .execute([text])?;
            None
        }
    };
    let check = change_crc(at, position, text, blob);
    connection
        .prepare_cached(
            "INSERT INTO changes (revision, position, key, value, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![at, position, text, blob, check])?;
    Ok(())
}

fn change_crc(at: i64, position: i64, text: &str, blob: Option<&[u8]>) -> i64 {
    crc(&[
        &at.to_le_bytes(),
        &position.to_le_bytes(),
        text.as_bytes(),
        &[u8::from(blob.is_some())],
        blob.unwrap_or_default(),
    ])
}

/// The history after `from`: each change with the counter of its revision, in order. A revision
/// without changes has no row.
pub(super) fn changes(connection: &Connection, from: u64) -> Result<Vec<(u64, Op)>, SqlFault> {
    let mut found = Vec::new();
    each_change(connection, from, |at, op| {
        found.push((at, op));
        Ok(())
    })?;
    Ok(found)
}

/// Bytes that each revision after `from` takes in the history, in order.
pub(super) fn change_sizes(
    connection: &Connection,
    from: u64,
) -> Result<Vec<(u64, usize)>, SqlFault> {
    let mut sizes: Vec<(u64, usize)> = Vec::new();
    each_change(connection, from, |at, op| {
        match sizes.last_mut() {
            Some((last, size)) if *last == at => *size = size.saturating_add(op.size()),
            _ => sizes.push((at, op.size())),
        }
        Ok(())
    })?;
    Ok(sizes)
}

fn each_change(
    connection: &Connection,
    from: u64,
    mut take: impl FnMut(u64, Op) -> Result<(), SqlFault>,
) -> Result<(), SqlFault> {
    let mut statement = connection.prepare_cached(
        "SELECT revision, position, key, value, crc FROM changes WHERE revision > ?1 ORDER BY revision, position",
    )?;
    let mut rows = statement.query([integer(from)?])?;
    while let Some(row) = rows.next()? {
        let (at, position): (i64, i64) = (row.get(0)?, row.get(1)?);
        let text = row.get_ref(2)?.as_str()?;
        let blob = row.get_ref(3)?.as_blob_or_null()?;
        if row.get::<_, i64>(4)? != change_crc(at, position, text, blob) {
            return Err(SqlFault::corrupt("the checksum of a change is wrong"));
        }
        let op = match blob {
            Some(blob) => Op::Put(key(text)?, value(blob)?),
            None => Op::Delete(key(text)?),
        };
        take(counter(at)?, op)?;
    }
    Ok(())
}

/// Forgets the history up to `floor`.
pub(super) fn forget(connection: &Connection, floor: u64) -> Result<(), SqlFault> {
    connection
        .prepare_cached("DELETE FROM changes WHERE revision <= ?1")?
        .execute([integer(floor)?])?;
    Ok(())
}

/// Puts a record into the outbox.
pub(super) fn put_record(
    connection: &Connection,
    at: Revision,
    record: &[u8],
    effects: &[Effect],
) -> Result<(), SqlFault> {
    let effects = serde_json::to_string(effects)
        .map_err(|error| SqlFault::Corrupt(format!("effects cannot be written: {error}")))?;
    let origin = at.incarnation.0.to_be_bytes();
    let counter = integer(at.counter)?;
    let check = crc(&[&counter.to_le_bytes(), &origin, record, effects.as_bytes()]);
    connection
        .prepare_cached("INSERT INTO outbox (revision, incarnation, record, effects, crc) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![counter, origin, record, effects, check])?;
    Ok(())
}

/// The oldest records of the outbox.
pub(super) fn records(connection: &Connection, limit: usize) -> Result<Vec<OutboxEntry>, SqlFault> {
    let mut statement = connection.prepare_cached(
        "SELECT revision, incarnation, record, effects, crc FROM outbox ORDER BY revision LIMIT ?1",
    )?;
    let mut rows = statement.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(record(row)?);
    }
    Ok(found)
}

fn record(row: &Row<'_>) -> Result<OutboxEntry, SqlFault> {
    let at: i64 = row.get(0)?;
    let origin = row.get_ref(1)?.as_blob()?;
    let record = row.get_ref(2)?.as_blob()?;
    let effects = row.get_ref(3)?.as_str()?;
    let parts: [&[u8]; 4] = [&at.to_le_bytes(), origin, record, effects.as_bytes()];
    checked(row, 4, &parts, "a record")?;
    Ok(OutboxEntry {
        revision: Revision {
            incarnation: incarnation(origin)?,
            counter: counter(at)?,
        },
        record: Arc::from(record),
        effects: serde_json::from_str(effects)
            .map_err(|_| SqlFault::corrupt("the effects of a record are not readable"))?,
    })
}

/// Takes records up to `through` out of the outbox.
pub(super) fn take_records(connection: &Connection, through: u64) -> Result<(), SqlFault> {
    connection
        .prepare_cached("DELETE FROM outbox WHERE revision <= ?1")?
        .execute([integer(through)?])?;
    Ok(())
}

/// The revisions at which this data parted from earlier incarnations, oldest first.
pub(super) fn lineage(connection: &Connection) -> Result<Vec<Revision>, SqlFault> {
    let mut statement = connection
        .prepare("SELECT incarnation, counter, position, crc FROM lineage ORDER BY position")?;
    let mut rows = statement.query([])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(0)?.as_blob()?;
        let (at, position): (i64, i64) = (row.get(1)?, row.get(2)?);
        let parts: [&[u8]; 3] = [blob, &at.to_le_bytes(), &position.to_le_bytes()];
        checked(row, 3, &parts, "a line of descent")?;
        found.push(Revision {
            incarnation: incarnation(blob)?,
            counter: counter(at)?,
        });
    }
    Ok(found)
}

/// Notes that an earlier incarnation ends at `at`.
pub(super) fn part(connection: &Connection, at: Revision) -> Result<(), SqlFault> {
    let last: Option<i64> = connection
        .query_row("SELECT max(position) FROM lineage", [], |row| row.get(0))
        .optional()?
        .flatten();
    let position = last.map_or(0, |last| last.saturating_add(1));
    let (blob, counter) = (at.incarnation.0.to_be_bytes(), integer(at.counter)?);
    let check = crc(&[&blob, &counter.to_le_bytes(), &position.to_le_bytes()]);
    connection.execute(
        "INSERT INTO lineage (position, incarnation, counter, crc) VALUES (?1, ?2, ?3, ?4)",
        params![position, blob, counter, check],
    )?;
    Ok(())
}

/// Reads every entry; each must be sound and not newer than `head`.
pub(super) fn check_entries(connection: &Connection, head: u64) -> Result<(), SqlFault> {
    let mut statement =
        connection.prepare("SELECT key, value, modified, crc FROM entries ORDER BY key")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        within(entry(row)?.modified, head)?;
    }
    Ok(())
}

/// Reads the whole history.
pub(super) fn check_changes(connection: &Connection, head: u64) -> Result<(), SqlFault> {
    each_change(connection, 0, |at, _| within(at, head))
}

/// Reads the whole outbox.
pub(super) fn check_outbox(connection: &Connection, head: u64) -> Result<(), SqlFault> {
    let mut statement = connection.prepare(
        "SELECT revision, incarnation, record, effects, crc FROM outbox ORDER BY revision",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        within(record(row)?.revision.counter, head)?;
    }
    Ok(())
}

fn within(at: u64, head: u64) -> Result<(), SqlFault> {
    if at == 0 || at > head {
        Err(SqlFault::corrupt("a row is newer than the store"))
    } else {
        Ok(())
    }
}

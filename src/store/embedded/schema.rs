//! The file's format: tables, checksums, and the one row that says where the data stands.

use super::fault::SqlFault;
use crate::store::{Incarnation, LogId, LogPosition, Revision};
use rusqlite::{Connection, Row, params};

/// `application_id` of the file: "CMBS".
pub(super) const APPLICATION: u32 = 0x434d_4253;
/// `user_version` of the file: the format's version. A change of any table below makes a new one.
pub(super) const FORMAT: u32 = 2;

/// The tables in order of name, word for word as SQLite keeps them. SQLite has no checksums of its own, so each
/// row has a CRC-32 over its other columns.
pub(super) const TABLES: [&str; 5] = [
    // One row for each change of a revision: what watchers that come back are told.
    "CREATE TABLE changes (revision INTEGER NOT NULL, position INTEGER NOT NULL, key TEXT NOT NULL, value BLOB, crc INTEGER NOT NULL, PRIMARY KEY (revision, position)) STRICT, WITHOUT ROWID",
    "CREATE TABLE entries (key TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL, modified INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    // The revisions at which this data parted from an earlier incarnation.
    "CREATE TABLE lineage (position INTEGER NOT NULL PRIMARY KEY, incarnation BLOB NOT NULL, counter INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT",
    "CREATE TABLE meta (one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1), incarnation BLOB NOT NULL, counter INTEGER NOT NULL, floor INTEGER NOT NULL, copied INTEGER NOT NULL, log_id BLOB, log_sequence INTEGER, log_counter INTEGER, crc INTEGER NOT NULL) STRICT",
    // The incarnation is kept with each record: those that a backup brings back belong to the earlier one.
    "CREATE TABLE outbox (revision INTEGER NOT NULL PRIMARY KEY, incarnation BLOB NOT NULL, record BLOB NOT NULL, effects TEXT NOT NULL, crc INTEGER NOT NULL) STRICT",
];

/// CRC-32/ISO-HDLC over the parts, each with its length, so that no byte can move from one to the next.
pub(super) fn crc(parts: &[&[u8]]) -> i64 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(&part.len().to_le_bytes());
        hasher.update(part);
    }
    i64::from(hasher.finalize())
}

/// A counter as SQLite keeps it.
pub(super) fn integer(counter: u64) -> Result<i64, SqlFault> {
    i64::try_from(counter).map_err(|_| SqlFault::corrupt("a counter is beyond 63 bits"))
}

/// A counter as SQLite kept it.
pub(super) fn counter(integer: i64) -> Result<u64, SqlFault> {
    u64::try_from(integer).map_err(|_| SqlFault::corrupt("a counter is negative"))
}

/// An incarnation as SQLite kept it.
pub(super) fn incarnation(blob: &[u8]) -> Result<Incarnation, SqlFault> {
    random_id(blob, "an incarnation is not 16 bytes").map(Incarnation)
}

fn random_id(blob: &[u8], otherwise: &'static str) -> Result<u128, SqlFault> {
    <[u8; 16]>::try_from(blob)
        .map(u128::from_be_bytes)
        .map_err(|_| SqlFault::corrupt(otherwise))
}

/// Where the data stands: the row of `meta`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    /// The newest revision.
    pub(super) head: Revision,
    /// Changes after this counter are all in `changes`.
    pub(super) floor: u64,
    /// Whether the file is a backup that was not opened yet; opening it starts a new incarnation.
    pub(super) copied: bool,
    /// What [`crate::store::Store::drained`] was last told.
    pub(super) log: Option<LogPosition>,
}

impl Meta {
    /// The row.
    pub(super) fn read(connection: &Connection) -> Result<Self, SqlFault> {
        let mut statement = connection.prepare_cached(
            "SELECT incarnation, counter, floor, copied, log_id, log_sequence, log_counter, crc FROM meta",
        )?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else {
            return Err(SqlFault::corrupt("the meta row is missing"));
        };
        let meta = Self::of(row)?;
        match rows.next()? {
            None => Ok(meta),
            Some(_) => Err(SqlFault::corrupt("there is more than one meta row")),
        }
    }

    fn of(row: &Row<'_>) -> Result<Self, SqlFault> {
        let log = match row.get_ref(4)?.as_blob_or_null()? {
            None => None,
            Some(id) => Some(LogPosition {
                log: LogId(random_id(id, "a log's id is not 16 bytes")?),
                sequence: counter(row.get(5)?)?,
                counter: counter(row.get(6)?)?,
            }),
        };
        let meta = Self {
            head: Revision {
                incarnation: incarnation(row.get_ref(0)?.as_blob()?)?,
                counter: counter(row.get(1)?)?,
            },
            floor: counter(row.get(2)?)?,
            copied: row.get::<_, i64>(3)? != 0,
            log,
        };
        if row.get::<_, i64>(7)? == meta.crc() {
            Ok(meta)
        } else {
            Err(SqlFault::corrupt("the meta row's checksum is wrong"))
        }
    }

    /// Writes the row in place of the one at `before`.
    ///
    /// # Errors
    /// [`SqlFault::Doubt`] when the row is not at `before`: another program wrote to the file.
    pub(super) fn write(&self, connection: &Connection, before: Revision) -> Result<(), SqlFault> {
        let log = self.log.as_ref();
        let changed = connection
            .prepare_cached(
                "UPDATE meta SET incarnation = ?1, counter = ?2, floor = ?3, copied = ?4, log_id = ?5, \
                 log_sequence = ?6, log_counter = ?7, crc = ?8 WHERE incarnation = ?9 AND counter = ?10",
            )?
            .execute(params![
                self.head.incarnation.0.to_be_bytes(),
                integer(self.head.counter)?,
                integer(self.floor)?,
                i64::from(self.copied),
                log.map(|log| log.log.0.to_be_bytes()),
                log.map(|log| integer(log.sequence)).transpose()?,
                log.map(|log| integer(log.counter)).transpose()?,
                self.crc(),
                before.incarnation.0.to_be_bytes(),
                integer(before.counter)?,
            ])?;
        if changed == 1 {
            Ok(())
        } else {
            Err(SqlFault::Doubt(
                "another program wrote to the store's file".to_owned(),
            ))
        }
    }

    /// Writes the first row of a new file.
    pub(super) fn create(&self, connection: &Connection) -> Result<(), SqlFault> {
        connection.execute(
            "INSERT INTO meta (one, incarnation, counter, floor, copied, crc) VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            params![
                self.head.incarnation.0.to_be_bytes(),
                integer(self.head.counter)?,
                integer(self.floor)?,
                i64::from(self.copied),
                self.crc()
            ],
        )?;
        Ok(())
    }

    fn crc(&self) -> i64 {
        let log = self.log.map_or_else(Vec::new, |log| {
            let (sequence, counter) = (log.sequence.to_le_bytes(), log.counter.to_le_bytes());
            [log.log.0.to_be_bytes().as_slice(), &sequence, &counter].concat()
        });
        crc(&[
            &self.head.incarnation.0.to_be_bytes(),
            &self.head.counter.to_le_bytes(),
            &self.floor.to_le_bytes(),
            &[u8::from(self.copied)],
            &log,
        ])
    }
}

//! Opening: a file is looked at before it is touched, whole, and without writing.

use super::fault::{OpenError, SqlFault};
use super::files::{at, beside, create_new, exists, remove, settle};
use super::schema::{APPLICATION, FORMAT, Meta, TABLES};
use super::verify::verify;
use crate::clock::{Random, random};
use crate::limits;
use crate::store::{Incarnation, Revision};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, FileControl, OpenFlags};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// A new incarnation.
pub(super) fn new_incarnation(source: &dyn Random) -> Result<Incarnation, OpenError> {
    Ok(Incarnation(u128::from_be_bytes(random(source)?)))
}

/// A connection that cannot write.
pub(super) fn reader(path: &Path) -> Result<Connection, SqlFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    harden(&connection)?;
    Ok(connection)
}

/// The connection that writes: WAL, each commit durable before it is answered.
pub(super) fn writer(path: &Path) -> Result<Connection, SqlFault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(path, flags)?;
    harden(&connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqlFault::Doubt(format!(
            "the file system does not take a write-ahead log (journal mode is {mode})"
        )));
    }
    let mut chunk = i32::try_from(limits::STORE_CHUNK).unwrap_or(i32::MAX);
    connection.file_control(Some("main"), FileControl::ChunkSize(&mut chunk))?;
    // fullfsync: elsewhere than on Linux an ordinary fsync may stop at the disk's cache.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA fullfsync = ON; PRAGMA checkpoint_fullfsync = ON; PRAGMA foreign_keys = ON;",
    )?;
    Ok(connection)
}

/// A file may come from anywhere: its schema gets no powers, and no temporary data goes to another disk.
fn harden(connection: &Connection) -> Result<(), SqlFault> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.busy_timeout(limits::STORE_BUSY)?;
    connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA temp_store = MEMORY;")?;
    Ok(())
}

/// Makes a new, empty store under another name and puts it in place when it is complete, so that a file of no
/// bytes is never taken for a new store.
pub(super) fn create(path: &Path, source: &dyn Random) -> Result<(), OpenError> {
    let orphan = beside(path, "-wal");
    if exists(&orphan)? {
        return Err(OpenError::Orphaned(orphan));
    }
    let draft = beside(path, "-new");
    remove(&draft)?;
    remove(&beside(&draft, "-wal"))?;
    remove(&beside(&draft, "-shm"))?;
    drop(create_new(&draft)?);
    let head = Revision {
        incarnation: new_incarnation(source)?,
        counter: 0,
    };
    fill(&draft, head).map_err(unusable(path))?;
    settle(&draft)?;
    std::fs::rename(&draft, path).map_err(at(path))?;
    settle(path)
}

fn fill(draft: &Path, head: Revision) -> Result<(), SqlFault> {
    let connection = writer(draft)?;
    connection.execute_batch(&format!(
        "BEGIN; PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {FORMAT}; {}; COMMIT;",
        TABLES.join("; ")
    ))?;
    let meta = Meta {
        head,
        floor: 0,
        copied: false,
        log: None,
    };
    meta.create(&connection)?;
    // Closing the last connection moves everything into the file and removes the write-ahead log.
    connection.close().map_err(|(_, error)| error.into())
}

/// Looks at a file without writing to it: is it a store, of this format, and sound throughout?
pub(super) fn inspect(path: &Path) -> Result<Meta, OpenError> {
    header(path)?;
    let damaged = |fault: SqlFault| {
        if fault.may_lack_room() || fault.is_busy() {
            unusable(path)(fault)
        } else {
            OpenError::Damaged {
                path: path.to_owned(),
                what: fault.to_string(),
            }
        }
    };
    let connection = reader(path).map_err(damaged)?;
    let version = connection
        .query_row("PRAGMA user_version", [], |row| row.get::<_, u32>(0))
        .map_err(|error| damaged(error.into()))?;
    if version != FORMAT {
        return Err(OpenError::Version {
            path: path.to_owned(),
            found: version,
            known: FORMAT,
        });
    }
    verify(&connection).map_err(damaged)
}

/// SQLite's answer, with the file's name.
pub(super) fn unusable(path: &Path) -> impl FnOnce(SqlFault) -> OpenError {
    let path = path.to_owned();
    |fault| OpenError::Unusable {
        path,
        what: fault.to_string(),
    }
}

/// The file's first bytes (SQLite file format, section 1.3), read before SQLite gets to see them: a wrong byte there
/// can make it ignore the write-ahead log, or read the text in another encoding.
fn header(path: &Path) -> Result<(), OpenError> {
    let mut bytes = Vec::with_capacity(100);
    let file = File::open(path).map_err(at(path))?;
    let length = file.metadata().map_err(at(path))?.len();
    let read = file.take(100).read_to_end(&mut bytes);
    read.map_err(at(path))?;
    let field = |offset: usize| {
        let four = bytes.get(offset..offset.saturating_add(4));
        let four = four.and_then(|four| <[u8; 4]>::try_from(four).ok());
        four.map(u32::from_be_bytes)
    };
    let foreign = |what: &str| OpenError::NotAStore {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    let damaged = |what: &str| OpenError::Damaged {
        path: path.to_owned(),
        what: what.to_owned(),
    };
    if !bytes.starts_with(b"SQLite format 3\0") {
        return Err(foreign("it is not an SQLite file"));
    }
    match field(68) {
        Some(APPLICATION) => {}
        Some(_) => return Err(foreign("its application id is another program's")),
        None => return Err(damaged("it ends within its header")),
    }
    let version = field(60).unwrap_or_default();
    if version != FORMAT {
        return Err(OpenError::Version {
            path: path.to_owned(),
            found: version,
            known: FORMAT,
        });
    }
    let log = beside(path, "-wal");
    let log = exists(&log)? && log.metadata().map_err(at(&log))?.len() > 0;
    // While there is a write-ahead log, the file's own length may be behind; it grows by more than its pages.
    let page = bytes
        .get(16..18)
        .and_then(|two| <[u8; 2]>::try_from(two).ok());
    let pages = field(28).map(u64::from).unwrap_or_default();
    let least = page.map(|page| u64::from(u16::from_be_bytes(page)).saturating_mul(pages));
    if !log && least.is_none_or(|least| least == 0 || least > length) {
        return Err(damaged("it is shorter than it says"));
    }
    // A backup at rest is in rollback mode (1), a store in write-ahead mode (2).
    if !matches!(bytes.get(18..20), Some([1, 1] | [2, 2])) {
        return Err(damaged("its journal mode is unknown"));
    }
    if bytes.get(18) == Some(&1) && log {
        return Err(damaged("it has a write-ahead log that it does not know of"));
    }
    if field(56) != Some(1) || field(52) != Some(0) || field(64) != Some(0) {
        return Err(damaged("its text encoding or its layout is not a store's"));
    }
    Ok(())
}

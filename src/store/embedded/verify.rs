//! Whether a file's content is what this program wrote: structure by SQLite, content by our checksums.

use super::fault::SqlFault;
use super::rows;
use super::schema::{Meta, TABLES};
use rusqlite::Connection;

/// Reads everything once, in one snapshot. The time is linear in the size: about a second a gigabyte from memory.
pub(super) fn verify(connection: &Connection) -> Result<Meta, SqlFault> {
    connection.execute_batch("BEGIN")?;
    let encoding: String = connection.query_row("PRAGMA encoding", [], |row| row.get(0))?;
    if encoding != "UTF-8" {
        return Err(SqlFault::Corrupt(format!("its text is in {encoding}")));
    }
    tables(connection)?;
    let verdict: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(SqlFault::Corrupt(verdict));
    }
    let meta = Meta::read(connection)?;
    let head = meta.head.counter;
    if meta.floor > head || meta.log.as_ref().is_some_and(|log| log.counter > head) {
        return Err(SqlFault::corrupt("the meta row contradicts itself"));
    }
    rows::check_entries(connection, head)?;
    rows::check_changes(connection, head)?;
    rows::check_outbox(connection, head)?;
    rows::lineage(connection)?;
    connection.execute_batch("COMMIT")?;
    Ok(meta)
}

fn tables(connection: &Connection) -> Result<(), SqlFault> {
    let mut statement = connection.prepare(
        "SELECT coalesce(sql, '') FROM sqlite_schema WHERE name NOT LIKE 'sqlite_autoindex_%' ORDER BY name",
    )?;
    let found = statement
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    if found == TABLES {
        Ok(())
    } else {
        Err(SqlFault::corrupt("its tables are not a store's"))
    }
}

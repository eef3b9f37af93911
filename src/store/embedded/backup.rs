//! Backup while the store runs, and restore while it does not.

use super::fault::{OpenError, SqlFault};
use super::files::{Owned, at, beside, create_new, exists, remove, settle, settle_names};
use super::open::{inspect, reader, unusable};
use super::schema::Meta;
use crate::store::Revision;
use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use std::io;
use std::path::{Path, PathBuf};

/// A restore that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The revision that the backup holds. Opening the store begins a new incarnation after it.
    pub revision: Revision,
    /// Where the store that was there before is now.
    pub replaced: Option<PathBuf>,
}

/// Copies the store at `from` to the new file `to`, while the store goes on working.
pub(super) fn backup(from: &Path, to: &Path) -> Result<Revision, OpenError> {
    if exists(to)? {
        return Err(OpenError::Exists(to.to_owned()));
    }
    let draft = beside(to, ".partial");
    let revision = copy_checked(from, &draft)?;
    // A link, not a rename: it does not replace what has come to be at `to` meanwhile.
    let linked = std::fs::hard_link(&draft, to);
    remove(&draft)?;
    linked.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => OpenError::Exists(to.to_owned()),
        _ => at(to)(error),
    })?;
    settle_names(to)?;
    Ok(revision)
}

/// Puts the backup at `backup` into place as the store `to`. No broker may be running on it. What is there is
/// only replaced when `replace` says so, and is then moved aside, not deleted.
///
/// # Errors
/// [`OpenError::Exists`] when a store is at `to` and `replace` is false; other [`OpenError`]s before anything is moved.
pub fn restore(backup: &Path, to: &Path, replace: bool) -> Result<Restored, OpenError> {
    let to = std::path::absolute(to).map_err(at(to))?;
    let _owned = Owned::take(&to)?;
    let log = beside(&to, "-wal");
    let occupied = exists(&to)? || exists(&log)?;
    if occupied && !replace {
        return Err(OpenError::Exists(to));
    }
    inspect(backup)?;
    let draft = beside(&to, "-new");
    let revision = copy_checked(backup, &draft)?;
    let replaced = match occupied {
        true => Some(move_aside(&to)?),
        false => None,
    };
    std::fs::rename(&draft, &to).map_err(at(&to))?;
    settle_names(&to)?;
    Ok(Restored { revision, replaced })
}

/// Moves a store and its write-ahead log, which belong together, to a free name.
fn move_aside(store: &Path) -> Result<PathBuf, OpenError> {
    let mut number = 1_u32;
    let aside = loop {
        let name = beside(store, &format!("-replaced-{number}"));
        if !exists(&name)? && !exists(&beside(&name, "-wal"))? {
            break name;
        }
        number = number.saturating_add(1);
    };
    // The store goes first: if we are stopped here, its log stays without it, which is refused when opened. The other
    // way round, the store would open without its newest revisions.
    for suffix in ["", "-wal"] {
        let (from, to) = (beside(store, suffix), beside(&aside, suffix));
        match std::fs::rename(&from, &to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&from)(error)),
            _ => settle_names(&from)?,
        }
    }
    remove(&beside(store, "-shm"))?;
    Ok(aside)
}

/// Makes `draft` a durable, marked copy that was read back, or leaves nothing.
fn copy_checked(from: &Path, draft: &Path) -> Result<Revision, OpenError> {
    let made = clear(draft).and_then(|()| {
        drop(create_new(draft)?);
        let revision = copy(from, draft).map_err(unusable(draft))?;
        inspect(draft)?;
        settle(draft)?;
        Ok(revision)
    });
    if made.is_err() {
        clear(draft)?;
    }
    made
}

fn clear(draft: &Path) -> Result<(), OpenError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        remove(&beside(draft, suffix))?;
    }
    Ok(())
}

fn copy(from: &Path, draft: &Path) -> Result<Revision, SqlFault> {
    let source = reader(from)?;
    // One read transaction for the whole copy: writers go on, and the copy is of one moment.
    source.execute_batch("BEGIN")?;
    let revision = Meta::read(&source)?.head;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let mut copy = Connection::open_with_flags(draft, flags)?;
    match Backup::new(&source, &mut copy)?.step(-1)? {
        StepResult::Done => {}
        step => return Err(SqlFault::Doubt(format!("the copy stopped: {step:?}"))),
    }
    // A single file, that can be moved without a write-ahead log that belongs to it.
    copy.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    let next = Meta {
        copied: true,
        ..Meta::read(&copy)?
    };
    next.write(&copy, revision)?;
    copy.close().map_err(|(_, error)| error)?;
    Ok(revision)
}

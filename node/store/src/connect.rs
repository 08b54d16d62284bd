//! Connections of readers. Each takes files of its own, and the operating system may have none to give:
//! that is no damage, it passes.

use std::fs::File;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use rustix::io::Errno;

use crate::error::StoreError;
use crate::schema;

/// How many files a connection has: the database, SQLite's log and what it shares of that.
const FILES: usize = 3;

/// How often it is tried, if files have become free between the failure and the look at it.
const TRIES: u32 = 3;

/// A connection that only reads, with all of its files open.
pub(crate) fn connect(file: &Path) -> Result<Connection, StoreError> {
    let mut tried = 1;
    loop {
        match open(file) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => {
                // SQLite does not tell why.
                if is_exhausted() {
                    return Err(StoreError::Exhausted);
                }
                if tried == TRIES {
                    return Err(error.into());
                }
                tried += 1;
            }
            opened => return Ok(opened?),
        }
    }
}

fn open(file: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(file, flags)?;
    db.execute_batch(schema::SETTINGS)?;
    db.execute_batch(schema::READER_SETTINGS)?;
    prepare_once(&db)?;
    // The first question opens what else there is, so let it be here.
    db.query_row("SELECT count(*) FROM chain", [], |_| Ok(()))?;
    Ok(db)
}

/// Statements are prepared once and kept, whatever they are asked for: by itself SQLite plans some anew for each new
/// value.
pub(crate) fn prepare_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(64);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Whether no more files can be opened, here or on the whole machine. Tried with another file: to close one of SQLite's would
/// take the locks on it from the whole process.
fn is_exhausted() -> bool {
    let opened: Result<Vec<File>, _> = (0..FILES).map(|_| File::open("/dev/null")).collect();
    let none = [Errno::MFILE, Errno::NFILE].map(|errno| Some(errno.raw_os_error()));
    opened.is_err_and(|error| none.contains(&error.raw_os_error()))
}

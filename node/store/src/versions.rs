//! The versions of a key: a list that grows at its end and is searched from there.
//!
//! Each version names the one before it and one further back. Counted from the first of its key, the n-th
//! leaps to the one whose number is n without its lowest bit:
//!
//! ```text
//!  1   2   3   4   5   6   7   8          leaps:  1 → 0   2 → 0   3 → 2   4 → 0
//!  ●◀──●◀──●◀──●◀──●◀──●◀──●◀──●                  5 → 4   6 → 4   7 → 6   8 → 0
//! ```
//!
//! So what a key was at any height is found in a number of steps that grows with the square of the logarithm
//! of how often it was written, whoever asks, and a write reads one row more than it did, and now and then a
//! few. An index over keys would cost each write a page that is rewritten at a random place.

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::StoreError;

/// Where a version leads.
struct Links {
    /// The version before it.
    earlier: Option<i64>,
    /// Which of its key it is; the first is 1.
    nth: i64,
    /// One further back.
    leap: Option<i64>,
}

fn links(db: &Connection, number: i64) -> Result<Links, StoreError> {
    let mut select =
        db.prepare_cached("SELECT earlier, nth, leap FROM version WHERE version = ?1")?;
    let row = select.query_row([number], |row| {
        Ok(Links { earlier: row.get(0)?, nth: row.get(1)?, leap: row.get(2)? })
    });
    row.optional()?.ok_or(StoreError::Missing { what: "a version of a key" })
}

/// The newest version of a key, and what the next one needs to know of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Newest {
    pub(crate) version: i64,
    /// Which of its key it is; the first is 1.
    pub(crate) nth: i64,
    /// Where it leaps to.
    pub(crate) leap: Option<i64>,
}

/// A version with its number, as the newest of its key.
pub(crate) fn newest(db: &Connection, version: i64) -> Result<Newest, StoreError> {
    let Links { nth, leap, .. } = links(db, version)?;
    Ok(Newest { version, nth, leap })
}

/// Which of its key a version is that follows another one, and where it leaps to.
fn place_after(db: &Connection, earlier: Option<Newest>) -> Result<(i64, Option<i64>), StoreError> {
    let Some(earlier) = earlier else { return Ok((1, None)) };
    let nth = earlier.nth + 1;
    let goal = nth & (nth - 1);
    // Between the one before and the goal there are only leaps: they take bit after bit.
    let (mut at, mut on, mut next) = (earlier.nth, Some(earlier.version), earlier.leap);
    while at != goal {
        // Each leap takes the lowest bit, so it is known where this one ends without a look.
        (at, on) = (at & (at - 1), next);
        if at != goal {
            let Some(number) = on else { break };
            next = links(db, number)?.leap;
        }
    }
    Ok((nth, on))
}

/// Adds a version of a key after the newest one, and says what is the newest one then.
pub(crate) fn add(
    db: &Connection,
    version: i64,
    before: Option<Newest>,
    key: &[u8],
    value: Option<&[u8]>,
) -> Result<Newest, StoreError> {
    let (nth, leap) = place_after(db, before)?;
    let earlier = before.map(|before| before.version);
    db.prepare_cached("INSERT INTO version VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?
        .execute(params![version, earlier, key, value, nth, leap])?;
    Ok(Newest { version, nth, leap })
}

/// Gives the versions of a file of before version 7 their leaps. Each comes after the ones that it leads to.
pub(crate) fn add_leaps(db: &Connection) -> Result<(), StoreError> {
    let mut last = i64::MIN;
    loop {
        let mut select = db.prepare_cached(
            "SELECT version, earlier FROM version WHERE version > ?1 ORDER BY version LIMIT 1",
        )?;
        let row = select.query_row([last], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)));
        let Some((number, earlier)) = row.optional()? else { return Ok(()) };
        let earlier = earlier.map(|earlier| newest(db, earlier)).transpose()?;
        let (nth, leap) = place_after(db, earlier)?;
        db.prepare_cached("UPDATE version SET nth = ?2, leap = ?3 WHERE version = ?1")?
            .execute(params![number, nth, leap])?;
        last = number;
    }
}

/// The newest version of a key that stands below a number, on the way back from one of its versions.
pub(crate) fn newest_below(
    db: &Connection,
    from: Option<i64>,
    end: i64,
) -> Result<Option<i64>, StoreError> {
    seek(from, end, |number| links(db, number))
}

fn seek(
    from: Option<i64>,
    end: i64,
    mut links: impl FnMut(i64) -> Result<Links, StoreError>,
) -> Result<Option<i64>, StoreError> {
    let mut next = from;
    while let Some(number) = next.filter(|number| *number >= end) {
        let Links { earlier, leap, .. } = links(number)?;
        next = leap.filter(|leap| *leap >= end).or(earlier);
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;

    const COUNT: i64 = 5_000;

    /// Writes two keys in turns, the first at odd numbers.
    fn written(
        steps: &[&str],
        mut write: impl FnMut(&Connection, i64, Option<i64>, &[u8]),
    ) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        for step in steps {
            db.execute_batch(step).unwrap();
        }
        for number in 1..=2 * COUNT {
            let earlier = (number > 2).then_some(number - 2);
            write(&db, number, earlier, if number % 2 == 1 { b"a" } else { b"b" });
        }
        db
    }

    fn check(db: &Connection) {
        let newest = 2 * COUNT - 1;
        let mut most = 0;
        for end in (0..=2 * COUNT).step_by(7) {
            let mut steps = 0;
            let found = seek(Some(newest), end, |number| {
                steps += 1;
                links(db, number)
            });
            let below = (end - 1) - (end % 2);
            assert_eq!(found.unwrap(), (below > 0).then_some(below), "below {end}");
            most = most.max(steps);
        }
        assert!(most <= 100, "{most} steps for {COUNT} versions");
    }

    #[test]
    fn any_version_of_a_busy_key_is_found_in_few_steps() {
        check(&written(&schema::STEPS, |db, number, earlier, key| {
            let earlier = earlier.map(|earlier| newest(db, earlier).unwrap());
            let added = add(db, number, earlier, key, None).unwrap();
            assert_eq!(newest(db, number).unwrap(), added);
        }));
    }

    #[test]
    fn the_versions_of_an_older_file_are_given_their_leaps() {
        let db = written(&schema::STEPS[..6], |db, number, earlier, key| {
            db.prepare_cached("INSERT INTO version VALUES (?1, ?2, ?3, NULL)")
                .unwrap()
                .execute(params![number, earlier, key])
                .unwrap();
        });
        db.execute_batch(schema::STEPS[6]).unwrap();
        add_leaps(&db).unwrap();
        check(&db);
    }
}

//! Which settings go together. What does not is refused with the arithmetic.

use super::values::{show_bytes, show_duration};
use super::{Config, ConfigError};

/// Most bytes of blocks in flight. The length of a frame, which has room for them and more, is a `u32`.
const WINDOW: usize = 2 << 30;

impl Config {
    /// Whether the settings go together.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let rule = |holds, what: &dyn Fn() -> String| {
            if holds { Ok(()) } else { Err(ConfigError::Combination(what())) }
        };
        let (beat, timeout) = (self.heartbeat, self.election_timeout);
        rule(self.election_timeout >= 3 * self.heartbeat, &|| {
            let (beat, least) = (show_duration(beat), show_duration(3 * beat));
            let timeout = show_duration(timeout);
            format!(
                "election_timeout is {timeout}, and three times heartbeat, {beat}, is {least}: it must be \
                     at least that, or a lost message deposes a leader"
            )
        })?;
        let most = quorate_consensus::codec::RANGE / 4;
        rule(self.window_blocks <= most, &|| {
            let window = self.window_blocks;
            format!(
                "window.blocks is {window}; with more than {most}, what a window holds fits into no message"
            )
        })?;
        let body = quorate_chain::limits::BODY;
        rule(self.window_bytes >= 2 * body, &|| {
            let (window, least) = (self.window_bytes as u64, 2 * body as u64);
            let (window, least) = (show_bytes(window), show_bytes(least));
            format!("window.bytes is {window}; it must have room for two full blocks, {least}")
        })?;
        rule(self.window_bytes <= WINDOW, &|| {
            let (window, most) = (show_bytes(self.window_bytes as u64), show_bytes(WINDOW as u64));
            format!(
                "window.bytes is {window}; with more than {most}, what a window holds fits into no message"
            )
        })?;
        // A frame with blocks has room for a window and 8MiB: for one block beyond the window, which is at most 4MiB, and
        // for the proof of an election and a certificate, which are less than 1MiB even in the largest roster. A range
        // of blocks is as long as a message, or, if it is worth nothing cut short, as a window and that block.
        rule(self.message_bytes <= self.window_bytes, &|| {
            let (message, window) = (self.message_bytes as u64, self.window_bytes as u64);
            let (message, window) = (show_bytes(message), show_bytes(window));
            format!(
                "message_bytes is {message}, and window.bytes is {window}: it must be at most that, or what a \
                     node is sent that is far behind fits into no message"
            )
        })?;
        self.check_room(&rule)?;
        rule(self.wal_segment.is_multiple_of(4096) && self.wal_segment >= 64 << 10, &|| {
            let segment = show_bytes(self.wal_segment);
            format!("wal.segment is {segment}; it must be a multiple of 4KiB and at least 64KiB")
        })
    }

    /// Whether the largest transaction finds room everywhere.
    fn check_room(
        &self,
        rule: &impl Fn(bool, &dyn Fn() -> String) -> Result<(), ConfigError>,
    ) -> Result<(), ConfigError> {
        let transaction = quorate_chain::limits::TRANSACTION;
        let shown = |bytes: usize| show_bytes(bytes as u64);
        rule(self.block_bytes >= transaction, &|| {
            let (block, least) = (shown(self.block_bytes), shown(transaction));
            format!(
                "block.bytes is {block}; it must have room for the largest transaction, {least}"
            )
        })?;
        rule(self.block_bytes <= quorate_chain::limits::BODY, &|| {
            let (block, most) = (shown(self.block_bytes), shown(quorate_chain::limits::BODY));
            format!("block.bytes is {block}; no block is larger than {most}")
        })?;
        rule(self.mempool_bytes >= 2 * transaction, &|| {
            let (mempool, least) = (shown(self.mempool_bytes), shown(2 * transaction));
            format!(
                "mempool.bytes is {mempool}; the largest transaction takes up to {least} of memory, and must have room"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of these flags, if they are refused.
    fn set(flags: &[(&str, &str)]) -> Result<Config, String> {
        let flags = flags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load("", [], flags).map_err(|error| error.to_string())
    }

    #[test]
    fn a_range_of_blocks_is_never_larger_than_a_frame() {
        let set = |window, message| set(&[("window-bytes", window), ("message-bytes", message)]);
        assert!(set("8MiB", "8MiB").is_ok());
        let error = set("8MiB", "8193KiB").unwrap_err();
        assert!(
            error.starts_with("message_bytes is 8193KiB, and window.bytes is 8MiB: it must be at"),
            "{error}"
        );
        assert!(set("2GiB", "2GiB").is_ok());
        let error = set("2049MiB", "4MiB").unwrap_err();
        assert!(error.starts_with("window.bytes is 2049MiB; with more than 2GiB, "), "{error}");
    }

    #[test]
    fn what_leaves_no_room_is_refused_with_the_arithmetic() {
        let refused = |name, value| set(&[(name, value)]).unwrap_err();
        for (name, value, said) in [
            ("block-bytes", "0KiB", "block.bytes is 0"),
            ("block-bytes", "511KiB", "room for the largest transaction, 512KiB"),
            ("block-bytes", "5MiB", "no block is larger than 4MiB"),
            ("mempool-bytes", "0KiB", "takes up to 1MiB of memory"),
            ("api-subscribers", "99999999999999999999", "is not a count"),
            ("mempool-transactions", "18446744073709551615", "is not a count"),
        ] {
            assert!(refused(name, value).contains(said), "{}", refused(name, value));
        }
    }
}

//! Harnesses for the two decoders: `cargo test`, or `testnet/fuzz.sh decoders`.

use crate::frame::{
    Frame, HEADER, Origin, Place, SECTOR, apply_mask, choose_mask, crc32c, is_blank, padded, stage,
};
use crate::record::{Lsn, Peak, Tag};
use crate::segment::{MAX_PREAMBLE, SegmentHeader, SegmentName};

const PLACE: Place = Place { salt: 77, generation: 1, segment: 4, offset: 4096 };

fn word(bytes: &[u8], index: usize) -> u64 {
    let at = |offset| bytes.get(index * 8 + offset).copied().unwrap_or(0);
    u64::from_le_bytes([at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)])
}

fn frame_of(bytes: &[u8]) -> Frame {
    let origins = [Origin::Record, Origin::Preamble, Origin::Mark, Origin::Seal];
    Frame {
        length: (word(bytes, 0) % (1 << 20)) as u32,
        lsn: Lsn::new(word(bytes, 1)),
        tag: Tag { term: word(bytes, 2), height: word(bytes, 3) },
        synced: Lsn::new(word(bytes, 4)),
        mask: word(bytes, 5),
        previous: word(bytes, 6) as u32,
        payload_crc: word(bytes, 7) as u32,
        kind: word(bytes, 8) as u8,
        origin: origins[word(bytes, 9) as usize % 4],
        last: word(bytes, 10) & 1 == 1,
    }
}

#[test]
fn record_header() {
    bolero::check!().with_iterations(20_000).with_max_len(128).for_each(|bytes: &[u8]| {
        if let Some(header) = bytes.first_chunk::<HEADER>()
            && let Ok((frame, crc)) = Frame::decode(header, &PLACE)
        {
            assert_eq!(frame.encode(&PLACE), (*header, crc));
        }
        let frame = frame_of(bytes);
        let (encoded, crc) = frame.encode(&PLACE);
        assert_eq!(Frame::decode(&encoded, &PLACE), Ok((frame, crc)));
        let bit = word(bytes, 11) as usize % (HEADER * 8);
        let mut flipped = encoded;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Frame::decode(&flipped, &PLACE).is_err());
        for elsewhere in [
            Place { offset: PLACE.offset + 8, ..PLACE },
            Place { segment: 5, ..PLACE },
            Place { salt: 78, ..PLACE },
            Place { generation: 2, ..PLACE },
        ] {
            assert!(Frame::decode(&encoded, &elsewhere).is_err());
        }
    });
}

#[test]
fn mask_leaves_no_sector_blank_and_comes_off_again() {
    bolero::check!().with_iterations(4_000).with_max_len(1_200).for_each(|bytes: &[u8]| {
        // A body in which each sector repeats one word, as hostile as it gets.
        let sectors = bytes.len() % 9;
        let at = (word(bytes, 0) % 64) as usize * 8;
        let mut body: Vec<u8> = Vec::new();
        for sector in 0..sectors * SECTOR / 8 {
            let repeated = bytes.get(sector * 8 / SECTOR).copied().unwrap_or(0) % 5;
            body.extend(u64::from(repeated).to_le_bytes());
        }
        let mask = choose_mask(at, &body);
        // What is staged is the payload and padding, its checksum, and whether a mask is needed.
        for cut in [0, 1, 7, 8].map(|cut| body.len().saturating_sub(cut)) {
            let mut staged = vec![0xEE; padded(cut)];
            let (crc, blank) = stage(&body[..cut], &mut staged, at);
            let mut plain = body[..cut].to_vec();
            plain.resize(padded(cut), 0);
            assert_eq!((&staged, crc), (&plain, crc32c(&plain)));
            assert_eq!(blank, choose_mask(at, &plain) != 0);
        }
        let mut masked = body.clone();
        apply_mask(&mut masked, mask);
        let first = (SECTOR - at % SECTOR) % SECTOR;
        for sector in masked.get(first..).unwrap_or(&[]).chunks(SECTOR) {
            assert!(!is_blank(sector));
        }
        apply_mask(&mut masked, mask);
        assert_eq!(masked, body);
        assert_eq!(padded(bytes.len()) % 8, 0);
    });
}

#[test]
fn staging_in_pieces_is_staging_at_once() {
    const PIECE: usize = 16 << 10;
    for at in [0, 64, 448, 512 + 8] {
        for length in [0, 5, 440, PIECE - 3, PIECE, PIECE + 449, 2 * PIECE + 512, 3 * PIECE + 1] {
            let payload: Vec<u8> = (0..length).map(|byte| (byte % 251) as u8 | 1).collect();
            let body = |payload: &[u8]| {
                let mut staged = vec![0xEE; padded(length)];
                let (crc, blank) = stage(payload, &mut staged, at);
                assert_eq!(staged[..length], *payload);
                assert!(is_blank(&staged[length..]));
                assert_eq!(crc, crc32c(&staged));
                assert_eq!(blank, choose_mask(at, &staged) != 0);
                blank
            };
            assert!(!body(&payload));
            let first = at.next_multiple_of(SECTOR) - at;
            for sector in (first..length).step_by(SECTOR) {
                let mut payload = payload.clone();
                payload[sector..length.min(sector + SECTOR)].fill(0);
                assert!(body(&payload));
            }
        }
    }
}

#[test]
fn segment_header() {
    bolero::check!().with_iterations(4_000).with_max_len(1_200).for_each(|bytes: &[u8]| {
        if let Ok(header) = SegmentHeader::decode(bytes) {
            assert_eq!(header.encode(), bytes[..header.copy_bytes()]);
        }
        let header = SegmentHeader {
            generation: word(bytes, 0),
            number: word(bytes, 1),
            salt: word(bytes, 2),
            size: word(bytes, 3),
            first: Lsn::new(word(bytes, 4)),
            before: Tag { term: word(bytes, 5), height: word(bytes, 6) },
            peak: Peak {
                height: word(bytes, 7),
                rank: Tag { term: word(bytes, 13), height: word(bytes, 14) },
            },
            oldest: word(bytes, 8),
            chain: word(bytes, 9) as u32,
            max_group: word(bytes, 10) as u32,
            align: 512 << (word(bytes, 11) % 4),
            identity: bytes.iter().take(64).copied().collect(),
            preamble: bytes.len().is_multiple_of(2).then(|| bytes[..bytes.len().min(900)].to_vec()),
        };
        let encoded = header.encode();
        assert_eq!(SegmentHeader::decode(&encoded), Ok(header.clone()));
        assert!(encoded.len() <= MAX_PREAMBLE * 2);
        let bit = word(bytes, 12) as usize % (encoded.len() * 8);
        let mut flipped = encoded.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(SegmentHeader::decode(&flipped).is_err(), "bit {bit}");
        assert!(SegmentHeader::decode(&encoded[..encoded.len() - 1]).is_err());
    });
}

#[test]
fn segment_name() {
    bolero::check!().with_iterations(4_000).with_max_len(1_200).for_each(|bytes: &[u8]| {
        if let Ok(name) = std::str::from_utf8(bytes)
            && let Some(parsed) = SegmentName::parse(name)
        {
            assert_eq!(parsed.format(), name);
        }
    });
    for name in ["1-2.wal", "+0000001-0000000000000001.wal", "00000001-0000000000000001.WAL"] {
        assert_eq!(SegmentName::parse(name), None);
    }
}

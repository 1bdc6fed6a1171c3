//! One record in a file: a mark, its length, a checksum, and what was written. The checksum begins with a number of the
//! file's own, drawn by chance, so that nothing that somebody said can pass for a record.

use std::ops::Range;

/// What every record begins with. After damage, the next record is looked for by it.
const MARK: [u8; 4] = *b"pbj1";
/// The mark, the length and the checksum: 4 bytes each.
const HEADER: usize = 12;
/// A longer record is refused, and a longer length is damage: 64 MiB.
pub(super) const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

/// Appends a record with what `write` appends to the buffer. `false`, and nothing is appended, when it is too long.
pub(super) fn append(buffer: &mut Vec<u8>, salt: u32, write: impl FnOnce(&mut Vec<u8>)) -> bool {
    let begin = buffer.len();
    buffer.extend_from_slice(&[0; HEADER]);
    write(buffer);
    let payload = begin + HEADER;
    let length = buffer.len() - payload;
    let Some(written) = u32::try_from(length).ok().filter(|_| (1..=MAX_PAYLOAD).contains(&length)) else {
        buffer.truncate(begin);
        return false;
    };
    let checksum = checksum(salt, written, &buffer[payload..]);
    buffer[begin..begin + 4].copy_from_slice(&MARK);
    buffer[begin + 4..begin + 8].copy_from_slice(&written.to_le_bytes());
    buffer[begin + 8..payload].copy_from_slice(&checksum.to_le_bytes());
    true
}

fn checksum(salt: u32, length: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(&length.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// What stands at a place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// A whole record; where what was written in it stands.
    Record(Range<usize>),
    /// Bytes that are no record.
    Damage(Range<usize>),
}

/// The parts of a file, in order; together they are all of it.
pub(super) fn parts(bytes: &[u8], salt: u32) -> impl Iterator<Item = Part> {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= bytes.len() {
            return None;
        }
        if let Some(payload) = record_at(bytes, at, salt) {
            at = payload.end;
            return Some(Part::Record(payload));
        }
        let begin = at;
        at = next_record(bytes, begin + 1, salt);
        Some(Part::Damage(begin..at))
    })
}

/// A whole record's bytes, its header included.
pub(super) fn whole(payload: &Range<usize>) -> Range<usize> {
    payload.start - HEADER..payload.end
}

/// Where the payload of the record that begins here stands; `None` when no whole record does.
fn record_at(bytes: &[u8], at: usize, salt: u32) -> Option<Range<usize>> {
    let header = bytes.get(at..at + HEADER)?;
    let number = |from: usize| u32::from_le_bytes([header[from], header[from + 1], header[from + 2], header[from + 3]]);
    let length = usize::try_from(number(4)).ok().filter(|length| (1..=MAX_PAYLOAD).contains(length))?;
    let payload = at + HEADER..at + HEADER + length;
    let sound = header[..4] == MARK && checksum(salt, number(4), bytes.get(payload.clone())?) == number(8);
    sound.then_some(payload)
}

/// Where the next whole record begins; the end when there is none.
fn next_record(bytes: &[u8], from: usize, salt: u32) -> usize {
    let candidates = bytes[from..].windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let begins = candidates.map(|(index, _)| from + index);
    begins.into_iter().find(|&at| record_at(bytes, at, salt).is_some()).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    const SALT: u32 = 0xDEAD_BEEF;

    fn file(records: &[Vec<u8>]) -> (Vec<u8>, Vec<Range<usize>>) {
        let (mut bytes, mut places) = (Vec::new(), Vec::new());
        for record in records {
            let begin = bytes.len();
            assert!(append(&mut bytes, SALT, |buffer| buffer.extend_from_slice(record)));
            places.push(begin..bytes.len());
        }
        (bytes, places)
    }

    fn read(bytes: &[u8]) -> Vec<Vec<u8>> {
        let record = |part| match part {
            Part::Record(payload) => Some(bytes[payload].to_vec()),
            Part::Damage(_) => None,
        };
        parts(bytes, SALT).filter_map(record).collect()
    }

    fn records() -> impl Strategy<Value = Vec<Vec<u8>>> {
        // now and then one that holds what looks like a record
        let decoy = vec(any::<u8>(), 1..20).prop_map(|inner| {
            let mut bytes = b"before".to_vec();
            append(&mut bytes, SALT ^ 1, |buffer| buffer.extend_from_slice(&inner));
            bytes
        });
        vec(prop_oneof![4 => vec(any::<u8>(), 1..60), 1 => decoy], 1..20)
    }

    proptest! {
        #[test]
        fn after_any_cut_all_before_it_is_read_and_nothing_else(records in records(), cut in any::<Index>()) {
            let (bytes, places) = file(&records);
            let length = cut.index(bytes.len() + 1);
            let whole = places.iter().filter(|place| place.end <= length).count();
            prop_assert_eq!(read(&bytes[..length]), &records[..whole]);
        }

        #[test]
        fn after_flipped_bits_every_record_that_they_spared_is_read_and_no_other(
            records in records(),
            flips in vec((any::<Index>(), 0..8u8), 1..6),
        ) {
            let (mut bytes, places) = file(&records);
            let original = bytes.clone();
            for (at, bit) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            let spared = places.iter().zip(&records).filter(|(place, _)| bytes[(*place).clone()] == original[(*place).clone()]);
            let spared: Vec<Vec<u8>> = spared.map(|(_, record)| record.clone()).collect();
            prop_assert_eq!(read(&bytes), spared);
        }

        #[test]
        fn garbage_in_the_middle_is_skipped(
            before in records(), after in records(), garbage in vec(any::<u8>(), 1..200), marked in any::<bool>(),
        ) {
            let (mut bytes, _) = file(&before);
            if marked {
                bytes.extend_from_slice(&MARK);
            }
            bytes.extend_from_slice(&garbage);
            bytes.extend_from_slice(&file(&after).0);
            prop_assert_eq!(read(&bytes), [before, after].concat());
        }
    }

    #[test]
    fn parts_make_up_the_whole_file() {
        let (mut bytes, _) = file(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        bytes[16] ^= 1;
        let parts: Vec<Part> = parts(&bytes, SALT).collect();
        assert_eq!(parts, [Part::Record(12..15), Part::Damage(15..30), Part::Record(42..47)]);
        assert_eq!(whole(&(12..15)), 0..15);
    }

    #[test]
    fn what_is_empty_or_too_long_is_refused() {
        let mut buffer = b"kept".to_vec();
        assert!(!append(&mut buffer, SALT, |_| {}));
        assert!(!append(&mut buffer, SALT, |buffer| buffer.resize(buffer.len() + MAX_PAYLOAD + 1, 0)));
        assert_eq!(buffer, b"kept");
    }
}

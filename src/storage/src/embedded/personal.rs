//! Personal data of the records of one block of history, in a row of its own, so that it can be erased without touching the block.
//!
//! ```text
//! row = part part part …       part = seq u64 │ length u32 │ personal data of the record with that seq
//! ```
//!
//! The row has the first seq of its block in its key. One row a block, not one a record: most orders of a sale have personal data, and a row costs
//! ten times as much as its bytes. An erasure, which is rare, rewrites the rows of the entity's blocks.

use super::tables::corrupt;
use crate::journal::{ReadError, Seq};
use std::collections::BTreeSet;

/// Appends the personal data of a record.
pub(super) fn push(row: &mut Vec<u8>, seq: Seq, personal: &[u8]) {
    row.extend_from_slice(&seq.to_le_bytes());
    row.extend_from_slice(&u32::try_from(personal.len()).unwrap_or(u32::MAX).to_le_bytes());
    row.extend_from_slice(personal);
}

/// The parts of a row: seq and personal data of each record.
fn parts(row: &[u8]) -> impl Iterator<Item = Result<(Seq, &[u8]), ReadError>> {
    let mut rest = row;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let part = split_part(rest);
        rest = part.map_or(&[], |(_, _, rest)| rest);
        Some(part.map(|(seq, personal, _)| (seq, personal)).ok_or_else(|| corrupt("personal data of history")))
    })
}

fn split_part(row: &[u8]) -> Option<(Seq, &[u8], &[u8])> {
    let (seq, rest) = row.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (personal, rest) = rest.split_at_checked(length)?;
    Some((u64::from_le_bytes(*seq), personal, rest))
}

/// The personal data of the record with this seq, if it is there.
pub(super) fn find(row: &[u8], seq: Seq) -> Result<Option<&[u8]>, ReadError> {
    for part in parts(row) {
        let (found, personal) = part?;
        if found == seq {
            return Ok(Some(personal));
        }
    }
    Ok(None)
}

/// The row without the personal data of these records.
pub(super) fn without(row: &[u8], erased: &BTreeSet<Seq>) -> Result<Vec<u8>, ReadError> {
    let mut left = Vec::with_capacity(row.len());
    for part in parts(row) {
        let (seq, personal) = part?;
        if !erased.contains(&seq) {
            push(&mut left, seq, personal);
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(parts: &[(Seq, &[u8])]) -> Vec<u8> {
        let mut row = Vec::new();
        parts.iter().for_each(|(seq, personal)| push(&mut row, *seq, personal));
        row
    }

    #[test]
    fn each_part_is_found_and_what_is_erased_leaves_the_others() {
        let parts: [(Seq, &[u8]); 3] = [(7, b"Ada"), (u64::MAX, b""), (9, &[1; 300])];
        let whole = row(&parts);
        for (seq, personal) in parts {
            assert_eq!(find(&whole, seq), Ok(Some(personal)));
        }
        assert_eq!(find(&whole, 8), Ok(None));
        let left = without(&whole, &BTreeSet::from([7, 9, 10])).unwrap();
        assert_eq!(left, row(&parts[1..2]));
        assert_eq!(without(&whole, &BTreeSet::from([7, 9, u64::MAX])), Ok(Vec::new()));
    }

    #[test]
    fn a_row_that_ends_too_soon_is_damaged() {
        let whole = row(&[(7, b"Ada"), (8, b"Grace")]);
        for length in 1..whole.len() {
            let cut = &whole[..length];
            let is_a_part = length == row(&[(7, b"Ada")]).len();
            assert_eq!(find(cut, 9).is_ok(), is_a_part, "{length}");
            assert_eq!(without(cut, &BTreeSet::new()).is_ok(), is_a_part, "{length}");
        }
    }
}

//! Markers as they travel: 24 bytes each.
//!
//! | bytes | what |
//! |---|---|
//! | 0..16 | the id |
//! | 16..20 | the cut-off in seconds of Unix time, big-endian; 0 for one that was taken back, all ones for no limit |
//! | 20..24 | in the same form, when it ends |

use super::{Cover, Marker, MarkerId, Second};

/// Bytes of one marker.
pub const SIZE: usize = 24;

/// The bytes are not whole markers.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a whole number of markers")]
pub struct BadMarkers;

/// Appends a marker.
pub fn pack(marker: &Marker, to: &mut Vec<u8>) {
    to.reserve(SIZE);
    to.extend_from_slice(marker.id.bits());
    to.extend_from_slice(&marker.cover.before.to_bytes());
    to.extend_from_slice(&marker.cover.until.to_bytes());
}

/// Reads markers back.
///
/// # Errors
/// [`BadMarkers`].
pub fn unpack(bytes: &[u8]) -> Result<impl Iterator<Item = Marker> + Clone + '_, BadMarkers> {
    let (markers, []) = bytes.as_chunks::<SIZE>() else {
        return Err(BadMarkers);
    };
    Ok(markers.iter().map(|marker| {
        let (id, rest) = split::<16>(marker);
        let (before, rest) = split::<4>(rest);
        let (until, _) = split::<4>(rest);
        Marker {
            id: MarkerId::new(id),
            cover: Cover {
                before: Second::from_bytes(before),
                until: Second::from_bytes(until),
            },
        }
    }))
}

/// The first `N` bytes of what has at least so many.
fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    bytes
        .split_first_chunk()
        .map_or(([0; N], &[]), |(first, rest)| (*first, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_marker_is_so_many_bytes_in_this_order() {
        let marker = Marker {
            id: MarkerId::new(std::array::from_fn(|place| place.try_into().unwrap())),
            cover: Cover {
                before: Second::from_bytes([16, 17, 18, 19]),
                until: Second::from_bytes([20, 21, 22, 23]),
            },
        };
        let mut bytes = Vec::new();
        pack(&marker, &mut bytes);
        assert!(bytes.iter().copied().eq(0..24));
    }

    proptest! {
        #[test]
        fn markers_pack_and_unpack(all in proptest::collection::vec(any::<([u8; 16], [u8; 4], [u8; 4])>(), 0..9)) {
            let all: Vec<_> = all.into_iter().map(|(id, before, until)| Marker {
                id: MarkerId::new(id),
                cover: Cover { before: Second::from_bytes(before), until: Second::from_bytes(until) },
            }).collect();
            let mut bytes = Vec::new();
            all.iter().for_each(|marker| pack(marker, &mut bytes));
            prop_assert!(unpack(&bytes).unwrap().eq(all));
            bytes.push(0);
            prop_assert!(unpack(&bytes).is_err());
        }
    }
}

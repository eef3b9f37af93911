//! The arithmetic against the definition of RFC 6962 section 2.1, spelled out.

use super::hash::node;
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::io;
use std::sync::Mutex;

fn leaves(count: u64) -> Vec<Hash> {
    (0..count).map(|n| leaf(&n.to_be_bytes())).collect()
}

fn split(leaves: &[Hash]) -> (&[Hash], &[Hash]) {
    let half = 1_usize << (leaves.len() - 1).ilog2();
    leaves.split_at(half)
}

/// `MTH`.
fn defined(leaves: &[Hash]) -> Hash {
    match leaves {
        [] => Hash::of_nothing(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = split(leaves);
            node(&defined(left), &defined(right))
        }
    }
}

/// `PATH`.
fn defined_path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = split(leaves);
    let (mut path, other) = match index.checked_sub(left.len()) {
        None => (defined_path(index, left), right),
        Some(index) => (defined_path(index, right), left),
    };
    path.push(defined(other));
    path
}

/// `SUBPROOF`.
fn defined_proof(old: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
    if old == leaves.len() {
        return if whole {
            Vec::new()
        } else {
            vec![defined(leaves)]
        };
    }
    let (left, right) = split(leaves);
    let (mut proof, other) = match old.checked_sub(left.len()) {
        None | Some(0) => (defined_proof(old, left, whole), right),
        Some(old) => (defined_proof(old, right, false), left),
    };
    proof.push(defined(other));
    proof
}

/// Tiles in memory, as a publisher makes them, and which of them were asked for.
#[derive(Default)]
struct Shelf {
    rows: Vec<Vec<Hash>>,
    asked: Mutex<HashMap<Tile, usize>>,
}

impl Shelf {
    fn of(leaves: &[Hash]) -> (Self, Frontier) {
        let (mut shelf, mut frontier) = (Self::default(), Frontier::default());
        for leaf in leaves {
            frontier.push(*leaf, |height, hash| {
                if height.is_multiple_of(Tile::HEIGHT) {
                    let level = usize::try_from(height / Tile::HEIGHT).unwrap();
                    shelf
                        .rows
                        .resize_with(shelf.rows.len().max(level + 1), Vec::new);
                    shelf.rows[level].push(hash);
                }
            });
        }
        (shelf, frontier)
    }
}

impl Tiles for Shelf {
    fn read(&self, tile: Tile) -> io::Result<Vec<Hash>> {
        *self.asked.lock().unwrap().entry(tile).or_default() += 1;
        let row = self.rows.get(usize::from(tile.level));
        let row = row.ok_or(io::ErrorKind::NotFound)?;
        let start = usize::try_from(tile.index).unwrap() * 256;
        let hashes = row.get(start..start + usize::from(tile.width));
        Ok(hashes.ok_or(io::ErrorKind::NotFound)?.to_vec())
    }
}

#[test]
fn the_hashes_are_those_of_the_standard() {
    // RFC 6962 leaves of the empty string and of one byte, as certificate-transparency's test vectors have them.
    let hex = |hash: Hash| {
        hash.bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>()
    };
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex(Hash::of_nothing()), empty);
    let leaf_of_nothing = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex(leaf(b"")), leaf_of_nothing);
    let two = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
    assert_eq!(hex(node(&leaf(b""), &leaf(&[0]))), two);
}

#[test]
fn a_frontier_has_the_root_of_the_definition_at_every_size() {
    let all = leaves(600);
    let mut frontier = Frontier::default();
    for size in 0..all.len() {
        assert_eq!(frontier.root(), defined(&all[..size]), "{size}");
        assert_eq!(frontier.size(), size as u64);
        frontier.push(all[size], |_, _| ());
    }
    let again = Frontier::new(5, vec![defined(&all[..4]), all[4]]).unwrap();
    assert_eq!(again.root(), defined(&all[..5]));
    assert_eq!(Frontier::new(5, vec![all[0]]), None);
}

#[test]
fn tiles_have_the_paths_of_the_specification() {
    let tile = |level, index, width| Tile {
        level,
        index,
        width,
    };
    for (tile, path) in [
        (tile(0, 0, 256), "tile/0/000"),
        (tile(1, 999, 256), "tile/1/999"),
        (tile(0, 1000, 256), "tile/0/x001/000"),
        (tile(0, 1_234_067, 112), "tile/0/x001/x234/067.p/112"),
        (tile(3, 5, 1), "tile/3/005.p/1"),
    ] {
        assert_eq!(tile.to_string(), path);
        assert_eq!(path.parse(), Ok(tile));
    }
    for path in [
        "",
        "tile",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/00",
        "tile/0/0000",
        "tile/00/000",
        "tile/8/000",
        "tile/-1/000",
        "tile/0/x000/001",
        "tile/0/001/000",
        "tile/0/x001/x000",
        "tile/0/000.p/256",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/257",
        "tile/0/000.p/",
        "tile/0/../000",
        "tile/0/+00",
        "/tile/0/000",
        "tile/0/000/",
        "tile/entries/000",
        "tile/0/x999/x999/x999/x999/x999/x999/999",
    ] {
        assert_eq!(path.parse::<Tile>(), Err(InvalidTile), "{path}");
    }
}

#[test]
fn the_last_tiles_are_those_of_the_right_edge() {
    let paths =
        |size| -> Vec<String> { Tile::last_of(size).map(|tile| tile.to_string()).collect() };
    assert!(paths(0).is_empty());
    assert_eq!(paths(1), ["tile/0/000.p/1"]);
    assert_eq!(paths(255), ["tile/0/000.p/255"]);
    assert_eq!(paths(256), ["tile/0/000", "tile/1/000.p/1"]);
    assert_eq!(paths(257), ["tile/0/001.p/1", "tile/1/000.p/1"]);
    assert_eq!(
        paths(65_536),
        ["tile/0/255", "tile/1/000", "tile/2/000.p/1"]
    );
    assert_eq!(paths(u64::MAX).len(), 8);
}

proptest! {
    #[test]
    fn proofs_are_those_of_the_definition_and_prove_it(size in 1_u64..1500, index in any::<prop::sample::Index>(), old in any::<prop::sample::Index>()) {
        let all = leaves(size);
        let (shelf, frontier) = Shelf::of(&all);
        let whole = defined(&all);
        prop_assert_eq!(frontier.root(), whole);
        prop_assert_eq!(root(&shelf, size).unwrap(), whole);

        let index = index.index(all.len());
        let at = index as u64;
        let path = inclusion(&shelf, at, size).unwrap();
        prop_assert_eq!(&path, &defined_path(index, &all));
        prop_assert_eq!(verify_inclusion(all[index], at, size, &path, &whole), Ok(()));

        let old = old.index(all.len()) + 1;
        let proof = consistency(&shelf, old as u64, size).unwrap();
        prop_assert_eq!(&proof, &defined_proof(old, &all, true));
        let was = defined(&all[..old]);
        prop_assert_eq!(verify_consistency(old as u64, &was, size, &whole, &proof), Ok(()));
    }

    #[test]
    fn what_was_tampered_with_proves_nothing(size in 2_u64..400, index in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 0_usize..256) {
        let all = leaves(size);
        let (shelf, _) = Shelf::of(&all);
        let whole = defined(&all);
        let flipped = |hash: &Hash| {
            let mut bytes = *hash.bytes();
            bytes[flip / 8] ^= 1 << (flip % 8);
            Hash::new(bytes)
        };
        let index = index.index(all.len());
        let path = inclusion(&shelf, index as u64, size).unwrap();
        use verify_inclusion as check;
        let mut bent = path.clone();
        let place = at.index(path.len());
        bent[place] = flipped(&bent[place]);
        prop_assert_eq!(check(all[index], index as u64, size, &bent, &whole), Err(ProofError::Root));
        prop_assert_eq!(check(flipped(&all[index]), index as u64, size, &path, &whole), Err(ProofError::Root));
        prop_assert!(check(all[index], index as u64, size, &path, &flipped(&whole)).is_err());
        prop_assert!(check(all[index], index as u64 ^ 1, size, &path, &whole).is_err());
        prop_assert!(check(all[index], index as u64, size, &path[1..], &whole).is_err());
        prop_assert_eq!(check(all[index], size, size, &path, &whole), Err(ProofError::OutOfRange));

        let old = at.index(all.len()) as u64 + 1;
        let was = defined(&all[..old as usize]);
        let proof = consistency(&shelf, old, size).unwrap();
        prop_assert!(verify_consistency(old, &flipped(&was), size, &whole, &proof).is_err());
        prop_assert!(verify_consistency(old, &was, size, &flipped(&whole), &proof).is_err());
        prop_assert!(verify_consistency(size + 1, &was, size, &whole, &proof).is_err());
        let mut longer = proof.clone();
        longer.push(whole);
        prop_assert!(verify_consistency(old, &was, size, &whole, &longer).is_err());
        for place in 0..proof.len() {
            let mut bent = proof.clone();
            bent[place] = flipped(&bent[place]);
            prop_assert!(verify_consistency(old, &was, size, &whole, &bent).is_err());
        }
    }

    #[test]
    fn no_path_of_a_tile_is_lost(level in 0_u8..8, index in any::<u64>(), width in 1_u16..=256) {
        let tile = Tile { level, index, width };
        prop_assert_eq!(tile.to_string().parse(), Ok(tile));
    }
}

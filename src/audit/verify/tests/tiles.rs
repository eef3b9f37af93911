//! Tiles of every level and width, of a tree that has a full one of the second level.

use crate::audit::edge::Edge;
use crate::audit::tree::{Hash, Tile, leaf};
use crate::audit::verify::tiles::Growing;
use crate::audit::{DiskShelf, Shelf as _};
use std::fs;

const SIZE: usize = 256 * 256 + 300;

/// The first tile that is not the tree's.
fn wrong(shelf: &DiskShelf, leaves: &[Hash]) -> Option<Tile> {
    let mut tree = Growing::new(shelf, u64::try_from(leaves.len()).unwrap());
    for leaf in leaves {
        tree.push(*leaf).unwrap();
    }
    tree.wrong()
}

#[test]
fn a_wrong_byte_in_any_tile_that_a_checkpoint_is_of_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let shelf = DiskShelf::new(folder.path());
    let leaves: Vec<Hash> = (0..SIZE).map(|n| leaf(&n.to_le_bytes())).collect();
    let mut edge = Edge::default();
    for (n, leaf) in leaves.iter().enumerate() {
        for (tile, hashes) in edge.push(*leaf) {
            shelf.put(tile, &hashes).unwrap();
        }
        // What an earlier checkpoint left, and the last one.
        if [1000, SIZE].contains(&(n + 1)) {
            for (tile, hashes) in edge.partial() {
                shelf.put(tile, hashes).unwrap();
            }
        }
    }
    // What a crash left before the next one: no checkpoint is of it.
    for beyond in ["tile/0/257.p/45", "tile/0/258.p/3", "tile/1/001"] {
        let path = folder.path().join(beyond);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    assert_eq!(wrong(&shelf, &leaves), None);
    for (name, at) in [
        ("tile/0/000", 0),
        ("tile/0/255", 8191),
        ("tile/0/257.p/44", 44 * 32 - 1),
        ("tile/0/003.p/232", 100),
        ("tile/1/000", 4000),
        ("tile/1/000.p/3", 95),
        ("tile/1/001.p/1", 0),
        ("tile/2/000.p/1", 31),
    ] {
        let path = folder.path().join(name);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[at] ^= 1;
        for bad in [
            &bad[..],
            &good[..good.len() - 1],
            &[&good[..], b"x"].concat(),
        ] {
            fs::write(&path, bad).unwrap();
            assert_eq!(wrong(&shelf, &leaves), name.parse().ok(), "{name}");
        }
        // One that is missing can be made again.
        fs::remove_file(&path).unwrap();
        if at == 0 {
            assert_eq!(wrong(&shelf, &leaves), None, "{name}");
        }
        fs::write(&path, good).unwrap();
    }
}

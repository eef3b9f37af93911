//! Tiles (C2SP tlog-tiles): 256 hashes of one level in a file that never changes once it is full.

use super::hash::Hash;
use std::fmt;
use std::io;
use std::str::FromStr;

/// A tile's place in the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tile {
    /// Its level: 0 holds leaf hashes, each further one the roots of full tiles of the one below.
    pub level: u8,
    /// Its index in its level.
    pub index: u64,
    /// How many hashes it holds, 1 to [`Tile::FULL`].
    pub width: u16,
}

/// A path that names no tile.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not the path of a tile")]
pub struct InvalidTile;

/// Where tiles are read from.
pub trait Tiles {
    /// The hashes of a tile, at least `tile.width` of them: a fuller one serves as well.
    ///
    /// # Errors
    /// When it cannot be read, or holds fewer.
    fn read(&self, tile: Tile) -> io::Result<Vec<Hash>>;
}

impl Tile {
    /// Hashes in a full tile.
    pub const FULL: u16 = 256;
    /// Levels of the tree in one level of tiles.
    pub const HEIGHT: u32 = 8;
    /// Levels of tiles that a tree of 2^64 leaves has.
    pub const LEVELS: u8 = 8;

    /// The last tile of each level of a tree of `size`, the lowest level first; all others are full.
    pub fn last_of(size: u64) -> impl Iterator<Item = Self> {
        (0..Self::LEVELS).map_while(move |level| {
            let leaves = u32::from(level).saturating_mul(Self::HEIGHT);
            let last = size.checked_shr(leaves)?.checked_sub(1)?;
            let full = u64::from(Self::FULL);
            let place = u16::try_from(last.checked_rem(full)?).ok()?;
            Some(Self {
                level,
                index: last.checked_div(full)?,
                width: place.saturating_add(1),
            })
        })
    }

    /// The tile of leaf hashes that holds the leaf `index` of a tree of `size`.
    #[must_use]
    pub fn of_leaf(index: u64, size: u64) -> Self {
        let full = u64::from(Self::FULL);
        let tile = index / full;
        let rest = size.saturating_sub(tile.saturating_mul(full)).min(full);
        Self {
            level: 0,
            index: tile,
            width: u16::try_from(rest).unwrap_or(Self::FULL),
        }
    }

    /// The same place with all the hashes it can hold.
    #[must_use]
    pub fn full(self) -> Self {
        Self {
            width: Self::FULL,
            ..self
        }
    }

    /// Whether it can change no more.
    #[must_use]
    pub fn is_full(self) -> bool {
        self.width == Self::FULL
    }
}

/// The path below the log's prefix: `tile/<L>/<N>[.p/<W>]`, the index in groups of three digits, all but the last with
/// an `x` before it.
impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tile/{}/", self.level)?;
        let digits = self.index.to_string();
        let groups = digits.len().div_ceil(3);
        let padded = format!("{digits:0>width$}", width = groups.saturating_mul(3));
        for (place, group) in padded.as_bytes().chunks(3).enumerate() {
            let more = place.saturating_add(1) < groups;
            let group = String::from_utf8_lossy(group);
            match more {
                true => write!(f, "x{group}/")?,
                false => write!(f, "{group}")?,
            }
        }
        match self.is_full() {
            true => Ok(()),
            false => write!(f, ".p/{}", self.width),
        }
    }
}

impl FromStr for Tile {
    type Err = InvalidTile;

    fn from_str(path: &str) -> Result<Self, InvalidTile> {
        let parsed = parse(path).ok_or(InvalidTile)?;
        // One tile has one path: no leading zeros, no signs, no width of a full one.
        (parsed.to_string() == path)
            .then_some(parsed)
            .ok_or(InvalidTile)
    }
}

fn parse(path: &str) -> Option<Tile> {
    let (level, rest) = path.strip_prefix("tile/")?.split_once('/')?;
    let level = level.parse().ok().filter(|level| *level < Tile::LEVELS)?;
    let (place, width) = match rest.split_once(".p/") {
        Some((place, width)) => (place, width.parse().ok()?),
        None => (rest, Tile::FULL),
    };
    let digits: String = place.chars().filter(char::is_ascii_digit).collect();
    let index = digits.parse().ok()?;
    (1..=Tile::FULL).contains(&width).then_some(Tile {
        level,
        index,
        width,
    })
}

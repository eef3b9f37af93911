//! A sealed segment, compressed: Zstandard frames one behind the other, and a table of them at the end.
//!
//! Any decompressor gives the segment's bytes back. The table is the one of the Zstandard seekable format, in a frame
//! that decompressors pass over; by it a reader gets at a record without decompressing those before it. The header has a
//! frame of its own, and the records one for each tile of the tree: frames end where the index is a multiple of 256.

use crate::limits;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom, Write};
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::CParameter;
use zstd::zstd_safe::compress_bound;

/// A frame that decompressors pass over.
const SKIPPABLE: u32 = 0x184D_2A5E;
/// What the seekable format ends with.
const SEEKABLE: u32 = 0x8F92_EAB1;
/// Magic number and length of the frame that the table is in.
const HEAD: u64 = 8;
/// Sizes of one frame, compressed and not.
const ENTRY: u64 = 8;
/// Number of frames, what an entry holds, magic number.
const FOOT: u64 = 9;
/// How hard to try: what records repeat is found at once, and level 6 takes four times the CPU of this for a percent.
const LEVEL: i32 = 2;

/// Writes frames, and then their table.
pub(super) struct Packing<W> {
    output: W,
    compressor: Compressor<'static>,
    table: Vec<u8>,
    frames: u32,
}

impl<W: Write> Packing<W> {
    pub(super) fn new(output: W) -> io::Result<Self> {
        let mut compressor = Compressor::new(LEVEL)?;
        // Each frame is checked when it is read, without the tree.
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self {
            output,
            compressor,
            table: Vec::new(),
            frames: 0,
        })
    }

    /// Writes `plain` as a frame.
    pub(super) fn frame(&mut self, plain: &[u8]) -> io::Result<()> {
        if plain.len() > limits::LOG_FRAME_BYTES {
            return Err(invalid("a frame would be too large"));
        }
        let packed = self.compressor.compress(plain)?;
        self.output.write_all(&packed)?;
        for size in [packed.len(), plain.len()] {
            let size = u32::try_from(size).map_err(io::Error::other)?;
            self.table.extend(size.to_le_bytes());
        }
        self.frames = self.frames.saturating_add(1);
        Ok(())
    }

    /// Writes the table.
    pub(super) fn finish(mut self) -> io::Result<()> {
        let length = u64::try_from(self.table.len()).map_err(io::Error::other)?;
        let length = u32::try_from(length.saturating_add(FOOT)).map_err(io::Error::other)?;
        let mut frame = Vec::new();
        frame.extend(SKIPPABLE.to_le_bytes());
        frame.extend(length.to_le_bytes());
        frame.append(&mut self.table);
        frame.extend(self.frames.to_le_bytes());
        frame.push(0);
        frame.extend(SEEKABLE.to_le_bytes());
        self.output.write_all(&frame)
    }
}

/// The bytes of a compressed segment, as they were.
pub(super) struct Packed<R> {
    input: R,
    frames: Vec<Frame>,
    /// Where the reader is in the plain bytes, and how many of those there are.
    at: u64,
    size: u64,
    decompressor: Decompressor<'static>,
    /// The frame that was decompressed last, by its place.
    held: Option<usize>,
    plain: Vec<u8>,
}

/// Where a frame begins and how long it is, compressed and not.
#[derive(Clone, Copy, Debug)]
struct Frame {
    packed: (u64, u32),
    plain: (u64, u32),
}

impl Frame {
    fn end(&self) -> u64 {
        self.plain.0.saturating_add(u64::from(self.plain.1))
    }
}

impl<R> fmt::Debug for Packed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} of {}", self.at, self.size)
    }
}

impl<R: Read + Seek> Packed<R> {
    /// Reads the table.
    ///
    /// # Errors
    /// [`io::ErrorKind::InvalidData`] when it is not that of the frames before it.
    pub(super) fn open(mut input: R) -> io::Result<Self> {
        let frames = table(&mut input)?;
        Ok(Self {
            input,
            at: 0,
            size: frames.last().map_or(0, Frame::end),
            frames,
            decompressor: Decompressor::new()?,
            held: None,
            plain: Vec::new(),
        })
    }

    /// Decompresses a frame, unless it is at hand.
    fn load(&mut self, place: usize, frame: Frame) -> io::Result<()> {
        if self.held == Some(place) {
            return Ok(());
        }
        self.held = None;
        let mut packed = vec![0; length(frame.packed.1)];
        self.input.seek(SeekFrom::Start(frame.packed.0))?;
        self.input.read_exact(&mut packed)?;
        let plain = length(frame.plain.1);
        self.plain.clear();
        self.plain.reserve(plain);
        let unpacked = self
            .decompressor
            .decompress_to_buffer(&packed, &mut self.plain);
        if unpacked.ok() != Some(plain) {
            return Err(invalid("a compressed frame is not as it was written"));
        }
        self.held = Some(place);
        Ok(())
    }
}

impl<R: Read + Seek> Read for Packed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let place = self.frames.partition_point(|frame| frame.end() <= self.at);
        let Some(frame) = self.frames.get(place).copied() else {
            return Ok(0);
        };
        self.load(place, frame)?;
        let within = usize::try_from(self.at.saturating_sub(frame.plain.0));
        let mut rest = within
            .ok()
            .and_then(|within| self.plain.get(within..))
            .unwrap_or_default();
        let read = rest.read(buffer)?;
        self.at = self.at.saturating_add(u64::try_from(read).unwrap_or(0));
        Ok(read)
    }
}

impl<R> Seek for Packed<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Reads the table at the end, and checks that it is of the whole file.
fn table(input: &mut (impl Read + Seek)) -> io::Result<Vec<Frame>> {
    let no = || invalid("the table of a compressed segment is not as it was written");
    let end = input.seek(SeekFrom::End(0))?;
    let foot_at = end.checked_sub(FOOT).ok_or_else(no)?;
    input.seek(SeekFrom::Start(foot_at))?;
    let count = word(input)?;
    let mut holds = [0; 1];
    input.read_exact(&mut holds)?;
    if holds != [0] || word(input)? != SEEKABLE {
        return Err(no());
    }
    let entries = u64::from(count).saturating_mul(ENTRY);
    let begin = foot_at
        .checked_sub(entries.saturating_add(HEAD))
        .ok_or_else(no)?;
    input.seek(SeekFrom::Start(begin))?;
    let is_head =
        word(input)? == SKIPPABLE && u64::from(word(input)?) == entries.saturating_add(FOOT);
    if !is_head {
        return Err(no());
    }
    let mut frames = Vec::new();
    let (mut packed, mut plain) = (0_u64, 0_u64);
    for _ in 0..count {
        let frame = Frame {
            packed: (packed, word(input)?),
            plain: (plain, word(input)?),
        };
        let plain_length = length(frame.plain.1);
        if plain_length > limits::LOG_FRAME_BYTES
            || length(frame.packed.1) > compress_bound(plain_length)
        {
            return Err(no());
        }
        packed = packed.saturating_add(u64::from(frame.packed.1));
        plain = frame.end();
        frames.push(frame);
    }
    match packed == begin {
        true => Ok(frames),
        false => Err(no()),
    }
}

fn word(input: &mut impl Read) -> io::Result<u32> {
    let mut word = [0; 4];
    input.read_exact(&mut word)?;
    Ok(u32::from_le_bytes(word))
}

fn length(size: u32) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn packed(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut output = Vec::new();
        let mut packing = Packing::new(&mut output).unwrap();
        for frame in frames {
            packing.frame(frame).unwrap();
        }
        packing.finish().unwrap();
        output
    }

    #[test]
    fn a_frame_holds_a_tile_of_the_largest_records_and_no_more() {
        let largest = vec![b'x'; limits::LOG_FRAME_BYTES];
        let mut packed = packed(std::slice::from_ref(&largest));
        let mut read = Vec::new();
        let mut source = Packed::open(Cursor::new(&packed)).unwrap();
        source.read_to_end(&mut read).unwrap();
        assert!(read == largest);
        let larger = vec![b'x'; limits::LOG_FRAME_BYTES + 1];
        assert!(Packing::new(Vec::new()).unwrap().frame(&larger).is_err());
        // A table that tells of a larger one is no reason to allocate it.
        let told = packed.len() - 9 - 4;
        let size = u32::try_from(limits::LOG_FRAME_BYTES + 1).unwrap();
        packed[told..told + 4].copy_from_slice(&size.to_le_bytes());
        assert!(Packed::open(Cursor::new(&packed)).is_err());
    }

    #[test]
    fn no_frame_is_longer_than_what_does_not_compress() {
        let frame = vec![b'x'; 50];
        let good = packed(std::slice::from_ref(&frame));
        let frame_end = good.len() - (HEAD + ENTRY + FOOT) as usize;
        let (frame, table) = good.split_at(frame_end);
        let padded = |length: usize| {
            let mut table = table.to_vec();
            let told = HEAD as usize;
            table[told..told + 4].copy_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
            let padding = vec![0; length - frame.len()];
            Packed::open(Cursor::new([frame, &padding, &table].concat()))
        };
        let bound = compress_bound(50);
        assert!(padded(bound).is_ok());
        assert!(padded(bound + 1).is_err());
    }

    proptest! {
        /// From wherever one reads, it is the same bytes; and so for a decompressor that knows nothing of the table.
        #[test]
        fn what_was_packed_is_read_from_anywhere(
            frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..9),
            at in 0_usize..300,
        ) {
            let (plain, packed) = (frames.concat(), packed(&frames));
            prop_assert_eq!(&zstd::stream::decode_all(packed.as_slice()).unwrap(), &plain);
            let mut source = Packed::open(Cursor::new(packed)).unwrap();
            let mut read = Vec::new();
            source.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&read, &plain);
            read.clear();
            source.seek(SeekFrom::Start(at as u64)).unwrap();
            source.read_to_end(&mut read).unwrap();
            prop_assert_eq!(&*read, plain.get(at..).unwrap_or_default());
        }

        /// A changed byte is an error, or it is one that says nothing: never other content.
        #[test]
        fn a_changed_byte_gives_no_other_content(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let frames: Vec<Vec<u8>> = (0..5_u8).map(|n| vec![n; 50]).collect();
            let mut packed = packed(&frames);
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
            let mut read = Vec::new();
            let source = Packed::open(Cursor::new(packed));
            let whole = source.and_then(|mut source| source.read_to_end(&mut read));
            prop_assert!(whole.is_err() || read == frames.concat());
        }
    }
}

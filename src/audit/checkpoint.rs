//! Checkpoints (C2SP tlog-checkpoint): what a log says of itself, to be signed as a note.

use super::tree::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt;
use std::str::FromStr;

/// A log's size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records it holds.
    pub size: u64,
    /// The root of its tree.
    pub root: Hash,
}

/// A text that is no checkpoint.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("not a checkpoint")]
pub struct InvalidCheckpoint;

/// Origin, size and root, a line each.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let root = STANDARD.encode(self.root.bytes());
        write!(f, "{}\n{}\n{root}\n", self.origin, self.size)
    }
}

/// Lines after the third are extensions, which others may have added.
impl FromStr for Checkpoint {
    type Err = InvalidCheckpoint;

    fn from_str(text: &str) -> Result<Self, InvalidCheckpoint> {
        let mut lines = text.split('\n');
        let mut line = || lines.next().filter(|line| !line.is_empty());
        let (origin, size, root) = (line(), line(), line());
        let origin = origin.ok_or(InvalidCheckpoint)?.to_owned();
        let size = size
            .and_then(|text| Some((text, text.parse::<u64>().ok()?)))
            // One size has one text: no sign, no leading zeros.
            .filter(|(text, size)| size.to_string() == *text)
            .map(|(_, size)| size)
            .ok_or(InvalidCheckpoint)?;
        let root = root
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| bytes.try_into().ok())
            .map(Hash::new)
            .ok_or(InvalidCheckpoint)?;
        // The third line ends, too.
        lines.next().ok_or(InvalidCheckpoint)?;
        Ok(Self { origin, size, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

    #[test]
    fn the_specifications_own_checkpoint_is_read() {
        let read: Checkpoint = TEXT.parse().unwrap();
        assert_eq!(
            (&*read.origin, read.size),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(read.to_string(), TEXT);
        assert_eq!(format!("{TEXT}more\n").parse(), Ok(read));
        for wrong in [
            "",
            "\n\n\n",
            "a\n1\n",
            TEXT.trim_end(),
            &TEXT.replace("\n2", "\n02"),
            &TEXT.replace("\n2", "\n+2"),
            &TEXT.replace("\n2", "\n-2"),
            &TEXT.replace("=\n", "\n"),
            &TEXT.replace("CsUY", "CsU"),
            &TEXT.replace("20852163", "18446744073709551616"),
        ] {
            assert_eq!(
                wrong.parse::<Checkpoint>(),
                Err(InvalidCheckpoint),
                "{wrong:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(origin in "[!-~]{1,40}", size in any::<u64>(), root in any::<[u8; 32]>()) {
            let written = Checkpoint { origin, size, root: Hash::new(root) };
            prop_assert_eq!(written.to_string().parse(), Ok(written));
        }
    }
}

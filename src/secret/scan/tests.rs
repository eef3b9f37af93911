use super::*;
use crate::clock::SystemRandomness;
use proptest::prelude::*;
use std::collections::VecDeque;

const KEY: &str = "cmb_CambistTestKey01_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ2Dgl12";
const ZERO: &str = "cmb_0000000000000000_00000000000000000000000000000000000000000000CYaO1";

/// A stream that comes in the pieces that it is given as.
struct Pieces(VecDeque<Vec<u8>>);

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut piece) = self.0.pop_front() else {
            return Ok(0);
        };
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        let rest = piece.split_off(count);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Ok(count)
    }
}

fn scan(stream: &mut dyn Read) -> Vec<Found> {
    let mut found = Vec::new();
    Scanner::new()
        .scan(stream, &mut |key| found.push(key))
        .unwrap();
    found
}

/// What is found, looked for as slowly as can be.
fn expected(bytes: &[u8]) -> Vec<Found> {
    let key_at = |at: usize| {
        let text = std::str::from_utf8(bytes.get(at..at + api_key::LENGTH)?).ok()?;
        let before = &bytes[..at];
        let line_start = before
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        Some(Found {
            id: api_key::parse(text).ok()?.id,
            offset: wide(at),
            line: wide(before.split(|byte| *byte == b'\n').count()),
            column: wide(at - line_start + 1),
        })
    };
    (0..bytes.len()).filter_map(key_at).collect()
}

fn split(bytes: &[u8], at: &[usize]) -> Pieces {
    let mut pieces = VecDeque::new();
    let mut from = 0;
    for end in at.iter().copied().chain([bytes.len()]) {
        if end > from {
            pieces.push_back(bytes[from..end].to_vec());
            from = end;
        }
    }
    Pieces(pieces)
}

#[test]
fn a_key_is_found_where_it_stands() {
    let text = format!("one\ntwo {KEY}\n{ZERO}");
    let places: Vec<_> = scan(&mut text.as_bytes())
        .into_iter()
        .map(|key| (key.id.to_string(), key.line, key.column, key.offset))
        .collect();
    assert_eq!(
        places,
        [
            ("CambistTestKey01".to_owned(), 2, 5, 8),
            ("0000000000000000".to_owned(), 3, 1, 79),
        ]
    );
    assert_eq!(scan(&mut &b""[..]), []);
}

#[test]
fn a_key_is_found_across_every_boundary() {
    let text = format!("\ncmb_x\0é {KEY}{ZERO}\n");
    let all = expected(text.as_bytes());
    assert_eq!(all.len(), 2);
    for at in 0..=text.len() {
        assert_eq!(scan(&mut split(text.as_bytes(), &[at])), all, "{at}");
    }
    let bytes: Vec<usize> = (0..text.len()).collect();
    assert_eq!(
        scan(&mut split(text.as_bytes(), &bytes)),
        all,
        "byte by byte"
    );
}

#[test]
fn a_key_is_found_across_the_end_of_the_window() {
    for before in limits::SCAN_WINDOW - api_key::LENGTH - 1..=limits::SCAN_WINDOW + 1 {
        let mut bytes = vec![b'\n'; before];
        bytes.extend_from_slice(KEY.as_bytes());
        let found = scan(&mut &bytes[..]);
        let place = found.iter().map(|key| (key.offset, key.line, key.column));
        let at = wide(before);
        assert_eq!(place.collect::<Vec<_>>(), [(at, at + 1, 1)]);
    }
}

#[test]
fn a_stream_is_read_a_window_at_a_time() {
    struct Long(u64, usize);
    impl Read for Long {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = self.1.max(buffer.len());
            let count = buffer.len().min(usize::try_from(self.0).unwrap());
            buffer[..count].fill(b'c');
            self.0 -= wide(count);
            Ok(count)
        }
    }
    let length = wide(limits::SCAN_WINDOW) * 40 + 3;
    let mut stream = Long(length, 0);
    let read = Scanner::new().scan(&mut stream, &mut |_| ());
    assert_eq!(read.unwrap(), length);
    assert_eq!(stream.1, limits::SCAN_WINDOW, "never more than that");
}

#[test]
fn what_was_read_before_a_fault_is_told() {
    struct Faulty(bool);
    impl Read for Faulty {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(ErrorKind::InvalidData.into());
            }
            buffer[..KEY.len()].copy_from_slice(KEY.as_bytes());
            Ok(KEY.len())
        }
    }
    let mut found = 0;
    let read = Scanner::new().scan(&mut Faulty(false), &mut |_| found += 1);
    assert!(read.is_err());
    assert_eq!(found, 1);
}

#[test]
fn a_look_alike_is_none() {
    let (short, _) = KEY.split_at(KEY.len() - 1);
    for text in [
        short.to_owned(),
        KEY.replace("cmb_", "cmc_"),
        KEY.replace("Dgl12", "Dgl13"),
        KEY.replace("abc", "a-c"),
        KEY.replace("01_", "01"),
    ] {
        assert_eq!(scan(&mut text.as_bytes()), [], "{text}");
    }
}

#[test]
fn what_is_redacted_keeps_the_id_alone() {
    let text = format!("a/{KEY}.txt/é{ZERO}");
    assert_eq!(
        redacted(&text),
        "a/cmb_CambistTestKey01_….txt/écmb_0000000000000000_…"
    );
    assert_eq!(redacted("a/b"), "a/b");
}

proptest! {
    #[test]
    fn whatever_is_around_them_and_wherever_it_is_split_all_are_found(
        parts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..90),
                prop::collection::vec(prop::sample::select(b"cmb_\n0aZ".to_vec()), 0..90),
                Just(KEY.as_bytes().to_vec()),
                Just(KEY.as_bytes()[..40].to_vec()),
            ],
            0..8,
        ),
        cuts in prop::collection::vec(0_usize..400, 0..6),
    ) {
        let (fresh, _) = api_key::generate(&SystemRandomness::default()).unwrap();
        let mut bytes = parts.concat();
        bytes.extend_from_slice(fresh.expose().as_bytes());
        bytes.extend(parts.concat());
        let mut cuts: Vec<_> = cuts.into_iter().filter(|cut| *cut < bytes.len()).collect();
        cuts.sort_unstable();
        let found = scan(&mut split(&bytes, &cuts));
        prop_assert_eq!(found, expected(&bytes));
    }
}

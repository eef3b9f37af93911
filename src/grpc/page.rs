//! Pages of a list: bounded in number and size, with opaque tokens.

use super::convert::invalid;
use crate::limits;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;

/// The page that a caller asks for, while it fills.
pub(super) struct Page<M> {
    size: usize,
    /// Name of the last thing on the page before.
    pub(super) after: Option<String>,
    messages: Vec<M>,
    bytes: usize,
    /// Name of the last thing on this page.
    last: String,
    full: bool,
}

impl<M: Message> Page<M> {
    /// Reads `page_size` (0 means the largest) and `page_token`.
    pub(super) fn new(size: u32, token: &str) -> Result<Self, Refusal> {
        let size = match usize::try_from(size) {
            Ok(size @ 1..=limits::PAGE) => size,
            _ => limits::PAGE,
        };
        let malformed = || invalid("page_token", "not one that this call gave out");
        let after = match token {
            "" => None,
            token => {
                let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| malformed())?;
                Some(String::from_utf8(bytes).map_err(|_| malformed())?)
            }
        };
        Ok(Self {
            size,
            after,
            messages: Vec::new(),
            bytes: 0,
            last: String::new(),
            full: false,
        })
    }

    /// Puts the next thing after [`Page::after`] on the page. `false`: it begins the next one, and this one is full.
    pub(super) fn add(&mut self, name: &str, message: M) -> bool {
        self.bytes = self.bytes.saturating_add(message.encoded_len());
        // One that fits on no page is still shown: on one of its own.
        let over = self.bytes > limits::PAGE_BYTES && !self.messages.is_empty();
        self.full = self.full || over || self.messages.len() == self.size;
        if !self.full {
            self.messages.push(message);
            name.clone_into(&mut self.last);
        }
        !self.full
    }

    /// What is on the page, and the token of the next one.
    pub(super) fn done(self) -> (Vec<M>, String) {
        let next = if self.full {
            URL_SAFE_NO_PAD.encode(self.last)
        } else {
            String::new()
        };
        (self.messages, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks through all pages of these texts, named by their numbers.
    fn pages(size: u32, all: &[String]) -> Vec<Vec<String>> {
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let mut page = Page::new(size, &token).unwrap();
            let after = page.after.as_deref().map_or(0, |at| at.parse().unwrap());
            for (number, text) in all.iter().enumerate().skip(after) {
                if !page.add(&(number + 1).to_string(), text.clone()) {
                    break;
                }
            }
            let (messages, next) = page.done();
            pages.push(messages);
            if next.is_empty() {
                return pages;
            }
            token = next;
        }
    }

    /// A text whose message has this many bytes.
    fn of_bytes(bytes: usize) -> String {
        let mut text = "a".repeat(bytes);
        while text.encoded_len() > bytes {
            text.pop();
        }
        assert_eq!(text.encoded_len(), bytes);
        text
    }

    #[test]
    fn pages_cover_everything_once() {
        for count in [0, 1, limits::PAGE, limits::PAGE + 1, 1201] {
            let all: Vec<String> = (0..count).map(|i| i.to_string()).collect();
            let pages = pages(0, &all);
            assert_eq!(pages.concat(), all);
            assert_eq!(pages.len(), count.div_ceil(limits::PAGE).max(1));
        }
    }

    #[test]
    fn the_largest_page_is_the_bound() {
        let limit = u32::try_from(limits::PAGE).unwrap();
        let size = |size| Page::<String>::new(size, "").unwrap().size;
        assert_eq!(size(limit), limits::PAGE);
        assert_eq!(size(limit + 1), limits::PAGE);
        assert!(Page::<String>::new(1, "not base64!").is_err());
    }

    #[test]
    fn a_page_ends_at_its_bytes_and_holds_at_least_one() {
        let half = of_bytes(limits::PAGE_BYTES / 2);
        let sizes = |all: &[String]| pages(0, all).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(&[half.clone(), half.clone()]), [2]);
        let more = of_bytes(limits::PAGE_BYTES / 2 + 1);
        assert_eq!(sizes(&[half.clone(), more.clone()]), [1, 1]);
        let large = of_bytes(3 * limits::PAGE_BYTES);
        assert_eq!(sizes(&[large.clone(), half, large]), [1, 1, 1]);
    }
}

//! Pages of a list: bounded size, opaque tokens.

use super::convert::invalid;
use crate::limits;
use crate::refusal::Refusal;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The page that a caller asks for.
pub(super) struct Page {
    size: usize,
    /// Name of the last thing on the page before.
    pub(super) after: Option<String>,
}

impl Page {
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
        Ok(Self { size, after })
    }

    /// Cuts `all`, which starts after [`Page::after`], to the page; answers with the token of the next.
    pub(super) fn cut<T>(&self, all: &mut Vec<T>, name: impl Fn(&T) -> String) -> String {
        if all.len() <= self.size {
            return String::new();
        }
        all.truncate(self.size);
        all.last()
            .map(|last| URL_SAFE_NO_PAD.encode(name(last)))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_cover_everything_once() {
        let all: Vec<String> = (0..1201).map(|i| format!("{i:05}")).collect();
        let (mut seen, mut token) = (Vec::new(), String::new());
        loop {
            let page = Page::new(0, &token).unwrap();
            let after = page.after.clone().unwrap_or_default();
            let mut items: Vec<_> = all.iter().filter(|item| **item > after).cloned().collect();
            token = page.cut(&mut items, Clone::clone);
            assert!(items.len() <= limits::PAGE);
            seen.extend(items);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, all);
    }

    #[test]
    fn the_largest_page_is_the_bound() {
        let limit = u32::try_from(limits::PAGE).unwrap();
        assert_eq!(Page::new(limit, "").unwrap().size, limits::PAGE);
        assert_eq!(Page::new(limit + 1, "").unwrap().size, limits::PAGE);
        assert!(Page::new(1, "not base64!").is_err());
    }
}

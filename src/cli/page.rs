//! Lists come in pages; commands show them whole.

use super::failure::Failure;
use std::collections::HashSet;
use tonic::{Response, Status};

/// A page of a list.
pub(super) trait Page {
    type Item;

    /// Its items, and the token of the next page: empty on the last one.
    fn split(self) -> (Vec<Self::Item>, String);
}

/// Implements [`Page`] for a generated response.
macro_rules! page {
    ($response:ty, $items:ident, $item:ty) => {
        impl crate::cli::page::Page for $response {
            type Item = $item;

            fn split(self) -> (Vec<$item>, String) {
                (self.$items, self.next_page_token)
            }
        }
    };
}
pub(super) use page;

/// Fetches page after page, from the empty token on.
pub(super) async fn all<P: Page>(
    mut fetch: impl AsyncFnMut(String) -> Result<Response<P>, Status>,
) -> Result<Vec<P::Item>, Failure> {
    let mut items = Vec::new();
    let mut seen = HashSet::new();
    let mut token = String::new();
    loop {
        let page = fetch(token)
            .await
            .map_err(|status| Failure::from_status(&status))?;
        let (mut more, next) = page.into_inner().split();
        items.append(&mut more);
        if next.is_empty() {
            return Ok(items);
        }
        if !seen.insert(next.clone()) {
            return Err(
                Failure::fault("the broker's list has no end").why("it named one page twice")
            );
        }
        token = next;
    }
}

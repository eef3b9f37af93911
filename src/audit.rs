//! Audit: [`crate::mint::Minted`] → [`Issued`], the only maker of `Issued`.

mod issued;

pub use issued::{Issued, Receipt};

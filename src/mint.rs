//! Minting: [`crate::policy::Grant`] → [`Minted`], the only maker of `Minted`.

mod minted;

pub use minted::Minted;

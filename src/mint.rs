//! Minting: [`crate::policy::Grant`] → [`Minted`], the only maker of `Minted`.

mod claims;
mod minted;
mod minting;
mod own;
#[cfg(test)]
mod tests;

pub use minted::Minted;
pub use minting::Mint;
pub use own::{MayAct, OwnClaims};

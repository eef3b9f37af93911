//! Minting: [`crate::policy::Grant`] → [`Minted`], the only maker of `Minted`.

mod claims;
mod minted;
mod minting;
#[cfg(test)]
mod tests;

pub use minted::Minted;
pub use minting::Mint;

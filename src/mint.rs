//! Minting: [`crate::policy::Grant`] → [`Draft`] → [`Minted`], the only maker of `Minted`. Writing a draft is what can be
//! refused; signing it cannot.

mod claims;
mod minted;
mod minting;
#[cfg(test)]
mod tests;

pub use minted::{Draft, Minted, Unminted};
pub use minting::Mint;

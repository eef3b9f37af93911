//! The rules of the house that no compiler or lint knows, asserted from the source text.
//!
//! The tables are the documentation: who may use whom in [`layers`], what we may link in [`licences`].

mod acts;
mod bounds;
mod comparisons;
mod layers;
mod licences;
pub(crate) mod source;
mod text;

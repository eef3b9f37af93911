//! The strict JOSE reader against published attack vectors, arbitrary input and mutations.

mod attacks;
mod wycheproof;

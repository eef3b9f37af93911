//! The broker as its users meet it: the real binary, real TLS, generated clients.

mod admin;
mod certificates;
mod keys;
mod lease;
mod metadata;
mod policies;
mod tokens;
mod uses;
mod writes;

//! The broker as its users meet it: the real binary, real TLS, generated clients.

mod certificates;
mod keys;
mod lease;
mod metadata;
mod tokens;
mod uses;

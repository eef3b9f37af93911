//! The broker as its users meet it: the real binary, real TLS, generated clients.

pub(crate) mod acts;
mod admin;
mod ancestry;
mod archive;
mod audit;
mod backup;
mod bounds;
mod canary;
mod certificates;
mod copies;
mod described;
mod edge;
mod hostile;
mod keys;
mod leaks;
mod lease;
mod log;
mod metadata;
mod policies;
mod record;
mod revocation;
mod tokens;
mod uses;
mod watch;
mod witnesses;
mod writes;

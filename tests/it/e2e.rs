//! The broker as its users meet it: the real binary, real TLS, generated clients.

mod keys;

//! What the benches of a served broker have in common: processes that are this binary again, and the numbers that they are told.

pub mod bare;
pub mod broker;
pub mod exchanges;
pub mod role;

use tokio::runtime::Runtime;

/// The words that this process was started with, and the runtime of whatever it does.
pub fn begin() -> (Runtime, Vec<String>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    (runtime, std::env::args().skip(1).collect())
}

/// What stands after `name` among the words.
pub fn option<T>(words: &[&str], name: &str, default: T) -> T
where
    T: std::str::FromStr<Err: std::fmt::Debug>,
{
    let at = words.iter().position(|word| *word == name);
    at.map_or(default, |at| words[at + 1].parse().unwrap())
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

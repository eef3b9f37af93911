//! The `cambist` command.
fn main() {}

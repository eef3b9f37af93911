//! What goes wrong in production, done to the real broker: killed, starved of disk, robbed of its files, put back
//! from a backup, given a wrong clock. [`table`] says what must come of each.

mod backup;
mod calls;
mod clock;
mod closed;
mod estate;
mod following;
mod injected;
mod kill;
mod load;
mod log;
mod lost;
mod not_durable;
mod opening;
mod revocation;
mod seen;
mod start;
mod stop;
mod store;
mod table;
mod waiting;

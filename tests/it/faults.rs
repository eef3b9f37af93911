//! What goes wrong in production, done to the real broker: killed, starved of disk, robbed of its files, put back
//! from a backup, given a wrong clock.

mod backup;
mod clock;
mod kill;
mod load;
mod log;
mod start;
mod stop;
mod store;

//! The command's exit codes, which never change.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Ok = 0,
    /// Our own failure, or the broker's.
    Fault = 1,
    /// The command line is wrong.
    Usage = 2,
    /// The broker's answer is "no".
    Refused = 3,
    /// The broker cannot be reached, or not with a connection that can be trusted.
    Unreachable = 4,
    /// Something does not verify.
    Unverified = 5,
    /// Done, and nowhere written: it is in force until the broker ends, and longer only if it is written before.
    NotDurable = 6,
    /// The configuration is wrong (`EX_CONFIG` of sysexits).
    Configuration = 78,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

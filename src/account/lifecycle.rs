//! What an operator may know of an account.

use super::PreparedSecret;

pub use super::lockout::Evidence;

/// What is kept of an entry's password, by the names of draft-behera-ldap-password-policy. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PasswordState {
    /// pwdChangedTime.
    pub changed: Option<u64>,
    /// pwdAccountLockedTime: an administrator locked it, or another server had; 0 is for ever.
    pub locked: Option<u64>,
    /// pwdAccountTmpLockoutEnd: until when a failure keeps everybody out.
    pub delayed: Option<u64>,
    /// pwdReset: the secret has to be changed before anything else.
    pub must_change: bool,
    /// pwdFailureTime where no policy counts: the last failure of each source that failed since it last succeeded.
    pub failures: Vec<u64>,
    /// pwdFailureTime where a policy counts; microseconds.
    pub counted: Vec<u64>,
    /// pwdGraceUseTime; microseconds.
    pub grace: Vec<u64>,
    /// pwdHistory: secrets of before, and since when they are; the oldest first.
    pub history: Vec<(u64, PreparedSecret)>,
    /// pwdLastSuccess.
    pub last_success: Option<u64>,
}

/// One part of it, as an administrator sets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptPart {
    /// `None`: nobody knows, so it is no age.
    Changed(Option<u64>),
    /// Microseconds, in their order.
    Failures(Vec<u64>),
    /// Microseconds, in their order.
    Grace(Vec<u64>),
    /// The oldest first.
    History(Vec<(u64, PreparedSecret)>),
    Delayed(Option<u64>),
}

/// Whether an account can be used to bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usability {
    /// `ends_in`: seconds that are left; `None` is no end.
    Available {
        ends_in: Option<u64>,
    },
    Unavailable(Unavailable),
}

/// Why an account cannot be used, or not for all that it is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unavailable {
    /// Locked, disabled, not used for too long, or not at its time.
    pub inactive: bool,
    /// Its secret has to be changed before anything else.
    pub must_change: bool,
    pub expired: bool,
    /// How often an expired secret still binds, where a policy lets it at all.
    pub grace: Option<u64>,
    /// Seconds until a lock ends by itself.
    pub unlocks_in: Option<u64>,
}

/// Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AccountStatus {
    pub has_secret: bool,
    /// `argon2id`, `ssha` and so on, of the newest secret.
    pub scheme: String,
    /// The newest secret was taken over or has old parameters: the next success hashes it anew.
    pub to_be_rehashed: bool,
    pub secret_set: Option<u64>,
    /// The secret has to be changed before anything else.
    pub must_change: bool,
    /// `locked` or `password expired`, where an administrator or its password policy refuses it.
    pub refused: Option<&'static str>,
    /// An older secret that is still valid, and until when.
    pub old_secret_until: Option<u64>,
    pub last_used: Option<u64>,
    pub last_source: Option<String>,
    /// Sources that are throttled now.
    pub throttled_sources: Vec<String>,
    pub failures: u64,
    /// Sources that failed, the latest first: which device, since when, with what.
    pub evidence: Vec<Evidence>,
}

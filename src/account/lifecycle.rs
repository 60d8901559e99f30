//! What an operator may know of an account.

/// Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct AccountStatus {
    pub has_secret: bool,
    /// `argon2id`, `ssha` and so on, of the newest secret.
    pub scheme: String,
    pub secret_set: Option<u64>,
    /// An older secret that is still valid, and until when.
    pub old_secret_until: Option<u64>,
    pub last_used: Option<u64>,
    pub last_source: Option<String>,
    /// Sources that are throttled now.
    pub throttled_sources: Vec<String>,
    pub failures: u64,
}

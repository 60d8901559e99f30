//! Secrets: made, checked, hashed, wiped.

/// A secret in memory; wiped when dropped, never printed.
pub struct Secret(zeroize::Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(zeroize::Zeroizing::new(octets))
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

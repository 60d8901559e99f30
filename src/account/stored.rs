//! Stored secrets: PHC strings of argon2, and the salted schemes of other servers that are taken over.
//!
//! Invariants: what does not parse verifies nothing; costs read from a stored value are capped, so that a hash cannot be a
//! way to exhaust memory or time; comparison is constant-time.

use super::AccountOptions;
use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The largest costs that are taken from a stored hash.
const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
const ARGON2_ITERATIONS_MAX: u32 = 10;
const ARGON2_LANES_MAX: u32 = 4;
const CRYPT_ROUNDS_MAX: usize = 100_000;
/// The longest stored form that is looked at.
const STORED_OCTETS_MAX: usize = 512;
const HASH_OCTETS: usize = 32;
const SALT_OCTETS: usize = 16;

/// A parsed stored secret.
pub(super) enum Stored {
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    Salted {
        digest: SaltedDigest,
        hash: Vec<u8>,
        salt: Vec<u8>,
    },
    Crypt {
        digest: SaltedDigest,
        rounds: usize,
        salt: String,
        hash: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SaltedDigest {
    Sha1,
    Sha256,
    Sha512,
}

/// The memory one argon2 thread uses again and again.
#[derive(Default)]
pub(super) struct Memory {
    blocks: Vec<Block>,
}

impl Memory {
    fn run(&mut self, argon2: &Argon2<'_>, secret: &[u8], salt: &[u8], out: &mut [u8]) -> bool {
        let needed = argon2.params().block_count();
        if self.blocks.len() < needed {
            self.blocks.resize(needed, Block::default());
        }
        argon2
            .hash_password_into_with_memory(secret, salt, out, &mut self.blocks)
            .is_ok()
    }
}

impl Stored {
    /// Parses a PHC string, or an RFC 2307 style `{SCHEME}value`.
    ///
    /// # Errors
    /// What was expected; never a part of the value, which may be a clear secret.
    pub(super) fn parse(text: &str) -> Result<Stored, String> {
        if text.len() > STORED_OCTETS_MAX {
            return Err(format!(
                "expected a stored secret of at most {STORED_OCTETS_MAX} octets, found {}",
                text.len()
            ));
        }
        if text.starts_with('$') {
            return parse_phc(text);
        }
        let scheme = text.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let Some((scheme, value)) = scheme else {
            return Err(
                "expected {SSHA}, {SSHA256}, {SSHA512}, {ARGON2} or {CRYPT} before the hash; \
                        a secret in clear text is not taken over"
                    .to_owned(),
            );
        };
        match scheme.to_ascii_uppercase().as_str() {
            "SSHA" => parse_salted(SaltedDigest::Sha1, value),
            "SSHA256" => parse_salted(SaltedDigest::Sha256, value),
            "SSHA512" => parse_salted(SaltedDigest::Sha512, value),
            "ARGON2" => parse_phc(value),
            "CRYPT" => parse_crypt(value),
            _ => Err(
                "expected {SSHA}, {SSHA256}, {SSHA512}, {ARGON2} or {CRYPT}; other schemes are too weak to take over"
                    .to_owned(),
            ),
        }
    }

    /// For operators: `argon2id`, `ssha` and so on.
    pub(super) fn scheme(&self) -> &'static str {
        use SaltedDigest::{Sha1, Sha256, Sha512};
        match self {
            Stored::Argon2 { algorithm, .. } => algorithm.as_str(),
            Stored::Salted { digest: Sha1, .. } => "ssha",
            Stored::Salted { digest: Sha256, .. } => "ssha256",
            Stored::Salted { digest: Sha512, .. } => "ssha512",
            Stored::Crypt { digest: Sha512, .. } => "crypt-sha512",
            Stored::Crypt { .. } => "crypt-sha256",
        }
    }

    /// Whether verifying takes an argon2 run.
    pub(super) fn is_argon2(&self) -> bool {
        matches!(self, Stored::Argon2 { .. })
    }

    /// Whether it was hashed as new secrets are today; if not it is hashed anew at the next success.
    pub(super) fn is_current(&self, options: &AccountOptions) -> bool {
        matches!(self, Stored::Argon2 { algorithm: Algorithm::Argon2id, version: Version::V0x13, params, hash, .. }
            if params.m_cost() == options.argon2_memory_kib && params.t_cost() == options.argon2_iterations
                && params.p_cost() == options.argon2_lanes && hash.len() == HASH_OCTETS)
    }

    pub(super) fn verify(&self, secret: &[u8], memory: &mut Memory) -> bool {
        match self {
            Stored::Argon2 {
                algorithm,
                version,
                params,
                salt,
                hash,
            } => {
                let argon2 = Argon2::new(*algorithm, *version, params.clone());
                let mut computed = vec![0; hash.len()];
                memory.run(&argon2, secret, salt, &mut computed) && bool::from(computed.ct_eq(hash))
            }
            Stored::Salted { digest, hash, salt } => {
                let computed = match digest {
                    SaltedDigest::Sha1 => sha1::Sha1::new()
                        .chain_update(secret)
                        .chain_update(salt)
                        .finalize()
                        .to_vec(),
                    SaltedDigest::Sha256 => Sha256::new()
                        .chain_update(secret)
                        .chain_update(salt)
                        .finalize()
                        .to_vec(),
                    SaltedDigest::Sha512 => Sha512::new()
                        .chain_update(secret)
                        .chain_update(salt)
                        .finalize()
                        .to_vec(),
                };
                bool::from(computed.ct_eq(hash))
            }
            Stored::Crypt {
                digest,
                rounds,
                salt,
                hash,
            } => {
                let computed = if *digest == SaltedDigest::Sha512 {
                    let params = sha_crypt::Sha512Params::new(*rounds);
                    params.and_then(|params| sha_crypt::sha512_crypt_b64(secret, salt.as_bytes(), &params))
                } else {
                    let params = sha_crypt::Sha256Params::new(*rounds);
                    params.and_then(|params| sha_crypt::sha256_crypt_b64(secret, salt.as_bytes(), &params))
                };
                computed.is_ok_and(|computed| bool::from(computed.as_bytes().ct_eq(hash.as_bytes())))
            }
        }
    }
}

/// A PHC string of the secret with today's parameters.
///
/// # Errors
/// The random source failed, or the configured parameters are none that argon2 knows.
pub(super) fn hash(secret: &[u8], options: &AccountOptions, memory: &mut Memory) -> Result<String, String> {
    let mut salt = [0; SALT_OCTETS];
    getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
    let params = parameters(options)?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = [0; HASH_OCTETS];
    if !memory.run(&argon2, secret, &salt, &mut hash) {
        return Err("argon2 could not run".to_owned());
    }
    Ok(format!(
        "$argon2id$v=19$m={},t={},p={}${}${}",
        options.argon2_memory_kib,
        options.argon2_iterations,
        options.argon2_lanes,
        STANDARD_NO_PAD.encode(salt),
        STANDARD_NO_PAD.encode(hash)
    ))
}

/// Spends what a verification costs and answers nothing.
pub(super) fn spend(secret: &[u8], options: &AccountOptions, memory: &mut Memory) {
    if let Ok(params) = parameters(options) {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let mut hash = [0; HASH_OCTETS];
        memory.run(&argon2, secret, &[0; SALT_OCTETS], &mut hash);
        std::hint::black_box(&hash);
    }
}

fn parameters(options: &AccountOptions) -> Result<Params, String> {
    let (m, t, p) = (
        options.argon2_memory_kib,
        options.argon2_iterations,
        options.argon2_lanes,
    );
    Params::new(m, t, p, Some(HASH_OCTETS)).map_err(|error| format!("argon2 m={m} t={t} p={p}: {error}"))
}

fn parse_phc(text: &str) -> Result<Stored, String> {
    let wrong = || "expected an argon2 PHC string ($argon2id$v=19$m=..,t=..,p=..$salt$hash)".to_owned();
    let phc = PasswordHash::new(text).map_err(|_| wrong())?;
    let algorithm = Algorithm::try_from(phc.algorithm).map_err(|_| wrong())?;
    if algorithm == Algorithm::Argon2d {
        return Err("expected argon2id or argon2i, found argon2d".to_owned());
    }
    let version = Version::try_from(phc.version.unwrap_or(0x13)).map_err(|_| wrong())?;
    let params = Params::try_from(&phc).map_err(|_| wrong())?;
    let (m, t, p) = (params.m_cost(), params.t_cost(), params.p_cost());
    if m > ARGON2_MEMORY_KIB_MAX || t > ARGON2_ITERATIONS_MAX || p > ARGON2_LANES_MAX {
        return Err(format!(
            "expected argon2 costs of at most m={ARGON2_MEMORY_KIB_MAX} t={ARGON2_ITERATIONS_MAX} p={ARGON2_LANES_MAX}, found m={m} t={t} p={p}"
        ));
    }
    if !params.keyid().is_empty() || !params.data().is_empty() {
        return Err(wrong());
    }
    let mut salt = [0; 64];
    let salt = phc
        .salt
        .ok_or_else(wrong)?
        .decode_b64(&mut salt)
        .map_err(|_| wrong())?
        .to_vec();
    let hash = phc.hash.ok_or_else(wrong)?.as_bytes().to_vec();
    if salt.len() < 8 || hash.len() < 16 {
        return Err("expected a salt of at least 8 octets and a hash of at least 16".to_owned());
    }
    let params = Params::new(m, t, p, Some(hash.len())).map_err(|_| wrong())?;
    Ok(Stored::Argon2 {
        algorithm,
        version,
        params,
        salt,
        hash,
    })
}

fn parse_salted(digest: SaltedDigest, value: &str) -> Result<Stored, String> {
    let length = match digest {
        SaltedDigest::Sha1 => 20,
        SaltedDigest::Sha256 => 32,
        SaltedDigest::Sha512 => 64,
    };
    let octets = STANDARD
        .decode(value.trim())
        .or_else(|_| STANDARD_NO_PAD.decode(value.trim()))
        .map_err(|_| "expected base64 after the scheme".to_owned())?;
    let split = octets.split_at_checked(length);
    match split {
        Some((hash, salt)) if salt.len() >= 4 => Ok(Stored::Salted {
            digest,
            hash: hash.to_vec(),
            salt: salt.to_vec(),
        }),
        _ => Err(format!(
            "expected a digest of {length} octets and a salt of at least 4, found {} octets",
            octets.len()
        )),
    }
}

fn parse_crypt(value: &str) -> Result<Stored, String> {
    let wrong = || {
        "expected {CRYPT}$5$ or {CRYPT}$6$ with a salt and a hash; older kinds of crypt are too weak to take over"
            .to_owned()
    };
    let (digest, rest, length) = match (value.strip_prefix("$5$"), value.strip_prefix("$6$")) {
        (Some(rest), _) => (SaltedDigest::Sha256, rest, 43),
        (_, Some(rest)) => (SaltedDigest::Sha512, rest, 86),
        _ => return Err(wrong()),
    };
    let (rounds, rest) = match rest.strip_prefix("rounds=") {
        Some(rest) => {
            let (rounds, rest) = rest.split_once('$').ok_or_else(wrong)?;
            (rounds.parse::<usize>().map_err(|_| wrong())?, rest)
        }
        None => (5_000, rest),
    };
    if !(1_000..=CRYPT_ROUNDS_MAX).contains(&rounds) {
        return Err(format!(
            "expected 1000 to {CRYPT_ROUNDS_MAX} rounds of crypt, found {rounds}"
        ));
    }
    let (salt, hash) = rest.split_once('$').ok_or_else(wrong)?;
    let of_alphabet = |text: &str| {
        text.bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'.' || c == b'/')
    };
    if salt.is_empty() || salt.len() > 16 || hash.len() != length || !of_alphabet(hash) {
        return Err(wrong());
    }
    Ok(Stored::Crypt {
        digest,
        rounds,
        salt: salt.to_owned(),
        hash: hash.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(in super::super) fn cheap() -> AccountOptions {
        AccountOptions {
            argon2_memory_kib: 16,
            argon2_iterations: 1,
            argon2_lanes: 1,
            ..AccountOptions::default()
        }
    }

    /// Every malformed stored value is refused, and none panics (T10).
    #[test]
    fn malformed_values_fail_closed() {
        let good = hash(b"secret", &cheap(), &mut Memory::default()).unwrap();
        assert!(Stored::parse(&good).unwrap().verify(b"secret", &mut Memory::default()));
        assert!(!Stored::parse(&good).unwrap().verify(b"Secret", &mut Memory::default()));
        for bad in [
            "",
            "secret",
            "{",
            "{}",
            "{SSHA}",
            "{SSHA}!!!!",
            "{SSHA}c2hvcnQ=",
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=",
            "{MD5}X03MO1qnZdYdgyfeuILPmQ==",
            "{CLEAR}secret",
            "{CRYPT}ab3Kx",
            "{CRYPT}$1$salt$hash",
            "{CRYPT}$6$",
            "{CRYPT}$6$salt",
            "{CRYPT}$6$salt$tooshort",
            "{CRYPT}$6$rounds=999999999$salt$x",
            "$argon2id$",
            "$argon2id$v=19$m=19456,t=2,p=1",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ",
            "$argon2id$v=19$m=4294967295,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=19456,t=4000000,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=19456,t=2,p=200$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=99$m=16,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$aGFzaA",
            "$argon2d$v=19$m=16,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$argon2id$v=19$m=0,t=0,p=0$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA",
            "$2b$12$abcdefghijklmnopqrstuu",
            "$scrypt$ln=1,r=1,p=1$aaaa$aaaa",
        ] {
            let parsed = Stored::parse(bad);
            let error = parsed.err().unwrap_or_else(|| panic!("{bad} was taken"));
            assert!(
                !error.contains("secret") || error.contains("a secret in clear") || error.contains("stored secret"),
                "{error}"
            );
        }
        assert!(Stored::parse(&"x".repeat(10_000)).is_err());
        // Any cut and any changed character of a good one: an error, or a hash that does not verify.
        for cut in 0..good.len() {
            let verified = Stored::parse(&good[..cut]).is_ok_and(|s| s.verify(b"secret", &mut Memory::default()));
            assert!(!verified, "cut at {cut}");
            let changed = format!("{}~{}", &good[..cut], &good[cut + 1..]);
            assert!(!Stored::parse(&changed).is_ok_and(|s| s.verify(b"secret", &mut Memory::default())));
        }
    }

    /// The crypt values are those of the published sha-crypt test vectors.
    #[test]
    fn schemes_of_other_servers_verify() {
        let salted = |scheme: &str, hash: Vec<u8>| {
            format!("{{{scheme}}}{}", STANDARD.encode([hash, b"salt1234".to_vec()].concat()))
        };
        let of = b"correct horsesalt1234";
        for stored in [
            salted("SSHA", sha1::Sha1::digest(of).to_vec()),
            salted("ssha256", Sha256::digest(of).to_vec()),
            salted("SSHA512", Sha512::digest(of).to_vec()),
        ] {
            let parsed = Stored::parse(&stored).unwrap();
            assert!(parsed.verify(b"correct horse", &mut Memory::default()), "{stored}");
            assert!(!parsed.verify(b"correct hors", &mut Memory::default()), "{stored}");
            assert!(!parsed.is_argon2());
        }
        for stored in [
            "{CRYPT}$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
            "{CRYPT}$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5",
        ] {
            assert!(
                Stored::parse(stored)
                    .unwrap()
                    .verify(b"Hello world!", &mut Memory::default()),
                "{stored}"
            );
            assert!(
                !Stored::parse(stored)
                    .unwrap()
                    .verify(b"Hello world", &mut Memory::default()),
                "{stored}"
            );
        }
        let phc = hash(b"correct horse", &cheap(), &mut Memory::default()).unwrap();
        assert!(
            Stored::parse(&format!("{{ARGON2}}{phc}"))
                .unwrap()
                .verify(b"correct horse", &mut Memory::default())
        );
        assert!(Stored::parse(&phc).unwrap().is_current(&cheap()));
        assert!(!Stored::parse(&phc).unwrap().is_current(&AccountOptions::default()));
    }
}

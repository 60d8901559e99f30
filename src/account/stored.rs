//! Stored secrets: PHC strings of argon2, and the salted schemes of other servers that are taken over.
//!
//! Invariants: what does not parse verifies nothing; costs read from a stored value are capped, so that a hash cannot be a
//! way to exhaust memory or time; comparison is constant-time.

use super::{AccountOptions, PreparedSecret, Secret};
use argon2::password_hash::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha512};
use subtle::ConstantTimeEq;

/// The largest costs that are taken from a stored hash.
pub const ARGON2_MEMORY_KIB_MAX: u32 = 64 * 1024;
pub const ARGON2_ITERATIONS_MAX: u32 = 10;
pub const ARGON2_LANES_MAX: u32 = 4;
const CRYPT_ROUNDS_MAX: usize = 100_000;
const PBKDF2_ROUNDS_MAX: u32 = 1_000_000;
/// The longest stored form that is looked at.
const STORED_OCTETS_MAX: usize = 512;
const HASH_OCTETS: usize = 32;
const SALT_OCTETS: usize = 16;
/// What is taken over, for messages.
const SCHEMES: &str = "{SSHA}, {SSHA256}, {SSHA512}, {PBKDF2..}, {ARGON2} or {CRYPT}";

/// A parsed stored secret.
pub(super) enum Stored {
    Argon2 {
        algorithm: Algorithm,
        version: Version,
        params: Params,
        salt: Vec<u8>,
        hash: Vec<u8>,
    },
    /// One digest of the secret and a salt, which may be empty.
    Digested {
        digest: Digested,
        hash: Vec<u8>,
        salt: Vec<u8>,
    },
    Pbkdf2 {
        digest: Digested,
        rounds: u32,
        hash: Vec<u8>,
        salt: Vec<u8>,
    },
    Crypt {
        digest: Digested,
        rounds: usize,
        salt: String,
        hash: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Digested {
    Md5,
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
            return Err(format!(
                "expected {SCHEMES} before the hash; a secret in clear text is not taken over"
            ));
        };
        match scheme.to_ascii_uppercase().as_str() {
            "SSHA" => parse_digested(Digested::Sha1, true, value),
            "SSHA256" => parse_digested(Digested::Sha256, true, value),
            "SSHA512" => parse_digested(Digested::Sha512, true, value),
            "SMD5" => parse_digested(Digested::Md5, true, value),
            "SHA" => parse_digested(Digested::Sha1, false, value),
            "SHA256" => parse_digested(Digested::Sha256, false, value),
            "SHA512" => parse_digested(Digested::Sha512, false, value),
            "MD5" => parse_digested(Digested::Md5, false, value),
            "PBKDF2" | "PBKDF2-SHA1" => parse_pbkdf2(Digested::Sha1, value),
            "PBKDF2-SHA256" => parse_pbkdf2(Digested::Sha256, value),
            "PBKDF2-SHA512" => parse_pbkdf2(Digested::Sha512, value),
            "ARGON2" => parse_phc(value),
            "CRYPT" => parse_crypt(value),
            _ => Err(format!("expected {SCHEMES}; other schemes cannot be verified here")),
        }
    }

    /// Whether it is too weak to be taken over for an application: no salt, or MD5.
    pub(super) fn is_weak(&self) -> bool {
        match self {
            Stored::Digested { digest, salt, .. } => salt.is_empty() || *digest == Digested::Md5,
            Stored::Argon2 { .. } | Stored::Pbkdf2 { .. } | Stored::Crypt { .. } => false,
        }
    }

    /// For operators: `argon2id`, `ssha` and so on.
    pub(super) fn scheme(&self) -> &'static str {
        use Digested::{Md5, Sha1, Sha256, Sha512};
        match self {
            Stored::Argon2 { algorithm, .. } => algorithm.as_str(),
            Stored::Digested { digest, salt, .. } => match (digest, salt.is_empty()) {
                (Sha1, false) => "ssha",
                (Sha256, false) => "ssha256",
                (Sha512, false) => "ssha512",
                (Md5, false) => "smd5",
                (Sha1, true) => "sha",
                (Sha256, true) => "sha256",
                (Sha512, true) => "sha512",
                (Md5, true) => "md5",
            },
            Stored::Pbkdf2 { digest: Sha256, .. } => "pbkdf2-sha256",
            Stored::Pbkdf2 { digest: Sha512, .. } => "pbkdf2-sha512",
            Stored::Pbkdf2 { .. } => "pbkdf2-sha1",
            Stored::Crypt { digest: Sha512, .. } => "crypt-sha512",
            Stored::Crypt { .. } => "crypt-sha256",
        }
    }

    /// Whether verifying takes an argon2 run.
    pub(super) fn is_argon2(&self) -> bool {
        matches!(self, Stored::Argon2 { .. })
    }

    /// Whether verifying takes a microsecond, which nobody finds beside a run of argon2.
    pub(super) fn is_cheap(&self) -> bool {
        matches!(self, Stored::Digested { .. })
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
            Stored::Digested { digest, hash, salt } => bool::from(digest.of(secret, salt).ct_eq(hash)),
            Stored::Pbkdf2 {
                digest,
                rounds,
                hash,
                salt,
            } => {
                let mut computed = vec![0; hash.len()];
                match digest {
                    Digested::Sha512 => pbkdf2::pbkdf2_hmac::<Sha512>(secret, salt, *rounds, &mut computed),
                    Digested::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(secret, salt, *rounds, &mut computed),
                    Digested::Sha1 | Digested::Md5 => {
                        pbkdf2::pbkdf2_hmac::<Sha1>(secret, salt, *rounds, &mut computed);
                    }
                }
                bool::from(computed.ct_eq(hash))
            }
            Stored::Crypt {
                digest,
                rounds,
                salt,
                hash,
            } => {
                let computed = if *digest == Digested::Sha512 {
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

/// Hashes secrets on the thread that uses it, for an import: it takes seconds of processor time, so nothing that serves does.
pub struct SecretHasher {
    options: AccountOptions,
    memory: Memory,
}

impl SecretHasher {
    pub fn new(options: AccountOptions) -> SecretHasher {
        SecretHasher {
            options,
            memory: Memory::default(),
        }
    }

    /// The secret as it is kept.
    ///
    /// # Errors
    /// What keeps argon2 from running; never a part of the secret.
    pub fn hash(&mut self, secret: &Secret) -> Result<PreparedSecret, String> {
        let stored = hash(secret.expose(), &self.options, &mut self.memory)?;
        Ok(PreparedSecret { stored })
    }
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

impl Digested {
    fn octets(self) -> usize {
        match self {
            Digested::Md5 => 16,
            Digested::Sha1 => 20,
            Digested::Sha256 => 32,
            Digested::Sha512 => 64,
        }
    }

    fn of(self, secret: &[u8], salt: &[u8]) -> Vec<u8> {
        fn digest<D: Digest>(secret: &[u8], salt: &[u8]) -> Vec<u8> {
            D::new().chain_update(secret).chain_update(salt).finalize().to_vec()
        }
        match self {
            Digested::Md5 => digest::<Md5>(secret, salt),
            Digested::Sha1 => digest::<Sha1>(secret, salt),
            Digested::Sha256 => digest::<Sha256>(secret, salt),
            Digested::Sha512 => digest::<Sha512>(secret, salt),
        }
    }
}

/// RFC 2307 and what OpenLDAP makes of it: base64 of the digest and, where `salted`, a salt.
fn parse_digested(digest: Digested, salted: bool, value: &str) -> Result<Stored, String> {
    let octets = STANDARD
        .decode(value.trim())
        .or_else(|_| STANDARD_NO_PAD.decode(value.trim()))
        .map_err(|_| "expected base64 after the scheme".to_owned())?;
    let length = digest.octets();
    match octets.split_at_checked(length) {
        Some((hash, salt)) if salted == (salt.len() >= 4) && (salted || salt.is_empty()) => Ok(Stored::Digested {
            digest,
            hash: hash.to_vec(),
            salt: salt.to_vec(),
        }),
        _ => {
            let salt = if salted { "a salt of at least 4" } else { "no salt" };
            Err(format!(
                "expected a digest of {length} octets and {salt}, found {} octets",
                octets.len()
            ))
        }
    }
}

/// `rounds$salt$hash` as OpenLDAP's pw-pbkdf2 writes it, in base64 with a full stop for `+` and no padding.
fn parse_pbkdf2(digest: Digested, value: &str) -> Result<Stored, String> {
    let wrong = || "expected rounds$salt$hash after the scheme".to_owned();
    let mut parts = value.trim().split('$');
    let (Some(rounds), Some(salt), Some(hash), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err(wrong());
    };
    let rounds: u32 = rounds.parse().map_err(|_| wrong())?;
    if !(1..=PBKDF2_ROUNDS_MAX).contains(&rounds) {
        return Err(format!(
            "expected 1 to {PBKDF2_ROUNDS_MAX} rounds of PBKDF2, found {rounds}"
        ));
    }
    let decode = |text: &str| STANDARD_NO_PAD.decode(text.replace('.', "+").trim_end_matches('='));
    let (salt, hash) = (decode(salt).map_err(|_| wrong())?, decode(hash).map_err(|_| wrong())?);
    if salt.len() < 8 || hash.len() != digest.octets() {
        return Err(format!(
            "expected a salt of at least 8 octets and a hash of {}",
            digest.octets()
        ));
    }
    Ok(Stored::Pbkdf2 {
        digest,
        rounds,
        hash,
        salt,
    })
}

fn parse_crypt(value: &str) -> Result<Stored, String> {
    let wrong = || {
        "expected {CRYPT}$5$ or {CRYPT}$6$ with a salt and a hash; older kinds of crypt are too weak to take over"
            .to_owned()
    };
    let (digest, rest, length) = match (value.strip_prefix("$5$"), value.strip_prefix("$6$")) {
        (Some(rest), _) => (Digested::Sha256, rest, 43),
        (_, Some(rest)) => (Digested::Sha512, rest, 86),
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
            "{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9hY",
            "{MD5}X03MO1qnZdYdgyfeuILP",
            "{SMD5}X03MO1qnZdYdgyfeuILPmQ==",
            "{PBKDF2}10000$c2FsdHNhbHQ",
            "{PBKDF2-SHA256}4000000000$c2FsdHNhbHQ$aGFzaA",
            "{PBKDF2-SHA256}0$c2FsdHNhbHQ$aGFzaA",
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
        // Made with Python's hashlib, of "password".
        for (stored, weak) in [
            ("{MD5}X03MO1qnZdYdgyfeuILPmQ==", true),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=", true),
            ("{SMD5}swXK27O85U86pZxk/sAN6nNhbHQ=", true),
            ("{PBKDF2}1000$c2FsdHNhbHRzYWx0c2FsdA$2FWw/oC7TQkskizC.81lWlmFAMM", false),
            (
                "{PBKDF2-SHA256}1000$c2FsdHNhbHRzYWx0c2FsdA$8nX7hwFEzIB8aPajJTYK8weHQc5Ngz0pFVAKvSu4jQA",
                false,
            ),
            (
                "{pbkdf2-sha512}1000$c2FsdHNhbHRzYWx0c2FsdA$715rqIr5dXOVPpBhqqsugl037zT5bWJTWYmZtIcK8hBnisKpwfY7kokvwjDrNHqHhF50Pb7MD6HvkJwiDQw4ww",
                false,
            ),
        ] {
            let parsed = Stored::parse(stored).unwrap();
            assert!(parsed.verify(b"password", &mut Memory::default()), "{stored}");
            assert!(!parsed.verify(b"passwore", &mut Memory::default()), "{stored}");
            assert_eq!(parsed.is_weak(), weak, "{stored}");
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

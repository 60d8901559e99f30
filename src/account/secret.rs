//! Secrets: made, checked, wiped.

use crate::model::PasswordFault;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// What a generated secret begins with, so that people and secret scanners know it when they see it.
pub const GENERATED_PREFIX: &str = "nhsdir_";

/// Digits and lower-case letters without those that are taken for another (i l o u).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// 20 octets: 160 bits in 32 characters of 5 bits.
const RANDOM_OCTETS: usize = 20;
const CHECKSUM_CHARACTERS: usize = 4;

/// The fewest characters of a chosen secret.
pub const CHOSEN_CHARACTERS_MIN: usize = 20;
/// The longest secret that is looked at; longer ones are wrong, at the usual cost.
pub const SECRET_OCTETS_MAX: usize = 1024;
/// The fewest different characters of a chosen secret.
const CHOSEN_DISTINCT_MIN: usize = 8;

/// What no chosen secret may hold, in lower case. A long secret around one of these is mostly that one.
const DENIED: [&str; 14] = [
    "password",
    "passw0rd",
    "changeme",
    "letmein",
    "qwerty",
    "asdfgh",
    "welcome1",
    "12345678",
    "abcdefgh",
    "87654321",
    "secret123",
    "administrator",
    "nhsmail",
    "iloveyou",
];

/// What a chosen secret must be.
#[derive(Clone, Copy, Debug)]
pub struct SecretRules<'a> {
    /// The fewest and the most characters.
    pub least: usize,
    pub most: usize,
    /// Whether it is different enough, none of what everybody tries, and not the account's name.
    pub varied: bool,
    pub account: Option<&'a str>,
}

impl SecretRules<'_> {
    /// Those of an application account.
    pub const APPLICATION: SecretRules<'static> = SecretRules {
        least: CHOSEN_CHARACTERS_MIN,
        varied: true,
        ..SecretRules::UNCHECKED
    };
    /// Anything that can be a secret at all.
    pub const UNCHECKED: SecretRules<'static> = SecretRules {
        least: 0,
        most: usize::MAX,
        varied: false,
        account: None,
    };
}

/// A secret in memory; wiped when dropped, never printed.
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(octets: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(octets))
    }

    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A new secret: the prefix, 160 random bits, and a checksum, in characters that a double click selects whole.
    ///
    /// # Errors
    /// The system's random source failed.
    pub fn generate() -> Result<Secret, getrandom::Error> {
        let mut random = Zeroizing::new([0u8; RANDOM_OCTETS]);
        getrandom::fill(random.as_mut_slice())?;
        let mut text = Vec::with_capacity(GENERATED_PREFIX.len() + RANDOM_OCTETS * 8 / 5 + CHECKSUM_CHARACTERS);
        text.extend_from_slice(GENERATED_PREFIX.as_bytes());
        append_base32(random.as_slice(), &mut text);
        let checksum = checksum(&text);
        text.extend_from_slice(&checksum);
        Ok(Secret::new(text))
    }

    /// Whether a text that has the prefix of generated secrets also has their length, characters and checksum: `false`
    /// means somebody mistyped or cut it. `None` where it is no generated secret at all.
    pub fn is_intact(&self) -> Option<bool> {
        let body = self.0.strip_prefix(GENERATED_PREFIX.as_bytes())?;
        let expected = RANDOM_OCTETS * 8 / 5 + CHECKSUM_CHARACTERS;
        let (head, tail) = self.0.split_at(self.0.len().saturating_sub(CHECKSUM_CHARACTERS));
        Some(body.len() == expected && checksum(head).as_slice() == tail)
    }

    /// Whether a chosen secret is good enough.
    ///
    /// # Errors
    /// Which rule it breaks, and what a chosen secret must be, never with a part of it.
    pub fn check_chosen(&self, rules: SecretRules<'_>) -> Result<(), (PasswordFault, String)> {
        let poor = |message: &str| Err((PasswordFault::InsufficientPasswordQuality, message.to_owned()));
        let octets = self.expose();
        if octets.is_empty() {
            let message = "a secret has at least one octet".to_owned();
            return Err((PasswordFault::PasswordTooShort, message));
        }
        if octets.len() > SECRET_OCTETS_MAX {
            let found = octets.len();
            let message = format!("a secret has at most {SECRET_OCTETS_MAX} octets, found {found}");
            return Err((PasswordFault::PasswordTooLong, message));
        }
        if octets.contains(&0) {
            return poor("a secret holds no NUL octet");
        }
        let SecretRules {
            least,
            most,
            varied,
            account,
        } = rules;
        let text = Zeroizing::new(String::from_utf8_lossy(octets).to_lowercase());
        let characters = text.chars().count();
        if characters < least {
            let message = format!(
                "a chosen secret has at least {least} characters, found {characters}; or ask for a generated one"
            );
            return Err((PasswordFault::PasswordTooShort, message));
        }
        if characters > most {
            let message = format!("a chosen secret has at most {most} characters, found {characters}");
            return Err((PasswordFault::PasswordTooLong, message));
        }
        if !varied {
            return Ok(());
        }
        let mut distinct: Vec<char> = text.chars().collect();
        distinct.sort_unstable();
        distinct.dedup();
        let distinct_least = CHOSEN_DISTINCT_MIN.min(least);
        if distinct.len() < distinct_least || is_repetition(text.as_bytes()) {
            return poor(&format!(
                "a chosen secret has at least {distinct_least} different characters and repeats no pattern; or ask for a generated one"
            ));
        }
        if DENIED.iter().any(|denied| text.contains(denied)) {
            return poor("the chosen secret holds a word or run that everybody tries first; ask for a generated one");
        }
        let name = account.map(str::to_lowercase).filter(|name| name.len() >= 4);
        if name.is_some_and(|name| text.contains(&name)) {
            return poor("the chosen secret holds the account's name; ask for a generated one");
        }
        Ok(())
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Whether a text is one piece, at most a third of it, over and over.
fn is_repetition(text: &[u8]) -> bool {
    (1..=text.len() / 3).any(|period| text.iter().zip(text.iter().skip(period)).all(|(a, b)| a == b))
}

fn append_base32(octets: &[u8], out: &mut Vec<u8>) {
    for five in octets.chunks(5) {
        let mut bits = 0u64;
        for at in 0..5 {
            bits = bits << 8 | u64::from(five.get(at).copied().unwrap_or(0));
        }
        for shift in (0..8).rev() {
            out.push(base32_character(bits >> (5 * shift)));
        }
    }
}

/// The lowest five bits as a character.
fn base32_character(bits: u64) -> u8 {
    ALPHABET.get((bits & 31) as usize).copied().unwrap_or(b'0')
}

fn checksum(text: &[u8]) -> [u8; CHECKSUM_CHARACTERS] {
    let digest = Sha256::digest(text);
    let bits = digest
        .iter()
        .take(4)
        .fold(0u64, |bits, octet| bits << 8 | u64::from(*octet));
    [15, 10, 5, 0].map(|shift| base32_character(bits >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(account: &str) -> SecretRules<'_> {
        SecretRules {
            account: Some(account),
            ..SecretRules::APPLICATION
        }
    }

    #[test]
    fn generated_secrets_are_long_distinct_and_checked() {
        let a = Secret::generate().unwrap();
        let b = Secret::generate().unwrap();
        assert_ne!(a.expose(), b.expose());
        assert_eq!(a.expose().len(), 7 + 32 + 4);
        assert!(a.expose().iter().all(|c| c.is_ascii_alphanumeric() || *c == b'_'));
        assert_eq!(a.is_intact(), Some(true));
        a.check_chosen(named("gp-app")).unwrap();
        for at in 7..a.expose().len() {
            let mut mistyped = a.expose().to_vec();
            mistyped[at] = if mistyped[at] == b'x' { b'y' } else { b'x' };
            assert_eq!(Secret::new(mistyped).is_intact(), Some(false), "character {at}");
        }
        assert_eq!(Secret::new(a.expose()[..30].to_vec()).is_intact(), Some(false));
        assert_eq!(Secret::new(b"correct horse battery".to_vec()).is_intact(), None);
    }

    #[test]
    fn chosen_secrets_are_checked() {
        for (secret, good) in [
            ("correct horse battery staple", true),
            ("Xq7-pelican-tr4mway-0rbit", true),
            ("short-Xq7-pelican", false),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", false),
            ("abcdefghiabcdefghiabcdefghi", false),
            ("xyzwvuts1xyzwvuts1xyzwvuts1", false),
            ("my-Password-is-so-very-long", false),
            ("gp-app-2024-tr4mway-0rbit", false),
            ("nul\0nul-pelican-tr4mway-0rbit", false),
        ] {
            let result = Secret::new(secret.as_bytes().to_vec()).check_chosen(named("GP-App"));
            assert_eq!(result.is_ok(), good, "{secret}: {result:?}");
            assert!(result.err().is_none_or(|(_, message)| !message.contains(secret)));
        }
        for (secret, characters, good) in [
            ("pelican-7", 8, true),
            ("pelican", 8, false),
            ("aaaaaaaa", 8, false),
            ("s3cret", 6, true),
        ] {
            let rules = SecretRules {
                least: characters,
                ..SecretRules::APPLICATION
            };
            let result = Secret::new(secret.as_bytes().to_vec()).check_chosen(rules);
            assert_eq!(result.is_ok(), good, "{secret}: {result:?}");
        }
        let check = |octets: &[u8], rules| {
            Secret::new(octets.to_vec())
                .check_chosen(rules)
                .map_err(|(fault, _)| fault)
        };
        assert_eq!(check(b"x", SecretRules::UNCHECKED), Ok(()));
        assert!(check(b"", SecretRules::UNCHECKED).is_err());
        assert!(check(&[b'x'; 2000], SecretRules::UNCHECKED).is_err());
        let lengths = SecretRules {
            least: 3,
            most: 4,
            ..SecretRules::UNCHECKED
        };
        assert_eq!(check(b"xx", lengths), Err(PasswordFault::PasswordTooShort));
        assert_eq!(check("äää".as_bytes(), lengths), Ok(()), "characters, not octets");
        assert_eq!(check(b"xxxx", lengths), Ok(()));
        assert_eq!(check(b"xxxxx", lengths), Err(PasswordFault::PasswordTooLong));
        assert!(!format!("{:?}", Secret::new(b"canary".to_vec())).contains("canary"));
    }
}

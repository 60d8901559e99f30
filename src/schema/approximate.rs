//! Keys for approximate matching (`~=`, RFC 4511 section 4.5.1.7.6): words by how they sound in British ears.
//!
//! Useful for: names that are heard and not read, `Smyth` for `Smith`, `Katherine` for `Catherine`. Not for: typing
//! mistakes. The rule itself is left to each server; ours is: every word of the assertion sounds like a word of the value.

use std::collections::HashSet;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// The sound of each word of a text, in the order of the words; none where the text is not UTF-8 or has no words.
///
/// Accents and apostrophes are dropped, anything else that is neither letter nor digit separates words. The assertion
/// matches where each of its keys is among the value's.
pub fn keys(value: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(value) else {
        return Vec::new();
    };
    let spoken = text.chars().filter(|c| !is_apostrophe(*c));
    let plain: String = spoken
        .nfkd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect();
    plain
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(sound)
        .collect()
}

/// Whether every key of an assertion is among those of a value. An assertion without keys matches nothing.
pub fn matches(assertion: &[Vec<u8>], value: &[u8]) -> bool {
    sounds_like(assertion, &keys(value))
}

/// The same of a value's keys.
pub fn sounds_like(assertion: &[Vec<u8>], value: &[Vec<u8>]) -> bool {
    if assertion.len().saturating_mul(value.len()) < FEW_COMPARISONS {
        return !assertion.is_empty() && assertion.iter().all(|key| value.contains(key));
    }
    let value: HashSet<&Vec<u8>> = value.iter().collect();
    assertion.iter().all(|key| value.contains(key))
}

/// So many keys are compared one by one.
const FEW_COMPARISONS: usize = 1024;

/// The apostrophes of O'Brien, as they are typed.
fn is_apostrophe(c: char) -> bool {
    matches!(
        c,
        '\'' | '`' | '\u{b4}' | '\u{2b9}'..='\u{2bf}' | '\u{2018}' | '\u{2019}' | '\u{201b}' | '\u{2032}' | '\u{ad}'
    )
}

/// The longest word that is reduced, in letters; the rest of a longer one says nothing more.
const MAX_LETTERS: usize = 64;

/// The sound of one word: a leading vowel as `a`, then consonant sounds, doubled sounds once. Words with anything but
/// Latin letters, numbers among them, sound as they are spelled.
fn sound(word: &str) -> Vec<u8> {
    let mut letters = Vec::with_capacity(word.len());
    for c in word.chars().take(MAX_LETTERS) {
        match c {
            'a'..='z' => letters.push(c as u8),
            'ß' => letters.extend_from_slice(b"ss"),
            'æ' | 'œ' => letters.extend_from_slice(b"ae"),
            'ø' => letters.push(b'o'),
            'ł' => letters.push(b'l'),
            'đ' | 'ð' => letters.push(b'd'),
            'þ' => letters.extend_from_slice(b"th"),
            'ı' => letters.push(b'i'),
            _ => return word.as_bytes().to_vec(),
        }
    }
    let mut key = Vec::with_capacity(letters.len());
    let mut at = match_start(&letters, &mut key);
    while at < letters.len() {
        let (sound, used) = next_sound(&letters, at);
        if let Some(sound) = sound
            && key.last() != Some(&sound)
        {
            key.push(sound);
        }
        at += used;
    }
    if key.is_empty() { letters } else { key }
}

/// The spellings that only the start of a word has. Answers how many letters they took.
fn match_start(letters: &[u8], key: &mut Vec<u8>) -> usize {
    let (sound, used) = match letters {
        [b'm', b'a', b'c', rest @ ..] if rest.len() > 2 => return start_with(key, b"mk", 3),
        [b'm', b'c', ..] => return start_with(key, b"mk", 2),
        [b'k' | b'g' | b'p', b'n', ..] => (b'n', 2),
        [b'w', b'r', ..] => (b'r', 2),
        [b'p', b's', ..] => (b's', 2),
        [b'x', ..] => (b's', 1),
        [b'w', b'h', b'o', ..] => (b'h', 2),
        [b'a' | b'e' | b'i' | b'o' | b'u' | b'y', ..] => (b'a', 1),
        _ => return 0,
    };
    start_with(key, &[sound], used)
}

fn start_with(key: &mut Vec<u8>, sounds: &[u8], used: usize) -> usize {
    key.extend_from_slice(sounds);
    used
}

/// The sound at a letter and how many letters spell it; vowels within a word have none.
fn next_sound(letters: &[u8], at: usize) -> (Option<u8>, usize) {
    let rest = letters.get(at..).unwrap_or_default();
    let is_first = at == 0;
    let ends = |used: usize| rest.len() == used;
    let sound = match rest {
        [b'a' | b'e' | b'i' | b'o' | b'u', ..] => return (None, 1),
        [b'y', b'a' | b'e' | b'i' | b'o' | b'u', ..] if is_first => b'y',
        [b'y' | b'w', ..] if !is_first => return (None, 1),
        [b's', b'c', b'h', ..] => return (Some(if is_first { b'X' } else { b's' }), 3),
        [b't', b'c', b'h', ..] => return (Some(b'X'), 3),
        [b'c', b'h', b'r' | b'l', ..] => return (Some(b'k'), 2),
        [b'c' | b's', b'h', ..] => return (Some(b'X'), 2),
        [b's' | b't', b'i', b'o' | b'a', ..] if !is_first => return (Some(b'X'), 2),
        [b't', b'h', ..] => return (Some(b'0'), 2),
        [b'p', b'h', ..] => return (Some(b'f'), 2),
        [b'g', b'h', b'a' | b'e' | b'i' | b'o' | b'u', ..] => return (Some(b'g'), 2),
        [b'g', b'h', ..] => return (None, 2),
        [b'c', b'k', ..] => return (Some(b'k'), 2),
        [b'd', b'g', b'e' | b'i' | b'y', ..] => return (Some(b'j'), 2),
        [b'm', b'b'] if !is_first => return (Some(b'm'), 2),
        [b'c', b'e' | b'i' | b'y', ..] => b's',
        [b'g', b'e' | b'i' | b'y', ..] if !ends(1) => b'j',
        [b'c' | b'k' | b'q', ..] => b'k',
        [b'x', ..] => return (Some(b's'), 1),
        [b's' | b'z', ..] => b's',
        [b'f' | b'v', ..] => b'f',
        [b'd', ..] if !is_first => b't',
        [b'h', b'a' | b'e' | b'i' | b'o' | b'u' | b'y', ..] if is_first => b'h',
        [b'h', ..] => return (None, 1),
        [other, ..] => *other,
        [] => return (None, 1),
    };
    (Some(sound), 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sounds_alike_has_one_key() {
        for (left, right) in [
            ("Smith", "Smyth"),
            ("Smith", "SMITHE"),
            ("O'Brien", "OBrien"),
            ("O'Brien", "O\u{2019}Brien"),
            ("O'Brien", "O\u{b4}Brien"),
            ("Catherine", "Katherine"),
            ("Catherine", "Kathryn"),
            ("Stephen", "Steven"),
            ("Geoffrey", "Jeffrey"),
            ("McDonald", "MacDonald"),
            ("Thompson", "Thompsen"),
            ("Clark", "Clarke"),
            ("Philip", "Phillip"),
            ("Sean", "Seán"),
            ("Siân", "Sian"),
            ("Wright", "Right"),
            ("Knight", "Night"),
            ("Müller", "Muller"),
            ("Łukasz", "Lukasz"),
            ("Ann", "Anne"),
            ("Mohammed", "Muhammad"),
            ("Hussain", "Hussein"),
            ("Reid", "Read"),
        ] {
            assert_eq!(keys(left.as_bytes()), keys(right.as_bytes()), "{left} {right}");
        }
    }

    #[test]
    fn what_sounds_different_has_two_keys() {
        for (left, right) in [
            ("Smith", "Jones"),
            ("Smith", "Smart"),
            ("Patel", "Singh"),
            ("Brown", "Green"),
            ("Mary", "Gary"),
            ("Dan", "Tan"),
            ("Bill", "Phil"),
            ("Gary", "Carey"),
            ("John H Smith", "John W Smith"),
            ("Ward 12", "Ward 13"),
            ("李", "王"),
        ] {
            assert_ne!(keys(left.as_bytes()), keys(right.as_bytes()), "{left} {right}");
        }
    }

    #[test]
    fn an_assertion_matches_where_all_its_words_are_heard() {
        for (assertion, value, expected) in [
            ("smyth", "Mary Ann SMITH", true),
            ("Smith Marie", "Mary Smith", true),
            ("Smith Jane", "Mary Smith", false),
            ("", "Mary", false),
        ] {
            assert_eq!(
                matches(&keys(assertion.as_bytes()), value.as_bytes()),
                expected,
                "{assertion:?}"
            );
        }
    }

    #[test]
    fn words_are_split_and_nothing_panics() {
        assert_eq!(keys(b"Smith-Jones").len(), 2);
        assert_eq!(keys(b"  Mary  Ann "), [keys(b"Mary").concat(), keys(b"Ann").concat()]);
        assert!(keys(b"").is_empty() && keys(b"--").is_empty() && keys(b"\xff").is_empty());
        assert!(keys("x".repeat(100_000).as_bytes())[0].len() <= MAX_LETTERS);
        for first in 0..=127u8 {
            for second in 0..=127u8 {
                keys(&[b'a', first, second, b'h', first]);
            }
        }
    }
}

//! Names of people who do not exist: three quarters after British frequencies, a quarter after those of the countries that
//! NHS staff come from.

use crate::model::random::Random;
use unicode_normalization::UnicodeNormalization;

const GB_FORENAMES: &str = include_str!("../../../data/names/gb-forenames.tsv");
const GB_SURNAMES: &str = include_str!("../../../data/names/gb-surnames.tsv");
const DIASPORA_FORENAMES: &str = include_str!("../../../data/names/diaspora-forenames.tsv");
const DIASPORA_SURNAMES: &str = include_str!("../../../data/names/diaspora-surnames.tsv");

/// Country, how many of a hundred people with such a name, language of its native spelling.
const COUNTRIES: &[(&str, usize, &str)] = &[
    ("IN", 18, "hi"),
    ("PH", 12, "fil"),
    ("PK", 8, "ur"),
    ("IE", 9, "ga"),
    ("PL", 7, "pl"),
    ("PT", 6, "pt"),
    ("RO", 5, "ro"),
    ("ES", 5, "es"),
    ("IT", 5, "it"),
    ("EG", 5, "ar"),
    ("BD", 4, "bn"),
    ("GR", 4, "el"),
    ("NP", 3, "ne"),
    ("CN", 3, "zh"),
    ("LT", 2, "lt"),
    ("HU", 2, "hu"),
    ("CZ", 1, "cs"),
    ("DE", 1, "de"),
];

const DIASPORA_PERCENT: usize = 25;
/// Of the people with a foreign surname, those with a British forename.
const MIXED_PERCENT: usize = 30;
const DOUBLE_BARRELLED_PERCENT: usize = 4;
const MIDDLE_INITIAL_PERCENT: usize = 30;

/// One forename or surname.
struct Name {
    text: &'static str,
    /// In the script or language it comes from; empty when the same.
    native: &'static str,
    /// As mail addresses spell it.
    folded: String,
}

struct Country {
    language: &'static str,
    /// Female, male. Empty where the lists have none: then British ones are drawn.
    forenames: [Vec<Name>; 2],
    surnames: Vec<Name>,
}

/// Every list of names.
pub struct Names {
    forenames: [Vec<Name>; 2],
    surnames: Vec<Name>,
    /// Running sums of the surnames' frequencies.
    surname_sums: Vec<usize>,
    countries: Vec<Country>,
    country_sums: Vec<usize>,
}

/// A drawn name.
pub struct PersonName<'n> {
    pub given: &'n str,
    pub surname: String,
    pub initial: Option<char>,
    /// `given.surname` in ASCII letters and hyphens.
    pub mail: String,
    /// Language and native spelling of the surname.
    pub native_surname: Option<(&'static str, &'static str)>,
    /// The whole name in its native spelling.
    pub native: Option<String>,
    pub is_male: bool,
}

impl Names {
    pub fn load() -> Names {
        let surnames: Vec<(usize, Name)> = rows(GB_SURNAMES)
            .map(|[weight, surname, ..]: [&str; 4]| (weight.parse().unwrap_or(1), Name::new(surname, "")))
            .collect();
        Names {
            forenames: ["F", "M"].map(|sex| {
                rows(GB_FORENAMES)
                    .filter(|row| row[0] == sex)
                    .map(|[_, forename, ..]: [&str; 4]| Name::new(forename, ""))
                    .collect()
            }),
            surname_sums: sums(surnames.iter().map(|(weight, _)| *weight)),
            surnames: surnames.into_iter().map(|(_, name)| name).collect(),
            countries: COUNTRIES
                .iter()
                .map(|(code, _, language)| Country::load(code, language))
                .collect(),
            country_sums: sums(COUNTRIES.iter().map(|(_, weight, ..)| *weight)),
        }
    }

    pub fn draw(&self, random: &mut Random) -> PersonName<'_> {
        let sex = random.below(2);
        let country = random
            .percent(DIASPORA_PERCENT)
            .then(|| &self.countries[weighted(&self.country_sums, random)]);
        let (forename, surname) = match country {
            Some(country) if country.forenames[sex].is_empty() || random.percent(MIXED_PERCENT) => {
                (random.pick(&self.forenames[sex]), random.pick(&country.surnames))
            }
            Some(country) => (random.pick(&country.forenames[sex]), random.pick(&country.surnames)),
            None => (random.pick(&self.forenames[sex]), self.british_surname(random)),
        };
        let mut text = surname.text.to_owned();
        let mut mail = format!("{}.{}", forename.folded, surname.folded);
        let is_double = random.percent(DOUBLE_BARRELLED_PERCENT);
        if is_double {
            let second = self.british_surname(random);
            text = format!("{text}-{}", second.text);
            mail = format!("{mail}-{}", second.folded);
        }
        let native_surname = country
            .filter(|_| !surname.native.is_empty() && !is_double)
            .map(|country| (country.language, surname.native));
        let native = native_surname
            .filter(|_| !forename.native.is_empty())
            .map(|(language, surname)| match language {
                "zh" => format!("{surname}{}", forename.native),
                _ => format!("{} {surname}", forename.native),
            });
        PersonName {
            given: forename.text,
            surname: text,
            initial: random
                .percent(MIDDLE_INITIAL_PERCENT)
                .then(|| char::from(*random.pick(b"ABCDEFGHJKLMNPRSTW"))),
            mail,
            native_surname,
            native,
            is_male: sex == 1,
        }
    }

    fn british_surname(&self, random: &mut Random) -> &Name {
        &self.surnames[weighted(&self.surname_sums, random)]
    }
}

impl Name {
    fn new(text: &'static str, native: &'static str) -> Name {
        Name {
            text,
            native,
            folded: fold(text),
        }
    }
}

impl Country {
    fn load(code: &str, language: &'static str) -> Country {
        let forenames = |sex: &str| -> Vec<Name> {
            rows(DIASPORA_FORENAMES)
                .filter(|row| row[0] == code && row[1] == sex)
                .map(|[_, _, forename, native]: [&str; 4]| Name::new(forename, native))
                .collect()
        };
        let mut surnames: Vec<Name> = rows(DIASPORA_SURNAMES)
            .filter(|row| row[0] == code)
            .map(|[_, surname, native, _]: [&str; 4]| Name::new(surname, native))
            .collect();
        if surnames.is_empty() {
            // Pakistan and Egypt: a father's name is a surname.
            surnames = forenames("M");
        }
        Country {
            language,
            forenames: ["F", "M"].map(forenames),
            surnames,
        }
    }
}

/// The lines of a table without its comment; columns that are not there are empty.
pub fn rows<const COLUMNS: usize>(table: &'static str) -> impl Iterator<Item = [&'static str; COLUMNS]> {
    table.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut columns = line.split('\t');
        std::array::from_fn(|_| columns.next().unwrap_or_default())
    })
}

fn sums(weights: impl Iterator<Item = usize>) -> Vec<usize> {
    weights
        .scan(0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        })
        .collect()
}

/// An index, as often as its weight says.
fn weighted(sums: &[usize], random: &mut Random) -> usize {
    let at = random.below(sums.last().copied().unwrap_or_default());
    sums.partition_point(|sum| *sum <= at)
}

/// The ASCII letters and hyphens that a mail address keeps of a name.
fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for character in name.nfd().flat_map(char::to_lowercase) {
        match character {
            'a'..='z' | '-' => folded.push(character),
            'ł' => folded.push('l'),
            'ø' => folded.push('o'),
            'đ' => folded.push('d'),
            'ı' => folded.push('i'),
            'ß' => folded.push_str("ss"),
            'æ' => folded.push_str("ae"),
            _ => {}
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_country_has_names_that_fold() {
        let names = Names::load();
        for (country, (code, ..)) in names.countries.iter().zip(COUNTRIES) {
            let lists = country.forenames.iter().chain(std::iter::once(&country.surnames));
            assert!(
                !country.surnames.is_empty() && !country.forenames[1].is_empty(),
                "{code}"
            );
            for list in lists {
                assert!(list.iter().all(|name| name.folded.len() > 1), "{code}");
            }
        }
        assert_eq!(COUNTRIES.iter().map(|(_, weight, ..)| weight).sum::<usize>(), 100);
    }

    #[test]
    fn folds() {
        for (name, folded) in [
            ("O'Brien", "obrien"),
            ("Wałęsa", "walesa"),
            ("dela Cruz", "delacruz"),
            ("Núñez-SS", "nunez-ss"),
        ] {
            assert_eq!(fold(name), folded);
        }
    }

    #[test]
    fn draws_all_kinds_of_names() {
        let names = Names::load();
        let mut random = Random::new(7);
        let drawn: Vec<_> = (0..20_000).map(|_| names.draw(&mut random)).collect();
        let share = |is: &dyn Fn(&PersonName<'_>) -> bool| drawn.iter().filter(|name| is(name)).count();
        assert!((150..450).contains(&share(&|name| name.surname == "Smith")));
        assert!(share(&|name| name.surname.contains('\'')) > 50);
        assert!(share(&|name| name.surname.contains('-')) > 500);
        assert!(share(&|name| !name.surname.is_ascii()) > 50);
        assert!(share(&|name| name.native_surname.is_some()) > 500);
        assert!(share(&|name| name.native.is_some()) > 50);
    }
}

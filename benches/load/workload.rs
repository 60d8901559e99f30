//! What clients ask: the rows of the table in docs/performance.md.

use super::message::{Request, Search, Term, Window};
use super::sample::{Person, Sample};
use anyhow::{Context, bail};
use nhsdir::model::random::Random;

/// One request, encoded, and what its answer must be.
pub struct Prepared {
    pub request: Request,
    pub body: Vec<u8>,
    /// How many entries it must give, where that is known.
    pub entries: Option<u32>,
    /// It must be refused.
    pub refused: bool,
}

impl Prepared {
    pub fn is_paged(&self) -> bool {
        matches!(&self.request, Request::Search(search) if search.page > 0)
    }

    /// A search that gave all it may says so.
    pub fn has_size_limit(&self) -> bool {
        matches!(&self.request, Request::Search(search) if search.size_limit > 0)
    }
}

/// Who binds, in the workloads that do.
pub struct Binder {
    pub name: String,
    pub secret: String,
}

/// Names that stand for one kind of request: connections and outstanding requests of each.
const PLAIN: &[(&str, usize, usize)] = &[
    ("base", 8, 4),
    ("eq-mail", 8, 4),
    ("eq-mail:3", 8, 4),
    ("eq-uid", 8, 4),
    ("eq-miss", 8, 4),
    ("and-sn-gn", 8, 4),
    ("prefix", 4, 1),
    ("prefix:3", 4, 1),
    ("substr3", 4, 1),
    ("substr5", 4, 1),
    ("abook3", 4, 1),
    ("abook3:3", 4, 1),
    ("abook-full", 4, 1),
    ("abook-full:3", 4, 1),
    ("dept-title", 8, 1),
    ("dept-not", 8, 1),
    ("presence", 4, 1),
    ("unindexed", 2, 1),
    ("list", 8, 4),
    ("member-of", 8, 4),
    ("org-walk", 4, 1),
    ("export", 2, 1),
    ("sort", 4, 1),
    ("vlv", 4, 1),
    ("bind", 8, 1),
    ("bind-wrong", 64, 1),
    ("cold", 4, 1),
    ("modify", 8, 1),
    ("change-each", 8, 16),
    ("unindexable", 1, 1),
];

type Mix = &'static [(&'static str, usize)];

/// Names that stand for many kinds, each as often as its number says.
const MIXED: &[(&str, Mix)] = &[
    (
        "lookup",
        &[
            ("base", 25),
            ("eq-mail:3", 20),
            ("eq-uid", 20),
            ("and-sn-gn", 12),
            ("eq-mail", 10),
            ("member-of", 4),
            ("dept-title", 4),
            ("eq-miss", 3),
            ("list", 2),
        ],
    ),
    (
        "clinical",
        &[
            ("base", 22),
            ("eq-mail:3", 18),
            ("eq-uid", 18),
            ("and-sn-gn", 10),
            ("eq-mail", 8),
            ("prefix:3", 8),
            ("abook3:3", 4),
            ("dept-title", 4),
            ("member-of", 3),
            ("abook-full:3", 2),
            ("list", 2),
            ("dept-not", 1),
        ],
    ),
    (
        "rw95",
        &[
            ("base", 30),
            ("eq-mail", 30),
            ("eq-uid", 25),
            ("and-sn-gn", 10),
            ("modify", 5),
        ],
    ),
    ("point", &[("base", 1), ("eq-mail", 1), ("eq-uid", 1)]),
];

const ALL: &[&str] = &["*"];
const THREE: &[&str] = &["mail", "displayName", "telephoneNumber"];
const SORTED: &[&str] = &["cn", "mail", "departmentNumber"];

pub fn names() -> Vec<&'static str> {
    let plain = PLAIN.iter().map(|row| row.0);
    plain.chain(MIXED.iter().map(|row| row.0)).collect()
}

/// Connections and outstanding requests a workload has where nothing else is said.
pub fn shape(name: &str) -> (usize, usize) {
    let row = PLAIN.iter().find(|row| row.0 == name);
    row.map_or((8, 4), |row| (row.1, row.2))
}

/// Encodes requests of a workload.
pub fn prepare(name: &str, sample: &Sample, binder: &Binder, seed: u64, count: usize) -> anyhow::Result<Vec<Prepared>> {
    let mix = MIXED.iter().find(|row| row.0 == name).map(|row| row.1);
    let total = mix.map_or(0, |mix| mix.iter().map(|part| part.1).sum());
    let mut random = Random::new(seed);
    (0..count)
        .map(|number| {
            let kind = match mix {
                None => name,
                Some(mix) => {
                    let mut at = random.below(total);
                    let part = mix.iter().find(|part| {
                        let found = at < part.1;
                        at = at.saturating_sub(part.1);
                        found
                    });
                    part.map_or(name, |part| part.0)
                }
            };
            let person = match name {
                "change-each" => sample.people.get(number).context("more changes than people")?,
                _ => random.pick(&sample.people),
            };
            let drawn = Drawn { sample, binder, person };
            drawn.prepared(kind, &mut random)
        })
        .collect()
}

/// What one request is made of.
struct Drawn<'a> {
    sample: &'a Sample,
    binder: &'a Binder,
    person: &'a Person,
}

impl Drawn<'_> {
    fn prepared(&self, kind: &str, random: &mut Random) -> anyhow::Result<Prepared> {
        let request = match kind {
            "modify" | "change-each" => Request::Modify {
                dn: self.person.dn.clone(),
                number: format!("+44 1632 {:06}", random.below(1_000_000)),
            },
            "bind" => Request::Bind {
                name: self.binder.name.clone(),
                secret: self.binder.secret.clone(),
            },
            // Nobody's name and a new secret each time: no server can know it from a wrong secret of somebody, or answer sooner.
            "bind-wrong" => Request::Bind {
                name: format!("cn=nobody{:016x},ou=Applications,{}", random.next(), self.sample.suffix),
                secret: format!("wrong{:016x}{:016x}", random.next(), random.next()),
            },
            _ => Request::Search(self.search(kind, random)?),
        };
        let entries = match kind {
            "base" | "eq-mail" | "eq-mail:3" | "eq-uid" | "list" | "cold" => Some(1),
            "eq-miss" | "unindexed" | "unindexable" => Some(0),
            _ => None,
        };
        let body = request.body(&[], 0);
        Ok(Prepared {
            request,
            body,
            entries,
            refused: kind == "bind-wrong",
        })
    }

    fn search(&self, kind: &str, random: &mut Random) -> anyhow::Result<Search> {
        let person = self.person;
        let (plain, attributes) = match kind.strip_suffix(":3") {
            Some(plain) => (plain, THREE),
            None => (kind, ALL),
        };
        let (filter, size_limit) = self.filter(plain, random)?;
        let mut search = Search {
            base: self.sample.suffix.clone(),
            subtree: true,
            size_limit,
            filter,
            attributes,
            page: 0,
            sort: None,
            window: None,
        };
        match plain {
            "base" => (search.base, search.subtree) = (person.dn.clone(), false),
            "list" => {
                let lists = &self.sample.lists;
                anyhow::ensure!(!lists.is_empty(), "the sample has no distribution lists");
                (search.base, search.subtree) = (random.pick(lists).clone(), false);
            }
            "org-walk" => search.page = 500,
            "export" => search.page = 1000,
            "sort" => (search.page, search.sort, search.attributes) = (50, Some("cn"), SORTED),
            "vlv" => {
                search.base = format!("ou=People,{}", self.sample.suffix);
                (search.sort, search.attributes) = (Some("cn"), SORTED);
                let offset = 1 + random.below(self.sample.people.len()) as u32;
                search.window = Some(Window { offset, entries: 50 });
            }
            _ => {}
        }
        Ok(search)
    }

    /// The filter and the size limit.
    fn filter(&self, kind: &str, random: &mut Random) -> anyhow::Result<(Term, u32)> {
        use Term::{And, Equal, Not, Or, Prefix, Present, Rule};
        let person = self.person;
        let address_book = |typed: String| {
            Or(vec![
                Term::Within("cn", typed.clone()),
                Prefix("mail", typed.clone()),
                Prefix("sn", typed.clone()),
                Prefix("givenName", typed.clone()),
                Term::Within("displayName", typed),
            ])
        };
        Ok(match kind {
            "base" | "list" | "export" => (Present("objectClass"), 0),
            "eq-mail" | "cold" => (Equal("mail", person.mail.clone()), 0),
            "eq-uid" => (Equal("uid", person.uid.clone()), 0),
            "eq-miss" => (Equal("mail", format!("nobody.{:08x}@nhs.net", random.next() as u32)), 0),
            "and-sn-gn" => {
                let surname = Equal("sn", person.surname.clone());
                (And(vec![surname, Equal("givenName", person.given.clone())]), 0)
            }
            "prefix" => (Prefix("cn", first(&person.surname, 3)), 100),
            "substr3" => (Term::Within("cn", middle(&person.surname, 3, random)), 100),
            "substr5" => (Term::Within("cn", middle(&person.surname, 5, random)), 100),
            "abook3" => {
                let name = if random.percent(33) {
                    &person.given
                } else {
                    &person.surname
                };
                (address_book(first(&name.to_lowercase(), 3)), 50)
            }
            "abook-full" => (address_book(person.surname.clone()), 50),
            "dept-title" => {
                let class = Equal("objectClass", "person".to_owned());
                let department = Equal("departmentNumber", trust(self.sample, random)?);
                let title = Prefix("title", "Consultant".to_owned());
                (And(vec![class, department, title]), 100)
            }
            "dept-not" => {
                let locum = Equal("employeeType", "Locum".to_owned());
                let department = Equal("departmentNumber", trust(self.sample, random)?);
                (And(vec![department, Not(Box::new(locum))]), 100)
            }
            "presence" => (Present("mobile"), 100),
            "unindexed" => (Equal("postalCode", format!("ZZ{:04}", random.below(10_000))), 10),
            "unindexable" => (Rule("cn", "caseExactMatch", format!("nobody {}", random.next())), 10),
            "member-of" => {
                let class = Equal("objectClass", "groupOfNames".to_owned());
                (And(vec![class, Equal("member", person.dn.clone())]), 0)
            }
            "org-walk" | "sort" => (Equal("departmentNumber", trust(self.sample, random)?), 0),
            "vlv" => (Equal("objectClass", "person".to_owned()), 0),
            unknown => bail!("there is no workload {unknown}; there are {}", names().join(", ")),
        })
    }
}

/// A department large enough to have a consultant.
fn trust(sample: &Sample, random: &mut Random) -> anyhow::Result<String> {
    anyhow::ensure!(
        !sample.trusts.is_empty(),
        "the sample has no department with a consultant"
    );
    Ok(random.pick(&sample.trusts).clone())
}

fn first(name: &str, letters: usize) -> String {
    name.chars().take(letters).collect()
}

/// Letters from the inside of a name, where it is long enough.
fn middle(name: &str, letters: usize, random: &mut Random) -> String {
    let all: Vec<char> = name.to_lowercase().chars().collect();
    let spare = all.len().saturating_sub(letters);
    let start = if spare == 0 { 0 } else { 1 + random.below(spare) };
    all.iter().skip(start).take(letters).collect()
}

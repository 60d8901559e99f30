//! Synthetic people: a person, and for those with a smart card an organisational person and a role below.

use super::names::{Names, PersonName};
use super::organisations::Organisation;
use super::{add, below, classes, with_option};
use crate::model::random::Random;
use crate::model::{Dn, Entry};
use std::collections::HashMap;

/// Names of the UIDs' residue class: a prime, so that counting up in any step meets every UID once.
const UID_PRIME: u64 = 999_999_937;

const TRUST_PERCENT: usize = 70;
const SMART_CARD_PERCENT: usize = 50;
const MOBILE_PERCENT: usize = 40;
const HIDDEN_MOBILE_PERCENT: usize = 20;
const EX_DIRECTORY_PER_THOUSAND: usize = 5;
/// While there are few people, only some practices have staff.
const PEOPLE_PER_PRACTICE: u64 = 40;
/// A step through the practices that meets every one of them.
const PRACTICE_STEP: usize = 1_949;

/// Title, weight, index into [`ROLES`], and which register's number the person has.
type Job = (&'static str, usize, usize, Register);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Register {
    None,
    Doctors,
    Nurses,
}

const TRUST_JOBS: &[Job] = &[
    ("Staff Nurse", 22, 1, Register::Nurses),
    ("Senior Staff Nurse", 8, 1, Register::Nurses),
    ("Ward Manager", 3, 2, Register::Nurses),
    ("Clinical Nurse Specialist", 5, 1, Register::Nurses),
    ("Midwife", 4, 7, Register::Nurses),
    ("Healthcare Assistant", 10, 3, Register::None),
    ("Consultant", 3, 0, Register::Doctors),
    ("Consultant Anaesthetist", 1, 0, Register::Doctors),
    ("Consultant Paediatrician", 1, 0, Register::Doctors),
    ("Consultant Radiologist", 1, 0, Register::Doctors),
    ("Specialty Registrar", 5, 0, Register::Doctors),
    ("Foundation Doctor", 4, 0, Register::Doctors),
    ("Physiotherapist", 4, 3, Register::None),
    ("Occupational Therapist", 3, 3, Register::None),
    ("Radiographer", 3, 3, Register::None),
    ("Pharmacist", 3, 3, Register::None),
    ("Biomedical Scientist", 3, 4, Register::None),
    ("Medical Secretary", 4, 5, Register::None),
    ("Ward Clerk", 4, 6, Register::None),
    ("Administrator", 5, 6, Register::None),
    ("Porter", 2, 6, Register::None),
    ("IT Support Analyst", 2, 6, Register::None),
];

const PRACTICE_JOBS: &[Job] = &[
    ("General Practitioner", 26, 0, Register::Doctors),
    ("Practice Nurse", 18, 1, Register::Nurses),
    ("Advanced Nurse Practitioner", 5, 1, Register::Nurses),
    ("Healthcare Assistant", 9, 3, Register::None),
    ("Clinical Pharmacist", 6, 3, Register::None),
    ("Receptionist", 24, 8, Register::None),
    ("Practice Manager", 6, 6, Register::None),
    ("Administrator", 6, 6, Register::None),
];

/// Job roles of the national role-based access database: code, name.
pub const ROLES: &[(&str, &str)] = &[
    ("R8000", "Clinical Practitioner Access Role"),
    ("R8001", "Nurse Access Role"),
    ("R8002", "Nurse Manager Access Role"),
    ("R8003", "Health Professional Access Role"),
    ("R8005", "Biomedical Scientist Access Role"),
    ("R8006", "Medical Secretary Access Role"),
    ("R8008", "Admin/Clinical Support Access Role"),
    ("R8016", "Midwife Access Role"),
    ("R8009", "Receptionist Access Role"),
];

const DEPARTMENTS: &[&str] = &[
    "Accident and Emergency",
    "Anaesthetics",
    "Cardiology",
    "Care of the Elderly",
    "Community Services",
    "Critical Care",
    "Dermatology",
    "Digital Services",
    "Endocrinology",
    "Estates and Facilities",
    "Gastroenterology",
    "General Surgery",
    "Haematology",
    "Imaging",
    "Maternity",
    "Medical Records",
    "Mental Health",
    "Neurology",
    "Oncology",
    "Ophthalmology",
    "Outpatients",
    "Paediatrics",
    "Pathology",
    "Pharmacy",
    "Renal",
    "Respiratory Medicine",
    "Rheumatology",
    "Theatres",
    "Therapies",
    "Trauma and Orthopaedics",
    "Urology",
];

const EMPLOYMENT: &[&str] = &[
    "Permanent",
    "Permanent",
    "Permanent",
    "Permanent",
    "Fixed Term",
    "Bank",
    "Locum",
    "Honorary",
];

/// Makes the people of one directory.
pub struct People<'o> {
    names: Names,
    seed: u64,
    base: Dn,
    trusts: &'o [Organisation],
    practices: &'o [Organisation],
    staffed_practices: usize,
    /// How many people have an address that begins like this, by its hash.
    addresses: HashMap<u64, u32>,
}

/// What the person and the entries below have in common.
struct Facts<'a> {
    name: &'a PersonName<'a>,
    uid: String,
    cn: String,
    mail: String,
    organisation: &'a Organisation,
    job: &'static Job,
}

impl<'o> People<'o> {
    pub fn new(count: u64, seed: u64, base: Dn, trusts: &'o [Organisation], practices: &'o [Organisation]) -> Self {
        let staffed = usize::try_from(count / PEOPLE_PER_PRACTICE).unwrap_or(usize::MAX);
        People {
            names: Names::load(),
            seed,
            base,
            trusts,
            practices,
            staffed_practices: staffed.clamp(1, practices.len().max(1)),
            addresses: HashMap::new(),
        }
    }

    /// Twelve digits; no two numbers below [`UID_PRIME`] have the same.
    pub fn uid(&self, number: u64) -> u64 {
        555_000_000_000 + (number % UID_PRIME * 387_420_489 + self.seed % UID_PRIME) % UID_PRIME
    }

    /// The entries of one person, parents first, and the number of the organisation: trusts first, then practices. To be called
    /// for each number in turn, because mail addresses are counted.
    pub fn person(&mut self, number: u64, entries: &mut Vec<Entry>) -> usize {
        let mut random = Random::new(self.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number);
        let at = self.organisation(&mut random);
        let organisation = match at.checked_sub(self.trusts.len()) {
            None => &self.trusts[at],
            Some(practice) => &self.practices[practice],
        };
        let name = self.names.draw(&mut random);
        let cn = match name.initial {
            Some(initial) => format!("{} {} {initial}", name.surname, name.given),
            None => format!("{} {}", name.surname, name.given),
        };
        let facts = Facts {
            mail: address(&mut self.addresses, &name.mail),
            name: &name,
            uid: self.uid(number).to_string(),
            cn,
            organisation,
            job: job(organisation.is_trust, &mut random),
        };
        let person = facts.person(&self.base, &mut random);
        if random.percent(SMART_CARD_PERCENT) {
            let serial = self.uid(number) - 555_000_000_000;
            let working = facts.organisational_person(&person.dn, 600_000_000_000 + serial);
            let role = facts.role(&working.dn, 700_000_000_000 + serial, &mut random);
            entries.extend([person, working, role]);
        } else {
            entries.push(person);
        }
        at
    }

    fn organisation(&self, random: &mut Random) -> usize {
        if random.percent(TRUST_PERCENT) || self.practices.is_empty() {
            // Some trusts are much larger than others.
            random.below(self.trusts.len()).min(random.below(self.trusts.len()))
        } else {
            let practice = random.below(self.staffed_practices) * PRACTICE_STEP % self.practices.len();
            self.trusts.len() + practice
        }
    }
}

/// `base`, or `base2` and so on for those after the first, at nhs.net. Names have no digits, so no two are the same.
fn address(addresses: &mut HashMap<u64, u32>, base: &str) -> String {
    // FNV-1a. Two names of one hash would only share their counter.
    let hash = base.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
        (hash ^ u64::from(octet)).wrapping_mul(0x100_0000_01b3)
    });
    let count = addresses.entry(hash).or_insert(0);
    *count += 1;
    match *count {
        1 => format!("{base}@nhs.net"),
        number => format!("{base}{number}@nhs.net"),
    }
}

fn job(is_trust: bool, random: &mut Random) -> &'static Job {
    let jobs = if is_trust { TRUST_JOBS } else { PRACTICE_JOBS };
    // Both tables add up to a hundred.
    let mut at = random.below(100);
    for job in jobs {
        if at < job.1 {
            return job;
        }
        at -= job.1;
    }
    &jobs[0]
}

impl Facts<'_> {
    fn person(&self, people: &Dn, random: &mut Random) -> Entry {
        let (title, _, _, register) = *self.job;
        let mut entry = below(people, "uid", &self.uid);
        let hides_mobile = random.percent(HIDDEN_MOBILE_PERCENT);
        let mobile = random.percent(MOBILE_PERCENT);
        let ex_directory = random.below(1_000) < EX_DIRECTORY_PER_THOUSAND;
        let all = [
            "top",
            "person",
            "organizationalPerson",
            "inetOrgPerson",
            "nhsPerson",
            "nhsdirPrivacy",
        ];
        let hides = ex_directory || mobile && hides_mobile;
        classes(&mut entry, if hides { &all } else { &all[..5] });
        add(&mut entry, "uid", self.uid.as_str());
        self.names(&mut entry, title, register, random);
        add(&mut entry, "mail", self.mail.as_str());
        // Area code 01632 and mobile numbers 07700 900xxx belong to nobody.
        add(
            &mut entry,
            "telephoneNumber",
            format!("+44 1632 {:06}", random.below(1_000_000)),
        );
        if mobile {
            add(&mut entry, "mobile", format!("+44 7700 900{:03}", random.below(1_000)));
        }
        add(&mut entry, "title", title);
        let department = if self.organisation.is_trust {
            *random.pick(DEPARTMENTS)
        } else {
            "Primary Care"
        };
        add(&mut entry, "ou", department);
        add(&mut entry, "o", self.organisation.name);
        add(&mut entry, "departmentNumber", self.organisation.code);
        add(&mut entry, "employeeType", *random.pick(EMPLOYMENT));
        add(&mut entry, "l", self.organisation.town);
        add(&mut entry, "postalCode", self.organisation.postcode);
        match register {
            Register::Doctors => add(
                &mut entry,
                "nhsGMC",
                format!("{:07}", 4_000_000 + random.below(3_900_000)),
            ),
            Register::Nurses => {
                let letter = char::from(*random.pick(b"ABCDEFGHI"));
                let number = format!("{:02}{letter}{:04}E", 80 + random.below(20), random.below(10_000));
                add(&mut entry, "nhsNMC", number);
            }
            Register::None => {}
        }
        add(&mut entry, "nhsPersonStatus", "Active");
        if random.percent(15) {
            add(&mut entry, "description", self.description(department, random));
        }
        if mobile && hides_mobile {
            add(&mut entry, "nhsdirHidden", "mobile");
        }
        if ex_directory {
            add(&mut entry, "nhsdirExDirectory", "TRUE");
        }
        entry
    }

    fn names(&self, entry: &mut Entry, title: &str, register: Register, random: &mut Random) {
        let name = self.name;
        add(entry, "cn", self.cn.as_str());
        if let (Some(native), Some(cn)) = (&name.native, entry.attributes.last_mut()) {
            cn.values.push(native.clone().into_bytes());
        }
        add(entry, "sn", name.surname.as_str());
        if let Some((language, native)) = name.native_surname {
            with_option(entry, "sn", &format!("lang-{language}"), native);
        }
        add(entry, "givenName", name.given);
        if let Some(initial) = name.initial {
            add(entry, "initials", initial.to_string());
        }
        let surname = name.surname.to_uppercase();
        add(
            entry,
            "displayName",
            format!("{surname}, {} ({})", name.given, self.organisation.name),
        );
        let personal = match (register, name.is_male) {
            (Register::Doctors, _) if !title.starts_with("Consultant") => "Dr",
            (Register::Doctors, _) => *random.pick(&["Dr", "Dr", "Dr", "Professor"]),
            (_, true) => "Mr",
            (_, false) => *random.pick(&["Ms", "Mrs", "Miss"]),
        };
        add(entry, "personalTitle", personal);
    }

    fn description(&self, department: &str, random: &mut Random) -> String {
        match random.below(4) {
            0 => format!(
                "Works {} to {} – {department}",
                random.pick(&["Mon", "Tue", "Wed"]),
                random.pick(&["Thu", "Fri"])
            ),
            1 => format!("Bleep {}", 100 + random.below(9_000)),
            2 => format!("Link person for {department}, {}", self.organisation.town),
            _ => format!("On secondment until 20{}", 27 + random.below(4)),
        }
    }

    fn organisational_person(&self, person: &Dn, identifier: u64) -> Entry {
        let identifier = identifier.to_string();
        let mut entry = below(person, "uniqueIdentifier", &identifier);
        classes(
            &mut entry,
            &["top", "person", "organizationalPerson", "inetOrgPerson", "nhsOrgPerson"],
        );
        add(&mut entry, "uniqueIdentifier", identifier);
        add(&mut entry, "uid", self.uid.as_str());
        add(&mut entry, "cn", self.cn.as_str());
        add(&mut entry, "sn", self.name.surname.as_str());
        add(&mut entry, "givenName", self.name.given);
        add(&mut entry, "o", self.organisation.name);
        add(&mut entry, "nhsIDCode", self.organisation.code);
        entry
    }

    fn role(&self, working: &Dn, identifier: u64, random: &mut Random) -> Entry {
        let identifier = identifier.to_string();
        let mut entry = below(working, "uniqueIdentifier", &identifier);
        classes(&mut entry, &["top", "nhsOrgPersonRole"]);
        let (code, role) = ROLES[self.job.2];
        let opened = format!(
            "20{:02}{:02}{:02}",
            8 + random.below(17),
            1 + random.below(12),
            1 + random.below(28)
        );
        add(&mut entry, "uniqueIdentifier", identifier);
        add(
            &mut entry,
            "nhsJobRole",
            format!("\"Clinical\":\"Clinical Provision\":\"{role}\""),
        );
        add(&mut entry, "nhsJobRoleCode", format!("S8000:G8000:{code}"));
        add(&mut entry, "nhsIDCode", self.organisation.code);
        add(&mut entry, "nhsOrgOpenDate", opened);
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn job_weights_add_up() {
        for jobs in [TRUST_JOBS, PRACTICE_JOBS] {
            assert_eq!(jobs.iter().map(|job| job.1).sum::<usize>(), 100);
            assert!(jobs.iter().all(|job| job.2 < ROLES.len()));
        }
    }
}

//! The steps of the story, each with its result, its time and its plan.

use super::client::{connect, search};
use crate::cli::client::described;
use crate::cli::explain::{Asked, explain};
use crate::cli::{Setting, account, operator};
use crate::directory::{Directory, Session};
use crate::model::SearchScope;
use anyhow::{Context, bail};
use ldap3::{Ldap, LdapResult, Scope, SearchEntry, ldap_escape};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SUFFIX: &str = "o=nhs";
const ACCOUNT: &str = "demo";
const SIZE_LIMIT_EXCEEDED: u32 = 4;
/// Entries an address book asks for.
const ADDRESS_BOOK: i32 = 100;
/// Runs of a step whose shortest is shown: the first one also warms what no server has cold for long.
const RUNS: usize = 5;

/// The account that was issued.
pub struct Account {
    secret: String,
}

impl Account {
    /// A line to paste into a shell.
    pub fn ldapsearch(&self, url: &str, setting: &Setting) -> String {
        format!(
            "LDAPTLS_CACERT={} ldapsearch -x -H {url} -D {ACCOUNT} -w {} -b {SUFFIX} -z 10 '(cn=smi*)' cn mail telephoneNumber",
            setting.certificate().display(),
            self.secret
        )
    }
}

/// Plays the application. Every step that does not end as it must is an error.
pub async fn tell(directory: &Arc<Directory>, setting: &Setting, url: &str) -> anyhow::Result<Account> {
    let account = Account {
        secret: account::issue(setting, ACCOUNT).await?,
    };
    println!("Account `{ACCOUNT}` issued, role reader: cn={ACCOUNT},ou=Applications,{SUFFIX}");
    println!("Serving {url}. From here on a client over TLS:\n");
    let mut ldap = connect(url, &setting.certificate()).await?;
    refusals(&mut ldap, &account).await?;

    let started = Instant::now();
    expect(&ldap.simple_bind(ACCOUNT, &account.secret).await?, 0)?;
    told("bind as demo", "accepted", started.elapsed());
    let started = Instant::now();
    expect(&ldap.simple_bind(ACCOUNT, &account.secret).await?, 0)?;
    told("bind again", "accepted, remembered", started.elapsed());

    let mut session = operator(directory)?;
    session.view = directory.view("reader").context("the policy has no profile `reader`")?;
    let mut teller = Teller {
        ldap,
        directory: directory.clone(),
        session,
    };
    teller.searches().await?;
    Ok(account)
}

/// What happens to those who do not say who they are.
async fn refusals(ldap: &mut Ldap, account: &Account) -> anyhow::Result<()> {
    let started = Instant::now();
    let root = ldap.search("", Scope::Base, "(objectClass=*)", vec!["*", "+"]).await?;
    expect(&root.1, 0)?;
    let facts = root
        .0
        .into_iter()
        .next()
        .map(SearchEntry::construct)
        .context("no root DSE")?;
    let mechanisms = facts
        .attrs
        .get("supportedSASLMechanisms")
        .map(|names| names.join(", "))
        .unwrap_or_default();
    told(
        "root DSE",
        &format!("LDAP version 3, SASL {mechanisms}; no more before a bind"),
        started.elapsed(),
    );

    let started = Instant::now();
    let anonymous = ldap.search(SUFFIX, Scope::Subtree, "(sn=smith)", vec!["*"]).await?;
    if anonymous.1.rc == 0 || !anonymous.0.is_empty() {
        bail!("an anonymous search was answered");
    }
    told("anonymous search", &refused(&anonymous.1), started.elapsed());
    for (step, name, secret) in [
        ("anonymous bind", "", ""),
        ("bind, empty password", ACCOUNT, ""),
        ("bind, wrong secret", ACCOUNT, "not the secret of this account"),
        ("bind, unknown name", "nobody", account.secret.as_str()),
    ] {
        let started = Instant::now();
        let result = ldap.simple_bind(name, secret).await?;
        if result.rc == 0 {
            bail!("{step} was accepted");
        }
        told(step, &refused(&result), started.elapsed());
    }
    Ok(())
}

struct Teller {
    ldap: Ldap,
    directory: Arc<Directory>,
    session: Session,
}

impl Teller {
    async fn searches(&mut self) -> anyhow::Result<()> {
        let people = format!("ou=People,{SUFFIX}");
        let services = format!("ou=Services,{SUFFIX}");
        let person = self
            .sample(&people, "(&(objectClass=nhsPerson)(mail=*)(departmentNumber=*))")
            .await?;
        let mail = escaped(&person, "mail")?;
        let found = self
            .step("a person by mail", SUFFIX, &format!("(mail={mail})"), 0)
            .await?;
        if !found.iter().any(|entry| entry.dn == person.dn) {
            bail!("{} was not found by mail", person.dn);
        }
        let address_book = "(|(cn=smi*)(sn=smi*)(givenName=smi*)(mail=smi*))";
        self.step("typeahead smi*", &people, address_book, ADDRESS_BOOK).await?;
        self.step("three letters in a name", &people, "(cn=*ell*)", ADDRESS_BOOK)
            .await?;
        let practice = escaped(&person, "departmentNumber")?;
        let staff = format!("(&(objectClass=nhsPerson)(departmentNumber={practice}))");
        self.step("staff of an organisation", &people, &staff, 0).await?;

        let system = self.sample(&services, "(&(objectClass=nhsAs)(nhsAsSvcIA=*))").await?;
        let (code, interaction) = (escaped(&system, "nhsIDCode")?, escaped(&system, "nhsAsSvcIA")?);
        let first = format!("(&(nhsIDCode={code})(objectClass=nhsAs)(nhsAsSvcIA={interaction}))");
        let found = self
            .step("GP Connect: the system", "ou=services, o=nhs", &first, 0)
            .await?;
        let system = found.first().context("the GP Connect system was not found")?;
        let party = escaped(system, "nhsMHSPartyKey")?;
        let second = format!("(&(nhsMHSPartyKey={party})(objectClass=nhsMhs)(nhsMhsSvcIA={interaction}))");
        let found = self
            .step("GP Connect: its end point", "ou=services, o=nhs", &second, 0)
            .await?;
        match found
            .first()
            .and_then(|entry| entry.attrs.get("nhsMHSEndPoint"))
            .and_then(|values| values.first())
        {
            Some(end_point) => println!("      end point {end_point}"),
            None => bail!("the GP Connect end point was not found"),
        }
        self.step(
            "a scan, for comparison",
            &people,
            "(!(telephoneNumber=*))",
            ADDRESS_BOOK,
        )
        .await?;
        Ok(())
    }

    /// Some entry that meets the filter, to ask for it by its values.
    async fn sample(&mut self, base: &str, filter: &str) -> anyhow::Result<SearchEntry> {
        let (entries, result) = search(&mut self.ldap, base, filter, &["*"], 1).await?;
        let entry = entries.into_iter().next();
        entry.with_context(|| format!("nothing below {base} meets {filter}: {}", described(&result)))
    }

    async fn step(&mut self, what: &str, base: &str, filter: &str, limit: i32) -> anyhow::Result<Vec<SearchEntry>> {
        let mut best = Duration::MAX;
        let mut last = None;
        for _ in 0..RUNS {
            let started = Instant::now();
            let answer = search(&mut self.ldap, base, filter, &["*"], limit).await?;
            best = best.min(started.elapsed());
            last = Some(answer);
        }
        let (entries, result) = last.context("a step runs at least once")?;
        if result.rc != 0 && result.rc != SIZE_LIMIT_EXCEEDED {
            bail!("{filter} below {base}: {}", described(&result));
        }
        let more = if result.rc == SIZE_LIMIT_EXCEEDED {
            ", there are more"
        } else {
            ""
        };
        let count = entries.len();
        let noun = if count == 1 { "entry" } else { "entries" };
        told(what, &format!("{count} {noun}{more}"), best);
        println!("      {filter}");
        if let Some(entry) = entries.first() {
            println!("      first {}", summary(entry));
        }
        let (directory, session) = (&self.directory, &self.session);
        let size_limit = u32::try_from(limit).unwrap_or(0);
        let asked = Asked {
            base,
            scope: SearchScope::WholeSubtree,
            filter,
            size_limit,
            sort: None,
        };
        let explained = explain(directory, session, asked)?;
        explained.plan.lines().for_each(|line| println!("      plan  {line}"));
        Ok(entries)
    }
}

fn told(step: &str, result: &str, took: Duration) {
    println!("{step:<26} {result:<60} {:>8.2} ms", took.as_secs_f64() * 1e3);
}

fn refused(result: &LdapResult) -> String {
    let described = described(result);
    format!("refused: {}", described.split(',').next().unwrap_or(&described))
}

fn expect(result: &LdapResult, code: u32) -> anyhow::Result<()> {
    match result.rc == code {
        true => Ok(()),
        false => bail!("expected result code {code}, found {}", described(result)),
    }
}

/// The first value of an attribute, escaped for a filter (RFC 4515 section 3).
fn escaped(entry: &SearchEntry, attribute: &str) -> anyhow::Result<String> {
    let values = entry.attrs.get(attribute).and_then(|values| values.first());
    let value = values.with_context(|| format!("{} has no {attribute}", entry.dn))?;
    Ok(ldap_escape(value.as_str()).into_owned())
}

fn summary(entry: &SearchEntry) -> String {
    let first = |name: &str| entry.attrs.get(name).and_then(|values| values.first()).cloned();
    let parts = ["displayName", "mail", "title", "telephoneNumber"]
        .iter()
        .filter_map(|name| first(name));
    let parts: Vec<String> = parts.collect();
    if parts.is_empty() {
        entry.dn.clone()
    } else {
        parts.join(", ")
    }
}

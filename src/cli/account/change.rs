//! Account commands that change something.

use super::{Common, Facts, Role, Session, instant};
use crate::cli::Answer;
use crate::cli::client::{described, secret_from_stdin};
use anyhow::{Context, bail};
use clap::Args;
use ldap3::exop::{PasswordModify, PasswordModifyResp};
use ldap3::{LdapResult, Mod};
use std::collections::HashSet;

const NO_SUCH_OBJECT: u32 = 32;
/// The auxiliary class of application accounts.
const ACCOUNT_CLASS: &str = "nhsdirAccount";
const ENTRY_ALREADY_EXISTS: u32 = 68;

#[derive(Args, Debug)]
pub(super) struct Create {
    /// The account's name: what the application binds with
    name: String,
    #[command(flatten)]
    facts: Facts,
    /// Read a chosen secret (20 characters or more) from standard input
    #[arg(long)]
    secret_stdin: bool,
    /// Let the account do nothing before it has changed this secret
    #[arg(long)]
    must_change: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Set {
    /// The account's name, or the DN of an entry of a general directory
    name: String,
    #[command(flatten)]
    facts: Facts,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Rotate {
    /// The account's name, or the DN of the manager or an entry of a general directory
    name: String,
    /// How long the old secret stays valid: 12h, 7d; without it the old one ends now
    #[arg(long, value_name = "DURATION")]
    keep_old: Option<String>,
    /// Read a chosen secret (20 characters or more) from standard input
    #[arg(long)]
    secret_stdin: bool,
    /// Let the account do nothing before it has changed this secret
    #[arg(long)]
    must_change: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Args, Debug)]
pub(super) struct Expire {
    /// The account's name, or the DN of an entry of a general directory
    name: String,
    /// YYYY-MM-DD (UTC), YYYY-MM-DDTHH:MM:SSZ, or `never`
    date: String,
    #[command(flatten)]
    common: Common,
}

impl Create {
    pub(super) async fn run(self) -> anyhow::Result<Answer> {
        let chosen = chosen_secret(self.secret_stdin)?;
        let mut facts = self.facts.attributes(&self.common.place.setting()?)?;
        if self.facts.role.is_none() {
            facts.push(("nhsdirRole", Role::Reader.name().to_owned()));
        }
        let mut session = Session::open(&self.common).await?;
        let created = session.create(&self.name, &facts, chosen.as_deref()).await;
        match created.with_context(|| format!("account {} was not created", self.name))? {
            Created::Now(generated) => {
                let dn = session.dn(&self.name);
                session.reset(&dn, self.must_change).await?;
                print_secret(&dn, generated, self.common.json)
            }
            Created::Before => {
                let name = &self.name;
                eprintln!(
                    "nhsdir: account {name} is there already; give it a new secret with `nhsdir account rotate {name}`"
                );
                Ok(Answer::No)
            }
        }
    }
}

impl Set {
    pub(super) async fn run(self) -> anyhow::Result<Answer> {
        let facts = self.facts.attributes(&self.common.place.setting()?)?;
        if facts.is_empty() {
            bail!("nothing to set; name at least one fact, for example --purpose TEXT");
        }
        let mut session = Session::open(&self.common).await?;
        let gives = self.facts.role.is_some() || self.facts.profile.is_some();
        if gives && is_dn(&self.name) && session.named(&self.name, &["1.1"]).await?.is_none() {
            bail!(
                "--role and --profile are for an application account, by its name; general.rules say what an entry may do"
            );
        }
        let changes: Vec<_> = facts.iter().map(|(name, value)| replacement(name, value)).collect();
        session.modify(&self.name, changes).await
    }
}

impl Rotate {
    pub(super) async fn run(self) -> anyhow::Result<Answer> {
        let keep_old_seconds = self.keep_old.as_deref().map(instant::seconds).transpose()?;
        let chosen = chosen_secret(self.secret_stdin)?;
        let until = keep_old_seconds.map_or_else(String::new, instant::generalized_after);
        let mut session = Session::open(&self.common).await?;
        if is_dn(&self.name) {
            if keep_old_seconds.is_some() {
                bail!("--keep-old is for application accounts; leave it out, or name one");
            }
            let generated = session.change_secret(&self.name, chosen.as_deref()).await;
            let generated = generated.with_context(|| format!("{} keeps its secret", self.name))?;
            session.reset(&self.name, self.must_change).await?;
            return print_secret(&self.name, generated, self.common.json);
        }
        let overlap = vec![replacement("nhsdirOldSecretUntil", &until)];
        if session.modify(&self.name, overlap).await? == Answer::No {
            return Ok(Answer::No);
        }
        let Some(account) = session.locate(&self.name, &["1.1"]).await? else {
            return Ok(no_account(&self.name));
        };
        let dn = account.dn;
        let generated = session
            .change_secret(&dn, chosen.as_deref())
            .await
            .with_context(|| format!("account {} keeps its secret", self.name))?;
        session.reset(&dn, self.must_change).await?;
        print_secret(&dn, generated, self.common.json)
    }
}

impl Expire {
    pub(super) async fn run(self) -> anyhow::Result<Answer> {
        let time = match self.date.as_str() {
            "never" => String::new(),
            date => instant::generalized_time(date)?,
        };
        let mut session = Session::open(&self.common).await?;
        session
            .modify(&self.name, vec![replacement("nhsdirExpires", &time)])
            .await
    }
}

/// Disables or enables an account.
pub(super) async fn disable(session: &mut Session, name: &str, disabled: bool) -> anyhow::Result<Answer> {
    let value = if disabled { "TRUE" } else { "FALSE" };
    session.modify(name, vec![replacement("nhsdirDisabled", value)]).await
}

/// Forgets an account's failures: deletes the operational attribute that stands for them, as the password policy draft has it.
pub(super) async fn unlock(session: &mut Session, name: &str) -> anyhow::Result<Answer> {
    session
        .modify(name, vec![Mod::Delete("pwdAccountLockedTime", HashSet::new())])
        .await
}

pub(super) async fn delete(session: &mut Session, name: &str) -> anyhow::Result<Answer> {
    // By its name alone: entries of a general directory are deleted as entries, not as somebody's way in.
    let Some(account) = session.named(name, &["1.1"]).await? else {
        return Ok(no_account(name));
    };
    let result = session.client.ldap.delete(&account.dn).await?;
    done(&result).with_context(|| format!("account {name} was not deleted"))?;
    Ok(Answer::Done)
}

/// Says that there is no such account: the answer is no.
pub(super) fn no_account(name: &str) -> Answer {
    eprintln!("nhsdir: there is no account {name}; see `nhsdir account list`");
    Answer::No
}

/// How the creation of an account ended.
pub(super) enum Created {
    /// With a generated secret, if none was chosen.
    Now(Option<String>),
    /// An account of that name was there.
    Before,
}

impl Session {
    /// Adds the account's entry, then sets its secret; without a good secret there is no account.
    pub(super) async fn create(
        &mut self,
        name: &str,
        facts: &[(&'static str, String)],
        chosen: Option<&str>,
    ) -> anyhow::Result<Created> {
        let dn = self.dn(name);
        let mut attributes = vec![
            ("objectClass", HashSet::from(["applicationProcess", "nhsdirAccount"])),
            ("cn", HashSet::from([name])),
        ];
        let given = facts.iter().filter(|(_, value)| !value.is_empty());
        attributes.extend(given.map(|(name, value)| (*name, HashSet::from([value.as_str()]))));
        let mut result = self.client.ldap.add(&dn, attributes.clone()).await?;
        if result.rc == NO_SUCH_OBJECT {
            self.create_container().await?;
            result = self.client.ldap.add(&dn, attributes).await?;
        }
        if result.rc == ENTRY_ALREADY_EXISTS {
            return Ok(Created::Before);
        }
        done(&result)?;
        match self.change_secret(&dn, chosen).await {
            Ok(generated) => Ok(Created::Now(generated)),
            Err(error) => {
                self.client.ldap.delete(&dn).await?;
                Err(error)
            }
        }
    }

    async fn create_container(&mut self) -> anyhow::Result<()> {
        let attributes = vec![
            ("objectClass", HashSet::from(["organizationalUnit"])),
            ("ou", HashSet::from(["Applications"])),
        ];
        let result = self.client.ldap.add(&self.container(), attributes).await?;
        done(&result).with_context(|| format!("{} was not created", self.container()))
    }

    async fn modify(&mut self, name: &str, changes: Vec<Mod<&str>>) -> anyhow::Result<Answer> {
        let Some(account) = self.locate(name, &["objectClass"]).await? else {
            return Ok(no_account(name));
        };
        let classes = account.attrs.get("objectClass").map_or(&[][..], Vec::as_slice);
        let mut changes = changes;
        let is_fact = |change: &Mod<&str>| !matches!(change, Mod::Replace(name, _) | Mod::Delete(name, _) if name.starts_with("pwd"));
        if changes.iter().any(is_fact) && !classes.iter().any(|class| class.eq_ignore_ascii_case(ACCOUNT_CLASS)) {
            // An account that came from another server, or an entry: its class allows none of the facts kept here.
            changes.insert(0, Mod::Add("objectClass", HashSet::from([ACCOUNT_CLASS])));
        }
        let result = self.client.ldap.modify(&account.dn, changes).await?;
        done(&result).with_context(|| format!("account {name} was not changed"))?;
        Ok(Answer::Done)
    }

    /// Marks a new secret as one to change first, where that is wanted: nobody knows it yet.
    async fn reset(&mut self, dn: &str, must_change: bool) -> anyhow::Result<()> {
        if !must_change {
            return Ok(());
        }
        let result = self
            .client
            .ldap
            .modify(dn, vec![replacement("pwdReset", "TRUE")])
            .await?;
        done(&result).with_context(|| format!("{dn} has a new secret, but need not change it"))
    }

    /// RFC 3062; a generated secret is given back.
    async fn change_secret(&mut self, dn: &str, chosen: Option<&str>) -> anyhow::Result<Option<String>> {
        let request = PasswordModify {
            user_id: Some(dn),
            old_pass: None,
            new_pass: chosen,
        };
        let answer = self.client.ldap.extended(request).await?;
        done(&answer.1)?;
        match (chosen, answer.0.val.is_some()) {
            (None, true) => Ok(Some(answer.0.parse::<PasswordModifyResp>().gen_pass)),
            (None, false) => bail!("the server generated no secret; choose one with --secret-stdin"),
            (Some(_), _) => Ok(None),
        }
    }
}

/// Whether a name is that of an entry rather than an account's.
pub(super) fn is_dn(name: &str) -> bool {
    name.contains('=')
}

fn replacement<'a>(attribute: &'a str, value: &'a str) -> Mod<&'a str> {
    let values = if value.is_empty() {
        HashSet::new()
    } else {
        HashSet::from([value])
    };
    Mod::Replace(attribute, values)
}

fn done(result: &LdapResult) -> anyhow::Result<()> {
    match result.rc {
        0 => Ok(()),
        _ => bail!("{}", described(result)),
    }
}

fn chosen_secret(from_stdin: bool) -> anyhow::Result<Option<String>> {
    if !from_stdin {
        return Ok(None);
    }
    secret_from_stdin().map(Some)
}

fn print_secret(dn: &str, generated: Option<String>, json: bool) -> anyhow::Result<Answer> {
    if json {
        println!("{:#}", serde_json::json!({ "dn": dn, "secret": generated }));
    } else {
        println!("account  {dn}");
        match generated {
            Some(secret) => println!("secret   {secret}\nKeep it now: it is not shown again."),
            None => println!("secret   as given"),
        }
    }
    Ok(Answer::Done)
}

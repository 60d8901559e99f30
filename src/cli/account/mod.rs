//! `nhsdir account`: the life of an application account, as LDAP operations on its entry below `ou=Applications`.

mod change;
mod instant;
mod report;

use super::client::Client;
use super::{Answer, Place, Setting, block_on};
use clap::{Args, Subcommand, ValueEnum};
use ldap3::{Scope, SearchEntry};

#[derive(Args, Debug)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What every account command may be told.
#[derive(Args, Debug)]
struct Common {
    #[command(flatten)]
    place: Place,
    /// The naming context the account is in; without it the first
    #[arg(long, value_name = "DN")]
    suffix: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Create an account and print its generated secret once
    Create(change::Create),
    /// List accounts with their life cycle
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show everything known of one account, never its secret
    Show(Named),
    /// Change facts of an account; an empty value removes one
    Set(change::Set),
    /// Give an account a new secret and print it once
    Rotate(change::Rotate),
    /// Refuse an account's binds until it is enabled
    Disable(Named),
    /// Accept a disabled account's binds again
    Enable(Named),
    /// Forget an account's failures, so that throttled sources may try again
    Unlock(Named),
    /// Say which sources fail to bind as an account, since when and why
    Lockouts(Named),
    /// Set the date from which an account is refused
    Expire(change::Expire),
    /// Delete an account and its secret
    Delete(Named),
}

#[derive(Args, Debug)]
struct Named {
    /// The account's name, or the DN of an entry of a general directory; `delete` takes a name alone
    name: String,
    #[command(flatten)]
    common: Common,
}

/// The facts an administrator may give an account.
#[derive(Args, Debug, Default)]
struct Facts {
    /// What the account may do
    #[arg(long, value_enum)]
    role: Option<Role>,
    /// The release profile; without it the role's own
    #[arg(long)]
    profile: Option<String>,
    /// What the application does with the directory
    #[arg(long)]
    purpose: Option<String>,
    /// Who answers for the account
    #[arg(long)]
    owner: Option<String>,
    /// The organisation's ODS code
    #[arg(long)]
    organisation: Option<String>,
    /// Whom to call about it
    #[arg(long)]
    contact: Option<String>,
    /// A mail-like name the account may bind with
    #[arg(long)]
    mail: Option<String>,
    /// From when it is refused: YYYY-MM-DD (UTC) or YYYY-MM-DDTHH:MM:SSZ
    #[arg(long, value_name = "DATE")]
    expires: Option<String>,
    /// When it is to be reviewed
    #[arg(long, value_name = "DATE")]
    review: Option<String>,
    /// SHA-256 of a client certificate that may bind as the account or entry, in hex
    #[arg(long, value_name = "SHA256")]
    certificate: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Reader,
    Writer,
    Administrator,
}

/// Does one account command.
pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    block_on(async {
        match arguments.command {
            Command::Create(create) => create.run().await,
            Command::Set(set) => set.run().await,
            Command::Rotate(rotate) => rotate.run().await,
            Command::Expire(expire) => expire.run().await,
            Command::List { common } => report::list(&mut Session::open(&common).await?, common.json).await,
            Command::Show(named) => report::show(&mut named.session().await?, &named.name, named.common.json).await,
            Command::Lockouts(named) => {
                report::lockouts(&mut named.session().await?, &named.name, named.common.json).await
            }
            Command::Disable(named) => change::disable(&mut named.session().await?, &named.name, true).await,
            Command::Enable(named) => change::disable(&mut named.session().await?, &named.name, false).await,
            Command::Unlock(named) => change::unlock(&mut named.session().await?, &named.name).await,
            Command::Delete(named) => change::delete(&mut named.session().await?, &named.name).await,
        }
    })
}

/// Creates a reader's account in the first naming context and gives its generated secret.
pub async fn issue(setting: &Setting, name: &str) -> anyhow::Result<String> {
    let mut client = Client::open(setting).await?;
    let suffix = client.suffix().await?;
    let mut session = Session { client, suffix };
    let role = ("nhsdirRole", Role::Reader.name().to_owned());
    match session.create(name, &[role], None).await? {
        change::Created::Now(Some(secret)) => Ok(secret),
        change::Created::Now(None) | change::Created::Before => anyhow::bail!("account {name} was not created"),
    }
}

impl Named {
    async fn session(&self) -> anyhow::Result<Session> {
        Session::open(&self.common).await
    }
}

/// An administrator's connection and where the accounts are.
struct Session {
    client: Client,
    suffix: String,
}

impl Session {
    async fn open(common: &Common) -> anyhow::Result<Session> {
        let mut client = Client::open(&common.place.setting()?).await?;
        let suffix = match &common.suffix {
            Some(suffix) => suffix.clone(),
            None => client.suffix().await?,
        };
        Ok(Session { client, suffix })
    }

    fn container(&self) -> String {
        format!("ou=Applications,{}", self.suffix)
    }

    /// The name of a new account.
    fn dn(&self, name: &str) -> String {
        format!("cn={},{}", ldap3::dn_escape(name), self.container())
    }

    /// The account of that name, or the entry of that DN, with these attributes.
    async fn locate(&mut self, name: &str, attributes: &[&str]) -> anyhow::Result<Option<SearchEntry>> {
        let account = self.named(name, attributes).await?;
        if account.is_some() || !change::is_dn(name) {
            return Ok(account);
        }
        let found = self.client.search(name, Scope::Base, "(objectClass=*)", attributes);
        Ok(found.await?.into_iter().next())
    }

    /// The account of that name, with these attributes: every entry directly below the container is one, however it is
    /// named and whatever other server it came from.
    async fn named(&mut self, name: &str, attributes: &[&str]) -> anyhow::Result<Option<SearchEntry>> {
        let escaped = ldap3::ldap_escape(name);
        let filter = format!("(|(cn={escaped})(uid={escaped}))");
        let container = self.container();
        let found = self
            .client
            .search(&container, Scope::OneLevel, &filter, attributes)
            .await?;
        Ok(found.into_iter().next())
    }
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Reader => "reader",
            Role::Writer => "writer",
            Role::Administrator => "administrator",
        }
    }
}

impl Facts {
    /// Attribute and value of every fact that was given; an empty value is one to remove.
    fn attributes(&self, setting: &Setting) -> anyhow::Result<Vec<(&'static str, String)>> {
        let is_fingerprint = |text: &str| {
            let digits = text.bytes().filter(|octet| *octet != b':');
            digits.clone().count() == 64 && digits.clone().all(|octet| octet.is_ascii_hexdigit())
        };
        if let Some(text) = self.certificate.as_deref().filter(|text| !text.is_empty()) {
            anyhow::ensure!(
                is_fingerprint(text),
                "expected a certificate's SHA-256 as 64 hexadecimal digits, found `{text}`; see openssl x509 -fingerprint -sha256"
            );
        }
        if let Some(profile) = self.profile.as_deref().filter(|profile| !profile.is_empty()) {
            setting.check_profile(profile)?;
        }
        let mut given = Vec::new();
        given.extend(self.role.map(|role| ("nhsdirRole", role.name().to_owned())));
        for (attribute, value) in [
            ("nhsdirProfile", &self.profile),
            ("nhsdirPurpose", &self.purpose),
            ("nhsdirOwner", &self.owner),
            ("nhsdirOrganisation", &self.organisation),
            ("nhsdirContact", &self.contact),
            ("mail", &self.mail),
            ("nhsdirCertificate", &self.certificate),
        ] {
            given.extend(value.clone().map(|value| (attribute, value)));
        }
        for (attribute, value) in [("nhsdirExpires", &self.expires), ("nhsdirReview", &self.review)] {
            if let Some(value) = value {
                let time = if value.is_empty() {
                    String::new()
                } else {
                    instant::generalized_time(value)?
                };
                given.push((attribute, time));
            }
        }
        Ok(given)
    }
}

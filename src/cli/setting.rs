//! What flags, environment and configuration come to.

use crate::access::Policy;
use crate::config::Config;
use crate::directory::DirectoryOptions;
use crate::schema::Schema;
use anyhow::{Context, bail};
use clap::Args;
use std::path::{Path, PathBuf};

/// Where the directory is, as typed. Flatten it into a command's arguments.
#[derive(Args, Clone, Debug, Default)]
pub struct Place {
    /// The data directory; without it the configuration's `data`
    #[arg(long, env = "NHSDIR_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// The configuration file; without it `nhsdir.toml` in the data directory, if there
    #[arg(long, env = "NHSDIR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What was meant: a data directory and the configuration that goes with it.
#[derive(Clone, Debug)]
pub struct Setting {
    pub data: PathBuf,
    pub config: Config,
}

impl Place {
    /// Reads the configuration and settles the data directory, which need not exist yet.
    pub fn setting(&self) -> anyhow::Result<Setting> {
        let beside = self.data.as_ref().map(|data| data.join("nhsdir.toml"));
        let config = match (&self.config, beside) {
            (Some(file), _) => Config::read(file)?,
            (None, Some(file)) if file.is_file() => Config::read(&file)?,
            (None, _) => Config::default(),
        };
        let data = match &self.data {
            Some(data) => data.clone(),
            None if !config.data.is_empty() => PathBuf::from(&config.data),
            None => bail!("no data directory is named; use --data DIR, NHSDIR_DATA, or `data` in the configuration"),
        };
        Ok(Setting { data, config })
    }
}

impl Setting {
    /// What opening the directory takes; reads the schema and policy files of the configuration.
    pub fn directory_options(&self) -> anyhow::Result<DirectoryOptions> {
        Ok(DirectoryOptions {
            data: self.data.clone(),
            schema: self.schema_files()?,
            without_nhs: !self.config.schema.nhs,
            policy: self.policy_file()?,
            store: self.config.store.options(),
            accounts: self.config.accounts.options(),
            audit: self.config.audit.options(),
            limits: self.config.limits.directory(),
            general: self.config.general.options(),
            password_policy: self.config.password_policy.options(),
            integrity: self.config.integrity.options(),
            referrals: self.config.directory.referrals.clone(),
        })
    }

    /// The built-in schema extended by the configured files. Every fault is in the error.
    pub fn schema(&self) -> anyhow::Result<Schema> {
        let files = self.schema_files()?;
        let loaded = match self.config.schema.nhs {
            true => Schema::load(&files),
            false => Schema::load_without_nhs(&files),
        };
        loaded.map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(
                "{}; mend the schema file or take it out of schema.files",
                lines.join("; ")
            )
        })
    }

    /// `(file name, text)` of the policy file, if the configuration names one.
    pub fn policy_file(&self) -> anyhow::Result<Option<(String, String)>> {
        match self.config.policy.file.as_str() {
            "" => Ok(None),
            file => read_named(Path::new(file), "policy.file").map(Some),
        }
    }

    /// Whether the policy has a release profile of that name.
    pub fn check_profile(&self, name: &str) -> anyhow::Result<()> {
        let policy = match self.policy_file()? {
            Some((file, text)) => Policy::parse(&file, &text).map_err(|faults| {
                anyhow::anyhow!(
                    "{}",
                    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
                )
            })?,
            None => Policy::builtin(),
        };
        match policy.has(name) {
            true => Ok(()),
            false => bail!("expected a release profile of the policy, found `{name}`; add it to policy.file first"),
        }
    }

    /// `(file name, text)` of the schema files that the configuration names.
    pub fn schema_files(&self) -> anyhow::Result<Vec<(String, String)>> {
        self.config
            .schema
            .files
            .iter()
            .map(|path| read_named(path, "schema.files"))
            .collect()
    }

    /// The UNIX socket of local administrators.
    pub fn ldapi(&self) -> PathBuf {
        self.or_in_data(&self.config.listen.ldapi, "ldapi")
    }

    pub fn certificate(&self) -> PathBuf {
        self.or_in_data(&self.config.tls.certificate, "tls/cert.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.or_in_data(&self.config.tls.key, "tls/key.pem")
    }

    fn or_in_data(&self, configured: &str, name: &str) -> PathBuf {
        match configured {
            "" => self.data.join(name),
            path => Path::new(path).to_path_buf(),
        }
    }
}

fn read_named(path: &Path, key: &str) -> anyhow::Result<(String, String)> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok((name, text)),
        Err(error) => Err(error).with_context(|| format!("{name}: cannot be read; mend {key} in the configuration")),
    }
}

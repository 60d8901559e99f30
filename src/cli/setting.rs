//! What flags, environment and configuration come to.

use crate::account::AccountOptions;
use crate::audit::AuditOptions;
use crate::config::Config;
use crate::schema::Schema;
use crate::store::StoreOptions;
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
    /// The built-in schema extended by the configured files. Every fault is in the error.
    pub fn schema(&self) -> anyhow::Result<Schema> {
        let mut extensions = Vec::new();
        for path in &self.config.schema.files {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("{}: schema file of the configuration cannot be read", path.display()))?;
            extensions.push((path.display().to_string(), text));
        }
        Schema::load(&extensions).map_err(|faults| {
            let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
            anyhow::anyhow!(
                "{}; mend the schema file or take it out of schema.files",
                lines.join("; ")
            )
        })
    }

    pub fn account_options(&self) -> AccountOptions {
        self.config.accounts.options()
    }

    pub fn audit_options(&self) -> AuditOptions {
        self.config.audit.options()
    }

    pub fn store_options(&self) -> StoreOptions {
        self.config.store.options()
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

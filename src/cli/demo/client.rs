//! A client as an application would be one: TLS that trusts one certificate, a bind, searches.

use crate::cli::client::trust;
use anyhow::Context;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchOptions};
use std::path::Path;
use std::sync::Arc;

/// Connects over TLS, trusting the certificate in `authority` and no other. Not bound.
pub async fn connect(url: &str, authority: &Path) -> anyhow::Result<Ldap> {
    let settings = LdapConnSettings::new().set_config(Arc::new(trust(authority)?));
    let (connection, ldap) = LdapConnAsync::with_settings(settings, url)
        .await
        .context("no TLS connection")?;
    tokio::spawn(async move {
        if let Err(error) = connection.drive().await {
            tracing::debug!(%error, "the client's connection");
        }
    });
    Ok(ldap)
}

/// A subtree search with a size limit; the entries that came and how it ended.
pub async fn search(
    ldap: &mut Ldap,
    base: &str,
    filter: &str,
    attributes: &[&str],
    size_limit: i32,
) -> anyhow::Result<(Vec<SearchEntry>, LdapResult)> {
    ldap.with_search_options(SearchOptions::new().sizelimit(size_limit));
    let found = ldap.search(base, Scope::Subtree, filter, attributes.to_vec()).await?;
    Ok((found.0.into_iter().map(SearchEntry::construct).collect(), found.1))
}

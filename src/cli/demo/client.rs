//! A client as an application would be one: TLS that trusts one certificate, a bind, searches.

use anyhow::Context;
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Scope, SearchEntry, SearchOptions};
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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

fn trust(authority: &Path) -> anyhow::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificate = CertificateDer::from_pem_file(authority)
        .map_err(|error| anyhow::anyhow!("{}: {error:?}", authority.display()))?;
    roots.add(certificate).context("the certificate cannot be trusted")?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("this build speaks no TLS")?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
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

//! The development certificate that `init` makes, so that TLS works before a real one is there.

use anyhow::Context;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ECDSA_P256_SHA256};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use time::{Duration, OffsetDateTime};

/// Days a development certificate is good for.
const VALID_DAYS: i64 = 397;

/// Writes a self-signed P-256 certificate for this host and loopback to `certificate` and its key to `key` (mode 0600).
/// Clients trust it by naming the certificate file as their authority.
pub fn write_development_certificate(certificate: &Path, key: &Path) -> anyhow::Result<()> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(host_name());
    names.dedup();
    let mut parameters = CertificateParams::new(names).context("the host name cannot stand in a certificate")?;
    let now = OffsetDateTime::now_utc();
    parameters.not_before = now - Duration::days(1);
    parameters.not_after = now + Duration::days(VALID_DAYS);
    parameters
        .distinguished_name
        .push(DnType::CommonName, "nhsdir development certificate");
    // No keyUsage: OpenSSL takes a self-signed certificate as its own authority only without one.
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("no key could be generated")?;
    let signed = parameters
        .self_signed(&pair)
        .context("the certificate could not be signed")?;
    write_file(certificate, signed.pem().as_bytes(), 0o644)?;
    write_file(key, pair.serialize_pem().as_bytes(), 0o600)
}

fn write_file(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    let write = || {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().with_context(|| format!("{}: cannot be written", path.display()))
}

/// The machine's name, where it is one that may stand in a certificate.
fn host_name() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?.trim().to_owned();
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'.';
    (!name.is_empty() && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_key_is_readable_by_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (certificate, key) = (folder.path().join("tls/cert.pem"), folder.path().join("tls/key.pem"));
        write_development_certificate(&certificate, &key).unwrap();
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(
            fs::read_to_string(&certificate)
                .unwrap()
                .starts_with("-----BEGIN CERTIFICATE-----")
        );
        assert!(fs::read_to_string(&key).unwrap().contains("PRIVATE KEY-----"));
    }
}

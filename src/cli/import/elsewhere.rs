//! Values that an LDIF file names by URL (RFC 2849 `value-spec`). The operator reads the file, so the operator's rights decide.

use crate::model::file_path;
use crate::model::ldif::LINE_BYTES_LIMIT;
use std::fs::{self, File};
use std::io::Read;

/// The octets of a file on this machine, at most as many as a value in the LDIF file itself may have.
///
/// # Errors
/// Says what is wrong with the URL or the file.
pub(super) fn read_url(url: &str) -> Result<Vec<u8>, String> {
    let path = file_path(url)
        .ok_or_else(|| format!("expected the URL of a file on this machine, like file:///path, found `{url}`"))?;
    let failed = |fault| format!("{path} cannot be read: {fault}");
    // Looked at before it is opened: to open a pipe is to wait for its writer.
    if !fs::metadata(&path).map_err(failed)?.is_file() {
        return Err(format!("expected a file, found something else at {path}"));
    }
    let mut value = Vec::new();
    let limit = LINE_BYTES_LIMIT as u64 + 1;
    let file = File::open(&path).map_err(failed)?;
    file.take(limit).read_to_end(&mut value).map_err(failed)?;
    match value.len() > LINE_BYTES_LIMIT {
        true => Err(format!(
            "expected a file of at most {LINE_BYTES_LIMIT} bytes, found {path} with more"
        )),
        false => Ok(value),
    }
}

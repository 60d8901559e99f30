//! Export from a running server: the same octets, read page by page over its UNIX socket as the local administrator.

use super::{Arguments, WRITE_BUFFER_BYTES};
use crate::cli::client::{Client, described};
use crate::model::ldif::LdifWriter;
use anyhow::{Context, bail};
use ldap3::adapters::{Adapter, EntriesOnly, PagedResults};
use ldap3::asn1::{PL, StructureTag};
use ldap3::controls::{ManageDsaIt, RawControl};
use ldap3::{ResultEntry, Scope};
use std::io::{BufWriter, Write};

const PAGE_ENTRIES: i32 = 1000;
const NO_SUCH_OBJECT: u32 = 32;

/// One attribute as it came: description and values.
type Given = (Vec<u8>, Vec<Vec<u8>>);

/// What is asked beside the user attributes.
pub(super) struct Asked {
    /// Attributes that administrators give: they come among the user attributes.
    pub administrative: Vec<String>,
    /// What follows the user attributes, in that order.
    pub operational: &'static [&'static str],
    /// Attributes that entries have from subentries: only the subentries themselves are written with them.
    pub collective: Vec<String>,
}

/// RFC 3672 section 3: subentries and nothing else.
fn subentries_alone() -> RawControl {
    RawControl {
        ctype: "1.3.6.1.4.1.4203.1.10.1".to_owned(),
        crit: true,
        val: Some(vec![1, 1, 0xff]),
    }
}

/// Writes every entry and gives their number.
pub(super) async fn write(
    client: &mut Client,
    arguments: &Arguments,
    asked: &Asked,
    target: impl Write,
) -> anyhow::Result<u64> {
    let bases = match &arguments.base {
        Some(base) => vec![base.clone()],
        None => client.suffixes().await?,
    };
    let filter = arguments.filter.as_deref().unwrap_or("(objectClass=*)");
    let mut writer = LdifWriter::new(BufWriter::with_capacity(WRITE_BUFFER_BYTES, target));
    let mut entries = 0;
    let passes = [false, true].into_iter();
    for (base, subentries) in bases
        .iter()
        .flat_map(|base| passes.clone().map(move |pass| (base, pass)))
    {
        let mut controls: Vec<RawControl> = vec![ManageDsaIt.into()];
        controls.extend(subentries.then(subentries_alone));
        let administrative = asked.administrative.iter().map(String::as_str);
        let operational = asked.operational.iter().copied();
        let attributes: Vec<&str> = std::iter::once("*").chain(administrative).chain(operational).collect();
        let adapters: Vec<Box<dyn Adapter<_, _>>> =
            vec![Box::new(EntriesOnly::new()), Box::new(PagedResults::new(PAGE_ENTRIES))];
        let mut found = client
            .ldap
            .with_controls(controls)
            .streaming_search_with(adapters, base, Scope::Subtree, filter, attributes)
            .await?;
        while let Some(entry) = found.next().await? {
            write_entry(&mut writer, entry, asked, subentries).context("the LDIF could not be written")?;
            entries += 1;
        }
        let result = found.finish().await;
        match result.rc {
            0 => {}
            // A naming context without its own entry is empty.
            NO_SUCH_OBJECT if arguments.base.is_none() => {}
            NO_SUCH_OBJECT => bail!("{base} is not in the directory; name an entry with --base"),
            _ => bail!("the search below {base} was refused: {}", described(&result)),
        }
    }
    writer.flush()?;
    Ok(entries)
}

fn write_entry(
    writer: &mut LdifWriter<impl Write>,
    entry: ResultEntry,
    asked: &Asked,
    subentry: bool,
) -> anyhow::Result<()> {
    let operational = asked.operational;
    let (dn, attributes) = parts(entry.0).context("the server sent an entry that is none")?;
    writer.value("dn", &dn)?;
    let is_operational = |given: &Given| operational.iter().any(|name| name.as_bytes() == given.0);
    let is_collective = |given: &Given| !subentry && asked.collective.iter().any(|name| is_named(&given.0, name));
    let user = attributes
        .iter()
        .filter(|given| !is_operational(given) && !is_collective(given));
    let kept = operational
        .iter()
        .flat_map(|name| attributes.iter().filter(|given| given.0 == name.as_bytes()));
    for (description, values) in user.chain(kept) {
        let description = String::from_utf8_lossy(description);
        for value in values {
            writer.value(&description, value)?;
        }
    }
    Ok(writer.end_record()?)
}

/// Whether a description is of a type, whatever its options.
fn is_named(description: &[u8], name: &str) -> bool {
    let of_type = description.split(|octet| *octet == b';').next().unwrap_or_default();
    of_type.eq_ignore_ascii_case(name.as_bytes())
}

/// The name and the attributes of a SearchResultEntry (RFC 4511 section 4.5.2), in the order they came.
fn parts(entry: StructureTag) -> Option<(Vec<u8>, Vec<Given>)> {
    let mut fields = inside(entry)?.into_iter();
    let dn = octets(fields.next()?)?;
    let attributes = inside(fields.next()?)?.into_iter().map(|attribute| {
        let mut fields = inside(attribute)?.into_iter();
        let description = octets(fields.next()?)?;
        let values = inside(fields.next()?)?
            .into_iter()
            .map(octets)
            .collect::<Option<Vec<_>>>()?;
        Some((description, values))
    });
    Some((dn, attributes.collect::<Option<Vec<_>>>()?))
}

fn inside(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(elements) => Some(elements),
        PL::P(_) => None,
    }
}

fn octets(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(octets) => Some(octets),
        PL::C(_) => None,
    }
}

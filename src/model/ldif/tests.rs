use super::*;
use crate::model::random::Random;

/// Records and faults in a short form.
fn read(text: &[u8]) -> Vec<String> {
    LdifReader::new("t", text).map(|item| show(&item)).collect()
}

fn show(item: &Result<LdifRecord, LdifFault>) -> String {
    let record = match item {
        Ok(record) => record,
        Err(fault) => return format!("!{fault}"),
    };
    let operation = match &record.operation {
        LdifOperation::Content(entry) => format!("content {}{}", entry.dn, attributes(&entry.attributes)),
        LdifOperation::Add(entry) => format!("add {}{}", entry.dn, attributes(&entry.attributes)),
        LdifOperation::Delete { dn } => format!("delete {dn}"),
        LdifOperation::Modify { dn, changes } => {
            let changes: Vec<String> = changes
                .iter()
                .map(|change| {
                    format!(
                        " {:?}{}",
                        change.kind,
                        attributes(std::slice::from_ref(&change.attribute))
                    )
                })
                .collect();
            format!("modify {dn}{}", changes.concat())
        }
        LdifOperation::ModifyDn {
            dn,
            new_rdn,
            delete_old_rdn,
            new_superior,
        } => {
            let superior = new_superior
                .as_ref()
                .map(|dn| format!(" below {dn}"))
                .unwrap_or_default();
            format!("rename {dn} to {new_rdn} {delete_old_rdn}{superior}")
        }
    };
    format!("{}: {operation}", record.line)
}

fn attributes(attributes: &[Attribute]) -> String {
    let show = |attribute: &Attribute| {
        let values: Vec<String> = attribute
            .values
            .iter()
            .map(|value| value.escape_ascii().to_string())
            .collect();
        format!(" {}={}", attribute.description, values.join("|"))
    };
    attributes.iter().map(show).collect()
}

#[test]
fn reads_records() {
    let cases: &[(&str, &[&str])] = &[
        ("", &[]),
        ("\n\n# only a comment\n\n", &[]),
        // RFC 2849 example 1 and 2
        (
            "version: 1\ndn: cn=Barbara Jensen, ou=Product Development, dc=airius, dc=com\nobjectclass: top\nobjectclass: person\ncn: Barbara Jensen\ncn: Barbara J Jensen\ntitle:Product Manager, Rod and Reel Divisio\n n\n\ndn: cn=B,dc=com\nsn: B",
            &[
                "2: content cn=Barbara Jensen,ou=Product Development,dc=airius,dc=com objectclass=top|person cn=Barbara Jensen|Barbara J Jensen title=Product Manager, Rod and Reel Division",
                "10: content cn=B,dc=com sn=B",
            ],
        ),
        // example 3: base64
        (
            "dn: cn=G\ndescription:: V2hhdCBhIGNhcmVmdWwgcmVhZGVyIHlvdSBhcmUhICBUaGlzIHZhbHVlIGlzIGJhc2UtNjQtZW5j\n b2RlZA==\n",
            &["1: content cn=G description=What a careful reader you are!  This value is base-64-encoded"],
        ),
        // example 4: base64 name, options, comments
        (
            "dn:: b3U95Za25qWt6YOoLG89QWlyaXVz\n# dn:: ou=<JapaneseOU>,o=Airius\nou;lang-ja:: 5Za25qWt6YOo\nou;lang-en: Sales\n",
            &[r"1: content ou=営業部,o=Airius ou;lang-ja=\xe5\x96\xb6\xe6\xa5\xad\xe9\x83\xa8 ou;lang-en=Sales"],
        ),
        // example 6: change records
        (
            "dn: cn=F\nchangetype: add\ncn: F\n\ndn: cn=R\nchangetype: delete\n\ndn: cn=P\nchangetype: modrdn\nnewrdn: cn=Q\ndeleteoldrdn: 1\n\ndn: cn=P\nchangetype: moddn\nnewrdn: cn=Q\ndeleteoldrdn: 0\nnewsuperior: ou=A, o=b\n",
            &[
                "1: add cn=F cn=F",
                "5: delete cn=R",
                "8: rename cn=P to cn=Q true",
                "13: rename cn=P to cn=Q false below ou=A,o=b",
            ],
        ),
        (
            "dn: cn=P\nchangetype: modify\nadd: postaladdress\npostaladdress: 1 $ 2\npostaladdress: 3\n-\ndelete: description\n-\nreplace: tel\nTEL: 5\n-\nincrement: n\nn: 1\n",
            &["1: modify cn=P Add postaladdress=1 $ 2|3 Delete description= Replace tel=5 Increment n=1"],
        ),
        ("dn: cn=P\nchangetype: modify\n", &["1: modify cn=P"]),
        // folding everywhere, comments folded, CRLF, byte order mark
        (
            "\u{feff}version: 1\r\n\r\n# a\r\n comment\r\nd\r\n n: cn\r\n =a\r\nc\r\n n: \r\n x\r\n y\r\n\r\n",
            &["5: content cn=a cn=xy"],
        ),
        // spaces, empty values, values interleaved and in other case, raw UTF-8
        (
            "dn:cn=a\ncn:   x \nsn:\nCN: y\nsn: é\ncn:: \n",
            &[r"1: content cn=a cn=x |y| sn=|\xc3\xa9"],
        ),
        ("DN: \nobjectClass: top\n", &["1: content  objectClass=top"]),
        ("dn: cn=a\ncn;X;y: 1\ncn;y;x: 2\n", &["1: content cn=a cn;X;y=1|2"]),
        ("dn: cn=a\ncn:: YQ\n", &["1: content cn=a cn=a"]),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text.as_bytes()), *expected, "{text}");
        let crlf = text.replace("\r\n", "\n").replace('\n', "\r\n");
        assert_eq!(read(crlf.as_bytes()), *expected, "with CRLF: {text}");
    }
}

#[test]
fn says_every_fault_and_goes_on() {
    let cases: &[(&str, &[&str])] = &[
        (
            "version: 2\n\ndn: cn=a\ncn: a\n",
            &["!t:1: expected LDIF version 1, found `2`", "3: content cn=a cn=a"],
        ),
        (
            "cn: a\n",
            &["!t:1: expected `dn:` at the start of a record, found `cn: a`"],
        ),
        (
            "dn: cn=a\n",
            &["!t:1: expected attributes after the name, found the end of the record"],
        ),
        (
            "dn: cn\ncn: a\n\ndn: o=b\no: b\n",
            &[
                "!t:1: expected `=` after the attribute type at byte 2 of the distinguished name, found the end",
                "4: content o=b o=b",
            ],
        ),
        (
            "dn: cn=a\ncn a\n\n\ndn: o=b\nx_y: b\n",
            &[
                "!t:2: expected `name: value`, found `cn a`",
                "!t:6: expected a letter, digit or hyphen of an attribute name, or an OID at byte 1 of the attribute description, found `_`",
            ],
        ),
        (
            "dn: cn=a\ncn: a\ndn: cn=b\ncn: b\n",
            &["!t:3: expected a blank line before the next `dn:`"],
        ),
        (
            "dn: cn=a\njpegPhoto:< file:///etc/passwd\n",
            &[
                "!t:2: expected the value of jpegPhoto in the file (`jpegPhoto::` and base64), found `:<`, which is not read",
            ],
        ),
        (
            "dn: cn=a\ncn:: a*\n",
            &["!t:2: expected base64 after `cn::`: Invalid symbol 42, offset 1."],
        ),
        (
            "dn:: /w==\ncn: a\n",
            &["!t:1: expected UTF-8 in dn, found other octets"],
        ),
        (
            " a\n\ndn: cn=a\ncn: a\n",
            &[
                "!t:1: expected a line to continue before a line that begins with a space",
                "3: content cn=a cn=a",
            ],
        ),
        (
            "dn: cn=a\ncn: a\0\n",
            &["!t:2: expected `cn::` and base64 for a value with NUL or CR"],
        ),
        (
            "dn: cn=a\ncontrol: 1.2.3 true\ncn: a\n",
            &["!t:3: expected `changetype:` behind the controls, found `cn: a`"],
        ),
        (
            "dn: cn=a\ncontrol: manage\nchangetype: delete\n",
            &["!t:2: expected a numeric OID behind `control:`, found `manage`"],
        ),
        (
            "dn: cn=a\ncontrol: 1.2.3 maybe\nchangetype: delete\n",
            &["!t:2: expected true or false behind 1.2.3, found `maybe`"],
        ),
        (
            "dn: cn=a\nchangetype: modifi\n",
            &["!t:2: expected add, delete, modify, modrdn or moddn, found `modifi`"],
        ),
        (
            "dn: cn=a\nchangetype: delete\ncn: a\n",
            &["!t:3: expected a blank line, found `cn: a`"],
        ),
        (
            "dn: cn=a\nchangetype: add\n",
            &["!t:2: expected attributes, found the end of the record"],
        ),
        (
            "dn: cn=a\nchangetype: modify\ncn: a\n",
            &["!t:3: expected `add:`, `delete:`, `replace:` or `increment:`, found `cn: a`"],
        ),
        (
            "dn: cn=a\nchangetype: modify\nadd: cn\nsn: a\n",
            &["!t:4: expected a value of cn or `-`, found sn"],
        ),
        (
            "dn: cn=a\nchangetype: modify\nadd: cn\n-\n",
            &["!t:3: expected a value of cn to follow, found none"],
        ),
        (
            "dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b,o=c\n",
            &["!t:3: newrdn: expected one RDN and then the end at byte 4 of the distinguished name, found `,`"],
        ),
        (
            "dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b\n",
            &["!t:3: expected `deleteoldrdn:` to follow, found the end of the record"],
        ),
        (
            "dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b\ndeleteoldrdn: yes\n",
            &["!t:4: expected 0 or 1 for deleteoldrdn, found `yes`"],
        ),
        (
            "dn: cn=a\nchangetype: modrdn\ndeleteoldrdn: 1\n",
            &["!t:3: expected `newrdn:`, found `deleteoldrdn: 1`"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text.as_bytes()), *expected, "{text}");
    }
}

#[test]
fn lines_keep_their_numbers_across_chunks_and_long_records_are_left_out() {
    let mut text = String::new();
    let mut expected = Vec::new();
    let mut line = 1;
    for number in 0..60 {
        if number % 20 == 7 {
            expected.push(format!(
                "!t:{line}: expected a record of at most 400 bytes, found a longer one"
            ));
            let long = format!("dn: cn={number}\n{}\n", "cn: aaaaaaaaaaaaaaa\n".repeat(100));
            line += long.matches('\n').count();
            text.push_str(&long);
        }
        expected.push(format!("{line}: content cn={number} cn={number}"));
        text.push_str(&format!("dn: cn={number}\ncn: {number}\n\n"));
        line += 3;
    }
    for (chunk_bytes, text) in [(7, text.clone()), (100, text.clone()), (64, text.replace('\n', "\r\n"))] {
        let mut reader = LdifReader::new("t", text.as_bytes());
        reader.chunks = Chunks::with_sizes("t", text.as_bytes(), chunk_bytes, 400);
        let got: Vec<String> = reader.map(|item| show(&item)).collect();
        assert_eq!(got, expected, "chunks of {chunk_bytes}");
    }
}

#[test]
fn a_failing_read_is_a_fault_and_the_end() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("disk on fire"))
        }
    }
    let items: Vec<String> = LdifReader::new("t", (&b"dn: cn=a\ncn: a\n"[..]).chain(Failing))
        .map(|item| show(&item))
        .collect();
    assert_eq!(items, ["!t:3: expected to read on, but the system said: disk on fire"]);
}

#[test]
fn too_many_attributes_are_a_fault() {
    let lines: String = (0..=ATTRIBUTES_LIMIT).map(|number| format!("a{number}: x\n")).collect();
    let got = read(format!("dn: cn=a\n{lines}").as_bytes());
    assert_eq!(
        got,
        [format!(
            "!t:{}: expected at most 1000 attributes in a record",
            ATTRIBUTES_LIMIT + 2
        )]
    );
}

#[test]
fn writes_what_the_rfc_asks() {
    let cases: &[(&str, &[u8], &str)] = &[
        ("cn", b"a b", "cn: a b\n"),
        ("cn", b"", "cn:\n"),
        ("cn", b" a", "cn:: IGE=\n"),
        ("cn", b"a ", "cn:: YSA=\n"),
        ("cn", b":a", "cn:: OmE=\n"),
        ("cn", b"<a", "cn:: PGE=\n"),
        ("cn", b"a:<", "cn: a:<\n"),
        ("cn;lang-en", "é".as_bytes(), "cn;lang-en:: w6k=\n"),
        ("cn", b"a\nb", "cn:: YQpi\n"),
        ("cn", b"a\0b", "cn:: YQBi\n"),
    ];
    for (description, value, expected) in cases {
        let mut writer = LdifWriter::new(Vec::new());
        writer.value(description, value).unwrap();
        assert_eq!(String::from_utf8(writer.into_inner()).unwrap(), *expected);
    }
    let mut writer = LdifWriter::new(Vec::new());
    writer.value("cn", &[b'x'; 72]).unwrap();
    writer.value("cn", &[b'x'; 73]).unwrap();
    writer.value("cn", &[b'x'; 72 + 75 + 1]).unwrap();
    let text = String::from_utf8(writer.into_inner()).unwrap();
    let lengths: Vec<usize> = text.lines().map(str::len).collect();
    assert_eq!(lengths, [76, 76, 2, 76, 76, 2]);
}

#[test]
fn what_is_written_reads_back() {
    let mut random = Random::from_environment();
    for _ in 0..500 {
        let mut text = LdifWriter::new(Vec::new());
        text.version().unwrap();
        let mut entries = Vec::new();
        for number in 0..random.below(4) {
            let mut entry = Entry::new(Dn::from_rdns(vec![Rdn::new(
                "cn",
                random.octets_of(b"a ,\xc3\xa9", 60),
            )]));
            entry.push("objectClass", format!("c{number}"));
            for _ in 0..random.below(6) {
                let name = random.pick(&["cn", "sn;lang-en", "2.5.4.3"]).to_string();
                let description = crate::model::AttributeDescription::parse(&name).unwrap();
                let value = random.octets_of(b"ab :<\n\r\0\xc3\xa9-#", 120);
                entry.find_or_insert(&description).values.push(value);
            }
            text.entry(&entry).unwrap();
            entries.push(entry);
        }
        let text = text.into_inner();
        let back: Vec<Entry> = LdifReader::new("t", text.as_slice())
            .map(|item| match item.unwrap().operation {
                LdifOperation::Content(entry) => entry,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(back, entries, "SEED={}", random.seed);
    }
}

#[test]
fn no_octets_stop_the_reader() {
    let mut random = Random::from_environment();
    let pieces = [
        "dn: cn=a\n",
        "cn: x\n",
        "\n",
        " ",
        "\r",
        "#",
        ":",
        "::",
        ":<",
        "changetype: modify\n",
        "add: cn\n",
        "-\n",
        "\0",
        "é",
    ];
    for _ in 0..5_000 {
        let text: String = (0..random.below(16)).map(|_| *random.pick(&pieces)).collect();
        let chunks = Chunks::with_sizes("t", text.as_bytes(), 1 + random.below(8), 20);
        for chunk in chunks.flatten() {
            assert!(chunk.records("t").count() <= text.len());
        }
    }
}

#[test]
fn controls_are_read_with_criticality_and_value() {
    let text = b"dn: cn=a\ncontrol: 1.2.840.113556.1.4.805 true\ncontrol: 1.2.3\ncontrol: 1.2.4: te xt\n\
        control: 1.2.5 false:: AP8=\nchangetype: delete\n";
    let record = LdifReader::new("t", &text[..]).next().unwrap().unwrap();
    let control = |line, oid: &str, critical, value: Option<&[u8]>| LdifControl {
        line,
        oid: oid.to_owned(),
        critical,
        value: value.map(<[u8]>::to_vec),
    };
    let expected = vec![
        control(2, "1.2.840.113556.1.4.805", true, None),
        control(3, "1.2.3", false, None),
        control(4, "1.2.4", false, Some(b"te xt")),
        control(5, "1.2.5", false, Some(&[0, 255])),
    ];
    assert_eq!(record.controls, expected);
    let many = format!("dn: cn=a\n{}changetype: delete\n", "control: 1.2\n".repeat(33));
    assert_eq!(
        read(many.as_bytes()),
        ["!t:34: expected at most 32 controls, found more"]
    );
}

/// RFC 2849 `value-spec`, where the reader is told how to get at them.
#[test]
fn values_are_elsewhere() {
    fn fetch(url: &str) -> Result<Vec<u8>, String> {
        match url {
            "file:///big" => Ok(vec![b'x'; RECORD_BYTES_LIMIT / 2 + 1]),
            "file:///none" => Err("no such file".to_owned()),
            url => Ok(url.as_bytes().to_vec()),
        }
    }
    let text = "dn: cn=a\ncn:<  file:///1 \ncn: 2\n\ndn: cn=b\nchangetype: modify\nadd: sn\nsn:< file:///3\n-\n\n\
                dn: cn=c\ncn: c\nsn:< file:///none\n\ndn: cn=d\ncn:< file:///big\nsn:< file:///big\n\n\
                dn:< file:///1\ncn: 1\n";
    let chunk = Chunk {
        first_line: 1,
        text: text.as_bytes().to_vec(),
    };
    let records: Vec<String> = chunk.records("t").fetching(fetch).map(|item| show(&item)).collect();
    assert_eq!(
        records,
        [
            "1: content cn=a cn=file:///1|2",
            "5: modify cn=b Add sn=file:///3",
            "!t:13: sn: no such file",
            "!t:17: expected at most 33554432 bytes from elsewhere in a record, found more",
            "!t:19: expected the value of dn in the file (`dn::` and base64), found `:<`, which is not read",
        ]
    );
}

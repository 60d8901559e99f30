use super::*;
use crate::cli::{export, init};
use crate::model::Filter;
use clap::Parser;

/// A directory of one test, with its configuration.
struct Room {
    directory: tempfile::TempDir,
}

#[derive(Parser)]
struct ImportLine {
    #[command(flatten)]
    arguments: Arguments,
}

#[derive(Parser)]
struct ExportLine {
    #[command(flatten)]
    arguments: export::Arguments,
}

impl Room {
    fn new() -> Room {
        let room = Room {
            directory: tempfile::tempdir().unwrap(),
        };
        init::create(&room.place().setting().unwrap(), &["o=nhs".to_owned()], true).unwrap();
        room
    }

    fn data(&self) -> String {
        self.directory.path().join("data").display().to_string()
    }

    fn place(&self) -> Place {
        Place {
            data: Some(self.data().into()),
            config: None,
        }
    }

    fn file(&self, text: &str) -> String {
        let path = self.directory.path().join("given.ldif");
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    fn import(&self, text: &str, flags: &[&str]) -> anyhow::Result<Answer> {
        let file = self.file(text);
        let data = self.data();
        let words = ["import", "--data", &data, &file]
            .into_iter()
            .chain(flags.iter().copied());
        run(ImportLine::parse_from(words).arguments)
    }

    fn export(&self, flags: &[&str]) -> String {
        let out = self.directory.path().join("out.ldif").display().to_string();
        let data = self.data();
        let words = ["export", "--data", &data, "--out", &out]
            .into_iter()
            .chain(flags.iter().copied());
        assert_eq!(
            export::run(ExportLine::parse_from(words).arguments).unwrap(),
            Answer::Done
        );
        std::fs::read_to_string(out).unwrap()
    }

    /// The names below ou=People that a filter is true of.
    fn people(&self, filter: &str) -> Vec<String> {
        Filter::parse(filter).unwrap();
        let text = self.export(&["--base", "ou=People,o=nhs", "--filter", filter]);
        let names = text.lines().filter_map(|line| line.strip_prefix("dn: uid="));
        names.map(|name| name.split(',').next().unwrap().to_owned()).collect()
    }
}

fn person(uid: &str) -> String {
    format!("dn: uid={uid},ou=People,o=nhs\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: {uid}\nsn: S\n\n")
}

#[test]
fn entries_come_in_any_order_and_names_of_init_may_come_again() {
    let room = Room::new();
    let child = person("2").replace("ou=People,o=nhs", "uid=1,ou=People,o=nhs");
    let containers = "dn: o=nhs\nobjectClass: organization\no: nhs\ndescription: new\n\ndn: ou=People,o=nhs\nobjectClass: organizationalUnit\nou: People\n\n";
    let text = format!("{child}{}{containers}", person("1"));
    assert_eq!(room.import(&text, &[]).unwrap(), Answer::Done);
    assert_eq!(room.people("(sn=s)"), ["1", "2"]);
    let all = room.export(&[]);
    assert!(
        all.starts_with("dn: o=nhs\nobjectClass: organization\no: nhs\ndescription: new\n\n"),
        "{all}"
    );
    assert!(
        all.contains("dn: ou=Applications,o=nhs\n"),
        "what init made and the file lacks stays: {all}"
    );
    // What was exported loads again, and comes out the same.
    assert_eq!(room.import(&all, &["--replace"]).unwrap(), Answer::Done);
    assert_eq!(room.export(&[]), all);
}

#[test]
fn names_are_spelled_as_the_server_spells_them() {
    let room = Room::new();
    let text = "dn: OU=Pe,o=NHS\nobjectClass: organizationalUnit\nou: Pe\n\n\
                dn: 2.5.4.3=A, ou=pe,O=nhs\nobjectClass: groupOfNames\ncn: A\nmember: UID=1;ou=\"people\", o=NHS\n\n\
                dn: cn=B\\, c,cn=a,ou=PE,o=nhs\nobjectClass: device\ncn: B, c\n\n";
    assert_eq!(room.import(text, &[]).unwrap(), Answer::Done);
    let all = room.export(&["--filter", "(|(ou=pe)(cn=*))"]);
    let names: Vec<&str> = all.lines().filter(|line| line.starts_with("dn:")).collect();
    assert_eq!(
        names,
        [
            "dn: ou=Pe,o=nhs",
            "dn: cn=A,ou=Pe,o=nhs",
            "dn: cn=B\\, c,cn=A,ou=Pe,o=nhs"
        ]
    );
    assert!(all.contains("\nmember: uid=1,ou=people,o=NHS\n"), "{all}");
}

#[test]
fn values_are_read_from_files() {
    let room = Room::new();
    let photo = room.directory.path().join("a photo");
    std::fs::write(&photo, b"\xff\xd8\n").unwrap();
    let url = format!("file://{}", photo.display()).replace(' ', "%20");
    let with = |url: &str| person("1").replace("sn: S\n", &format!("sn: S\njpegPhoto:< {url}\n"));
    for bad in [
        "file:///no/such/file",
        "file:///",
        "http://localhost/x",
        "file://elsewhere/x",
    ] {
        assert_eq!(room.import(&with(bad), &[]).unwrap(), Answer::No, "{bad}");
    }
    assert_eq!(room.import(&with(&url), &[]).unwrap(), Answer::Done);
    assert!(room.export(&[]).contains("\njpegPhoto:: /9gK\n"));
    let change = format!("dn: uid=1,ou=People,o=nhs\nchangetype: modify\nadd: description\ndescription:< {url}\n-\n");
    std::fs::write(&photo, "words").unwrap();
    assert_eq!(room.import(&change, &[]).unwrap(), Answer::Done);
    assert!(room.export(&[]).contains("\ndescription: words\n"));
}

#[test]
fn nothing_is_written_unless_all_is_good() {
    let bad = [
        "dn: uid=9,ou=People,o=nhs\nobjectClass: inetOrgPerson\nuid: 9\ncn: 9\n\n".to_owned(),
        person("8").replace("sn: S", "sn: S\nnoSuchType: 1"),
        person("8").replace("sn: S", "sn: S\nsn S"),
        person("8").replace("sn: S", "sn: S\ndescription;foo: x"),
        person("8").replace("ou=People", "ou=Nowhere"),
        person("8").replace("o=nhs", "o=elsewhere"),
        person("8").replace(
            "sn: S",
            "sn: S\nuserPassword: {SSHA}bm90IGEgaGFzaCBvZiBhbnl0aGluZyAuLi4u",
        ),
        person("8").replace("sn: S", "sn: S\nentryUUID: 12"),
        person("1"),
        "dn: uid=1,ou=People,o=nhs\nchangetype: delete\n\n".to_owned(),
    ];
    for bad in bad {
        let room = Room::new();
        let text = format!("{}{bad}{}", person("1"), person("2"));
        assert_eq!(room.import(&text, &[]).unwrap(), Answer::No, "{bad}");
        assert_eq!(room.people("(sn=*)"), [] as [&str; 0], "{bad}");
        assert_eq!(room.import(&text, &["--skip-bad"]).unwrap(), Answer::No, "{bad}");
        assert_eq!(room.people("(sn=*)"), ["1", "2"], "{bad}");
    }
}

#[test]
fn entries_are_added_to_those_of_before() {
    let room = Room::new();
    assert_eq!(room.import(&person("1"), &[]).unwrap(), Answer::Done);
    assert_eq!(room.import(&person("2"), &[]).unwrap(), Answer::Done);
    assert_eq!(room.people("(sn=*)"), ["1", "2"]);
    assert_eq!(room.import(&person("2"), &[]).unwrap(), Answer::No);
    assert_eq!(room.import(&person("3"), &["--replace"]).unwrap(), Answer::Done);
    assert_eq!(room.people("(sn=*)"), ["3"]);
    assert_eq!(
        room.import("\n", &[]).unwrap(),
        Answer::No,
        "an empty file is no import"
    );
}

#[test]
fn what_another_server_kept_is_taken_over_or_left_out() {
    let room = Room::new();
    let kept = "entryUUID: 597ae2f6-16a6-1027-98f4-d28b5365dc14\ncreateTimestamp: 20200102030405Z\nmodifyTimestamp: 20210102030405Z\ncreatorsName: cn=admin,o=nhs\nmodifiersName: cn=feed,o=nhs\nentryCSN: 20210102030405.000017Z#000000#000#000000\n";
    let left_out = "structuralObjectClass: inetOrgPerson\nhasSubordinates: FALSE\nsubschemaSubentry: cn=Subschema\npwdChangedTime: 20210102030405Z\n";
    let text = person("1").trim_end().to_owned() + "\n" + kept + left_out;
    assert_eq!(room.import(&text, &[]).unwrap(), Answer::Done);
    let exported = room.export(&["--filter", "(uid=1)", "--operational"]);
    for line in kept.lines() {
        assert!(exported.contains(line), "{line} is not in {exported}");
    }
    assert!(!exported.contains("pwdChangedTime"));
}

fn bind_with(room: &Room, secret: &str) -> Result<(), crate::model::ResultCode> {
    let directory = Directory::open(room.place().setting().unwrap().directory_options().unwrap()).unwrap();
    let source = Arc::new(crate::model::Source {
        address: crate::model::Address::Tcp(([127, 0, 0, 1], 1).into()),
        tls: None,
        connection: 1,
        sessions: Vec::new(),
    });
    let secret = crate::account::Secret::new(secret.as_bytes().to_vec());
    let bound = crate::cli::block_on(async { anyhow::Ok(directory.bind("pas", secret, b"", &source).await) });
    bound.unwrap().map(|_| ()).map_err(|outcome| outcome.code)
}

#[test]
fn accounts_are_taken_over_and_their_secrets_stay_inside() {
    let room = Room::new();
    // {SSHA} of "correct horse battery staple" with salt "salt".
    let hash = "{SSHA}396MbBWXRxNekvZdjsTMJL2vMJtzYWx0";
    let account = |secret: &str| {
        format!(
            "dn: cn=pas,ou=Applications,o=nhs\nobjectClass: applicationProcess\nobjectClass: nhsdirAccount\ncn: pas\nnhsdirRole: reader\nuserPassword: {secret}\n\n"
        )
    };
    assert_eq!(room.import(&account("in clear text"), &[]).unwrap(), Answer::No);
    assert_eq!(room.import(&account(hash), &[]).unwrap(), Answer::Done);
    let exported = room.export(&[]);
    assert!(exported.contains("dn: cn=pas,ou=Applications,o=nhs\n"));
    assert!(
        !exported.contains("userPassword") && !exported.contains("SSHA"),
        "{exported}"
    );
    assert_eq!(bind_with(&room, "correct horse battery staple"), Ok(()));
    assert_eq!(
        bind_with(&room, "correct horse battery stable"),
        Err(crate::model::ResultCode::InvalidCredentials)
    );
    // Replacing the directory keeps the account; an entry that is left out brings no secret.
    let other = "{SSHA}AAAAAAAAAAAAAAAAAAAAAAAAAAAAc2FsdA==";
    assert_eq!(room.import(&person("2"), &[]).unwrap(), Answer::Done);
    assert_eq!(
        room.import(&format!("{}{}", person("3"), account(other)), &["--skip-bad"])
            .unwrap(),
        Answer::No
    );
    assert_eq!(bind_with(&room, "correct horse battery staple"), Ok(()));
    assert_eq!(room.import(&person("1"), &["--replace"]).unwrap(), Answer::Done);
    assert!(room.export(&[]).contains("dn: cn=pas,ou=Applications,o=nhs\n"));
}

#[test]
fn changes_are_applied_in_their_order() {
    let room = Room::new();
    assert_eq!(
        room.import(&format!("{}{}", person("1"), person("2")), &[]).unwrap(),
        Answer::Done
    );
    let changes = "dn: uid=1,ou=People,o=nhs\nchangetype: modify\nreplace: sn\nsn: T\n-\n\ndn: uid=2,ou=People,o=nhs\nchangetype: delete\n\ndn: uid=1,ou=People,o=nhs\nchangetype: modrdn\nnewrdn: uid=7\ndeleteoldrdn: 1\n\n";
    assert_eq!(room.import(changes, &[]).unwrap(), Answer::Done);
    assert_eq!(room.people("(sn=T)"), ["7"]);
    assert_eq!(room.people("(sn=S)"), [] as [&str; 0]);
    assert_eq!(room.import(changes, &[]).unwrap(), Answer::No, "the names are gone");
}

#[test]
fn a_directory_in_use_is_said() {
    let room = Room::new();
    let directory = Directory::open(room.place().setting().unwrap().directory_options().unwrap()).unwrap();
    let error = room.import(&person("1"), &[]).unwrap_err();
    drop(directory);
    let text = format!("{error:#}");
    assert!(
        text.contains("stop the server first") && text.contains("is in use"),
        "{text}"
    );
    let words = ["import", "--data", "x", "/nowhere/at/all.ldif"];
    let arguments = ImportLine::parse_from(words).arguments;
    assert!(Source::open(&arguments.files[0]).is_err());
}

/// Asked of what is loaded as of every change: by file and line, against what came before in the files and what is there.
#[test]
fn values_that_are_to_be_unique_are_given_once() {
    let room = Room::new();
    let settings =
        "[integrity]\nunique = [{ attribute = \"uid\" }, { attribute = \"mail\", base = \"ou=People,o=nhs\" }]\n";
    std::fs::write(room.directory.path().join("data/nhsdir.toml"), settings).unwrap();
    let person = |uid: &str, cn: &str, mail: &str| {
        format!(
            "dn: cn={cn},ou=People,o=nhs\nobjectClass: inetOrgPerson\ncn: {cn}\nsn: X\nuid: {uid}\nmail: {mail}\n\n"
        )
    };
    let twice = person("a", "A", "a@x.example") + &person("b", "B", "A@X.example") + &person(" A", "C", "c@x.example");
    assert_eq!(room.import(&twice, &[]).unwrap(), Answer::No);
    assert!(!room.export(&[]).contains("cn=A,"), "nothing was written");
    assert_eq!(room.import(&twice, &["--skip-bad"]).unwrap(), Answer::No);
    let names = |room: &Room| {
        let all = room.export(&[]);
        ["A", "B", "C", "D", "E"]
            .map(|cn| all.contains(&format!("dn: cn={cn},")))
            .to_vec()
    };
    assert_eq!(names(&room), [true, false, false, false, false]);
    // Against what is there; the same values elsewhere are not in the base of the second rule.
    let elsewhere = "dn: cn=E,ou=Lists,o=nhs\nobjectClass: account\nobjectClass: extensibleObject\ncn: E\nuid: e\nmail: a@x.example\n\n";
    assert_eq!(room.import(&person("a", "D", "d@x.example"), &[]).unwrap(), Answer::No);
    assert_eq!(room.import(elsewhere, &[]).unwrap(), Answer::Done);
    assert_eq!(names(&room), [true, false, false, false, true]);
    // What is replaced holds nothing any more.
    assert_eq!(
        room.import(&person("a", "D", "a@x.example"), &["--replace"]).unwrap(),
        Answer::Done
    );
    assert_eq!(names(&room), [false, false, false, true, false]);
}

/// RFC 4511 section 4.7, and slapadd: what a name says, the entry has.
#[test]
fn a_naming_value_that_is_missing_is_completed() {
    let room = Room::new();
    let text = "dn: OU=Lists,o=nhs\nobjectClass: organizationalUnit\n\n\
                dn: cn=a+sn=b,ou=lists,o=nhs\nobjectClass: person\ncn: a\n\n";
    assert_eq!(room.import(text, &[]).unwrap(), Answer::Done);
    let exported = room.export(&[]);
    assert!(
        exported.contains("dn: ou=Lists,o=nhs\nobjectClass: organizationalUnit\nou: Lists\n"),
        "{exported}"
    );
    assert!(exported.contains("\nsn: b\n"), "{exported}");
}

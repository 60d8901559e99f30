//! Who gets in, by every way in, in every state of an account.

use crate::general;
use crate::server::{BASE, Place, Server, found, search_code};
use ldap3::controls::RawControl;
use ldap3::exop::{PasswordModify, PasswordModifyResp, WhoAmI, WhoAmIResp};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapResult, Mod, Scope};
use std::io::{Read, Write};
use std::sync::Arc;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, StreamOwned};

const APP: &str = "cn=app,ou=Applications,o=nhs";
const INVALID_CREDENTIALS: u32 = 49;
const UNWILLING: u32 = 53;
const NO_SUCH_OBJECT: u32 = 32;
const INSUFFICIENT: u32 = 50;

/// A client certificate that the server's configuration trusts.
struct Badge {
    certificate: rcgen::Certificate,
    key: rcgen::KeyPair,
}

impl Badge {
    fn new() -> Badge {
        Badge::until(None)
    }

    fn until(end: Option<std::time::SystemTime>) -> Badge {
        let mut parameters = rcgen::CertificateParams::new(vec!["app".to_owned()]).unwrap();
        parameters.is_ca = rcgen::IsCa::ExplicitNoCa;
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        if let Some(end) = end {
            parameters.not_after = end.into();
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = parameters.self_signed(&key).unwrap();
        Badge { certificate, key }
    }

    fn fingerprint(&self) -> String {
        use sha2::Digest;
        let digest = sha2::Sha256::digest(self.certificate.der());
        digest.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    fn worn(&self, server: &Server) -> ClientConfig {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        ClientConfig::builder()
            .with_root_certificates(server.roots())
            .with_client_auth_cert(vec![self.certificate.der().clone()], key)
            .unwrap()
    }
}

/// A server that trusts the badge, with the account `app` that it maps to, and the account's secret.
fn server(badge: &Badge) -> (Server, String) {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let trusted = place.folder().join("clients.pem");
    std::fs::write(&trusted, badge.certificate.pem()).unwrap();
    let config = format!(
        "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n[tls]\nclient_authorities = {:?}\n",
        trusted.to_str().unwrap()
    );
    std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
    let fingerprint = badge.fingerprint();
    let facts = ["--certificate", &fingerprint, "--mail", "app@example.nhs.uk"];
    place.succeed(&[&["account", "set", "app"][..], &facts].concat(), "");
    (place.serve(), secret)
}

async fn connect(server: &Server, config: ClientConfig) -> Ldap {
    let settings = LdapConnSettings::new().set_config(Arc::new(config));
    let (connection, ldap) = LdapConnAsync::with_settings(settings, &server.url).await.unwrap();
    tokio::spawn(async move {
        // The server may close first.
        let _ = connection.drive().await;
    });
    ldap
}

/// A raw connection: requests made by hand.
pub struct Raw(StreamOwned<ClientConnection, std::net::TcpStream>);

impl Raw {
    pub fn open(server: &Server) -> Raw {
        let address = server.url.strip_prefix("ldaps://").unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let connection = ClientConnection::new(Arc::new(server.trust()), name).unwrap();
        Raw(StreamOwned::new(
            connection,
            std::net::TcpStream::connect(address).unwrap(),
        ))
    }

    /// Sends a request and gives the result code of the answer.
    pub fn ask(&mut self, id: u8, operation: &[u8]) -> u8 {
        self.send(&[&[0x02, 1, id][..], operation].concat());
        let body = self.message();
        assert_eq!(&body[..3], [0x02, 1, id]);
        // The answer's tag and length, ENUMERATED, one octet.
        body[7]
    }

    /// Sends a message with these contents.
    pub fn send(&mut self, body: &[u8]) {
        self.0.write_all(&element(0x30, body)).unwrap();
    }

    /// Everything that comes until the server has been silent for two seconds, or has closed.
    pub fn rest(&mut self) -> Vec<u8> {
        let patience = Some(std::time::Duration::from_secs(2));
        self.0.sock.set_read_timeout(patience).unwrap();
        let (mut all, mut octets) = (Vec::new(), vec![0; 1 << 16]);
        while let Ok(count @ 1..) = self.0.read(&mut octets) {
            all.extend_from_slice(&octets[..count]);
        }
        all
    }

    /// The contents of the next message.
    pub fn message(&mut self) -> Vec<u8> {
        let mut header = [0; 2];
        self.0.read_exact(&mut header).unwrap();
        let mut body = vec![0; usize::from(header[1])];
        self.0.read_exact(&mut body).unwrap();
        body
    }
}

/// One BER element of at most 255 octets.
pub fn element(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = u8::try_from(body.len()).unwrap();
    let header = match length {
        0..0x80 => vec![tag, length],
        _ => vec![tag, 0x81, length],
    };
    [&header, body].concat()
}

fn sasl(mechanism: &str, credentials: Option<&[u8]>) -> Vec<u8> {
    let mut inner = element(0x04, mechanism.as_bytes());
    inner.extend(credentials.map(|octets| element(0x04, octets)).unwrap_or_default());
    element(0x60, &[&[0x02, 1, 3, 0x04, 0][..], &element(0xa3, &inner)].concat())
}

pub fn plain(authorization: &str, name: &str, secret: &str) -> Vec<u8> {
    sasl("PLAIN", Some(format!("{authorization}\0{name}\0{secret}").as_bytes()))
}

fn who_am_i() -> Vec<u8> {
    element(0x77, &element(0x80, b"1.3.6.1.4.1.4203.1.11.3"))
}

/// What each way in comes to: simple by DN, name and mail, PLAIN by DN and name, EXTERNAL.
async fn ways_in(server: &Server, badge: &Badge, secret: &str) -> Vec<u32> {
    let mut codes = Vec::new();
    for name in [APP, "app", "APP@example.nhs.uk"] {
        let mut ldap = server.connect().await;
        codes.push(ldap.simple_bind(name, secret).await.unwrap().rc);
    }
    for name in [APP, "app"] {
        codes.push(u32::from(Raw::open(server).ask(1, &plain("", name, secret))));
    }
    let mut ldap = connect(server, badge.worn(server)).await;
    codes.push(ldap.sasl_external_bind().await.unwrap().rc);
    codes
}

/// Every state that refuses an account refuses it on every way in, and ends the sessions and remembered binds of before.
#[tokio::test]
async fn a_refused_account_is_refused_on_every_path() {
    let badge = Badge::new();
    let (server, mut secret) = server(&badge);
    let states: [(&[&str], &[&str]); 2] = [
        (&["account", "disable", "app"], &["account", "enable", "app"]),
        (
            &["account", "expire", "app", "2020-01-01"],
            &["account", "expire", "app", "never"],
        ),
    ];
    for (refuse, allow) in states {
        assert_eq!(ways_in(&server, &badge, &secret).await, [0; 6], "before {refuse:?}");
        let mut before = server.connect().await;
        before.simple_bind("app", &secret).await.unwrap().success().unwrap();
        server.place.succeed(refuse, "");
        let change = PasswordModify {
            user_id: None,
            old_pass: Some(&secret),
            new_pass: None,
        };
        let changed = before.extended(change).await;
        assert!(
            !changed.is_ok_and(|answer| answer.1.rc == 0),
            "{refuse:?}: a session of before"
        );
        assert_eq!(
            ways_in(&server, &badge, &secret).await,
            [INVALID_CREDENTIALS; 6],
            "{refuse:?}"
        );
        server.place.succeed(allow, "");
    }
    // A secret that is no longer in force; a certificate has none.
    let old = secret.clone();
    let answer = server.place.succeed(&["account", "rotate", "app", "--json"], "");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    answer["secret"].as_str().unwrap().clone_into(&mut secret);
    assert_eq!(ways_in(&server, &badge, &old).await, [49, 49, 49, 49, 49, 0]);
    assert_eq!(ways_in(&server, &badge, &secret).await, [0; 6]);
    server.place.succeed(&["account", "delete", "app"], "");
    assert_eq!(ways_in(&server, &badge, &secret).await, [INVALID_CREDENTIALS; 6]);
}

/// A session goes no further than the secret it was bound with, also where that was given its end afterwards; with one that was put in
/// force later it goes on.
#[tokio::test]
async fn a_session_ends_with_its_secret() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    let server = place.serve();
    let rotate = ["account", "rotate", "app", "--keep-old", "3s", "--json"];
    let mut before = server.connect().await;
    before.simple_bind("app", &secret).await.unwrap().success().unwrap();
    let answer = server.place.succeed(&rotate, "");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    let mut next = server.connect().await;
    let new = answer["secret"].as_str().unwrap();
    next.simple_bind("app", new).await.unwrap().success().unwrap();
    assert_eq!(before.extended(WhoAmI).await.unwrap().1.rc, 0, "for now");
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert!(before.extended(WhoAmI).await.is_err(), "it was told to bind again");
    assert_eq!(next.extended(WhoAmI).await.unwrap().1.rc, 0);
}

/// What is under way when an account is taken back goes no further: neither a search that a slow client draws out, nor a refresh.
#[test]
fn a_running_search_ends_with_its_account() {
    let place = Place::filled();
    let secret = place.account("app", "reader");
    place.succeed(&["account", "set", "app", "--profile", "full"], "");
    let text = "x".repeat(8000);
    let device = |n| format!("dn: cn=d{n},ou=Lists,o=nhs\nobjectClass: device\ncn: d{n}\ndescription: {n} {text}\n\n");
    let devices: String = (0..5000).map(device).collect();
    place.succeed(&["import", "-"], &devices);
    let server = place.serve();
    let follow = element(
        0x30,
        &[
            element(0x04, b"1.3.6.1.4.1.4203.1.9.1.1"),
            element(0x01, &[0xff]),
            element(0x04, &element(0x30, &[0x0a, 1, 3])),
        ]
        .concat(),
    );
    for controls in [Vec::new(), element(0xa0, &follow)] {
        let mut raw = Raw::open(&server);
        assert_eq!(raw.ask(1, &plain("", "app", &secret)), 0);
        let parameters = [0x0a, 1, 2, 0x0a, 1, 0, 2, 1, 0, 2, 1, 0, 1, 1, 0];
        let filter = element(0x87, b"objectClass");
        let search = [&element(0x04, b"o=nhs")[..], &parameters, &filter, &[0x30, 0]].concat();
        raw.send(&[&[0x02, 1, 2][..], &element(0x63, &search), &controls].concat());
        std::thread::sleep(std::time::Duration::from_millis(500));
        server.place.succeed(&["account", "disable", "app"], "");
        let got = raw.rest();
        assert!(
            got.len() < devices.len() / 2,
            "{} octets of {}",
            got.len(),
            devices.len()
        );
        let end = &got[got.len() - 100..];
        assert!(
            end.windows(11).any(|text| text == b"was changed"),
            "{}",
            String::from_utf8_lossy(end)
        );
        server.place.succeed(&["account", "enable", "app"], "");
    }
}

/// To be refused without a secret costs a client nothing: it does not fill the disk so.
#[test]
fn a_flood_of_anonymous_binds_leaves_few_records() {
    let server = Place::filled().serve();
    let mut raw = Raw::open(&server);
    let anonymous = element(0x60, &[0x02, 1, 3, 0x04, 0, 0x80, 0]);
    for _ in 0..1000 {
        assert_eq!(raw.ask(1, &anonymous), 48);
    }
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(raw.ask(1, &anonymous), 48);
    let (place, _) = server.stop();
    let audit = std::fs::read_to_string(place.data().join("audit/00000001.jsonl")).unwrap();
    let records: Vec<&str> = audit.lines().filter(|line| line.contains("refused before")).collect();
    let seconds = 10;
    assert!((2..=20 * seconds).contains(&records.len()), "{}", records.len());
    let left_out = |line: &&str| {
        line.split("\"leftOut\":").nth(1).map_or(0, |rest| {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse::<usize>().unwrap()
        })
    };
    assert_eq!(records.len() + records.iter().map(left_out).sum::<usize>(), 1001);
}

/// An administrator who wants an account's secret changed first leaves no way around it.
/// A session of TLS may be resumed for hours, and a connection stays for days: the certificate behind both is looked at anew.
#[tokio::test]
async fn a_session_ends_with_its_certificate() {
    const LIFE: std::time::Duration = std::time::Duration::from_secs(10);
    let badge = Badge::until(Some(std::time::SystemTime::now() + LIFE));
    let (server, _) = server(&badge);
    let config = badge.worn(&server);
    let mut before = connect(&server, config.clone()).await;
    assert_eq!(before.sasl_external_bind().await.unwrap().rc, 0);
    assert_eq!(before.extended(WhoAmI).await.unwrap().1.rc, 0);
    tokio::time::sleep(LIFE + std::time::Duration::from_secs(1)).await;
    assert!(before.extended(WhoAmI).await.is_err(), "it was told to bind again");
    // The handshake is a resumed one, or it would be refused.
    let mut after = connect(&server, config).await;
    assert_eq!(after.sasl_external_bind().await.unwrap().rc, INVALID_CREDENTIALS);
}

#[tokio::test]
async fn a_certificate_is_no_way_around_a_reset() {
    let badge = Badge::new();
    let (server, _) = server(&badge);
    let reset = "reset by telephone 77";
    let rotate = ["account", "rotate", "app", "--must-change", "--secret-stdin"];
    server.place.succeed(&rotate, reset);
    let mut ldap = connect(&server, badge.worn(&server)).await;
    ldap.sasl_external_bind().await.unwrap().success().unwrap();
    assert_eq!(
        search_code(&mut ldap, BASE, Scope::Base, "(objectClass=*)").await,
        INSUFFICIENT
    );
    let change = PasswordModify {
        user_id: None,
        old_pass: Some(reset),
        new_pass: Some("a quite different one 88"),
    };
    assert_eq!(ldap.extended(change).await.unwrap().1.rc, 0);
    assert_eq!(search_code(&mut ldap, BASE, Scope::Base, "(objectClass=*)").await, 0);
}

/// T16: whom a client asks to be is looked at on every mechanism.
#[tokio::test]
async fn nobody_acts_as_another() {
    let badge = Badge::new();
    let (server, secret) = server(&badge);
    server.place.account("other", "administrator");
    for (authorization, code) in [
        ("", 0),
        ("app", 0),
        ("u:App", 0),
        ("u:app@example.nhs.uk", 0),
        (APP, 0),
        ("dn:CN=App, ou=applications,O=nhs", 0),
        ("dn:", 49),
        ("u:", 49),
        ("other", 49),
        ("u:other", 49),
        ("dn:cn=other,ou=Applications,o=nhs", 49),
        ("dn:cn=nobody,ou=Applications,o=nhs", 49),
        ("dn:app", 49),
    ] {
        for name in ["app", "u:app", "dn:cn=app,ou=Applications,o=nhs"] {
            let mut raw = Raw::open(&server);
            // Twice: the second is answered from memory.
            for id in 1..3 {
                assert_eq!(
                    raw.ask(id, &plain(authorization, name, &secret)),
                    code,
                    "{authorization} as {name}"
                );
                let bound = raw.ask(id + 10, &who_am_i()) == 0;
                assert_eq!(bound, code == 0, "{authorization} as {name}");
            }
        }
    }
}

/// RFC 4513 section 5.2: a bind that is half done is no identity; what comes between is refused and ends nothing.
#[tokio::test]
async fn a_bind_in_several_steps_gives_nothing_before_the_last() {
    let badge = Badge::new();
    let (server, secret) = server(&badge);
    let mut raw = Raw::open(&server);
    const OPERATIONS_ERROR: u8 = 1;
    const IN_PROGRESS: u8 = 14;
    assert_eq!(raw.ask(1, &plain("", "app", &secret)), 0);
    assert_eq!(raw.ask(2, &sasl("PLAIN", None)), IN_PROGRESS);
    assert_eq!(raw.ask(3, &who_am_i()), OPERATIONS_ERROR, "the old identity is gone");
    assert_eq!(raw.ask(4, &plain("", "app", &secret)), 0);
    assert_eq!(raw.ask(5, &who_am_i()), 0);
    // Another mechanism takes the place of the one in progress.
    assert_eq!(raw.ask(6, &sasl("PLAIN", None)), IN_PROGRESS);
    assert_eq!(raw.ask(7, &sasl("EXTERNAL", None)), 49);
    assert_ne!(raw.ask(8, &who_am_i()), 0);
    assert_eq!(raw.ask(9, &sasl("SCRAM-SHA-256", Some(b"n,,n=app"))), 7);
}

#[tokio::test]
async fn mechanisms_are_announced_where_they_may_succeed() {
    let badge = Badge::new();
    let (server, _) = server(&badge);
    for (config, expected) in [
        (server.trust(), vec!["PLAIN"]),
        (badge.worn(&server), vec!["EXTERNAL", "PLAIN"]),
    ] {
        let mut ldap = connect(&server, config).await;
        let root = found(
            &mut ldap,
            "",
            Scope::Base,
            "(objectClass=*)",
            &["supportedSASLMechanisms"],
        )
        .await;
        assert_eq!(root[0].attrs["supportedSASLMechanisms"], expected);
    }
}

#[tokio::test]
async fn password_modify_takes_every_form_of_a_user_identity() {
    let badge = Badge::new();
    let (server, secret) = server(&badge);
    let mut administrator = server.bound("administrator").await;
    let change = async |ldap: &mut Ldap, user: Option<&str>, old: Option<&str>, new: Option<&str>| {
        let request = PasswordModify {
            user_id: user,
            old_pass: old,
            new_pass: new,
        };
        let answer = ldap.extended(request).await.unwrap();
        let generated = answer
            .0
            .val
            .is_some()
            .then(|| answer.0.parse::<PasswordModifyResp>().gen_pass);
        (answer.1.rc, answer.1.text, generated)
    };
    let mut latest = secret;
    for user in [APP, "dn:CN=app,ou=Applications,o=nhs", "u:app", "app"] {
        let (rc, _, generated) = change(&mut administrator, Some(user), None, None).await;
        assert_eq!(rc, 0, "{user}");
        let generated = generated.unwrap();
        let mut ldap = server.connect().await;
        assert_eq!(
            ldap.simple_bind("app", &latest).await.unwrap().rc,
            INVALID_CREDENTIALS,
            "{user}"
        );
        assert_eq!(ldap.simple_bind("app", &generated).await.unwrap().rc, 0, "{user}");
        latest = generated;
    }
    for user in ["u:nobody", "dn:nonsense", "cn=nobody,ou=Applications,o=nhs"] {
        assert_eq!(
            change(&mut administrator, Some(user), None, None).await.0,
            NO_SUCH_OBJECT,
            "{user}"
        );
    }
    // The account itself.
    let mut app = server.connect().await;
    app.simple_bind("app", &latest).await.unwrap().success().unwrap();
    let (rc, text, _) = change(&mut app, None, Some(&latest), Some("short")).await;
    assert_eq!(rc, 19);
    assert!(text.contains("at least 20 characters"), "{text}");
    assert_eq!(change(&mut app, None, Some("wrong"), None).await.0, UNWILLING);
    assert_eq!(change(&mut app, None, None, None).await.0, INSUFFICIENT);
    for user in ["u:administrator", "u:nobody", "cn=administrator,ou=Applications,o=nhs"] {
        assert_eq!(
            change(&mut app, Some(user), Some(&latest), None).await.0,
            INSUFFICIENT,
            "{user}"
        );
    }
    let (rc, _, generated) = change(&mut app, Some("u:app"), Some(&latest), None).await;
    assert!(rc == 0 && generated.is_some());
    let who = app.extended(WhoAmI).await.unwrap().0.parse::<WhoAmIResp>().authzid;
    assert_eq!(who, format!("dn:{APP}"), "the connection that changed its own goes on");
    assert_eq!(
        found(&mut app, BASE, Scope::Base, "(objectClass=*)", &["1.1"])
            .await
            .len(),
        1
    );
}

/// As for an account, where whoever writes it may set the secret too. The path of the authorities goes by the configuration's folder.
#[tokio::test]
async fn an_entry_of_a_general_directory_binds_with_its_certificate() {
    use crate::server::set;
    use general::{ANN, modify, who};
    let badge = Badge::new();
    let clerk = format!("uid=clerk,ou=people,{}", general::BASE);
    let rules = format!(
        "rules = [{{ entry = \"{clerk}\", profile = \"clerk\" }}]\n[tls]\nclient_authorities = \"../clients.pem\"\n"
    );
    let place = general::place(&rules);
    std::fs::write(place.folder().join("clients.pem"), badge.certificate.pem()).unwrap();
    let server = place.serve();
    let mut manager = general::manager(&server).await;
    assert_eq!(general::person(&mut manager, &clerk, &["clerk"]).await.rc, 0);
    let external = async |server: &Server| {
        let mut ldap = connect(server, badge.worn(server)).await;
        let rc = ldap.sasl_external_bind().await.unwrap().rc;
        (ldap, rc)
    };
    let fingerprint = badge.fingerprint();
    let given = |fingerprint| {
        vec![
            Mod::Replace("objectClass", set(&["inetOrgPerson", "nhsdirAccount"])),
            Mod::Replace("nhsdirCertificate", set(&[fingerprint])),
        ]
    };
    let taken = || vec![Mod::Delete("nhsdirCertificate", set(&[]))];
    assert_eq!(external(&server).await.1, INVALID_CREDENTIALS);

    let mut clerk = general::bound(&server, &clerk, "clerk").await;
    assert_eq!(modify(&mut clerk, ANN, given(&fingerprint)).await, INSUFFICIENT);
    let by_oid = vec![Mod::Add(
        "2.25.13339730486233952549691655553998780202.1.10",
        set(&[fingerprint.as_str()]),
    )];
    assert_eq!(modify(&mut clerk, ANN, by_oid).await, INSUFFICIENT);
    let named = format!("nhsdirCertificate={fingerprint}");
    assert_eq!(clerk.modifydn(ANN, &named, true, None).await.unwrap().rc, INSUFFICIENT);
    let new = format!("{named},ou=people,{}", general::BASE);
    let classes = ("objectClass", set(&["account", "nhsdirAccount"]));
    let added = clerk.add(&new, vec![classes, ("uid", set(&["x"]))]);
    assert_eq!(added.await.unwrap().rc, INSUFFICIENT);
    assert_eq!(
        modify(&mut clerk, ANN, vec![Mod::Replace("title", set(&["x"]))]).await,
        0
    );

    server
        .place
        .succeed(&["account", "set", ANN, "--certificate", &fingerprint], "");
    for fact in [["--role", "writer"], ["--profile", "clerk"]] {
        let refused = server.place.run(&["account", "set", ANN, fact[0], fact[1]], "");
        assert!(!refused.status.success(), "{fact:?} says nothing of an entry");
    }
    let (mut ann, rc) = external(&server).await;
    assert_eq!(rc, 0);
    assert_eq!(who(&mut ann).await, format!("dn:{ANN}"));
    assert_eq!(
        modify(&mut ann, ANN, vec![Mod::Replace("sn", set(&["X"]))]).await,
        INSUFFICIENT
    );
    assert_eq!(modify(&mut manager, ANN, taken()).await, 0);
    assert!(ann.extended(WhoAmI).await.is_err(), "its certificate is gone");
    assert_eq!(external(&server).await.1, INVALID_CREDENTIALS);
    let octets: Vec<&str> = (0..64).step_by(2).map(|at| &fingerprint[at..at + 2]).collect();
    let spelled = octets.join(":").to_uppercase();
    assert_eq!(modify(&mut manager, ANN, given(&spelled)).await, 0);

    let (place, _) = server.stop();
    place.succeed(&["compact"], "");
    let server = place.serve();
    let (mut ann, rc) = external(&server).await;
    assert_eq!(rc, 0, "after a compaction and a start");
    let mut manager = general::bound(&server, "cn=Manager,dc=example,dc=com", "secret").await;
    let twin = format!("uid=twin,ou=people,{}", general::BASE);
    assert_eq!(general::person(&mut manager, &twin, &[]).await.rc, 0);
    assert_eq!(modify(&mut manager, &twin, given(&fingerprint)).await, 0);
    assert_eq!(external(&server).await.1, INVALID_CREDENTIALS, "it is two entries'");
    manager.delete(&twin).await.unwrap().success().unwrap();
    assert_eq!(external(&server).await.1, 0);
    let disable = vec![Mod::Add("nhsdirDisabled", set(&["TRUE"]))];
    assert_eq!(modify(&mut manager, ANN, disable).await, 0);
    assert!(ann.extended(WhoAmI).await.is_err());
    assert_eq!(external(&server).await.1, INVALID_CREDENTIALS);
}

/// RFC 3829: who asks with a bind is told whom it came to, by whatever name and way; who does not bind is told nothing.
#[tokio::test]
async fn a_bind_says_whom_it_came_to() {
    const ASK: &str = "2.16.840.1.113730.3.4.16";
    const TOLD: &str = "2.16.840.1.113730.3.4.15";
    let ask = |value: Option<&[u8]>| RawControl {
        ctype: ASK.to_owned(),
        crit: true,
        val: value.map(<[u8]>::to_vec),
    };
    let told = |answer: &LdapResult| {
        let value = answer.ctrls.iter().find(|control| control.1.ctype == TOLD)?;
        Some(String::from_utf8(value.1.val.clone().unwrap()).unwrap())
    };
    let badge = Badge::new();
    let (server, secret) = server(&badge);
    let mut ldap = server.connect().await;
    // The second bind with a secret finds it remembered.
    for name in ["app", "APP@example.nhs.uk", "CN=App, OU=applications,o=NHS", "app"] {
        let answer = ldap.with_controls(ask(None)).simple_bind(name, &secret).await.unwrap();
        assert_eq!((answer.rc, told(&answer)), (0, Some(format!("dn:{APP}"))), "{name}");
    }
    let answer = ldap.simple_bind("app", &secret).await.unwrap();
    assert_eq!((answer.rc, told(&answer)), (0, None), "nobody asked");
    for (name, secret) in [("app", "wrong"), ("nobody", secret.as_str())] {
        let answer = ldap.with_controls(ask(None)).simple_bind(name, secret).await.unwrap();
        assert_eq!((answer.rc, told(&answer)), (INVALID_CREDENTIALS, None), "{name}");
    }
    let mut worn = connect(&server, badge.worn(&server)).await;
    let answer = worn.with_controls(ask(None)).sasl_external_bind().await.unwrap();
    assert_eq!((answer.rc, told(&answer)), (0, Some(format!("dn:{APP}"))));

    let (protocol_error, critical) = (2, 12);
    // Netscape's Java SDK writes an empty value where there is none.
    for (value, code) in [(&b""[..], 0), (b"x", protocol_error)] {
        let answer = ldap
            .with_controls(ask(Some(value)))
            .simple_bind("app", &secret)
            .await
            .unwrap();
        assert_eq!(answer.rc, code, "the control has no value: {value:?}");
    }
    let search = worn
        .with_controls(ask(None))
        .search(BASE, Scope::Base, "(objectClass=*)", vec!["1.1"]);
    assert_eq!(search.await.unwrap().1.rc, critical, "it is for binds");
}

/// The result code of the next answer of less than 128 octets.
fn answered(stream: &mut impl Read) -> u8 {
    let mut header = [0; 2];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(header[1])];
    stream.read_exact(&mut body).unwrap();
    body[7]
}

/// Who the peer is the process's credentials say, within TLS as without.
#[test]
fn tls_is_started_on_the_unix_socket_too() {
    let server = Place::filled().serve();
    let mut clear = std::os::unix::net::UnixStream::connect(server.place.data().join("ldapi")).unwrap();
    let message = |id, operation: &[u8]| element(0x30, &[&[2, 1, id][..], operation].concat());
    let external = sasl("EXTERNAL", None);
    clear.write_all(&message(1, &external)).unwrap();
    assert_eq!(answered(&mut clear), 0);
    let start_tls = element(0x77, &element(0x80, b"1.3.6.1.4.1.1466.20037"));
    clear.write_all(&message(2, &start_tls)).unwrap();
    assert_eq!(answered(&mut clear), 0);
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(server.trust()), name).unwrap();
    let mut stream = StreamOwned::new(connection, clear);
    let delete = element(0x4a, b"uid=none,o=nhs");
    stream.write_all(&message(3, &delete)).unwrap();
    assert_eq!(answered(&mut stream), 8, "nobody is bound any more");
    stream.write_all(&message(4, &external)).unwrap();
    assert_eq!(answered(&mut stream), 0);
    stream.write_all(&message(5, &delete)).unwrap();
    assert_eq!(u32::from(answered(&mut stream)), NO_SUCH_OBJECT);
}

//! A server of our own for each test: made, filled, started and stopped through the built program.

use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, Scope, SearchEntry};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub const BASE: &str = "o=nhs";
pub const ANN: &str = "uid=000000000001,ou=People,o=nhs";
pub const ZOE: &str = "uid=000000000002,ou=People,o=nhs";
pub const BOB: &str = "uid=000000000003,ou=People,o=nhs";

/// A data directory made by `nhsdir init`.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// Empty but for its containers.
    pub fn empty() -> Place {
        let place = Place {
            folder: tempfile::Builder::new().prefix("nhsdir").tempdir().unwrap(),
        };
        place.succeed(&["init"], "");
        // Cheap secrets: these tests are not about argon2id.
        let config = "[accounts]\nargon2_memory_kib = 64\nargon2_iterations = 1\n";
        std::fs::write(place.data().join("nhsdir.toml"), config).unwrap();
        place
    }

    /// These naming contexts without entries.
    pub fn bare(suffixes: &[&str]) -> Place {
        let place = Place {
            folder: tempfile::Builder::new().prefix("nhsdir").tempdir().unwrap(),
        };
        let mut arguments = vec!["init", "--no-entries"];
        arguments.extend(suffixes.iter().flat_map(|suffix| ["--suffix", suffix]));
        place.succeed(&arguments, "");
        place
    }

    /// With the people of `tests/fixtures/people.ldif`.
    pub fn filled() -> Place {
        let place = Place::empty();
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/people.ldif");
        place.succeed(&["import", fixture.to_str().unwrap()], "");
        place
    }

    /// The same with these lines at the end of its configuration.
    pub fn with(self, settings: &str) -> Place {
        let config = self.data().join("nhsdir.toml");
        let text = std::fs::read_to_string(&config).unwrap() + settings;
        std::fs::write(&config, text).unwrap();
        self
    }

    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the program on this directory.
    pub fn run(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = nhsdir();
        command.env("NHSDIR_DATA", self.data()).args(arguments);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its input may be gone by now.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// What the program prints; it must end well.
    pub fn succeed(&self, arguments: &[&str], input: &str) -> String {
        let output = self.run(arguments, input);
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(
            output.status.success(),
            "nhsdir {arguments:?}: {}\n{out}{err}",
            output.status
        );
        out
    }

    /// Standard error of a program that must end with this status, in one line.
    pub fn refuse(&self, status: i32, arguments: &[&str]) -> String {
        one_line(&self.run(arguments, ""), status)
    }

    /// Creates an account and gives its secret.
    pub fn account(&self, name: &str, role: &str) -> String {
        let answer = self.succeed(&["account", "create", name, "--role", role, "--json"], "");
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        answer["secret"].as_str().unwrap().to_owned()
    }

    pub fn serve(self) -> Server {
        Server::start(self, &[])
    }
}

pub fn set<'a>(values: &[&'a str]) -> HashSet<&'a str> {
    values.iter().copied().collect()
}

pub fn nhsdir() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nhsdir"));
    command
        .env_remove("NHSDIR_DATA")
        .env_remove("NHSDIR_CONFIG")
        .env_remove("NHSDIR_LOG");
    command
}

pub fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

/// Standard error of a program that ended with `status`; it must be one line from us.
pub fn one_line(output: &Output, status: i32) -> String {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{line}");
    assert_eq!(line.lines().count(), 1, "expected one line, found {line:?}");
    assert!(line.starts_with("nhsdir: "), "{line:?}");
    line
}

/// A running `nhsdir serve`. Killed when dropped.
pub struct Server {
    pub place: Place,
    pub url: String,
    output: BufReader<ChildStdout>,
    log: Receiver<String>,
    child: Child,
}

/// How long a line of the log may take.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    pub fn start(place: Place, arguments: &[&str]) -> Server {
        let mut command = nhsdir();
        command
            .env("NHSDIR_DATA", place.data())
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let Some(url) = ready(&mut output) else {
            let output = child.wait_with_output().unwrap();
            panic!("expected `ready URL`, found {}", text(&output.stderr));
        };
        // Nobody may block on a full pipe.
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (write, log) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| drop(write.send(line))));
        Server {
            place,
            url,
            output,
            log,
            child,
        }
    }

    /// The address of the next listener.
    pub fn next_url(&mut self) -> String {
        ready(&mut self.output).expect("another listener is ready")
    }

    /// Has it read schema and policy again; gives its log up to the line that says how the policy fared.
    pub fn reload(&self) -> String {
        let process = self.child.id().to_string();
        let told = Command::new("kill").args(["-HUP", &process]).status().unwrap();
        assert!(told.success());
        let mut log = String::new();
        loop {
            let line = self.log.recv_timeout(PATIENCE).expect("a reload is logged");
            log.push_str(&line);
            log.push('\n');
            if line.contains("policy") {
                return log;
            }
        }
    }

    /// A TLS connection that trusts this server's certificate and no other; not bound.
    pub async fn connect(&self) -> Ldap {
        let settings = LdapConnSettings::new().set_config(Arc::new(self.trust()));
        let (connection, ldap) = LdapConnAsync::with_settings(settings, &self.url).await.unwrap();
        tokio::spawn(async move {
            // The server may close first: that is for the test to see in its answers.
            let _ = connection.drive().await;
        });
        ldap
    }

    /// A connection bound as a new account with this role.
    pub async fn bound(&self, role: &str) -> Ldap {
        let secret = self.place.account(role, role);
        let mut ldap = self.connect().await;
        ldap.simple_bind(role, &secret).await.unwrap().success().unwrap();
        ldap
    }

    /// Octets of memory that the process has.
    pub fn resident(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let kibibytes: usize = line.trim().strip_suffix(" kB").unwrap().parse().unwrap();
        kibibytes << 10
    }

    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_file(self.place.data().join("tls/cert.pem")).unwrap();
        roots.add(certificate).unwrap();
        roots
    }

    pub fn trust(&self) -> ClientConfig {
        ClientConfig::builder()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    /// SIGKILL: the process gets no chance to tidy up.
    pub fn kill(mut self) -> Place {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.into_place()
    }

    /// SIGTERM; gives the exit status.
    pub fn stop(mut self) -> (Place, Option<i32>) {
        let process = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &process])
                .status()
                .unwrap()
                .success()
        );
        let status = self.child.wait().unwrap();
        (self.into_place(), status.code())
    }

    fn into_place(mut self) -> Place {
        let place = Place {
            folder: tempfile::tempdir().unwrap(),
        };
        std::mem::replace(&mut self.place, place)
    }
}

/// The address of the next `ready` line.
fn ready(output: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().strip_prefix("ready ").map(str::to_owned)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Entries of a search that must succeed.
pub async fn found(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str, attributes: &[&str]) -> Vec<SearchEntry> {
    let answer = ldap.search(base, scope, filter, attributes.to_vec()).await.unwrap();
    let (entries, _) = answer
        .success()
        .unwrap_or_else(|error| panic!("{filter} below {base}: {error}"));
    entries.into_iter().map(SearchEntry::construct).collect()
}

/// The uids of a subtree search, ascending.
pub async fn uids(ldap: &mut Ldap, filter: &str) -> Vec<String> {
    let entries = found(ldap, BASE, Scope::Subtree, filter, &["uid"]).await;
    let mut uids: Vec<String> = entries
        .into_iter()
        .filter_map(|mut entry| entry.attrs.remove("uid"))
        .flatten()
        .collect();
    uids.sort();
    uids
}

/// The result code of a search, whatever it found.
pub async fn search_code(ldap: &mut Ldap, base: &str, scope: Scope, filter: &str) -> u32 {
    ldap.search(base, scope, filter, vec!["1.1"]).await.unwrap().1.rc
}

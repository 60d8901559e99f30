//! `nhsdir demo`: the whole story in one command, on a throw-away directory.
//!
//! Nothing here is a demonstration build: it makes, loads, opens and serves a directory as the other commands do, and is a
//! client over TLS as any other.

mod client;
mod load;
mod story;

use super::serve::{Server, runtime};
use super::{Answer, Setting, init};
use crate::config::Config;
use anyhow::Context;
use clap::Args;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Show the whole story in one command, on a throw-away directory
#[derive(Args, Debug)]
pub struct Arguments {
    /// How many synthetic people
    #[arg(long, value_name = "N", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=5_000_000))]
    people: u64,
    /// End after the story instead of serving on
    #[arg(long)]
    once: bool,
}

pub fn run(arguments: Arguments) -> anyhow::Result<Answer> {
    let folder = Folder::new()?;
    let setting = Setting {
        data: folder.path().join("data"),
        config: config(),
    };
    println!("nhsdir in a throw-away directory: {}\n", setting.data.display());
    init::create(&setting, &setting.config.directory.suffixes, true)?;
    load::load(&setting, folder.path(), arguments.people)?;
    runtime(&setting)?.block_on(tell(&setting, arguments.once))?;
    Ok(Answer::Done)
}

/// The defaults, on a free loopback port.
fn config() -> Config {
    let mut config = Config::default();
    config.listen.ldaps = vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))];
    config
}

async fn tell(setting: &Setting, once: bool) -> anyhow::Result<()> {
    let server = Server::open(setting).await?;
    let url = server.urls.first().cloned().context("no listener was opened")?;
    let directory = server.directory.clone();
    let (stop, stopping) = watch::channel(false);
    let serving = tokio::spawn(server.run(stopping));
    let told = story::tell(&directory, setting, &url).await;
    drop(directory);
    if let (Ok(account), false) = (&told, once) {
        println!("\nTry it yourself (Debian: apt install ldap-utils):\n");
        println!("  {}\n", account.ldapsearch(&url, setting));
        println!("Serving {url} until Ctrl-C; then the directory is removed.");
        until_signal().await?;
    }
    stop.send_replace(true);
    serving.await.context("the server ended in a panic")?;
    told.map(drop)
}

async fn until_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

/// A folder of our own, readable by nobody else, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Folder> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| anyhow::anyhow!("the system gives no random numbers: {error}"))?;
        let path = std::env::temp_dir().join(format!("nhsdir-demo-{:016x}", u64::from_be_bytes(random)));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} cannot be made; point TMPDIR to a writable folder", path.display()))?;
        Ok(Folder(path))
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("nhsdir: {} could not be removed: {error}", self.0.display());
        }
    }
}

//! `load floor`: what TLS, the runtime and the kernel cost. Answers every message with canned octets and knows no directory.
//!
//! A search gets as many entries of 600 octets as its time limit says, which no other server is asked: `load run --floor-entries`.

use super::message::{self, BIND_RESPONSE, ENTRY, MODIFY_RESPONSE, SEARCH_DONE};
use anyhow::Context;
use nhsdir::ldap::ber::{
    ENUMERATED, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, put_integer, put_nested, put_octets,
};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

#[derive(clap::Args, Debug)]
pub struct Arguments {
    #[arg(long)]
    listen: SocketAddr,
    #[arg(long)]
    cert: PathBuf,
    #[arg(long)]
    key: PathBuf,
}

/// Operations as they are sent, without the message around them.
struct Canned {
    entry: Vec<u8>,
    done: Vec<u8>,
    bound: Vec<u8>,
    modified: Vec<u8>,
}

pub fn serve(arguments: &Arguments) -> anyhow::Result<bool> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&arguments.cert)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(&arguments.key)?;
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)?;
    config.send_tls13_tickets = 0;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let success = |tag| {
        let mut out = Vec::new();
        put_nested(&mut out, tag, |out| {
            put_integer(out, ENUMERATED, 0);
            put_octets(out, OCTET_STRING, b"");
            put_octets(out, OCTET_STRING, b"");
        });
        out
    };
    let canned = Arc::new(Canned {
        entry: entry(),
        done: success(SEARCH_DONE),
        bound: success(BIND_RESPONSE),
        modified: success(MODIFY_RESPONSE),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        let listener = TcpListener::bind(arguments.listen).await?;
        println!("ready {}", listener.local_addr()?);
        loop {
            let (stream, _) = listener.accept().await?;
            let (acceptor, canned) = (acceptor.clone(), Arc::clone(&canned));
            // A client that goes away is no fault of a server that ends with its last client.
            tokio::spawn(async move { answer(stream, &acceptor, &canned).await });
        }
    })
}

/// Seventeen attributes of a person, 600 octets as a message.
fn entry() -> Vec<u8> {
    let attributes: [(&[u8], &[&[u8]]); 8] = [
        (
            b"objectClass",
            &[b"top", b"person", b"organizationalPerson", b"inetOrgPerson"],
        ),
        (b"uid", &[b"555012345678"]),
        (b"cn", &[b"Smith John A"]),
        (
            b"displayName",
            &[b"SMITH, John (GUY'S AND ST THOMAS' NHS FOUNDATION TRUST)"],
        ),
        (b"mail", &[b"john.smith123@nhs.net"]),
        (b"telephoneNumber", &[b"+44 20 7946 0123"]),
        (b"o", &[b"GUY'S AND ST THOMAS' NHS FOUNDATION TRUST"]),
        (b"description", &[&[b'x'; 233]]),
    ];
    let mut out = Vec::new();
    put_nested(&mut out, ENTRY, |out| {
        put_octets(out, OCTET_STRING, b"uid=555012345678,ou=People,o=nhs");
        put_nested(out, SEQUENCE, |out| {
            for (name, values) in attributes {
                put_nested(out, SEQUENCE, |out| {
                    put_octets(out, OCTET_STRING, name);
                    put_nested(out, SET, |out| {
                        values.iter().for_each(|value| put_octets(out, OCTET_STRING, value))
                    });
                });
            }
        });
    });
    out
}

async fn answer(stream: TcpStream, acceptor: &TlsAcceptor, canned: &Canned) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = acceptor.accept(stream).await?;
    let (mut input, mut output) = (Vec::with_capacity(16_384), Vec::with_capacity(65_536));
    while stream.read_buf(&mut input).await? > 0 {
        let mut consumed = 0;
        while let Some((request, length)) = message::next(&input[consumed..])? {
            consumed += length;
            match request.tag {
                0x63 => {
                    for _ in 0..entries(request.operation).context("a search without a time limit")? {
                        message::put_message(&mut output, request.id, &canned.entry);
                    }
                    message::put_message(&mut output, request.id, &canned.done);
                }
                0x60 => message::put_message(&mut output, request.id, &canned.bound),
                0x66 => message::put_message(&mut output, request.id, &canned.modified),
                _ => {
                    let _ = stream.shutdown().await;
                    return Ok(());
                }
            }
        }
        input.drain(..consumed);
        stream.write_all(&output).await?;
        stream.flush().await?;
        output.clear();
    }
    Ok(())
}

/// The time limit of a search.
fn entries(operation: &[u8]) -> anyhow::Result<i64> {
    let mut reader = Reader::new(operation);
    reader.octets()?;
    reader.integer(ENUMERATED)?;
    reader.integer(ENUMERATED)?;
    reader.integer(INTEGER)?;
    Ok(reader.integer(INTEGER)?)
}

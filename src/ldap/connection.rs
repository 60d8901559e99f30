//! One task per connection: moves octets between a stream and its [`Conversation`].
//!
//! Invariants: memory is bounded by the limits whatever the peer sends or does not read; while the peer does not read, searches do not
//! run and requests are not taken; a running search gives way to other connections after every turn.

use super::buffers::Share;
use super::conversation::{Conversation, Flow, Service};
use super::frame::{self, Frame};
use super::input::Input;
use super::session::Transport;
use crate::model::{Address, ResultCode, SharedSource, Source};
use crate::net::{Peer, PeerStream, Stop, Tls};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, Sleep};

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    Closed,
    /// StartTLS was answered: the stream is at the start of a TLS handshake.
    StartTls,
}

/// Serves one peer until it leaves or is sent away: the entry point for accepted connections.
pub async fn serve(peer: Peer, service: Arc<Service>) {
    let Peer { stream, source, stop } = peer;
    match stream {
        PeerStream::Tls(mut stream) => {
            converse(&mut stream, Arc::new(source), Transport::Tls, service, stop).await;
        }
        PeerStream::Local(mut stream, None) => {
            converse(&mut stream, Arc::new(source), Transport::Within, service, stop).await;
        }
        PeerStream::Local(stream, Some(tls)) => in_clear(stream, source, Transport::Local, &tls, service, stop).await,
        PeerStream::Plain(stream, tls) => in_clear(stream, source, Transport::Plain, &tls, service, stop).await,
    }
}

/// Serves a peer that may start TLS.
async fn in_clear<S>(mut stream: S, source: Source, transport: Transport, tls: &Tls, service: Arc<Service>, stop: Stop)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let connection = source.connection;
    let clear = Arc::new(source.clone());
    let ending = converse(&mut stream, clear, transport, Arc::clone(&service), stop.clone()).await;
    if ending != Ending::StartTls {
        return;
    }
    match tls.accept(stream).await {
        Ok((mut stream, facts)) => {
            let source = Source {
                tls: Some(facts),
                ..source
            };
            converse(&mut stream, Arc::new(source), Transport::Tls, service, stop).await;
        }
        Err(error) => {
            service.metrics.handshakes_failed.increment();
            tracing::debug!(connection, %error, "StartTLS failed");
        }
    }
}

/// Serves LDAP on any stream.
pub async fn converse<S>(
    stream: &mut S,
    source: SharedSource,
    transport: Transport,
    service: Arc<Service>,
    stop: Stop,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let local = matches!(source.address, Address::Local { .. });
    tracing::debug!(connection = source.connection, peer = %source.address, local, "connected");
    let conversation = Conversation::new(service, source, transport);
    Connection::new(stream, conversation, stop).run().await
}

struct Connection<'s, S> {
    stream: &'s mut S,
    conversation: Conversation,
    input: Input,
    /// Of the memory that all connections have together.
    share: Share,
    /// Octets of the output that are written already.
    written: usize,
    /// The stream may hold octets back that it was given.
    unflushed: bool,
    /// Turns that octets have waited in the output.
    waited: u32,
    end_of_input: bool,
    closing: Option<Ending>,
    /// The last request, or the end of what was under way since: silence counts from here.
    last_activity: Instant,
    /// Something was under way since then.
    was_busy: bool,
    stalled_since: Option<Instant>,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    stopping_since: Option<Instant>,
    timer: Pin<Box<Sleep>>,
}

/// Why intake stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Intake {
    /// The next message is not complete.
    Starved,
    /// The next message waits for operations under way.
    Held,
    /// The next message waits for the peer to read.
    Full,
    /// This turn's work is used up.
    Spent,
}

/// What an exchange with the outside came to.
enum Exchanged {
    Progress,
    /// The peer is gone, or took nothing for too long.
    Lost,
    Idle,
    /// Others need the memory that this connection has.
    Crowded,
}

/// Output that is written although searches could add more to it.
const WORTH_WRITING: usize = 32 << 10;
/// Input that is read ahead while requests are held back.
const READ_AHEAD: usize = 16 << 10;
/// How long the last words may take to leave.
const LAST_WORDS: Duration = Duration::from_secs(2);

impl<'s, S: AsyncRead + AsyncWrite + Unpin> Connection<'s, S> {
    fn new(stream: &'s mut S, conversation: Conversation, mut stop: Stop) -> Self {
        let now = Instant::now();
        let timer = Box::pin(tokio::time::sleep_until(now + conversation.limits().idle_unbound));
        Connection {
            stream,
            share: conversation.buffers().share(),
            conversation,
            input: Input::default(),
            written: 0,
            unflushed: false,
            waited: 0,
            end_of_input: false,
            closing: None,
            last_activity: now,
            was_busy: false,
            stalled_since: None,
            stop: Box::pin(async move {
                // A sender that is gone never asks to stop.
                if stop.wait_for(|stop| *stop).await.is_err() {
                    std::future::pending::<()>().await;
                }
            }),
            stopping_since: None,
            timer,
        }
    }

    async fn run(mut self) -> Ending {
        loop {
            self.conversation.begin_turn();
            let intake = self.take_messages();
            self.conversation.run();
            self.conversation.run_syncs();
            self.end_if_done();
            if self.closing.is_some() {
                break;
            }
            // What held the next request back may have ended in this very turn.
            let released = intake == Intake::Held && self.conversation.outstanding() == 0;
            let busy = self.conversation.has_work() || intake == Intake::Spent || released;
            match self.exchange(intake, busy).await {
                Exchanged::Progress if busy => tokio::task::yield_now().await,
                Exchanged::Progress => {}
                Exchanged::Idle => self.idle(),
                Exchanged::Crowded if self.is_told_why() => {}
                Exchanged::Crowded | Exchanged::Lost => return Ending::Closed,
            }
        }
        self.finish().await
    }

    /// Takes every complete message that may be taken in this turn.
    fn take_messages(&mut self) -> Intake {
        let mut taken = false;
        let intake = loop {
            if self.closing.is_some() || self.stopping_since.is_some() || self.conversation.is_binding() {
                break Intake::Held;
            }
            let limits = self.conversation.frame_limits();
            let frame: Frame<'_> = match frame::next(self.input.unread(), &limits) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Intake::Starved,
                Err(error) => {
                    self.conversation.metrics().broken_messages.increment();
                    self.conversation
                        .disconnect(ResultCode::ProtocolError, &error.to_string());
                    self.closing = Some(Ending::Closed);
                    break Intake::Held;
                }
            };
            if self.conversation.holds_back(frame.tag) {
                break Intake::Held;
            }
            if self.conversation.is_output_full() {
                break Intake::Full;
            }
            if !self.conversation.may_take() {
                break Intake::Spent;
            }
            taken = true;
            let length = frame.length;
            let flow = self.conversation.take(&frame);
            self.input.consume(length);
            match flow {
                Flow::Continue => {}
                Flow::Close => self.closing = Some(Ending::Closed),
                Flow::StartTls => self.start_tls(),
            }
        };
        if taken {
            self.last_activity = Instant::now();
        }
        intake
    }

    /// What came behind a StartTLS request in clear text could have been put there by anybody: it ends the connection.
    fn start_tls(&mut self) {
        if self.input.unread().is_empty() {
            self.closing = Some(Ending::StartTls);
            return;
        }
        self.conversation.output.clear();
        self.conversation.disconnect(
            ResultCode::ProtocolError,
            "expected nothing behind a StartTLS request before its answer, found more octets",
        );
        self.closing = Some(Ending::Closed);
    }

    /// Closes where the peer has ended its side, or the server stops, and nothing is under way any more.
    fn end_if_done(&mut self) {
        if self.closing.is_some() {
            return;
        }
        if self.end_of_input {
            self.conversation.abandon_searches();
            if !self.conversation.has_pending() {
                self.closing = Some(Ending::Closed);
            }
        } else if let Some(since) = self.stopping_since {
            self.conversation.end_syncs();
            // A client that waits for nothing takes an end for what it is and connects again; the notice it would take for the
            // answer to its next request.
            if self.conversation.outstanding() == 0 {
                self.closing = Some(Ending::Closed);
            } else if since.elapsed() >= self.conversation.limits().shutdown_grace {
                self.conversation
                    .disconnect(ResultCode::Unavailable, "the server is stopping");
                self.closing = Some(Ending::Closed);
            }
        }
    }

    fn idle(&mut self) {
        if self.stopping_since.is_some() {
            return;
        }
        self.conversation.metrics().timeouts.increment();
        self.closing = Some(Ending::Closed);
        // As at a stop: who has bound and asks nothing now is told nothing.
        if self.conversation.is_bound() && self.input.unread().is_empty() {
            return;
        }
        let seconds = self.idle_limit().as_secs();
        let message = format!("expected a complete request within {seconds} seconds");
        self.conversation.disconnect(ResultCode::Unavailable, &message);
    }

    /// Ends a connection whose memory others need. Says whether it can be told: a peer that does not read cannot.
    fn is_told_why(&mut self) -> bool {
        self.conversation.metrics().crowded_out.increment();
        self.input = Input::default();
        self.conversation.drop_transaction();
        let reads = self.conversation.output.len() - self.written <= KEPT_OUTPUT;
        self.conversation.disconnect(
            ResultCode::Busy,
            "other connections need the memory that this one has had the most of for the longest; try again",
        );
        self.closing = Some(Ending::Closed);
        reads
    }

    fn idle_limit(&self) -> Duration {
        let limits = self.conversation.limits();
        if self.conversation.is_bound() {
            limits.idle
        } else {
            limits.idle_unbound
        }
    }

    /// Waits for the outside: the peer's octets, room for ours, operations of the core, the clock, a stop. `busy` does not wait.
    async fn exchange(&mut self, intake: Intake, busy: bool) -> Exchanged {
        std::future::poll_fn(|context| {
            let mut progress = self.conversation.poll_pending(context);
            let held_up = self.conversation.has_pending() && self.conversation.is_output_full();
            match self.write(context, busy) {
                Poll::Ready(Ok(())) | Poll::Pending => {}
                Poll::Ready(Err(error)) => {
                    tracing::debug!(connection = self.conversation.source.connection, %error, "peer lost");
                    return Poll::Ready(Exchanged::Lost);
                }
            }
            // Room in the output is progress: searches and requests may go on, and operations be answered.
            progress |= (intake == Intake::Full || held_up) && !self.conversation.is_output_full();
            if self.may_read(intake) && self.finds_room(context) {
                match self.input.fill(self.stream, context, self.input_limit()) {
                    Poll::Ready(Ok(0)) => {
                        self.end_of_input = true;
                        progress = true;
                    }
                    Poll::Ready(Ok(count)) => {
                        self.conversation.metrics().octets_read.add(count as u64);
                        progress = true;
                    }
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(connection = self.conversation.source.connection, %error, "peer lost");
                        return Poll::Ready(Exchanged::Lost);
                    }
                    Poll::Pending => {}
                }
            }
            if self.stopping_since.is_none() && self.stop.as_mut().poll(context).is_ready() {
                self.stopping_since = Some(Instant::now());
                progress = true;
            }
            self.share.set(self.held(), context);
            if self.share.is_to_go() {
                return Poll::Ready(Exchanged::Crowded);
            }
            if progress || busy || self.conversation.has_work() {
                self.was_busy |= busy;
                return Poll::Ready(Exchanged::Progress);
            }
            self.poll_clock(context)
        })
        .await
    }

    /// One message of the greatest length, and no more.
    fn input_limit(&self) -> usize {
        self.conversation.frame_limits().octets
    }

    /// Octets of memory beyond what every connection may have.
    fn held(&self) -> usize {
        let output = self.conversation.output.capacity().saturating_sub(KEPT_OUTPUT);
        let requests = self.conversation.requests_held().saturating_sub(KEPT_REQUESTS);
        self.input.held() + output + requests
    }

    /// Whether the input may take the memory it needs to read on.
    fn finds_room(&mut self, context: &Context<'_>) -> bool {
        match self.input.growth(self.input_limit()) {
            0 => true,
            more => self.share.ask(more, context),
        }
    }

    fn may_read(&self, intake: Intake) -> bool {
        let unread = self.input.unread().len();
        !self.end_of_input
            && self.stopping_since.is_none()
            && !self.conversation.is_output_full()
            && (intake == Intake::Starved || unread < READ_AHEAD)
    }

    /// Gives the stream what is waiting, unless more answers are about to join it.
    fn write(&mut self, context: &mut Context<'_>, busy: bool) -> Poll<std::io::Result<()>> {
        let waiting = self.conversation.output.len() - self.written;
        if waiting == 0 && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        if busy && waiting < WORTH_WRITING && self.waited < 1 {
            self.waited += 1;
            return Poll::Ready(Ok(()));
        }
        let result = self.write_now(context);
        if result.is_pending() {
            self.stalled_since.get_or_insert_with(Instant::now);
        }
        result
    }

    fn write_now(&mut self, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        while let Some(waiting @ [_, ..]) = self.conversation.output.get(self.written..) {
            let count = ready!(Pin::new(&mut *self.stream).poll_write(context, waiting))?;
            if count == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.unflushed = true;
            self.stalled_since = None;
            self.conversation.metrics().octets_written.add(count as u64);
        }
        self.conversation.output.clear();
        self.conversation.output.shrink_to(KEPT_OUTPUT);
        self.written = 0;
        self.waited = 0;
        ready!(Pin::new(&mut *self.stream).poll_flush(context))?;
        self.unflushed = false;
        self.stalled_since = None;
        Poll::Ready(Ok(()))
    }

    /// The nearest limit on time, looked at only when there is nothing else to do, so that the clock is not read for every answer.
    /// The timer is moved only when it has to ring earlier or has rung.
    fn poll_clock(&mut self, context: &mut Context<'_>) -> Poll<Exchanged> {
        let waiting = self.conversation.outstanding() > 0 || self.conversation.is_following();
        if waiting || self.stalled_since.is_some() {
            self.was_busy = true;
        } else if std::mem::take(&mut self.was_busy) {
            self.last_activity = Instant::now();
        }
        loop {
            let limits = self.conversation.limits();
            let (deadline, over) = if let Some(since) = self.stalled_since {
                // A search that stands still for a peer that reads little at a time does not outlive its time.
                let lost = since + limits.write_stall;
                match self.conversation.next_deadline().map(Instant::from_std) {
                    Some(due) if due < lost => (due, Exchanged::Progress),
                    _ => (lost, Exchanged::Lost),
                }
            } else if let Some(since) = self.stopping_since {
                (since + limits.shutdown_grace, Exchanged::Progress)
            } else if waiting {
                return Poll::Pending;
            } else {
                (self.last_activity + self.idle_limit(), Exchanged::Idle)
            };
            if self.timer.deadline() > deadline {
                self.timer.as_mut().reset(deadline);
            }
            ready!(self.timer.as_mut().poll(context));
            if Instant::now() >= deadline {
                if matches!(over, Exchanged::Lost) {
                    self.conversation.metrics().timeouts.increment();
                }
                self.conversation.end_overdue();
                return Poll::Ready(over);
            }
            self.timer.as_mut().reset(deadline);
        }
    }

    /// Writes the last words and closes, or hands the stream over to TLS.
    async fn finish(self) -> Ending {
        let ending = self.closing.unwrap_or(Ending::Closed);
        let rest = self.conversation.output.get(self.written..).unwrap_or_default();
        let stream = &mut *self.stream;
        let last_words = async {
            stream.write_all(rest).await?;
            stream.flush().await?;
            if ending == Ending::Closed {
                stream.shutdown().await?;
            }
            Ok::<(), std::io::Error>(())
        };
        match tokio::time::timeout(LAST_WORDS, last_words).await {
            Ok(Ok(())) => ending,
            Ok(Err(_)) | Err(_) => Ending::Closed,
        }
    }
}

/// Output memory an idle connection keeps.
const KEPT_OUTPUT: usize = 128 << 10;
/// Memory of requests under way that is not counted.
const KEPT_REQUESTS: usize = 64 << 10;

#[cfg(test)]
mod tests;

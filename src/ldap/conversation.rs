//! One connection's talk without its socket: requests in, answers into an output buffer, searches that run a little at a time.
//!
//! Invariants: every answer passes [`Conversation::answer`], which counts and logs it; no request is read while a bind is under way, and
//! no bind while anything else is (RFC 4511 section 4.2.1); a session that no longer holds is answered nothing but the notice.

use super::bind::BindAsks;
use super::buffers::Buffers;
use super::codec::{self, Change, Operation, response_tag};
use super::controls::{Controls, PasswordAdvice};
use super::encode::{self, Extra};
use super::frame::{Frame, FrameLimits, MessageId};
use super::limits::WireLimits;
use super::session::{Admission, SessionState, Transport, refusal_until_changed};
use super::sync::RunningSync;
use super::transaction::{Transaction, is_within};
use crate::directory::{Directory, ProtocolFacts, Search, Session, TransactionDone, UpdateDone};
use crate::metrics::{self, Metrics};
use crate::model::{Outcome, ResultCode, SharedSource, Source};
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

/// What all connections of one server share.
pub struct Service {
    pub directory: Arc<Directory>,
    pub limits: WireLimits,
    pub facts: ProtocolFacts,
    /// The same for connections on which SASL EXTERNAL may succeed.
    pub external_facts: ProtocolFacts,
    pub metrics: Arc<Metrics>,
    pub buffers: Arc<Buffers>,
}

/// The state of one connection, and what waits to be written to it.
pub struct Conversation {
    pub(super) service: Arc<Service>,
    pub(super) directory: Arc<Directory>,
    pub(super) source: SharedSource,
    pub(super) state: SessionState,
    pub(super) output: Vec<u8>,
    pub(super) searches: Vec<RunningSearch>,
    pub(super) syncs: Vec<RunningSync>,
    pub(super) transaction: Option<Box<Transaction>>,
    /// Transactions begun so far.
    pub(super) transactions: u64,
    /// Octets of the request that is being taken.
    pub(super) request_octets: usize,
    pending: Vec<Pending>,
    binding: bool,
    /// What is left of this turn's work.
    pub(super) work: u32,
    /// When this turn is over, once it has run long enough to ask.
    turn_ends: Option<Instant>,
    /// Requests taken in this turn.
    taken: u32,
    /// Which search runs first in the next round.
    pub(super) turn: usize,
}

/// A search that did not end in its first step.
pub(super) struct RunningSearch {
    pub(super) id: MessageId,
    pub(super) search: Search,
    /// Whose it is.
    pub(super) session: Option<Arc<Session>>,
    /// The paged results control was asked for: its answer is always there.
    pub(super) paged: bool,
    /// A sort was asked for: how it went is said.
    pub(super) sorted: bool,
    /// Octets of its request.
    pub(super) octets: usize,
}

/// An operation that waits for the core.
struct Pending {
    id: MessageId,
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

/// What an operation that waited came to.
pub(super) enum Answer {
    Bind {
        bound: Result<Session, Outcome>,
        asks: BindAsks,
    },
    Update {
        response: u8,
        done: UpdateDone,
        password: Option<PasswordAdvice>,
    },
    Secret {
        changed: Result<Option<crate::account::Secret>, Outcome>,
        advised: bool,
    },
    Transaction {
        ids: Vec<MessageId>,
        done: TransactionDone,
    },
}

/// How the connection goes on after a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flow {
    Continue,
    /// The answer to StartTLS is in the output: write it, then start TLS.
    StartTls,
    /// Write the output, then close.
    Close,
}

/// What one request costs of a turn's work at least.
const REQUEST_WORK: u32 = 64;
/// What a running search takes in memory, and how many times over what it was asked with: short terms take many times their octets.
const SEARCH_MEMORY: usize = 4 << 10;
const FILTER_MEMORY: usize = 8;
/// Octets of a request that takes long in itself, so that others have their turn before the next.
const LONG_REQUEST: usize = 8 << 10;
/// Requests taken between two looks at the clock.
const REQUESTS_A_LOOK: u32 = 8;

impl Conversation {
    pub fn new(service: Arc<Service>, source: SharedSource, transport: Transport) -> Conversation {
        Conversation {
            directory: Arc::clone(&service.directory),
            work: service.limits.turn_work,
            service,
            source,
            state: SessionState::new(transport),
            output: Vec::new(),
            searches: Vec::new(),
            syncs: Vec::new(),
            transaction: None,
            transactions: 0,
            request_octets: 0,
            pending: Vec::new(),
            binding: false,
            turn_ends: None,
            taken: 0,
            turn: 0,
        }
    }

    pub fn limits(&self) -> &WireLimits {
        &self.service.limits
    }

    pub fn metrics(&self) -> &Metrics {
        &self.service.metrics
    }

    pub fn buffers(&self) -> &Arc<Buffers> {
        &self.service.buffers
    }

    pub fn is_bound(&self) -> bool {
        self.state.is_bound()
    }

    /// The limits that hold for the next message.
    pub fn frame_limits(&self) -> FrameLimits {
        FrameLimits::new(self.limits(), self.is_bound())
    }

    pub fn begin_turn(&mut self) {
        self.work = self.limits().turn_work;
        self.turn_ends = None;
        self.taken = 0;
    }

    /// Whether the turn has lasted as long as it may. The first to ask begins the time, so that a point look-up asks no clock.
    pub(super) fn is_turn_over(&mut self) -> bool {
        let now = Instant::now();
        let turn = self.limits().turn;
        now >= *self.turn_ends.get_or_insert(now + turn)
    }

    /// Whether this turn may take another request.
    pub fn may_take(&self) -> bool {
        self.work > 0 && !self.is_output_full()
    }

    pub fn is_output_full(&self) -> bool {
        self.output.len() >= self.limits().output_octets
    }

    /// Octets of memory that requests under way take, or thereabouts. Updates that wait for the disk have a limit of their own.
    pub fn requests_held(&self) -> usize {
        let searches = self.searches.iter().map(|running| running.octets);
        let syncs = self.syncs.iter().map(|running| running.octets);
        let searches: usize = searches
            .chain(syncs)
            .map(|octets| SEARCH_MEMORY + octets * FILTER_MEMORY)
            .sum();
        searches + self.transaction.as_ref().map_or(0, |transaction| transaction.held())
    }

    /// Operations under way; what waits for changes is none.
    pub fn outstanding(&self) -> usize {
        let syncs = self.syncs.iter().filter(|running| !running.is_waiting()).count();
        self.searches.len() + self.pending.len() + syncs
    }

    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Whether a bind is under way: the limits of the next message depend on how it ends.
    pub fn is_binding(&self) -> bool {
        self.binding
    }

    /// Whether the next request has to wait for what is under way. `tag` is its operation's.
    pub fn holds_back(&self, tag: u8) -> bool {
        self.binding
            || self.pending.len() >= self.limits().updates
            || (tag == codec::tag::BIND_REQUEST && self.outstanding() > 0)
    }

    /// Takes one message: decodes, admits, begins it, and answers what can be answered at once.
    pub fn take(&mut self, frame: &Frame<'_>) -> Flow {
        self.work = self.work.saturating_sub(REQUEST_WORK);
        self.taken += 1;
        self.request_octets = frame.operation.len() + frame.controls.len();
        let is_long = self.request_octets > LONG_REQUEST;
        if is_long || self.taken.is_multiple_of(REQUESTS_A_LOOK) && self.is_turn_over() {
            self.work = 0;
        }
        match codec::decode(frame, &self.service.limits) {
            Ok(request) => self.begin(request),
            Err(error @ codec::DecodeError::UnknownOperation { .. }) => {
                self.metrics().broken_messages.increment();
                self.disconnect(ResultCode::ProtocolError, &error.to_string())
            }
            Err(error) => {
                tracing::debug!(connection = self.source.connection, %error, "request refused");
                self.forget_before_bind(frame.tag);
                self.refuse(frame.id, frame.tag, &error.outcome());
                Flow::Continue
            }
        }
    }

    fn begin(&mut self, request: codec::Request<'_>) -> Flow {
        self.metrics().operation(counted(&request.operation));
        let id = request.id;
        let session = match self.asked_by(&request) {
            ControlFlow::Continue(session) => session,
            ControlFlow::Break(flow) => return flow,
        };
        match (request.operation, session) {
            (Operation::Bind(bind), _) => {
                // RFC 4511 section 4.2.1: what is outstanding is abandoned.
                self.abandon_searches();
                self.drop_transaction();
                let asks = BindAsks {
                    secret: request.controls.password_policy,
                    identity: request.controls.authorization_identity,
                };
                let source = self.source_of(&request.controls);
                self.bind(id, &bind, asks, source);
            }
            (Operation::Extended(extended), session) => {
                return self.extended(id, &extended, &request.controls, session.as_ref());
            }
            (Operation::Search(search), session) => {
                self.search(id, &search, &request.controls, session.as_ref());
            }
            (Operation::Abandon { id: abandoned }, _) => self.abandon(abandoned),
            (Operation::Compare(compare), Some(session)) => {
                self.compare(id, &compare, &request.controls, &session);
            }
            (Operation::Change(change), Some(session)) => self.update(id, change, request.controls, session),
            (operation @ (Operation::Unbind | Operation::Compare(_) | Operation::Change(_)), _) => {
                let outcome = Outcome::new(ResultCode::StrongerAuthRequired, "expected a bind first");
                self.refuse(id, request_tag(&operation), &outcome);
            }
        }
        Flow::Continue
    }

    /// The session that a request is done by, if there is one; or the request is done with here, refused where it has an answer.
    fn asked_by(&mut self, request: &codec::Request<'_>) -> ControlFlow<Flow, Option<Arc<Session>>> {
        let session = match self.state.admit(request) {
            Admission::End => return ControlFlow::Break(Flow::Close),
            Admission::Silent => return ControlFlow::Break(Flow::Continue),
            Admission::Refused(outcome) => {
                let tag = request_tag(&request.operation);
                self.forget_before_bind(tag);
                self.refuse(request.id, tag, &outcome);
                return ControlFlow::Break(Flow::Continue);
            }
            Admission::Open | Admission::ProtocolFacts => None,
            Admission::Bound(session) => Some(Arc::clone(session)),
        };
        let session = match session {
            Some(session) if !self.directory.holds(&session) => Some(self.renewed(session)),
            session => session,
        };
        if let Some(session) = &session {
            if !self.directory.holds(session) {
                self.state.forget();
                let message = "the account this connection is bound to was changed: bind again";
                return ControlFlow::Break(self.disconnect(ResultCode::StrongerAuthRequired, message));
            }
            if let Some(outcome) = refusal_until_changed(session, request) {
                self.refuse_advised(request.id, request, &outcome);
                return ControlFlow::Break(Flow::Continue);
            }
        }
        let session = self.tracked(session, &request.controls);
        self.acting(session, request).map_or_else(
            |outcome| {
                self.refuse(request.id, request_tag(&request.operation), &outcome);
                if outcome.code == ResultCode::AuthorizationDenied && is_within(request) {
                    self.give_up_transaction(&outcome);
                }
                ControlFlow::Break(Flow::Continue)
            },
            ControlFlow::Continue,
        )
    }

    /// Where a request comes from, with what the client says it belongs to.
    fn source_of(&self, controls: &Controls<'_>) -> SharedSource {
        if controls.sessions.is_empty() {
            return Arc::clone(&self.source);
        }
        Arc::new(Source {
            sessions: controls.sessions.clone(),
            ..Source::clone(&self.source)
        })
    }

    /// The session, as the audit is to tell of this request.
    fn tracked(&self, session: Option<Arc<Session>>, controls: &Controls<'_>) -> Option<Arc<Session>> {
        if controls.sessions.is_empty() {
            return session;
        }
        session.map(|session| Arc::new(session.seen_from(self.source_of(controls))))
    }

    /// The session a request is done by: the bound one, or that of whom it acts as.
    fn acting(
        &self,
        session: Option<Arc<Session>>,
        request: &codec::Request<'_>,
    ) -> Result<Option<Arc<Session>>, Outcome> {
        match (self.authorization(request)?, session) {
            (None, session) => Ok(session),
            (Some(authorization), Some(session)) => {
                let acting = self.directory.act_as(&session, authorization)?;
                Ok(Some(Arc::new(acting)))
            }
            (Some(_), None) => Err(Outcome::new(
                ResultCode::AuthorizationDenied,
                "expected a bind before acting as another",
            )),
        }
    }

    /// The session that goes on because it changed its own secret, or under the policy that is now in force; else the one that no
    /// longer holds.
    fn renewed(&mut self, session: Arc<Session>) -> Arc<Session> {
        match self.directory.renewed(&session) {
            Some(next) => self.state.bound(next),
            None => session,
        }
    }

    /// A bind that is refused before it is tried takes the old identity away all the same (RFC 4513 section 4).
    fn forget_before_bind(&mut self, tag: u8) {
        if tag == codec::tag::BIND_REQUEST {
            self.drop_transaction();
            self.state.forget();
        }
    }

    /// Writes the answer that ends an operation; counts and logs it.
    pub(super) fn answer(&mut self, id: MessageId, response: u8, outcome: &Outcome, extra: Extra<'_>) {
        self.metrics().result(outcome.code as u32);
        tracing::debug!(
            connection = self.source.connection,
            id = id.0,
            response,
            code = ?outcome.code,
            text = outcome.message,
            "answer"
        );
        encode::result(&mut self.output, id, response, outcome, extra);
    }

    /// Answers a request that was not begun; says nothing where the operation has no response.
    fn refuse(&mut self, id: MessageId, request: u8, outcome: &Outcome) {
        self.refuse_with(id, request, outcome, Extra::default());
    }

    fn refuse_with(&mut self, id: MessageId, request: u8, outcome: &Outcome, extra: Extra<'_>) {
        if let Some(response) = response_tag(request) {
            self.answer(id, response, outcome, extra);
        }
    }

    /// The same, with what there is to tell of the secret to who asks.
    fn refuse_advised(&mut self, id: MessageId, request: &codec::Request<'_>, outcome: &Outcome) {
        let extra = Extra {
            password: PasswordAdvice::of_change(request.controls.password_policy, outcome),
            ..Extra::default()
        };
        self.refuse_with(id, request_tag(&request.operation), outcome, extra);
    }

    /// Writes the notice of disconnection. Everything under way is abandoned with the connection.
    pub fn disconnect(&mut self, code: ResultCode, message: &str) -> Flow {
        tracing::info!(
            connection = self.source.connection,
            peer = %self.source.address,
            ?code,
            reason = message,
            "disconnecting"
        );
        self.metrics().result(code as u32);
        self.abandon_searches();
        encode::notice_of_disconnection(&mut self.output, code, message);
        Flow::Close
    }

    /// Waits for a bind; no request is read until it is done.
    pub(super) fn wait_for_bind(&mut self, id: MessageId, bind: impl Future<Output = Answer> + Send + 'static) {
        self.binding = true;
        self.wait_for(id, bind);
    }

    pub(super) fn wait_for(&mut self, id: MessageId, operation: impl Future<Output = Answer> + Send + 'static) {
        self.pending.push(Pending {
            id,
            future: Box::pin(operation),
        });
    }

    pub(super) fn is_pending(&self, id: MessageId) -> bool {
        self.pending.iter().any(|pending| pending.id == id)
    }

    /// Answers every operation that came to its end, in the order they were asked. Says whether any did.
    pub fn poll_pending(&mut self, context: &mut Context<'_>) -> bool {
        let mut progress = self.poll_syncs(context);
        let mut at = 0;
        // Answers may be large, and wait where they are counted while the peer does not read.
        while let Some(pending) = self
            .pending
            .get_mut(at)
            .filter(|_| self.output.len() < self.service.limits.output_octets)
        {
            match pending.future.as_mut().poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(answer) => {
                    let id = self.pending.remove(at).id;
                    self.end(id, answer);
                    progress = true;
                }
            }
        }
        progress
    }

    fn end(&mut self, id: MessageId, answer: Answer) {
        match answer {
            Answer::Bind { bound, asks } => {
                self.binding = false;
                self.bound(id, bound, asks);
            }
            Answer::Update {
                response,
                done,
                password,
            } => {
                let extra = Extra {
                    password,
                    pre_read: done.pre_read.as_ref(),
                    post_read: done.post_read.as_ref(),
                    ..Extra::default()
                };
                self.answer(id, response, &done.outcome, extra);
            }
            Answer::Secret { changed, advised } => self.secret_changed(id, changed, advised),
            Answer::Transaction { ids, done } => self.transaction_ended(id, &ids, &done),
        }
    }
}

impl Drop for Conversation {
    /// A change that was begun is brought to its end although nobody waits for the answer.
    fn drop(&mut self) {
        self.abandon_searches();
        self.drop_transaction();
        if self.pending.is_empty() || self.binding {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            for pending in self.pending.drain(..) {
                runtime.spawn(pending.future);
            }
        }
    }
}

fn counted(operation: &Operation<'_>) -> metrics::Operation {
    match operation {
        Operation::Bind(_) => metrics::Operation::Bind,
        Operation::Unbind => metrics::Operation::Unbind,
        Operation::Search(_) => metrics::Operation::Search,
        Operation::Change(Change::Modify(_)) => metrics::Operation::Modify,
        Operation::Change(Change::Add(_)) => metrics::Operation::Add,
        Operation::Change(Change::Delete { .. }) => metrics::Operation::Delete,
        Operation::Change(Change::ModifyDn(_)) => metrics::Operation::ModifyDn,
        Operation::Compare(_) => metrics::Operation::Compare,
        Operation::Abandon { .. } => metrics::Operation::Abandon,
        Operation::Extended(_) => metrics::Operation::Extended,
    }
}

fn request_tag(operation: &Operation<'_>) -> u8 {
    match operation {
        Operation::Bind(_) => codec::tag::BIND_REQUEST,
        Operation::Unbind => codec::tag::UNBIND_REQUEST,
        Operation::Search(_) => codec::tag::SEARCH_REQUEST,
        Operation::Change(Change::Modify(_)) => codec::tag::MODIFY_REQUEST,
        Operation::Change(Change::Add(_)) => codec::tag::ADD_REQUEST,
        Operation::Change(Change::Delete { .. }) => codec::tag::DELETE_REQUEST,
        Operation::Change(Change::ModifyDn(_)) => codec::tag::MODIFY_DN_REQUEST,
        Operation::Compare(_) => codec::tag::COMPARE_REQUEST,
        Operation::Abandon { .. } => codec::tag::ABANDON_REQUEST,
        Operation::Extended(_) => codec::tag::EXTENDED_REQUEST,
    }
}

//! What a request goes through: whose is it, does something go wrong, is it one too many, is the
//! signature right, what is the answer.

use std::time::Duration;

use bytes::Bytes;
use dbtask_clouds::catalog::APIS;
use dbtask_clouds::cloud::Cloud;
use dbtask_clouds::document::Format;
use dbtask_clouds::model::Timestamp;
use dbtask_clouds::refusal::{Refusal, RefusalKind};
use dbtask_clouds::signing::query;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, Request, Response, StatusCode};
use serde_json::Value;

use super::fault::{Fault, FaultKind};
use super::guard::Limit;
use super::hash::hash;
use super::region::{Region, View, shifted};
use super::session::Exchange;
use super::signature::set;
use super::vendors::Gateway as _;
use super::{SimulatedCloud, State, paging, refusal};

/// The word for a good answer in the request log.
const ANSWERED: &str = "answered";

/// How a request ends.
#[derive(Debug)]
pub(super) struct Reaction {
    pub(super) response: Response<Bytes>,
    pub(super) delay: Duration,
    pub(super) delivery: Delivery,
    /// The word for it in the request log.
    pub(super) outcome: &'static str,
    /// How far the cloud's clock is ahead, in seconds.
    pub(super) skew: i64,
}

/// What reaches the client of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    Whole,
    /// Half of the body, then the connection ends.
    Cut,
    /// The body and then more, without end.
    Endless,
    /// Nothing, ever.
    Never,
    /// Nothing, and the connection ends.
    Reset,
}

/// A request that has been recognised.
pub(super) struct Call<'a> {
    request: &'a Request<Bytes>,
    cloud: Cloud,
    /// The vendor's name of the operation.
    pub(super) operation: String,
    claimant: Option<String>,
    /// What is asked of the services that hand out sessions.
    exchange: Option<Exchange>,
    account: Option<usize>,
    /// The region that answers; without an answer, one of the account's.
    pub(super) region: Option<&'a Region>,
    answer: Option<Response<Bytes>>,
}

impl SimulatedCloud {
    /// Finds out whose request it is and what the answer would be.
    pub(super) fn recognise<'a>(&'a self, request: &'a Request<Bytes>, now: Timestamp) -> Call<'a> {
        let cloud = addressee(request);
        let exchange = Exchange::of(request);
        let cloud = exchange.map_or(cloud, Exchange::cloud);
        let claimant = cloud.claimant(request);
        let account = match exchange {
            // A machine, a pod or a user that proves nothing about an account: the first one's.
            Some(exchange) if !exchange.is_signed() => {
                self.accounts.iter().position(|it| it.cloud == cloud)
            }
            Some(_) | None => claimant.as_deref().and_then(|claimant| {
                self.accounts.iter().position(|it| it.cloud == cloud && it.is(claimant))
            }),
        };
        let mut candidates: Vec<&Region> =
            self.regions.iter().filter(|region| Some(region.account) == account).collect();
        candidates.sort_by_key(|it| !it.is_meant(request));
        let operation = match exchange {
            Some(exchange) => exchange.operation().to_owned(),
            None => operation(cloud, request, &candidates),
        };
        candidates.sort_by_key(|it| (!it.has(&operation), !it.is_meant(request)));
        let answer =
            |region: &&'a Region| Some((*region, region.answer(request, now, &View::default())?));
        let listed = candidates.iter().filter(|_| exchange.is_none()).find_map(answer);
        let (region, answer) = match listed {
            Some((region, answer)) => (Some(region), Some(answer)),
            None => (candidates.first().copied(), None),
        };
        Call { request, cloud, operation, claimant, exchange, account, region, answer }
    }

    /// What becomes of a call; counts it against the rate limit.
    pub(super) fn decide(
        &self,
        call: &mut Call<'_>,
        state: &mut State,
        now: Timestamp,
    ) -> Reaction {
        let (mut delay, mut broken, mut view, mut bent) =
            (Duration::ZERO, None, View::default(), Vec::new());
        for fault in self.faults(call, state) {
            match fault.kind {
                FaultKind::Slow => delay = delay.saturating_add(fault.delay.0),
                FaultKind::SkewedClock => view.skew = view.skew.saturating_add(fault.offset.0),
                FaultKind::Lagging => {
                    view.lag = view.lag.saturating_add(fault.delay.0);
                    bent.push(fault);
                }
                FaultKind::MissingRows => {
                    view.missing.push(fault.clone());
                    bent.push(fault);
                }
                FaultKind::ShortPages | FaultKind::WrongTotal => bent.push(fault),
                FaultKind::Throttle
                | FaultKind::ServerError
                | FaultKind::Html
                | FaultKind::Cut
                | FaultKind::Malformed
                | FaultKind::Huge
                | FaultKind::Endless
                | FaultKind::Redirect
                | FaultKind::ExpiredToken
                | FaultKind::Unauthorized
                | FaultKind::Forbidden
                | FaultKind::Hang
                | FaultKind::Reset
                | FaultKind::MissingList
                | FaultKind::Odd
                | FaultKind::NotFound
                | FaultKind::LostSession => broken = broken.or(Some(fault)),
            }
        }
        let (skew, theirs) = (view.skew, shifted(now, view.skew));
        if let Some(region) = call.region.filter(|_| skew != 0 || !bent.is_empty()) {
            call.answer = region.answer(call.request, now, &view);
        }
        for fault in &bent {
            let answer = call.answer.take();
            call.answer = answer.map(|answer| answer.map(|body| paging::bend(fault, body)));
        }
        let mut reaction = match broken {
            Some(fault) => self.fail(call, &fault, state, theirs),
            None => self.handle(call, state, theirs),
        };
        if let Some(fault) = bent.first().filter(|_| reaction.outcome == ANSWERED) {
            reaction.outcome = fault.kind.as_str();
        }
        Reaction { delay, skew, ..reaction }
    }

    /// The faults that are on and hit this call.
    fn faults(&self, call: &Call<'_>, state: &State) -> Vec<Fault> {
        let Some(region) = call.region else { return Vec::new() };
        let injected = state.injected.iter().filter(|(source, _)| source == region.name());
        let scripted = region.lives.script().faults.iter();
        let now = (self.clock)();
        let elapsed = now.since(self.start);
        let is_list = region.lists(&call.operation);
        scripted
            .chain(injected.map(|(_, fault)| fault))
            .enumerate()
            .filter(|(index, fault)| {
                // The same replica answers for a minute.
                let minute = now.as_second().div_euclid(60).unsigned_abs();
                let lags = fault.kind == FaultKind::Lagging;
                let number = if lags { minute } else { state.count };
                let draw = format!("{}/{number}/{index}", self.seed);
                let chance = fastrand::Rng::with_seed(hash(draw.as_bytes())).f64();
                fault.is_on(elapsed)
                    && fault.hits(&call.operation, chance)
                    && fault.only.as_deref().is_none_or(|thing| call.names(thing))
                    && (is_list || fault.kind != FaultKind::MissingList)
                    && (fault.kind != FaultKind::LostSession || self.is_older(call, fault))
            })
            .map(|(_, fault)| fault.clone())
            .collect()
    }

    /// Whether the call comes with a session from before the fault began.
    fn is_older(&self, call: &Call<'_>, fault: &Fault) -> bool {
        let holder = call.account.and_then(|account| self.accounts.get(account));
        let began = holder.zip(call.claimant.as_deref()).and_then(|(it, of)| it.began(of));
        began.is_some_and(|began| began < self.start + fault.from.0)
    }

    /// What a broken cloud does.
    fn fail(&self, call: &Call<'_>, fault: &Fault, state: &mut State, now: Timestamp) -> Reaction {
        let refuse = |state: &State, kind| {
            Reaction::whole(call.refuse(&refusal::words(call.cloud, kind), state))
        };
        let reaction = match fault.kind {
            FaultKind::Throttle => refuse(state, RefusalKind::Throttled),
            FaultKind::ServerError => {
                let mut reaction = refuse(state, RefusalKind::Server);
                // This vendor's services refuse with a good status, whatever their trouble.
                if call.cloud != Cloud::Tencent || call.exchange.is_some() {
                    *reaction.response.status_mut() = status(fault.status);
                }
                reaction
            }
            FaultKind::ExpiredToken => refuse(state, RefusalKind::CredentialsExpired),
            FaultKind::Unauthorized => {
                if let Some(account) = call.account {
                    state.guard.failed(account, now);
                }
                refuse(state, RefusalKind::Unauthenticated)
            }
            FaultKind::Forbidden => Reaction::whole(call.refuse(&call.forbidden(), state)),
            FaultKind::MissingList => refuse(state, RefusalKind::NoSuchOperation),
            FaultKind::NotFound => refuse(state, RefusalKind::NotFound),
            FaultKind::Odd => Reaction::whole(call.refuse(&refusal::odd(call.cloud), state)),
            FaultKind::LostSession => {
                Reaction::whole(call.refuse(&refusal::lost_session(call.cloud), state))
            }
            FaultKind::Html => Reaction::whole(page_for_people(fault.status)),
            FaultKind::Redirect => Reaction::whole(redirect()),
            FaultKind::Hang => Reaction::none(Delivery::Never),
            FaultKind::Reset => Reaction::none(Delivery::Reset),
            FaultKind::Cut => Reaction { delivery: Delivery::Cut, ..self.handle(call, state, now) },
            FaultKind::Endless => {
                Reaction { delivery: Delivery::Endless, ..self.handle(call, state, now) }
            }
            FaultKind::Malformed => {
                self.handle(call, state, now).with_body(|body| body.slice(..body.len() * 2 / 3))
            }
            FaultKind::Huge => self.handle(call, state, now).with_body(|body| {
                const BYTES: usize = 12 << 20;
                let mut long = body.to_vec();
                long.resize(BYTES.max(long.len()), b' ');
                long.into()
            }),
            FaultKind::Slow
            | FaultKind::SkewedClock
            | FaultKind::Lagging
            | FaultKind::MissingRows
            | FaultKind::ShortPages
            | FaultKind::WrongTotal => self.handle(call, state, now),
        };
        Reaction { outcome: fault.kind.as_str(), ..reaction }
    }

    /// What a good cloud does.
    fn handle(&self, call: &Call<'_>, state: &mut State, now: Timestamp) -> Reaction {
        if let (Some(account), Some(region)) = (call.account, call.region) {
            let (service, operation) = (region.api.facts.service, &*call.operation);
            let over =
                |limit: &Limit| state.guard.is_over(account, service, operation, *limit, now);
            if let Some(limit) = region.limits(operation).filter(over).last() {
                let refusal = refusal::throttled(call.cloud, limit);
                let reaction = Reaction::whole(call.refuse(&refusal, state));
                return Reaction { outcome: "rate_limited", ..reaction };
            }
            if state.guard.is_locked(account, call.cloud, now) {
                let reaction = Reaction::whole(call.refuse(&refusal::locked(), state));
                return Reaction { outcome: "locked", ..reaction };
            }
        }
        if call.exchange.is_none_or(Exchange::is_signed)
            && let Err(refusal) = self.admit(call, state, now)
        {
            return Reaction::refused(call, &refusal, state);
        }
        if let Some(exchange) = call.exchange {
            let holder = call.account.and_then(|account| self.accounts.get(account));
            let answer = holder.and_then(|holder| exchange.answer(call.request, holder, now));
            let refusal = refusal::words(call.cloud, RefusalKind::Unauthenticated);
            return answer
                .map_or_else(|| Reaction::refused(call, &refusal, state), Reaction::whole);
        }
        if let Some(answer) = &call.answer {
            let mut answer = answer.clone();
            if call.cloud == Cloud::Huawei {
                set(&mut answer, "x-request-id", &request_id(state));
            }
            return Reaction::whole(answer);
        }
        Reaction::refused(call, &refusal::words(call.cloud, RefusalKind::NoSuchOperation), state)
    }

    /// Whether the call is whose it says it is.
    fn admit(&self, call: &Call<'_>, state: &mut State, now: Timestamp) -> Result<(), Refusal> {
        let holder = call.account.and_then(|account| self.accounts.get(account));
        let claimed = holder.zip(call.claimant.as_deref());
        let bearer = !call.request.headers().contains_key("authorization");
        let credentials = claimed.map(|(it, of)| it.credentials_of(of, bearer));
        let service = match call.exchange {
            Some(_) => "sts",
            None => call.region.map_or("", |region| region.api.facts.service),
        };
        let verdict = call.cloud.verify(call.request, service, credentials.as_ref(), now);
        match (&verdict, call.account) {
            (Err(refusal), Some(account)) if refusal.kind == RefusalKind::Unauthenticated => {
                state.guard.failed(account, now);
            }
            (Ok(()), Some(account)) => state.guard.succeeded(account),
            (Ok(()) | Err(_), _) => {}
        }
        verdict?;
        if claimed.and_then(|(it, of)| it.end(of)).is_some_and(|end| end <= now) {
            return Err(refusal::words(call.cloud, RefusalKind::CredentialsExpired));
        }
        if call.cloud == Cloud::Alibaba && state.guard.is_replayed(call.request.headers(), now) {
            return Err(refusal::replayed());
        }
        Ok(())
    }
}

impl Call<'_> {
    /// Whether it names this cluster, instance or task, and no other.
    fn names(&self, thing: &str) -> bool {
        let sent: Option<Value> = serde_json::from_slice(self.request.body()).ok();
        let is = |value: &Value| match value {
            Value::String(text) => text == thing,
            Value::Number(number) => number.to_string() == thing,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
        };
        query::parameters(self.request).values().any(|value| value == thing)
            || sent.as_ref().and_then(Value::as_object).is_some_and(|it| it.values().any(is))
    }

    /// The refusal of what the key may not do, in the vendor's words, which name it.
    fn forbidden(&self) -> Refusal {
        let operations = self.region.map_or(&[][..], |region| region.api.facts.operations);
        let asked = operations.iter().find(|operation| operation.name == self.operation);
        refusal::forbidden(self.cloud, asked.map_or("", |operation| operation.permission))
    }

    /// A refusal as the vendor words and wraps it.
    fn refuse(&self, refusal: &Refusal, state: &State) -> Response<Bytes> {
        let host = self.request.uri().host().unwrap_or_default();
        let xml = match query::parameters(self.request).get("Format") {
            Some(format) => format.eq_ignore_ascii_case("xml"),
            None => query::header(self.request.headers(), "accept").contains("xml"),
        };
        let format = if xml { Format::Xml } else { Format::Json };
        self.cloud.refuse(refusal, host, &request_id(state), format)
    }
}

impl Reaction {
    fn whole(response: Response<Bytes>) -> Self {
        let (delay, delivery) = (Duration::ZERO, Delivery::Whole);
        Self { response, delay, delivery, outcome: ANSWERED, skew: 0 }
    }

    fn none(delivery: Delivery) -> Self {
        Self { delivery, ..Self::whole(Response::default()) }
    }

    fn refused(call: &Call<'_>, refusal: &Refusal, state: &State) -> Self {
        let outcome = refusal::outcome(refusal.kind);
        Self { outcome, ..Self::whole(call.refuse(refusal, state)) }
    }

    fn with_body(self, change: impl FnOnce(Bytes) -> Bytes) -> Self {
        Self { response: self.response.map(change), ..self }
    }
}

/// Which vendor a request is for, by what its clients send, whatever it asks.
fn addressee(request: &Request<Bytes>) -> Cloud {
    let parameters = query::parameters(request);
    let authorization = query::header(request.headers(), "authorization");
    let sends = |header: &str, algorithm: &str, parameter: &str| {
        request.headers().keys().any(|name| name.as_str().starts_with(header))
            || authorization.starts_with(algorithm)
            || parameters.contains_key(parameter)
    };
    if sends("x-acs-", "ACS3-", "AccessKeyId") {
        Cloud::Alibaba
    } else if sends("x-tc-", "TC3-", "SecretId") {
        Cloud::Tencent
    } else {
        Cloud::Huawei
    }
}

/// The vendor's name of the operation that is asked for. Where that is a path, it is named by the APIs of
/// the account, or else by any that has it; a path that none has stands for itself.
fn operation(cloud: Cloud, request: &Request<Bytes>, regions: &[&Region]) -> String {
    match cloud {
        Cloud::Alibaba => query::header(request.headers(), "x-acs-action").into_owned(),
        Cloud::Tencent => query::header(request.headers(), "x-tc-action").into_owned(),
        Cloud::Huawei => {
            let (method, path) = (request.method(), request.uri().path());
            let known = regions.iter().map(|region| region.api).chain(APIS.iter().copied());
            let mut known = known.flat_map(|api| api.facts.operations);
            let found = known.find(|operation| operation.call.is(method, path));
            found.map_or(path, |operation| operation.name).to_owned()
        }
    }
}

/// Looks like the vendors', and tells the requests apart.
fn request_id(state: &State) -> String {
    format!("51A1D000-0000-4000-8000-{:012X}", state.count)
}

fn page_for_people(code: u16) -> Response<Bytes> {
    let code = status(code);
    let page = format!(
        "<html>\r\n<head><title>{code}</title></head>\r\n<body>\r\n<center><h1>{code}</h1></center>\
         \r\n<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n"
    );
    let mut response = Response::new(Bytes::from(page));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
    response
}

fn redirect() -> Response<Bytes> {
    let mut response = Response::default();
    *response.status_mut() = StatusCode::FOUND;
    let elsewhere = HeaderValue::from_static("http://login.portal.invalid/");
    response.headers_mut().insert(LOCATION, elsewhere);
    response
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
}

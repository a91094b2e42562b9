//! From a request to its reply: faults, limits, identity, schema, route.

pub(crate) mod attachment_upload;
mod attachments;
mod batch;
mod calendar;
mod calendar_write;
mod contacts;
mod control;
mod directory;
mod download;
mod drive;
mod folder_write;
mod folders;
mod groups;
mod item;
mod login;
mod mail;
mod mail_write;
mod message;
mod settings;
mod store;
mod things;
mod todo;
mod upload;
mod users;

use http::{Method, header};

use crate::authority::Identity;
use crate::call::Call;
use crate::dice;
use crate::error::Refusal;
use crate::faults::Kind;
use crate::log::Host;
use crate::reply::{Payload, Reply};
use crate::server::World;
use crate::throttle::{Area, Cost, Slot, Wait, too_many};
use crate::units;

/// A reply and what the log should know about it.
pub(crate) struct Outcome {
    pub(crate) reply: Reply,
    pub(crate) slot: Option<Slot>,
    /// The user id of the mailbox, or the drive id.
    pub(crate) owner: Option<String>,
    /// What SharePoint charges.
    pub(crate) units: Option<u64>,
    pub(crate) fault: Option<Kind>,
    /// The client brought a 429 on itself.
    pub(crate) provoked: bool,
    /// It had been told to wait.
    pub(crate) told: bool,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        let (slot, owner, units, fault) = (None, None, None, None);
        Outcome { reply, slot, owner, units, fault, provoked: false, told: false }
    }
}

impl Outcome {
    /// The answer to who has to wait.
    pub(crate) fn waiting(wait: &Wait, call: &Call) -> Outcome {
        let reply = Reply::refused(&wait.refusal, call);
        Outcome { provoked: true, told: wait.told, ..reply.into() }
    }
}

/// What a route gives back.
pub(crate) type Answer = Result<Reply, Refusal>;

pub(crate) fn answer(world: &World, call: &Call) -> Outcome {
    match call.host {
        Host::Control => control::answer(world, call).into(),
        Host::Login => {
            early_fault(world, call, "login").unwrap_or_else(|| login::answer(world, call).into())
        }
        Host::Imds => early_fault(world, call, "login")
            .unwrap_or_else(|| login::managed_identity(world, call).into()),
        Host::Graph => graph(world, call),
        Host::Download => download(world, call),
    }
}

/// Headers every reply has.
pub(crate) fn stamp(call: &Call, reply: &mut Reply) {
    let client = call.header("client-request-id").unwrap_or(&call.request_id);
    let mut stamped = std::mem::replace(reply, Reply::empty(500));
    if call.host == Host::Graph {
        stamped = stamped
            .with("request-id", &call.request_id)
            .with("client-request-id", client)
            .with("cache-control", "private")
            .with("strict-transport-security", "max-age=31536000")
            .with("x-ms-ags-diagnostic", r#"{"ServerInfo":{"DataCenter":"Germany West Central","Slice":"E","Ring":"3","ScaleUnit":"001","RoleInstance":"FR1PEPF00001234"}}"#);
    }
    *reply = stamped;
}

/// The faults of a service as a whole, in the order in which a request would meet them.
fn early_fault(world: &World, call: &Call, scope: &str) -> Option<Outcome> {
    const KINDS: [Kind; 8] = [
        Kind::Reset,
        Kind::HtmlError,
        Kind::Empty503,
        Kind::Throttle,
        Kind::ThrottleBare,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::ServerError,
    ];
    let line = call.line();
    let key = fault_key(call);
    // Login is spared by all but faults that name it.
    let must_match = matches!(call.host, Host::Login | Host::Imds);
    let strikes = |kind| match must_match {
        true => world.faults.strikes_named(kind, &line, &key),
        false => world.faults.strikes(kind, &line, &key),
    };
    let Some((kind, fault)) = KINDS.into_iter().find_map(|kind| Some((kind, strikes(kind)?)))
    else {
        return refused_write(world, call, scope);
    };
    let refused = |refusal: Refusal| Reply::refused(&refusal, call);
    let reply = match kind {
        Kind::Reset => Reply::none(),
        Kind::HtmlError => Reply::html(
            502,
            "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr><center>proxy</center></body></html>",
        ),
        Kind::Empty503 => Reply::empty(503),
        Kind::Throttle => {
            world.throttle.close(scope, fault.pause());
            refused(too_many(fault.pause()))
        }
        Kind::ThrottleBare => {
            let mut refusal = too_many(0.0);
            refusal.headers.clear();
            refused(refusal)
        }
        Kind::Unavailable => {
            world.throttle.close(scope, fault.pause());
            let text = "The service is temporarily unavailable.";
            let refusal = Refusal::new(503, "serviceNotAvailable", text);
            refused(refusal.with_header("retry-after", format!("{:.3}", fault.pause())))
        }
        Kind::Timeout => refused(Refusal::new(504, "UnknownError", "")),
        _ if scope.starts_with("mailbox:") => refused(Refusal::new(
            500,
            "ErrorInternalServerTransientError",
            "An internal server error occurred. Try again later.",
        )),
        _ => refused(Refusal::new(500, "generalException", "General exception while processing")),
    };
    Some(Outcome { fault: Some(kind), ..reply.into() })
}

/// Tells repeated requests from others: addresses of downloads change with each ticket, and
/// writes to one URL are as many requests as they have bodies.
fn fault_key(call: &Call) -> String {
    let key = match call.host {
        Host::Download => {
            let file = call.option("UniqueId").or(call.option("path")).unwrap_or_default();
            format!("{} {file}", call.path)
        }
        _ => call.line(),
    };
    if !is_write(call) {
        return key;
    }
    let range = call.header("content-range").unwrap_or_default();
    format!("{key} {range} {:016x}", dice::bytes(&call.body))
}

/// Whether a request may change something. A batch is none itself, what it contains may be.
fn is_write(call: &Call) -> bool {
    matches!(call.host, Host::Graph | Host::Download)
        && call.method != Method::GET
        && call.segments.last().is_none_or(|segment| segment != "$batch")
}

/// What folders of any kind are posted to.
const FOLDERS: [&str; 4] = ["mailFolders", "childFolders", "calendars", "contactFolders"];

/// The faults that refuse a write as such.
fn refused_write(world: &World, call: &Call, scope: &str) -> Option<Outcome> {
    const KINDS: [Kind; 3] = [Kind::Quota, Kind::TooLarge, Kind::Conflict];
    if !is_write(call) {
        return None;
    }
    let (line, key) = (call.line(), fault_key(call));
    // What takes something away needs no room.
    let kinds = if call.method == Method::DELETE { &KINDS[2..] } else { &KINDS[..] };
    let hit = |kind: &Kind| world.faults.strikes(*kind, &line, &key).is_some();
    let kind = kinds.iter().copied().find(hit)?;
    let mail = scope.starts_with("mailbox:") || attachment_upload::is_ours(call);
    let folder = FOLDERS.contains(&call.segments.last().map(String::as_str).unwrap_or_default());
    let (status, code, text) = match kind {
        Kind::Quota if mail => (507, "ErrorQuotaExceeded", "The mailbox quota has been exceeded."),
        Kind::Quota => (507, "quotaLimitReached", "Insufficient Space Available"),
        Kind::TooLarge if mail => {
            (413, "ErrorMessageSizeExceeded", "The message exceeds the maximum supported size.")
        }
        Kind::TooLarge => (413, "maxFileSizeExceeded", "The file is too large."),
        _ if folder => {
            (409, "ErrorFolderExists", "A folder with the specified name already exists.")
        }
        _ if mail => (
            409,
            "ErrorIrresolvableConflict",
            "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.",
        ),
        _ => {
            (409, "nameAlreadyExists", "An item with the same name already exists under the parent")
        }
    };
    let reply = Reply::refused(&Refusal::new(status, code, text), call);
    Some(Outcome { fault: Some(kind), ..reply.into() })
}

/// Faults that keep the news of a success from the client.
fn hush(world: &World, call: &Call, outcome: &mut Outcome) {
    if !is_write(call) || outcome.fault.is_some() || !outcome.reply.status.is_success() {
        return;
    }
    let (line, key) = (call.line(), fault_key(call));
    let hit = |kind: &Kind| world.faults.strikes(*kind, &line, &key).is_some();
    let kind = [Kind::ResetAfter, Kind::ErrorAfter].into_iter().find(hit);
    outcome.fault = kind;
    outcome.reply = match kind {
        Some(Kind::ResetAfter) => Reply::none(),
        Some(_) if dice::text(&key).is_multiple_of(2) => {
            let text = "The service is temporarily unavailable.";
            Reply::refused(&Refusal::new(503, "serviceNotAvailable", text), call)
        }
        Some(_) => Reply::refused(&Refusal::new(504, "UnknownError", ""), call),
        None => return,
    };
}

/// Says of a list that it is not there.
fn lose(world: &World, call: &Call, outcome: &mut Outcome) {
    let Outcome { reply, fault, .. } = outcome;
    let is_list = matches!(&reply.body, Payload::Json(body) if body["value"].is_array());
    if fault.is_some() || call.method != Method::GET || call.host != Host::Graph || !is_list {
        return;
    }
    let key = fault_key(call);
    if world.faults.strikes(Kind::Missing, &call.line(), &key).is_none() {
        return;
    }
    let is_later = ["skiptoken", "skip"].iter().any(|name| call.option(name).is_some());
    let (status, code) = match dice::text(&key) % 4 {
        1 if is_later => (410, "Gone"),
        2 if is_later => (400, "BadRequest"),
        3 => (404, "UnknownError"),
        _ => (404, "ErrorItemNotFound"),
    };
    *fault = Some(Kind::Missing);
    *reply = Reply::refused(&Refusal::new(status, code, "It can't be found."), call);
}

/// A call in the tenant's own terms.
pub(crate) struct Asked<'a> {
    pub(crate) world: &'a World,
    pub(crate) call: &'a Call,
    pub(crate) who: &'a Identity,
}

fn graph(world: &World, call: &Call) -> Outcome {
    let owner = owner_of(world, call);
    let scope = match &owner {
        Some(("mailbox", id)) => format!("mailbox:{id}"),
        Some((kind, _)) => (*kind).to_owned(),
        // Its parts are charged, the envelope is not.
        None if call.segments.last().is_some_and(|segment| segment == "$batch") => "batch".into(),
        None => "directory".to_owned(),
    };
    let area = Area::of(&scope);
    let cost = cost(call, area);
    let mut outcome = match world.throttle.enter(&scope, cost, call.arrived) {
        Ok(slot) => {
            let early = early_fault(world, call, &scope);
            let outcome = early.unwrap_or_else(|| identified(world, call));
            Outcome { slot: Some(slot), ..outcome }
        }
        Err(wait) => Outcome::waiting(&wait, call),
    };
    outcome.owner = owner.map(|(_, id)| id);
    outcome.units = (area == Some(Area::SharePoint)).then_some(cost.units);
    tell_use(world, &mut outcome, area, cost);
    maim(world, call, &mut outcome);
    outcome
}

/// What a request takes of the limits of a service (FACTS 2).
fn cost(call: &Call, area: Option<Area>) -> Cost {
    let bytes = if is_write(call) { call.body.len() as u64 } else { 0 };
    match area {
        Some(Area::Outlook) => Cost { units: 1, written: bytes },
        Some(Area::SharePoint) => Cost { units: units::of_sharepoint(call, false), written: bytes },
        Some(Area::Directory) => {
            Cost { units: units::of_directory(call), written: u64::from(is_write(call)) }
        }
        None => Cost::default(),
    }
}

/// What answers say about the limits of their service.
fn tell_use(world: &World, outcome: &mut Outcome, area: Option<Area>, cost: Cost) {
    let headers = match area {
        _ if outcome.reply.reset => return,
        Some(Area::SharePoint) => world.throttle.sharepoint_headers(),
        Some(Area::Directory) => world.throttle.directory_headers(cost.units),
        _ => return,
    };
    let reply = std::mem::replace(&mut outcome.reply, Reply::empty(500));
    outcome.reply =
        headers.into_iter().fold(reply, |reply, (name, value)| reply.with(name, &value));
}

/// The mailbox (by user id) or drive a request is about.
fn owner_of(world: &World, call: &Call) -> Option<(&'static str, String)> {
    let segments: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    match segments.as_slice() {
        ["users", user, "drive" | "drives", ..] => {
            let person = world.tenant.person(user)?;
            Some(("sharepoint", person.drive().map_or(person.id.clone(), |d| d.ids.drive.clone())))
        }
        ["drives", drive, ..] => Some(("sharepoint", (*drive).to_owned())),
        ["users", user, "mailFolders" | "messages" | "sendMail", ..] => {
            Some(("mailbox", world.tenant.person(user)?.id.clone()))
        }
        ["users", user, service, ..] if OF_MAILBOX.contains(service) => {
            Some(("mailbox", world.tenant.person(user)?.id.clone()))
        }
        ["me", "mailFolders" | "messages" | "sendMail", ..] => {
            Some(("mailbox", world.tenant.people.first()?.id.clone()))
        }
        ["me", service, ..] if OF_MAILBOX.contains(service) => {
            Some(("mailbox", world.tenant.people.first()?.id.clone()))
        }
        [
            "groups",
            group,
            "conversations" | "threads" | "calendarView" | "calendar" | "events",
            ..,
        ] => Some(("mailbox", (*group).to_owned())),
        ["me", "drive" | "drives", ..] => {
            Some(("sharepoint", world.tenant.people.first()?.drive()?.ids.drive.clone()))
        }
        _ => None,
    }
}

/// What lies in a mailbox besides mail, by the segment below the user.
const OF_MAILBOX: [&str; 12] = [
    "calendar",
    "calendarGroups",
    "calendars",
    "calendarView",
    "contactFolders",
    "contacts",
    "events",
    "inferenceClassification",
    "mailboxSettings",
    "outlook",
    "photo",
    "todo",
];

fn calendars(rest: &[&str]) -> bool {
    matches!(rest, ["calendar" | "calendarGroups" | "calendars" | "calendarView" | "events", ..])
}

fn identified(world: &World, call: &Call) -> Outcome {
    let (line, token) = (call.line(), call.bearer());
    let revoked =
        token.filter(|_| world.faults.strikes(Kind::TokenExpiry, &line, "token").is_some());
    if let Some(token) = revoked {
        world.authority.revoke(token);
    }
    let answer = world.authority.identify(token).and_then(|who| {
        check_schema(call)?;
        route(&Asked { world, call, who: &who })
    });
    let reply = answer.unwrap_or_else(|refusal| Reply::refused(&refusal, call));
    Outcome { fault: revoked.map(|_| Kind::TokenExpiry), ..reply.into() }
}

/// What the published schema says about the request.
fn check_schema(call: &Call) -> Result<(), Refusal> {
    let query = (!call.raw_query.is_empty()).then_some(call.raw_query.as_str());
    crate::schema::check(call.method.as_str(), call.below_version(), query)
        .map_err(|refused| Refusal::new(refused.status, refused.code, refused.message))
}

pub(crate) fn route(asked: &Asked<'_>) -> Answer {
    let call = asked.call;
    let segments: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    if segments.as_slice() == ["$batch"] {
        return batch::answer(asked);
    }
    match segments.as_slice() {
        ["me", rest @ ..] => {
            let me = asked.who.user.clone().ok_or_else(|| {
                Refusal::bad_request(
                    "/me request is only valid with delegated authentication flow.",
                )
            })?;
            let mut segments = vec!["users", me.as_str()];
            segments.extend_from_slice(rest);
            resource(asked, &segments)
        }
        segments => resource(asked, segments),
    }
}

/// Mail and drives decide themselves which methods they know; all else can only be read.
fn resource(asked: &Asked<'_>, segments: &[&str]) -> Answer {
    let writable = matches!(
        segments,
        ["users", _, "mailFolders" | "messages" | "sendMail" | "drive", ..] | ["drives", _, ..]
    ) || matches!(segments, ["users", _, service, ..] if OF_MAILBOX.contains(service));
    if !writable && asked.call.method != Method::GET {
        return Err(Refusal::method_not_allowed());
    }
    match segments {
        ["organization", rest @ ..] => directory::organization(asked, rest),
        ["applications", rest @ ..] => directory::applications(asked, rest),
        ["servicePrincipals", rest @ ..] => directory::service_principals(asked, rest),
        ["groups", rest @ ..] => groups::route(asked, rest),
        ["users", user, "mailFolders", folder, "messageRules", rest @ ..]
            if folder.eq_ignore_ascii_case("inbox") =>
        {
            settings::rules(asked, user, rest)
        }
        ["users", user, "mailFolders", rest @ ..] => folders::route(asked, user, rest),
        ["users", user, "messages", rest @ ..] => mail::route(asked, user, rest),
        ["users", user, "sendMail"] => mail_write::never_sent(asked, user, "sendMail", None),
        ["users", user, rest @ ..] if calendars(rest) => calendar::route(asked, user, rest),
        ["users", user, rest @ ..] if matches!(rest, ["contacts" | "contactFolders", ..]) => {
            contacts::route(asked, user, rest)
        }
        ["users", user, "todo", rest @ ..] => todo::route(asked, user, rest),
        ["users", user, "mailboxSettings", rest @ ..] => settings::of_mailbox(asked, user, rest),
        ["users", user, "outlook", rest @ ..] => settings::categories(asked, user, rest),
        ["users", user, "inferenceClassification", rest @ ..] => {
            settings::overrides(asked, user, rest)
        }
        ["users", user, rest @ ..] if matches!(rest, ["photo" | "photos", ..]) => {
            settings::photo_of_user(asked, user, rest)
        }
        ["users", user, "drive", rest @ ..] => drive::of_user(asked, user, rest),
        ["users", user, "drives"] => drive::list(asked, user),
        ["drives", drive, rest @ ..] => drive::route(asked, drive, rest),
        ["users", rest @ ..] => users::route(asked, rest),
        [] => Err(Refusal::bad_request("The request URI is not valid.")),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
    }
}

impl Asked<'_> {
    /// Refuses callers without any of these roles.
    pub(crate) fn need(&self, any: &[&str], refusal: (&str, &str)) -> Result<(), Refusal> {
        match self.who.has(any) {
            true => Ok(()),
            false => Err(Refusal::new(403, refusal.0, refusal.1)),
        }
    }

    pub(crate) fn need_directory(&self, any: &[&str]) -> Result<(), Refusal> {
        let text = "Insufficient privileges to complete the operation.";
        self.need(any, ("Authorization_RequestDenied", text))
    }

    /// A signed-in user sees what is his.
    pub(crate) fn need_own(&self, user: &str) -> Result<(), Refusal> {
        match &self.who.user {
            Some(own) if own != user => Err(Refusal::new(
                403,
                "ErrorAccessDenied",
                "Access is denied. Check credentials and try again.",
            )),
            _ => Ok(()),
        }
    }
}

/// The file host: no tokens, but the same weather.
fn download(world: &World, call: &Call) -> Outcome {
    let mut outcome = match world.throttle.enter("download", Cost::default(), call.arrived) {
        Ok(_) if attachment_upload::is_ours(call) => early_fault(world, call, "download")
            .unwrap_or_else(|| attachment_upload::answer(world, call)),
        Ok(_) => of_sharepoint(world, call),
        Err(wait) => Outcome::waiting(&wait, call),
    };
    maim(world, call, &mut outcome);
    outcome
}

/// Contents of files count as SharePoint's (FACTS 2.3), whichever host they come from.
fn of_sharepoint(world: &World, call: &Call) -> Outcome {
    let units = units::of_sharepoint(call, download::is_redirected(world, call));
    let written = if is_write(call) { call.body.len() as u64 } else { 0 };
    let cost = Cost { units, written };
    let mut outcome = match world.throttle.enter("sharepoint", cost, call.arrived) {
        Ok(slot) => {
            let early = early_fault(world, call, "download");
            let outcome = early.unwrap_or_else(|| download::answer(world, call));
            Outcome { slot: Some(slot), ..outcome }
        }
        Err(wait) => Outcome::waiting(&wait, call),
    };
    outcome.units = Some(units);
    world.throttle.sent("sharepoint", outcome.reply.len());
    tell_use(world, &mut outcome, Some(Area::SharePoint), cost);
    outcome
}

/// Faults that strike a finished reply.
fn maim(world: &World, call: &Call, outcome: &mut Outcome) {
    hush(world, call, outcome);
    lose(world, call, outcome);
    let reply = &mut outcome.reply;
    // A restless read is a good one; it can be cut short like any other.
    let spoilt = outcome.fault.is_some_and(|kind| kind != Kind::Restless);
    if spoilt || !reply.status.is_success() || reply.reset {
        return;
    }
    let (line, key) = (call.line(), fault_key(call));
    let is_value = call.segments.last().is_some_and(|segment| segment == "$value");
    let is_content = is_value || call.host == Host::Download;
    if is_content && world.faults.marks(Kind::NoLength, &line, &key).is_some() {
        reply.sized = false;
        reply.headers.retain(|(name, _)| name != header::CONTENT_LENGTH);
    }
    if world.faults.strikes(Kind::Truncate, &line, &key).is_some() {
        reply.halved = true;
        outcome.fault = Some(Kind::Truncate);
    }
}

//! What calendars, contacts and tasks have in common: who may, lists, single things, delta.

use std::collections::HashSet;

use chrono::{SubsecRound, Utc};
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::Preferences;
use crate::compose::Object;
use crate::delta;
use crate::error::Refusal;
use crate::extended;
use crate::faults::Kind as Fault;
use crate::filter::Filter;
use crate::mail::Address;
use crate::page::{self, Page, Select, escaped};
use crate::reply::Reply;
use crate::routes::message::extended_ids;
use crate::routes::{Answer, Asked, folders};
use crate::shelf::{Kind, Lost, Number, Place, Shelf};
use crate::tenant::Mailed;

/// A caller at a shelf.
pub(crate) struct Access<'a> {
    pub(crate) asked: &'a Asked<'a>,
    pub(crate) shelf: &'a Shelf,
    pub(crate) prefer: Preferences,
    /// Whose it is: the id of a user or group.
    pub(crate) id: String,
    pub(crate) owner: Address,
    /// `users('ID')`: what contexts and links begin with.
    pub(crate) root: String,
}

/// Who may read a service and who may change it.
pub(crate) struct Roles {
    pub(crate) readers: &'static [&'static str],
    pub(crate) writers: &'static [&'static str],
}

/// The service's own words for a caller without the roles.
const DENIED: (&str, &str) =
    ("ErrorAccessDenied", "Access is denied. Check credentials and try again.");

pub(crate) fn denied() -> Refusal {
    Refusal::new(403, DENIED.0, DENIED.1)
}

impl Roles {
    /// Refuses callers who may not do what they ask for.
    pub(crate) fn admit(&self, asked: &Asked<'_>) -> Result<(), Refusal> {
        let reads = asked.call.method == Method::GET && asked.who.has(self.readers);
        match reads || asked.who.has(self.writers) {
            true => Ok(()),
            false => Err(denied()),
        }
    }
}

impl<'a> Access<'a> {
    /// The shelf of a user, if he has a mailbox and the caller may.
    pub(crate) fn of_user(
        asked: &'a Asked<'a>,
        user: &str,
        roles: &Roles,
    ) -> Result<Access<'a>, Refusal> {
        roles.admit(asked)?;
        let (person, _) = folders::mailbox_of(asked, user)?;
        let none = || Refusal::new(404, "MailboxNotEnabledForRESTAPI", "There is no mailbox.");
        Ok(Access {
            asked,
            shelf: person.shelf().ok_or_else(none)?,
            prefer: asked.call.preferences(),
            id: person.id.clone(),
            owner: Address { name: person.display_name(), address: person.mail() },
            root: format!("users('{}')", escaped(&person.id)),
        })
    }

    pub(crate) fn method(&self) -> &'a Method {
        &self.asked.call.method
    }

    pub(crate) fn now(&self) -> chrono::DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    /// The place that an id names.
    pub(crate) fn find(&self, kind: Kind, id: &str) -> Result<Place, Refusal> {
        self.shelf.find(kind, id).map_err(|lost| match lost {
            Lost::Malformed => Refusal::malformed_id(),
            Lost::Missing => Refusal::item_not_found(),
        })
    }

    /// The same inside something.
    pub(crate) fn find_in(&self, kind: Kind, parent: Number, id: &str) -> Result<Place, Refusal> {
        let place = self.find(kind, id)?;
        let thing = self.shelf.thing(place.number).ok_or_else(Refusal::item_not_found)?;
        match thing.parent == Some(parent) {
            true => Ok(place),
            false => Err(Refusal::item_not_found()),
        }
    }

    pub(crate) fn id_of(&self, place: Place) -> String {
        self.shelf.id(place, self.prefer.immutable_ids)
    }

    /// What may have happened to a thing since it was listed.
    pub(crate) fn weather(&self, place: Place) -> Result<(), Refusal> {
        let (faults, line) = (&self.asked.world.faults, self.asked.call.line());
        let id = self.shelf.id(place, true);
        if faults.strikes(Fault::Vanish, &line, &id).is_some() {
            self.shelf.take_away(place, self.now());
            return Err(Refusal::item_not_found());
        }
        if faults.strikes(Fault::Change, &line, &id).is_some() {
            let other = json!(["Geändert"]);
            self.shelf.change(place.number.into(), self.now(), |thing| {
                thing.properties.insert("categories".into(), other);
            });
        }
        match faults.marks(Fault::Corrupt, &line, &id).is_some() {
            true => {
                let text = "Data is corrupt., Cannot open the item.";
                Err(Refusal::new(500, "ErrorCorruptData", text))
            }
            false => Ok(()),
        }
    }

    /// A single thing; `path` is that of its collection.
    pub(crate) fn entity(&self, path: &str, mut row: Object) -> Reply {
        let root = &self.asked.call.roots.graph;
        let context = format!("{root}/v1.0/$metadata#{}/{path}/$entity", self.root);
        row.insert("@odata.context".into(), context.into());
        folders::applied(Reply::json(row.into()), &self.prefer)
    }

    /// The reply to a request that made a thing.
    pub(crate) fn made(&self, path: &str, row: Object) -> Reply {
        let id = row.get("id").and_then(Value::as_str).unwrap_or_default();
        let root = &self.asked.call.roots.graph;
        let place = format!("{root}/v1.0/{}/{path}('{}')", self.root, escaped(id));
        let mut reply = self.entity(path, row);
        reply.status = StatusCode::CREATED;
        reply.with("location", &place)
    }

    pub(crate) fn select(&self) -> Select {
        Select::new(self.asked.call.option("select"))
    }

    /// Cuts a whole row down to what was asked for. `on_request` are properties that come only
    /// when they are named.
    pub(crate) fn cut(&self, mut row: Object, select: &Select, on_request: &[&str]) -> Object {
        let wanted = self.asked.call.option("expand").map(extended_ids).unwrap_or_default();
        let known = row.remove("singleValueExtendedProperties").unwrap_or_default();
        let beside = ["extensions", "multiValueExtendedProperties"];
        let beside = beside.map(|name| (name, row.remove(name).filter(|_| self.expands(name))));
        row.retain(|name, _| !on_request.contains(&name.as_str()) || select.names(name));
        select.apply(&mut row);
        for (name, value) in beside {
            row.extend(value.map(|value| (name.to_owned(), value)));
        }
        let named = |property: &&Value| {
            let id = property["id"].as_str().unwrap_or_default();
            wanted.iter().any(|wanted| extended::same(wanted, id))
        };
        let found: Vec<Value> =
            known.as_array().into_iter().flatten().filter(named).cloned().collect();
        if !found.is_empty() {
            row.insert("singleValueExtendedProperties".into(), found.into());
        }
        row
    }

    /// Whether a navigation property is to be expanded.
    pub(crate) fn expands(&self, name: &str) -> bool {
        names(self.asked.call.option("expand").unwrap_or_default(), name)
    }

    /// A page of things. `whole` makes the row that filters and orders look at, `shown` cuts it
    /// down.
    pub(crate) fn list(
        &self,
        path: &str,
        mut places: Vec<Place>,
        usual_size: usize,
        whole: impl Fn(Place) -> Option<Object>,
        shown: impl Fn(Place, Object) -> Object,
    ) -> Answer {
        let (call, world) = (self.asked.call, self.asked.world);
        let top = call.number("top");
        if top.is_some_and(|top| !(1..=1000).contains(&top)) {
            let text = "The value of $top must be between 1 and 1000.";
            return Err(Refusal::new(400, "ErrorInvalidUrlQuery", text));
        }
        let size = page::size(world, top.or(self.prefer.page_size), usual_size, 1000);
        let skip = call.number("skip").unwrap_or(0);
        let filter = Filter::new(call.option("filter"))?;
        if let Some(keys) = filter.as_ref().and_then(Filter::index_keys) {
            let known = self.shelf.indexed(&keys);
            places.retain(|place| known.contains(&place.number));
        }
        if let Some(filter) = &filter {
            places.retain(|place| whole(*place).is_some_and(|row| filter.accepts(&row.into())));
        }
        if let Some(order) = call.option("orderby") {
            sort(&mut places, order, &whole);
        }
        let total = places.len();
        let here = places.into_iter().skip(skip).take(size);
        let rows = here.filter_map(|place| Some(shown(place, whole(place)?).into())).collect();
        let more = skip + size < total;
        let page = Page {
            context: format!("{}/{path}", self.root),
            rows,
            next: more.then(|| page::link(call, "skip", &(skip + size).to_string())),
            count: (call.option("count") == Some("true")).then_some(total as u64),
            delta: None,
        };
        Ok(folders::applied(page.reply(world, call), &self.prefer))
    }

    /// Writes down what the service would have mailed to the attendees of an event.
    pub(crate) fn note_mailed(&self, action: &str, place: Place, event: &Object) {
        let named = ["subject", "start", "attendees"];
        let body: Object = event
            .iter()
            .filter(|(name, _)| named.contains(&name.as_str()))
            .map(|(n, v)| (n.clone(), v.clone()))
            .collect();
        self.asked.world.tenant.note_mailed(Mailed {
            user: self.id.clone(),
            action: action.to_owned(),
            message: Some(self.shelf.id(place, true)),
            body: body.into(),
        });
    }
}

fn sort(places: &mut [Place], order: &str, whole: &impl Fn(Place) -> Option<Object>) {
    let mut words = order.split_whitespace();
    let property = format!("/{}", words.next().unwrap_or_default());
    let backwards = words.next() == Some("desc");
    let key = |place: &Place| {
        let row: Value = whole(*place).unwrap_or_default().into();
        row.pointer(&property)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    places.sort_by_cached_key(key);
    if backwards {
        places.reverse();
    }
}

/// A place in the rounds of a delta.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Token {
    /// Whose, and which collection: a token is good for nothing else.
    owner: String,
    scope: String,
    /// `None`: everything that is there.
    since: Option<u64>,
    /// The round tells of changes up to this one.
    until: u64,
    after: Option<Place>,
    skip: usize,
    select: Option<String>,
    #[serde(default)]
    expand: Option<String>,
    /// The window of a calendar view, seconds.
    pub(crate) window: Option<(i64, i64)>,
}

impl Token {
    /// Whether what is told shall have that in it: what was asked at first goes on (FACTS 3.0).
    pub(crate) fn expands(&self, name: &str) -> bool {
        names(self.expand.as_deref().unwrap_or_default(), name)
    }
}

/// Whether an `$expand` names that.
fn names(expand: &str, name: &str) -> bool {
    expand.split(['(', ',', ')']).any(|word| word.trim() == name)
}

/// A collection whose changes can be asked for.
pub(crate) struct Tracked<'f> {
    /// Of the collection, below the root.
    pub(crate) path: String,
    /// `event`, `contact`, ...
    pub(crate) of: &'static str,
    pub(crate) usual_size: usize,
    /// The window of a first request.
    pub(crate) window: Option<(i64, i64)>,
    /// Everything there is, in the order of places.
    pub(crate) all: &'f dyn Fn(&Token) -> Vec<Place>,
    /// What is told when something changes.
    pub(crate) touched: &'f dyn Fn(&Token, Place) -> Vec<Place>,
    /// A row, if the place belongs to the collection now.
    pub(crate) row: &'f dyn Fn(&Token, Place, &Select) -> Option<Object>,
}

impl Access<'_> {
    /// A page of a delta round.
    pub(crate) fn delta(&self, tracked: &Tracked<'_>) -> Answer {
        let (call, world) = (self.asked.call, self.asked.world);
        let mut token = match delta::outlook_token::<Token>(world, call)? {
            Some(token) if token.owner == self.id && token.scope == tracked.path => token,
            Some(_) => {
                let text = "The sync state is of another folder.";
                return Err(Refusal::new(400, "SyncStateInvalid", text));
            }
            None => self.first_token(tracked)?,
        };
        let size = page::size(world, self.prefer.page_size, tracked.usual_size, 1000);
        let select = Select::new(token.select.as_deref());
        let places = match token.since {
            None => {
                let after = token.after;
                let all = (tracked.all)(&token).into_iter();
                all.filter(|place| after.is_none_or(|after| *place > after)).collect()
            }
            Some(since) => {
                if token.skip == 0 {
                    token.until = self.shelf.seq();
                }
                self.changed(tracked, &token, since)
            }
        };
        let skip = if token.since.is_some() { token.skip } else { 0 };
        let page: Vec<Place> = places.iter().copied().skip(skip).take(size).collect();
        let kind = format!("#microsoft.graph.{}", tracked.of);
        let row = |place: &Place| match (tracked.row)(&token, *place, &select) {
            Some(mut row) => {
                row.insert("@odata.type".into(), kind.as_str().into());
                Value::from(row)
            }
            None => {
                json!({"@odata.type": kind, "id": self.id_of(*place), "@removed": {"reason": "deleted"}})
            }
        };
        let rows = page.iter().map(row).collect();
        let more = places.len() > skip + page.len();
        token.after = page.last().copied();
        token.skip += page.len();
        if !more {
            token = Token { since: Some(token.until), after: None, skip: 0, ..token };
        }
        let path = format!("{}/v1.0/{}/{}/delta", call.roots.graph, self.root, tracked.path);
        let sealed = page::seal(&token);
        let link = |option: &str| format!("{path}?${option}={sealed}");
        let page = Page {
            context: format!("Collection({})", tracked.of),
            rows,
            next: more.then(|| link("skiptoken")),
            delta: (!more).then(|| link("deltatoken")),
            count: None,
        };
        Ok(folders::applied(page.reply(world, call), &self.prefer))
    }

    fn changed(&self, tracked: &Tracked<'_>, token: &Token, since: u64) -> Vec<Place> {
        let mut seen = HashSet::new();
        let changes = self.shelf.changes(since, token.until).into_iter();
        let told = changes.flat_map(|place| (tracked.touched)(token, place));
        told.filter(|place| seen.insert(*place)).collect()
    }

    fn first_token(&self, tracked: &Tracked<'_>) -> Result<Token, Refusal> {
        let call = self.asked.call;
        let given = |name: &&&str| call.option(name).is_some();
        let of_view = tracked.window.is_some();
        let refused: &[&str] = match of_view {
            true => &["orderby", "filter", "select", "expand", "search"],
            false => &["orderby", "filter", "search"],
        };
        if refused.iter().find(given).is_some() {
            let names: Vec<String> = refused.iter().map(|name| format!("${name}")).collect();
            let text = format!(
                "The following parameters are not supported with change tracking over the '{}' resource: '{}'.",
                tracked.of,
                names.join(", ")
            );
            return Err(Refusal::new(400, "ErrorInvalidUrlQuery", text));
        }
        Ok(Token {
            owner: self.id.clone(),
            scope: tracked.path.clone(),
            since: None,
            until: self.shelf.seq(),
            after: None,
            skip: 0,
            select: call.option("select").map(str::to_owned),
            expand: call.option("expand").map(str::to_owned),
            window: tracked.window,
        })
    }

    /// What is told of a change in a collection whose things stand for themselves: `kind` inside
    /// `parent`, or anywhere with `None`.
    pub(crate) fn itself(&self, kind: Kind, parent: Option<Number>, place: Place) -> Vec<Place> {
        let thing = self.shelf.any(place.number).filter(|thing| thing.kind == kind);
        let here = thing.is_some_and(|thing| parent.is_none() || thing.parent == parent);
        if here { vec![place] } else { Vec::new() }
    }
}

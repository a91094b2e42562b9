//! Calendars, their events, what a series expands to, and the delta of a window.

use chrono::{DateTime, TimeDelta, Utc};
use http::Method;
use serde_json::{Value, json};

use crate::calendar::{self, Zone};
use crate::compose::Object;
use crate::error::Refusal;
use crate::page::{Page, Select, escaped};
use crate::reply::Reply;
use crate::routes::attachments::Holder;
use crate::routes::things::{Access, Roles, Token, Tracked};
use crate::routes::{Answer, Asked, calendar_write};
use crate::shelf::{Kind, Number, Place};
use crate::zones;

const ROLES: Roles = Roles {
    readers: &["Calendars.Read", "Calendars.ReadBasic.All", "Calendars.ReadBasic"],
    writers: &["Calendars.ReadWrite"],
};

/// Roles that may see more than when an event is.
const CONTENT: [&str; 2] = ["Calendars.Read", "Calendars.ReadWrite"];

/// Properties that come only when they are selected.
const ON_REQUEST: [&str; 1] = ["cancelledOccurrences"];

/// `/users/{user}/calendars/...` and its kin: `rest` begins with the first segment below the user.
pub(crate) fn route(asked: &Asked<'_>, user: &str, rest: &[&str]) -> Answer {
    let access = Access::of_user(asked, user, &ROLES)?;
    let desk = Desk::new(access)?;
    match rest {
        ["calendars"] => desk.calendars(&desk.access.shelf.all(Kind::Calendar)),
        ["calendars", calendar, rest @ ..] => desk.calendar(desk.calendar_of(calendar)?, rest),
        ["calendarGroups", rest @ ..] => desk.groups(rest),
        ["calendar", rest @ ..] => desk.calendar(desk.default, rest),
        ["events" | "calendarView", ..] => desk.calendar(desk.default, rest),
        [segment, ..] => Err(Refusal::unknown_segment(segment)),
        [] => Err(Refusal::bad_request("The request URI is not valid.")),
    }
}

/// A caller at the calendars of a mailbox.
pub(crate) struct Desk<'a> {
    pub(crate) access: Access<'a>,
    pub(crate) default: Number,
    zone: Zone,
    content: bool,
}

impl<'a> Desk<'a> {
    pub(crate) fn new(access: Access<'a>) -> Result<Desk<'a>, Refusal> {
        let named = access.prefer.zone.clone().unwrap_or_else(|| "UTC".to_owned());
        let rules = zones::accepted(&named).ok_or_else(|| {
            let text = format!("A valid TimeZone value must be specified. The following TimeZone value is not supported: '{named}'.");
            Refusal::new(400, "TimeZoneNotSupportedException", text)
        })?;
        let first = access.shelf.all(Kind::Calendar).into_iter().next();
        Ok(Desk {
            default: first.ok_or_else(Refusal::item_not_found)?,
            zone: Zone { name: named, rules },
            content: access.asked.who.has(&CONTENT),
            access,
        })
    }

    fn calendar_of(&self, id: &str) -> Result<Number, Refusal> {
        Ok(self.access.find(Kind::Calendar, id)?.number)
    }

    /// A calendar as JSON.
    pub(crate) fn calendar_row(&self, place: Place) -> Option<Object> {
        let thing = self.access.shelf.thing(place.number)?;
        let mut row = thing.properties.clone();
        row.insert("id".into(), self.access.id_of(place).into());
        row.insert("changeKey".into(), self.access.shelf.change_key(place.number, &thing).into());
        Some(row)
    }

    fn calendars(&self, all: &[Number]) -> Answer {
        if self.access.method() == Method::POST {
            return calendar_write::create_calendar(self);
        }
        let places = all.iter().copied().map(Place::from).collect();
        let select = self.access.select();
        let shown = |_, row| self.access.cut(row, &select, &[]);
        self.access.list("calendars", places, 10, |place| self.calendar_row(place), shown)
    }

    /// Groups of calendars are for looks only: one's own, and those of others.
    fn groups(&self, rest: &[&str]) -> Answer {
        let shelf = self.access.shelf;
        let group = |number: u32, name: &str| json!({"id": shelf.ids.folder(u32::MAX / 2 + number), "name": name, "classId": crate::dice::guid(&[u64::from(number), 71]), "changeKey": shelf.ids.change_key(u64::from(number), 0)});
        let groups = vec![group(0, "Meine Kalender"), group(1, "Andere Kalender")];
        let [id, rest @ ..] = rest else {
            let context = format!("{}/calendarGroups", self.access.root);
            let page = Page { context, rows: groups, ..Page::default() };
            return Ok(page.reply(self.access.asked.world, self.access.asked.call));
        };
        let number = groups.iter().position(|group| group["id"] == **id);
        let number = number.ok_or_else(Refusal::item_not_found)?;
        let mine = |calendar: &Number| {
            let thing = shelf.thing(*calendar);
            thing.is_some_and(|thing| {
                thing.properties["owner"]["address"] == self.access.owner.address
                    && thing.properties["canEdit"] == true
            })
        };
        let all = shelf.all(Kind::Calendar).into_iter();
        let all: Vec<Number> = all.filter(|calendar| mine(calendar) == (number == 0)).collect();
        match rest {
            ["calendars"] => self.calendars(&all),
            ["calendars", calendar, rest @ ..] => self.calendar(self.calendar_of(calendar)?, rest),
            [] => {
                let group = groups[number].as_object().cloned().unwrap_or_default();
                Ok(self.access.entity("calendarGroups", group))
            }
            [segment, ..] => Err(Refusal::unknown_segment(segment)),
        }
    }

    /// One calendar and what is below it.
    fn calendar(&self, calendar: Number, rest: &[&str]) -> Answer {
        let id = escaped(&self.access.id_of(calendar.into()));
        let path = format!("calendars('{id}')");
        match (self.access.method(), rest) {
            (&Method::GET, []) => {
                let row = self.calendar_row(calendar.into()).ok_or_else(Refusal::item_not_found)?;
                Ok(self
                    .access
                    .entity("calendars", self.access.cut(row, &self.access.select(), &[])))
            }
            (_, []) => calendar_write::change_calendar(self, calendar),
            (&Method::GET, ["calendarPermissions"]) => self.permissions(&path),
            (&Method::GET, ["events"]) => {
                let events = self.access.shelf.children(Kind::Event, Some(calendar));
                let places = events.into_iter().map(Place::from).collect();
                self.list(&format!("{path}/events"), places)
            }
            (&Method::POST, ["events"]) => calendar_write::create(self, calendar),
            (&Method::GET, ["events", "delta"]) => Err(no_window()),
            (_, ["events", event, rest @ ..]) => {
                let place = self.access.find(Kind::Event, event)?;
                self.event(place, rest)
            }
            (&Method::GET, ["calendarView"]) => {
                let places = self.view(calendar, self.window()?);
                self.list(&format!("{path}/calendarView"), places)
            }
            (&Method::GET, ["calendarView", "delta"]) => self.delta(calendar, &path),
            (_, [segment, ..]) => Err(Refusal::unknown_segment(segment)),
        }
    }

    fn permissions(&self, path: &str) -> Answer {
        let everybody = json!({
            "id": "RGVmYXVsdA==",
            "isRemovable": false,
            "isInsideOrganization": true,
            "role": "freeBusyRead",
            "allowedRoles": ["none", "freeBusyRead", "limitedRead", "read", "write"],
            "emailAddress": {"name": "My Organization"},
        });
        let context = format!("{}/{path}/calendarPermissions", self.access.root);
        let page = Page { context, rows: vec![everybody], ..Page::default() };
        Ok(page.reply(self.access.asked.world, self.access.asked.call))
    }

    /// An event of a list by the order in which lists come.
    fn list(&self, path: &str, places: Vec<Place>) -> Answer {
        let select = self.access.select();
        let shown = |place, row| self.shown(place, row, &select, false);
        self.access.list(path, places, 10, |place| self.whole(place), shown)
    }

    /// Everything that can be known of an event.
    pub(crate) fn whole(&self, place: Place) -> Option<Object> {
        let (text, immutable) = (self.access.prefer.text_body, self.access.prefer.immutable_ids);
        let mut row = calendar::row(self.access.shelf, place, &self.zone, text, immutable)?;
        if !self.content {
            for name in ["body", "bodyPreview", "singleValueExtendedProperties"] {
                row.remove(name);
            }
        }
        Some(row)
    }

    /// An event as asked for; `alone` where it is not one of a list.
    pub(crate) fn shown(&self, place: Place, row: Object, select: &Select, alone: bool) -> Object {
        // Both forms of what became of occurrences come with single events only.
        let on_request = if alone { &ON_REQUEST[..] } else { &[] };
        let mut row = self.access.cut(row, select, on_request);
        if !alone {
            row.remove("cancelledOccurrences");
        }
        if alone && self.access.expands("exceptionOccurrences") {
            row.insert("exceptionOccurrences".into(), self.exceptions(place));
        }
        if self.content && self.access.expands("attachments") {
            let rows = self.with_holder(place, |holder| holder.rows(&Select::new(None)));
            row.insert("attachments".into(), rows.unwrap_or_default().into());
        }
        row
    }

    fn exceptions(&self, place: Place) -> Value {
        let Some(thing) = self.access.shelf.thing(place.number).filter(|_| place.day.is_none())
        else {
            return json!([]);
        };
        let days = thing.days.keys().map(|day| Place { day: Some(*day), ..place });
        let rows = days.filter_map(|place| {
            let row = self.whole(place)?;
            Some(Value::from(self.access.cut(row, &Select::default(), &ON_REQUEST)))
        });
        rows.collect()
    }

    /// One event and what is below it.
    pub(crate) fn event(&self, place: Place, rest: &[&str]) -> Answer {
        if self.access.method() != Method::GET {
            return calendar_write::change(self, place, rest);
        }
        match rest {
            [] => {
                self.access.weather(place)?;
                self.asks_what_there_is()?;
                let row = self.whole(place).ok_or_else(Refusal::item_not_found)?;
                Ok(self
                    .access
                    .entity("events", self.shown(place, row, &self.access.select(), true)))
            }
            ["instances"] => {
                let window = self.window()?;
                let thing = self.access.shelf.thing(place.number);
                let thing = thing.ok_or_else(Refusal::item_not_found)?;
                let places = calendar::instances(place.number, &thing, window);
                let id = escaped(&self.access.id_of(place));
                self.list(&format!("events('{id}')/instances"), places)
            }
            ["attachments", rest @ ..] => {
                if !self.content {
                    return Err(crate::routes::things::denied());
                }
                if place.day.is_none() {
                    self.access.weather(place)?;
                }
                let route = |holder: &Holder<'_>| holder.route(self.access.asked, rest);
                self.with_holder(place, route).unwrap_or_else(|| Err(Refusal::item_not_found()))
            }
            ["calendar"] => {
                let thing = self.access.shelf.thing(place.number);
                let calendar = thing.and_then(|thing| thing.parent);
                self.calendar(calendar.ok_or_else(Refusal::item_not_found)?, &[])
            }
            [segment, ..] => Err(Refusal::unknown_segment(segment)),
        }
    }

    /// What only the global cloud's events have (FACTS 10) is unknown in others.
    fn asks_what_there_is(&self) -> Result<(), Refusal> {
        let select = self.access.select();
        let asks = self.access.expands("exceptionOccurrences") || select.names(ON_REQUEST[0]);
        match asks && !self.access.asked.world.options.tells_occurrences {
            true => Err(Refusal::bad_request(
                "Could not find a property named 'exceptionOccurrences' on type 'Microsoft.OutlookServices.Event'.",
            )),
            false => Ok(()),
        }
    }

    /// What the attachments of an event hang on.
    pub(crate) fn with_holder<T>(
        &self,
        place: Place,
        use_it: impl FnOnce(&Holder<'_>) -> T,
    ) -> Option<T> {
        let shelf = self.access.shelf;
        let thing = shelf.thing(place.number)?;
        let attached = calendar::attachments_at(&thing, place);
        let id = self.access.id_of(place);
        let context = format!("{}/events('{}')", self.access.root, escaped(&id));
        let forms = [shelf.id(place, true), shelf.id(place, false)];
        let holder = Holder {
            ids: &shelf.ids,
            id,
            forms,
            attached: &attached,
            modified: thing.modified,
            context,
        };
        Some(use_it(&holder))
    }

    /// What touches a window, by when it starts.
    fn view(&self, calendar: Number, window: (DateTime<Utc>, DateTime<Utc>)) -> Vec<Place> {
        let mut places = calendar::view(self.access.shelf, &[calendar], window);
        let start = |place: &Place| {
            let thing = self.access.shelf.thing(place.number)?;
            let span = calendar::Span::read(&calendar::event_at(&thing, *place)?)?;
            Some((span.start.instant(), *place))
        };
        places.sort_by_cached_key(start);
        places
    }

    /// The window that the options name.
    fn window(&self) -> Result<(DateTime<Utc>, DateTime<Utc>), Refusal> {
        let time = |name: &str| {
            let text = self.access.asked.call.option(name)?;
            let clock = calendar::Clock::read(&json!({"dateTime": text, "timeZone": "UTC"}))?;
            Some(clock.instant())
        };
        let window = time("startDateTime").zip(time("endDateTime")).ok_or_else(no_window)?;
        if window.1 < window.0 {
            let text = "The end date must be after the start date.";
            return Err(Refusal::new(400, "ErrorInvalidRequest", text));
        }
        let most = self.access.asked.world.options.view_days;
        if window.1 - window.0 > TimeDelta::days(most) {
            let text = format!(
                "Your request can't be completed. The range between the start and end dates is greater than the allowed range. Maximum number of days: {most}"
            );
            return Err(Refusal::new(400, "ErrorInvalidRequest", text));
        }
        Ok(window)
    }

    /// `.../calendarView/delta`: masters whole, occurrences as far as they are their own.
    fn delta(&self, calendar: Number, path: &str) -> Answer {
        let call = self.access.asked.call;
        let goes_on = call.raw_option("skiptoken").or(call.raw_option("deltatoken")).is_some();
        let window = match goes_on {
            true => (DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH),
            false => self.window()?,
        };
        let shelf = self.access.shelf;
        let in_view = |token: &Token| {
            let mut places = calendar::view(shelf, &[calendar], frozen(token));
            let masters: Vec<Place> = places
                .iter()
                .filter(|place| place.day.is_some())
                .map(|place| place.number.into())
                .collect();
            places.extend(masters);
            places.sort_unstable();
            places.dedup();
            places
        };
        let touched = |token: &Token, place: Place| {
            let own = self.access.itself(Kind::Event, Some(calendar), place);
            let Some(thing) = shelf.any(place.number).filter(|_| place.day.is_none()) else {
                return own;
            };
            if own.is_empty() || !calendar::is_series(&thing) {
                return own;
            }
            let cancelled = thing.days.keys().map(|day| Place { day: Some(*day), ..place });
            let mut all = vec![place];
            all.extend(calendar::instances(place.number, &thing, frozen(token)));
            all.extend(cancelled);
            all
        };
        let row = |token: &Token, place: Place, _: &Select| self.delta_row(frozen(token), place);
        self.access.delta(&Tracked {
            path: format!("{path}/calendarView"),
            of: "event",
            usual_size: 10,
            window: Some((window.0.timestamp(), window.1.timestamp())),
            all: &in_view,
            touched: &touched,
            row: &row,
        })
    }

    fn delta_row(&self, window: (DateTime<Utc>, DateTime<Utc>), place: Place) -> Option<Object> {
        let mut row = self.whole(place)?;
        let thing = self.access.shelf.thing(place.number)?;
        let span = calendar::Span::read(&calendar::event_at(&thing, place)?)?;
        let is_master = place.day.is_none() && calendar::is_series(&thing);
        if !is_master && !span.touches(window) {
            return None;
        }
        if row["type"] == "occurrence" {
            const OWN: [&str; 6] = ["@odata.etag", "id", "type", "seriesMasterId", "start", "end"];
            row.retain(|name, _| OWN.contains(&name.as_str()));
        }
        Some(self.access.cut(row, &Select::default(), &ON_REQUEST))
    }
}

fn frozen(token: &Token) -> (DateTime<Utc>, DateTime<Utc>) {
    let (from, to) = token.window.unwrap_or_default();
    let time = |seconds| DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
    (time(from), time(to))
}

fn no_window() -> Refusal {
    let text = "This request requires a time window specified by the query string parameters StartDateTime and EndDateTime.";
    Refusal::new(400, "ErrorInvalidParameter", text)
}

/// The events of a group that touch a window: all that an application may see of its calendar.
pub(crate) fn of_group(access: Access<'_>) -> Answer {
    let desk = Desk { content: true, ..Desk::new(access)? };
    let places = desk.view(desk.default, desk.window()?);
    desk.list("calendarView", places)
}

/// The reply to a request that made or changed an event.
pub(crate) fn reply(desk: &Desk<'_>, place: Place, made: bool) -> Result<Reply, Refusal> {
    let row = desk.whole(place).ok_or_else(Refusal::item_not_found)?;
    let row = desk.shown(place, row, &Select::default(), true);
    Ok(if made { desk.access.made("events", row) } else { desk.access.entity("events", row) })
}

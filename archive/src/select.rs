//! The selection language, the same on every command.
//!
//! Owners are chosen by globs on any of their names, without regard to case. Paths are archive
//! paths: `*` and `?` stay within a component, `**` crosses components; a glob without a slash
//! matches any one component; what matches a folder matches all below it.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate};
use globset::{GlobBuilder, GlobMatcher};
use serde_json::{Map, Value};

use crate::{Error, Shard};

/// What to take, as given. An empty list is no condition; all empty = everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Services by name, such as `mail`.
    pub services: BTreeSet<String>,
    /// Globs on user principal names, object ids or addresses.
    pub users: Vec<String>,
    /// Globs on names, ids or addresses of groups.
    pub groups: Vec<String>,
    /// Globs on sites.
    pub sites: Vec<String>,
    /// Globs on names or ids of teams.
    pub teams: Vec<String>,
    /// Globs on archive paths: only these.
    pub include: Vec<String>,
    /// Globs on archive paths: not these, whatever `include` says.
    pub exclude: Vec<String>,
    /// From this time on: seconds since 1970, inclusive.
    pub since: Option<i64>,
    /// Up to this time: seconds since 1970, exclusive.
    pub until: Option<i64>,
    /// Of the owners that all this leaves, those of one shard.
    pub shard: Option<Shard>,
}

/// The names an owner is known by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerNames {
    /// Object id.
    pub id: String,
    /// User principal name.
    pub upn: String,
    /// Primary address.
    pub mail: Option<String>,
    /// All addresses, earlier ones too, with or without `smtp:` before them.
    pub proxy_addresses: Vec<String>,
    /// It is a group, whose name stands in the stead of a user principal name.
    pub is_group: bool,
}

/// A compiled [`Selection`].
#[derive(Debug, Clone)]
pub struct Selector {
    services: BTreeSet<String>,
    users: Vec<GlobMatcher>,
    groups: Vec<GlobMatcher>,
    /// Some owners are named, if not users.
    names_owners: bool,
    include: Vec<PathGlob>,
    exclude: Vec<PathGlob>,
    since: Option<i64>,
    until: Option<i64>,
    shard: Option<Shard>,
}

#[derive(Debug, Clone)]
struct PathGlob {
    glob: GlobMatcher,
    /// Written without a slash: matches single components.
    component: bool,
}

/// Reads `2026-01-31` (midnight UTC) or RFC 3339; seconds since 1970, fractions cut.
pub fn parse_instant(text: &str) -> Result<i64, Error> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp());
    }
    let parsed = DateTime::parse_from_rfc3339(text);
    parsed.map(|time| time.timestamp()).map_err(|_| Error::Selection {
        value: text.to_owned(),
        what: "neither a date such as 2026-01-31 nor RFC 3339".into(),
    })
}

impl Selection {
    /// What stands in the head: only what was given, lists sorted and without repetitions.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let lists = [
            ("exclude", &self.exclude),
            ("groups", &self.groups),
            ("include", &self.include),
            ("sites", &self.sites),
            ("teams", &self.teams),
            ("users", &self.users),
        ];
        for (name, list) in lists {
            let sorted: BTreeSet<_> = list.iter().collect();
            if !sorted.is_empty() {
                map.insert(name.into(), sorted.into_iter().map(String::as_str).collect());
            }
        }
        if !self.services.is_empty() {
            map.insert("services".into(), self.services.iter().map(String::as_str).collect());
        }
        for (name, time) in [("since", self.since), ("until", self.until)] {
            if let Some(time) = time {
                map.insert(name.into(), time.into());
            }
        }
        if let Some(shard) = self.shard {
            map.insert("shard".into(), shard.to_string().into());
        }
        Value::Object(map)
    }

    /// Checks and compiles it. Fails with [`Error::Selection`] for a glob that can't be read or
    /// times that leave nothing.
    pub fn compile(&self) -> Result<Selector, Error> {
        let owners = |globs: &[String]| {
            globs.iter().map(|text| glob(text, true)).collect::<Result<Vec<_>, _>>()
        };
        // Compiled to find mistakes; what can be chosen by them comes with those services.
        let others = [owners(&self.sites)?, owners(&self.teams)?];
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            let value = format!("since {since} until {until}");
            return Err(Error::Selection { value, what: "nothing lies between them".into() });
        }
        let (users, groups) = (owners(&self.users)?, owners(&self.groups)?);
        let is_any_named = |all: &[Vec<GlobMatcher>]| all.iter().any(|globs| !globs.is_empty());
        Ok(Selector {
            services: self.services.clone(),
            names_owners: !users.is_empty() || !groups.is_empty() || is_any_named(&others),
            users,
            groups,
            include: self
                .include
                .iter()
                .map(|text| PathGlob::new(text))
                .collect::<Result<_, _>>()?,
            exclude: self
                .exclude
                .iter()
                .map(|text| PathGlob::new(text))
                .collect::<Result<_, _>>()?,
            since: self.since,
            until: self.until,
            shard: self.shard,
        })
    }
}

impl OwnerNames {
    /// From a user or group of Graph, which is also the `graph` of an owner line. Only groups have
    /// `groupTypes`.
    pub fn from_graph(graph: &Value) -> Self {
        let text = |name| graph.get(name).and_then(Value::as_str).map(str::to_owned);
        let addresses = graph.get("proxyAddresses").and_then(Value::as_array);
        let is_group = graph.get("groupTypes").is_some();
        let name = if is_group { "displayName" } else { "userPrincipalName" };
        OwnerNames {
            id: text("id").unwrap_or_default(),
            upn: text(name).unwrap_or_default(),
            is_group,
            mail: text("mail"),
            proxy_addresses: addresses
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        }
    }
}

impl Selector {
    /// Whether the service is wanted.
    pub fn matches_service(&self, service: &str) -> bool {
        self.services.is_empty() || self.services.contains(service)
    }

    /// Whether the user or group is wanted: named, and in the shard.
    pub fn matches_owner(&self, owner: &OwnerNames) -> bool {
        self.names_owner(owner) && self.shard.is_none_or(|shard| shard.holds(&owner.id))
    }

    /// Whether the user or group is wanted in this or another shard. If only owners of other kinds
    /// are named, it is not.
    pub fn names_owner(&self, owner: &OwnerNames) -> bool {
        if !self.names_owners {
            return true;
        }
        let addresses = owner.proxy_addresses.iter().map(|address| without_scheme(address));
        let mut names = [owner.id.as_str(), owner.upn.as_str()]
            .into_iter()
            .chain(owner.mail.as_deref())
            .chain(addresses);
        let globs = if owner.is_group { &self.groups } else { &self.users };
        names.any(|name| globs.iter().any(|glob| glob.is_match(name)))
    }

    /// Whether any user, or any group, can be wanted: none is if only owners of other kinds are
    /// named.
    pub fn may_name(&self, groups: bool) -> bool {
        !self.names_owners || self.names(groups)
    }

    /// Whether users, or groups, are wanted by their names.
    pub fn names(&self, groups: bool) -> bool {
        let globs = if groups { &self.groups } else { &self.users };
        !globs.is_empty()
    }

    /// Whether the archive path is wanted by `include` and `exclude`.
    pub fn matches_path(&self, path: &str) -> bool {
        let matches = |globs: &[PathGlob]| globs.iter().any(|glob| glob.matches(path));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }

    /// Whether nothing below the folder at this archive path is wanted, so that it need not even
    /// be listed.
    pub fn excludes_subtree(&self, folder: &str) -> bool {
        self.exclude.iter().any(|glob| glob.matches(folder))
    }

    /// Whether the time, in seconds since 1970, is wanted.
    pub fn matches_time(&self, seconds: i64) -> bool {
        self.since.is_none_or(|since| since <= seconds)
            && self.until.is_none_or(|until| seconds < until)
    }
}

impl PathGlob {
    fn new(text: &str) -> Result<Self, Error> {
        let trimmed = text.trim_start_matches('/').trim_end_matches('/');
        Ok(PathGlob { glob: glob(trimmed, false)?, component: !trimmed.contains('/') })
    }

    /// Whether it matches the path or a folder above it.
    fn matches(&self, path: &str) -> bool {
        if self.component {
            return path.split('/').any(|component| self.glob.is_match(component));
        }
        let ends = path.match_indices('/').map(|(end, _)| end).chain([path.len()]);
        ends.into_iter().any(|end| self.glob.is_match(&path[..end]))
    }
}

fn glob(text: &str, fold_case: bool) -> Result<GlobMatcher, Error> {
    let invalid = |what: String| Error::Selection { value: text.to_owned(), what };
    if text.is_empty() {
        return Err(invalid("an empty glob matches nothing".into()));
    }
    GlobBuilder::new(text)
        .literal_separator(true)
        .backslash_escape(true)
        .case_insensitive(fold_case)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| invalid(error.kind().to_string()))
}

/// `SMTP:` marks the primary address, `smtp:` the others.
fn without_scheme(address: &str) -> &str {
    match address.split_at_checked(5) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("smtp:") => rest,
        _ => address,
    }
}

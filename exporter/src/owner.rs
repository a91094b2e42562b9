//! Whose content it is: the users and groups of the tenant, in the order of the stream.

use std::path::Path;

use archive::metadata::Line;
use archive::{LedgerLine, Outcome, OwnerNames, Selector};
use graph::{Graph, Prefer, Scope};
use serde_json::{Value, json};

use crate::Error;
use crate::follow::may_begin_anew;
use crate::inventory::{Inventory, LEAST_CACHE, Name, Node};
use crate::outcome::Tally;
use crate::service::{Note, Service};

/// What of a user the archive names: who it is, also by earlier addresses.
const SELECT: &str = "id,userPrincipalName,mail,displayName,userType,accountEnabled,\
                      proxyAddresses,assignedLicenses";
/// The same of a group.
const SELECT_GROUP: &str = "id,mail,displayName,groupTypes,proxyAddresses";
/// The largest page of `/users` and `/groups` (FACTS 3.2).
const PAGE: u32 = 999;
const LISTING: &str = "users";

/// What an owner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OwnerKind {
    /// A user, a shared mailbox or a room.
    User,
    /// A Microsoft 365 group.
    Group,
}

impl OwnerKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::User, Self::Group];

    /// By what only the directory's groups have, which stands in the owner's metadata line too.
    fn of(owner: &Value) -> Self {
        if owner.get("groupTypes").is_some() { Self::Group } else { Self::User }
    }

    /// What listing all of them is called, and its path. Of groups those that have a mailbox
    /// (FACTS 3.11).
    fn listing(self) -> (&'static str, String) {
        match self {
            Self::User => ("listing the users", format!("/users?$select={SELECT}&$top={PAGE}")),
            Self::Group => {
                let unified = "groupTypes/any(c:c%20eq%20'Unified')";
                let path = format!("/groups?$filter={unified}&$select={SELECT_GROUP}&$top={PAGE}");
                ("listing the groups", path)
            }
        }
    }
}

/// A user or group of the tenant.
#[derive(Debug, Clone)]
pub struct Owner {
    /// User or group.
    pub kind: OwnerKind,
    /// Object id: immutable, orders the owners in the stream.
    pub id: String,
    /// Name in paths and messages: the UPN, or a group's address; the id where there is none.
    pub upn: String,
    /// A guest has neither mailbox nor OneDrive here (FACTS 3.11).
    pub guest: bool,
    /// May sign in. Shared mailboxes may not.
    pub enabled: bool,
    /// Has a licence assigned.
    pub licensed: bool,
    /// What stands in the owner's metadata line.
    pub graph: Value,
}

impl Owner {
    /// The owner as the directory has him; none without an id.
    #[must_use]
    pub fn of_user(user: &Value) -> Option<Self> {
        let text = |key: &str| user.get(key).and_then(Value::as_str);
        let id = text("id")?.to_owned();
        let kind = OwnerKind::of(user);
        let name = match kind {
            OwnerKind::User => text("userPrincipalName"),
            // Two groups may be called the same, but have no address in common.
            OwnerKind::Group => text("mail"),
        };
        let upn = name.filter(|name| !name.is_empty()).unwrap_or(&id).to_owned();
        let mut addresses: Vec<&str> = user
            .get("proxyAddresses")
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        addresses.sort_unstable();
        let keys: &[&str] = match kind {
            OwnerKind::User => &["userPrincipalName", "mail", "displayName", "userType"],
            OwnerKind::Group => &["mail", "displayName", "groupTypes"],
        };
        let mut graph = json!({ "id": id, "proxyAddresses": addresses });
        keys.iter().for_each(|key| graph[*key] = user.get(*key).cloned().unwrap_or_default());
        let list_is_empty =
            |key: &str| user.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty);
        Some(Self {
            kind,
            guest: text("userType").is_some_and(|kind| kind.eq_ignore_ascii_case("guest")),
            enabled: user.get("accountEnabled").and_then(Value::as_bool).unwrap_or(true),
            licensed: !list_is_empty("assignedLicenses"),
            id,
            upn,
            graph,
        })
    }

    /// The owner as an archive has him.
    pub(crate) fn of_line(line: &Line) -> Option<Self> {
        let is_owner = line.kind == archive::metadata::OWNER;
        Some(Self { graph: line.graph.clone(), ..Self::of_user(&line.graph)? }).filter(|_| is_owner)
    }

    /// The folder of the owner in the archive.
    #[must_use]
    pub fn path(&self) -> String {
        let above = match self.kind {
            OwnerKind::User => "users",
            OwnerKind::Group => "groups",
        };
        format!("{above}/{}", archive::path::directory_component(&self.upn, &self.id))
    }

    pub(crate) fn names(&self) -> OwnerNames {
        OwnerNames::from_graph(&self.graph)
    }
}

/// The users and groups of the tenant that a selection names.
#[derive(Debug)]
pub struct Owners {
    /// Those that are wanted.
    pub ours: OwnerList,
    /// Those of other shards; none without shards.
    pub others: OwnerList,
    /// How many both are.
    pub named: u64,
    /// How many the tenant has.
    pub total: u64,
    /// Requests that listing them took.
    pub pages: u64,
    /// The groups could not be listed, and none was named: what is taken of users is there.
    pub refused: Option<graph::Error>,
}

/// Users and groups in stream order, on disk: a tenant may have 200,000 of them.
#[derive(Debug)]
pub struct OwnerList {
    inventory: Inventory,
    /// How many there are.
    pub count: u64,
}

impl Owners {
    /// Lists the users and groups of the tenant, as far as they can have one of these `services`
    /// and can be named, and keeps those that `selector` names.
    ///
    /// # Errors
    /// When the directory can't be read, or `dir` takes no temporary file. Groups that nobody
    /// named and that no service is about alone may be refused.
    pub async fn list(
        graph: &Graph,
        services: &[Service],
        selector: &Selector,
        dir: &Path,
    ) -> Result<Self, Error> {
        let (ours, others) =
            (Inventory::create(dir, LEAST_CACHE)?, Inventory::create(dir, LEAST_CACHE)?);
        let (mut total, mut read, mut refused) = (0, 0, None);
        let kinds = Service::owner_kinds(services);
        // Who wants users alone needs no permission to read groups.
        for kind in kinds.iter().filter(|kind| selector.may_name(**kind == OwnerKind::Group)) {
            let is_dispensable = *kind == OwnerKind::Group
                && !selector.names(true)
                && services.iter().all(|service| service.serves(OwnerKind::User));
            let (doing, path) = kind.listing();
            let failed = |source| Error::graph(doing, source);
            let mut pages = graph.pages(Scope::Directory, &path, Prefer::none());
            let (mut told, mut lost) = (0, 0);
            loop {
                let page = match pages.next().await {
                    Ok(Some(page)) => page,
                    Ok(None) => break,
                    // Who was told of already is told of again.
                    Err(error) if may_begin_anew(lost, &pages, &error) => {
                        lost += 1;
                        told = 0;
                        pages = graph.pages(Scope::Directory, &path, Prefer::none());
                        continue;
                    }
                    Err(error) if is_dispensable && !pages.is_continued() && is_refusal(&error) => {
                        refused = Some(error);
                        break;
                    }
                    Err(error) => return Err(failed(error)),
                };
                read += 1;
                for item in &page.items {
                    let listed = item.parse().map_err(failed)?;
                    let Some(owner) = Owner::of_user(&listed) else {
                        continue;
                    };
                    told += 1;
                    let names = owner.names();
                    if selector.matches_owner(&names) {
                        put(&ours, &owner, &listed)?;
                    } else if selector.names_owner(&names) {
                        put(&others, &owner, &listed)?;
                    }
                }
            }
            total += told;
        }
        let (ours, others) = (OwnerList::new(ours)?, OwnerList::new(others)?);
        let named = ours.count + others.count;
        Ok(Self { named, ours, others, total, pages: read, refused })
    }

    /// Tells, if so, that groups could not be listed: counts it for each service that they may
    /// have, and gives the line for the ledger.
    pub(crate) fn tell_refused(&self, services: &[Service], tally: &Tally) -> Option<LedgerLine> {
        let message = "the service does not list the groups for the app: what they have is missing";
        let note = Note::new(Outcome::Skipped, "refused", message);
        let note = note.with_code(self.refused.as_ref()?);
        for service in services.iter().filter(|service| service.serves(OwnerKind::Group)) {
            tally.count_uncovered(*service, &note, "groups");
        }
        Some(note.of_scope("groups"))
    }
}

/// The app may not list them, or the service knows no such list.
fn is_refusal(error: &graph::Error) -> bool {
    use graph::ErrorKind::{BadRequest, NotFound, Permission, Unsupported};
    matches!(error.kind(), Permission | NotFound | BadRequest | Unsupported)
}

impl OwnerList {
    fn new(inventory: Inventory) -> Result<Self, Error> {
        Ok(Self { count: inventory.items()?, inventory })
    }

    /// The owners after `after` (an id), at most `limit`.
    ///
    /// # Errors
    /// When the temporary database fails.
    pub fn after(&self, after: &str, limit: u32) -> Result<Vec<Owner>, Error> {
        let rows = self.inventory.items_by_id_after(after, limit)?;
        Ok(rows
            .iter()
            .filter_map(|json| serde_json::from_str(json).ok())
            .filter_map(|user: Value| Owner::of_user(&user))
            .collect())
    }

    /// Gives an owner a place in another order: by `key`, then id.
    pub(crate) fn place(&self, owner: &Owner, key: i64) -> Result<(), Error> {
        match self.inventory.json(LISTING, &owner.id)? {
            Some(json) => put_at(&self.inventory, owner, key, &json),
            None => Ok(()),
        }
    }

    /// Ends the placing: from now on owners are read in that order.
    pub(crate) fn placed(&self) -> Result<(), Error> {
        self.inventory.index()
    }

    /// The first owner after that place, with its own.
    pub(crate) fn first_after(&self, after: (i64, &str)) -> Result<Option<(i64, Owner)>, Error> {
        let row = self.inventory.first_after(after)?;
        let owner = |json: &str| Owner::of_user(&serde_json::from_str(json).ok()?);
        Ok(row.and_then(|(key, _, json)| Some((key, owner(&json)?))))
    }
}

fn put(inventory: &Inventory, owner: &Owner, user: &Value) -> Result<(), Error> {
    put_at(inventory, owner, 0, &archive::json::canonical(user))
}

fn put_at(inventory: &Inventory, owner: &Owner, key: i64, json: &str) -> Result<(), Error> {
    inventory.put(&Node {
        id: &owner.id,
        listing: LISTING,
        parent: "",
        kind: "owner",
        folder: false,
        key,
        mtime: 0,
        name: Name::Unique(&owner.upn),
        json,
        unwanted: None,
    })
}

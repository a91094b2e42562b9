//! Whose content it is: the users of the tenant, in the order of the stream.

use std::path::Path;

use archive::metadata::Line;
use archive::{OwnerNames, Selector};
use graph::{Graph, Prefer, Scope};
use serde_json::{Value, json};

use crate::Error;
use crate::inventory::{Inventory, Name, Node};

/// What of a user the archive names: who it is, also by earlier addresses.
const SELECT: &str = "id,userPrincipalName,mail,displayName,userType,accountEnabled,\
                      proxyAddresses,assignedLicenses";
/// The largest page of `/users` (FACTS 3.2).
const PAGE: u32 = 999;

/// A user of the tenant.
#[derive(Debug, Clone)]
pub struct Owner {
    /// Object id: immutable, orders the owners in the stream.
    pub id: String,
    /// Name in paths and messages; the id where the service has no UPN.
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
    fn parse(user: &Value) -> Option<Self> {
        let text = |key: &str| user.get(key).and_then(Value::as_str);
        let id = text("id")?.to_owned();
        let upn = text("userPrincipalName").filter(|upn| !upn.is_empty()).unwrap_or(&id).to_owned();
        let mut addresses: Vec<&str> = user
            .get("proxyAddresses")
            .and_then(Value::as_array)
            .map(|all| all.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        addresses.sort_unstable();
        let graph = json!({
            "id": id,
            "userPrincipalName": user.get("userPrincipalName"),
            "mail": user.get("mail"),
            "displayName": user.get("displayName"),
            "userType": user.get("userType"),
            "proxyAddresses": addresses,
        });
        let list_is_empty =
            |key: &str| user.get(key).and_then(Value::as_array).is_some_and(Vec::is_empty);
        Some(Self {
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
        Some(Self { graph: line.graph.clone(), ..Self::parse(&line.graph)? }).filter(|_| is_owner)
    }

    /// The folder of the owner in the archive.
    #[must_use]
    pub fn path(&self) -> String {
        format!("users/{}", archive::path::directory_component(&self.upn, &self.id))
    }

    pub(crate) fn names(&self) -> OwnerNames {
        OwnerNames::from_graph(&self.graph)
    }
}

/// The users of the tenant that a selection names.
#[derive(Debug)]
pub struct Owners {
    /// Those that are wanted.
    pub ours: OwnerList,
    /// Those of other shards; none without shards.
    pub others: OwnerList,
    /// How many both are.
    pub named: u64,
    /// How many users the tenant has.
    pub total: u64,
}

/// Users in stream order, on disk: a tenant may have 200,000 of them.
#[derive(Debug)]
pub struct OwnerList {
    inventory: Inventory,
    /// How many there are.
    pub count: u64,
}

impl Owners {
    /// Lists the users of the tenant and keeps those that `selector` names.
    ///
    /// # Errors
    /// When the directory can't be read, or `dir` takes no temporary file.
    pub async fn list(graph: &Graph, selector: &Selector, dir: &Path) -> Result<Self, Error> {
        let (ours, others) = (Inventory::create(dir)?, Inventory::create(dir)?);
        let mut total = 0;
        let path = format!("/users?$select={SELECT}&$top={PAGE}");
        let mut pages = graph.pages(Scope::Directory, &path, Prefer::none());
        while let Some(page) =
            pages.next().await.map_err(|source| Error::graph("listing the users", source))?
        {
            for item in &page.items {
                let user = item.parse().map_err(|e| Error::graph("listing the users", e))?;
                let Some(owner) = Owner::parse(&user) else {
                    continue;
                };
                total += 1;
                let names = owner.names();
                if selector.matches_owner(&names) {
                    put(&ours, &owner, &user)?;
                } else if selector.names_owner(&names) {
                    put(&others, &owner, &user)?;
                }
            }
        }
        let (ours, others) = (OwnerList::new(ours)?, OwnerList::new(others)?);
        Ok(Self { named: ours.count + others.count, ours, others, total })
    }
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
            .filter_map(|user: Value| Owner::parse(&user))
            .collect())
    }
}

fn put(inventory: &Inventory, owner: &Owner, user: &Value) -> Result<(), Error> {
    inventory.put(&Node {
        id: &owner.id,
        listing: "users",
        parent: "",
        kind: "owner",
        folder: false,
        key: 0,
        mtime: 0,
        name: Name::Unique(&owner.upn),
        json: &archive::json::canonical(user),
        unwanted: None,
    })
}

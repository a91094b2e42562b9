//! One request before it is sent: what it is for, what it costs.

use std::fmt;
use std::sync::Arc;

use url::Url;

use crate::prefer::Prefer;
use crate::redact;
use crate::scope::Scope;
use crate::throttle::Cost;
use crate::write::Write;

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One object.
    Object,
    /// The first page of a list: only there the page size may still be changed.
    FirstPage,
    /// A further page, or a later delta round.
    NextPage,
    /// Raw content from Graph itself.
    Value,
    /// A file's content, usually from a download host.
    Content,
}

/// What a path names, as far as a 404 needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A drive, or all drives of somebody.
    Drive,
    /// A folder, or the list of what is in it.
    Folder,
    /// Something in it.
    Item,
    Other,
}

/// `Debug` shows no query, which may hold a token.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) operation: &'static str,
    pub(crate) purpose: Purpose,
    pub(crate) scope: Scope,
    pub(crate) url: Url,
    pub(crate) prefer: Prefer,
    /// What it changes; none only reads.
    pub(crate) write: Option<Arc<Write>>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("url", &self.shown()).finish_non_exhaustive()
    }
}

impl Call {
    pub(crate) fn is_write(&self) -> bool {
        self.write.is_some()
    }

    pub(crate) fn accepts_json(&self) -> bool {
        matches!(self.purpose, Purpose::Object | Purpose::FirstPage | Purpose::NextPage)
    }

    pub(crate) fn shown(&self) -> String {
        redact::graph_url(&self.url)
    }

    /// Asks for half as many items, where that is still possible (FACTS 2.7).
    pub(crate) fn shrink(&mut self) -> bool {
        if self.purpose != Purpose::FirstPage {
            return false;
        }
        let (header, option) = (self.prefer.halve(), self.halve_top());
        header || option
    }

    fn halve_top(&mut self) -> bool {
        let Some(query) = self.url.query() else {
            return false;
        };
        let mut halved = false;
        let options = query.split('&').map(|option| {
            let size = option.strip_prefix("$top=").or_else(|| option.strip_prefix("%24top="));
            match size.and_then(|size| size.parse::<u32>().ok()).filter(|size| *size > 1) {
                Some(size) => {
                    halved = true;
                    format!("$top={}", size / 2)
                }
                None => option.to_owned(),
            }
        });
        let options: Vec<String> = options.collect();
        if halved {
            self.url.set_query(Some(&options.join("&")));
        }
        halved
    }

    /// The segments after `/v1.0`.
    fn segments(&self) -> Vec<&str> {
        let segments: Vec<&str> = self.url.path().split('/').filter(|s| !s.is_empty()).collect();
        let version = segments.iter().position(|segment| *segment == "v1.0");
        segments[version.map_or(0, |at| at + 1)..].to_vec()
    }

    pub(crate) fn is_delta(&self) -> bool {
        self.segments().last().is_some_and(|last| *last == "delta" || last.starts_with("delta("))
    }

    /// Of what a group has.
    pub(crate) fn is_of_group(&self) -> bool {
        self.segments().first() == Some(&"groups")
    }

    /// `/users/{id}/drive` and the like: where a person's OneDrive is first asked for.
    pub(crate) fn names_own_drive(&self) -> bool {
        let segments = self.segments();
        matches!(
            segments[..],
            ["users", _, "drive" | "drives", ..] | ["me", "drive" | "drives", ..]
        )
    }

    pub(crate) fn target(&self) -> Target {
        let segments = self.segments();
        match &segments[..] {
            ["drives", ..] | [_, _, "drive" | "drives", ..] | ["me", "drive" | "drives", ..] => {
                // `root:` begins a path to an item.
                match segments.iter().any(|segment| matches!(*segment, "items" | "root:")) {
                    true => Target::Item,
                    false => Target::Drive,
                }
            }
            _ if matches!(self.scope, Scope::Mailbox(_)) => mailbox_target(&segments),
            _ => Target::Other,
        }
    }

    /// What the request costs: resource units where the service counts those (FACTS 2.3, 2.5), the
    /// bytes of a body where it counts those (FACTS 2.2).
    pub(crate) fn cost(&self) -> Cost {
        let length = self.write.as_ref().map(|write| write.content.len() as u64);
        match self.scope {
            Scope::SharePoint => Cost { units: self.sharepoint_units(), written: 0 },
            Scope::Directory => {
                Cost { units: self.directory_units(), written: u64::from(self.is_write()) }
            }
            Scope::Mailbox(_) => Cost { units: 1, written: length.unwrap_or_default() },
            Scope::Other => Cost { units: 1, written: 0 },
        }
    }

    /// A pre-authenticated address is a password: not from HTTPS to HTTP.
    pub(crate) fn may_lead_to(&self, address: &Url) -> bool {
        match address.scheme() {
            "https" => true,
            "http" => self.url.scheme() == "http",
            _ => false,
        }
    }

    fn sharepoint_units(&self) -> u64 {
        let query = self.url.query().unwrap_or_default();
        let last = self.segments().last().copied().unwrap_or_default();
        let shares = self.is_write() && matches!(last, "invite" | "createLink");
        let permissions = self.segments().contains(&"permissions");
        if permissions || shares || query.contains("expand=permissions") {
            return 5;
        }
        if self.is_write() {
            return 2;
        }
        let page = matches!(self.purpose, Purpose::FirstPage | Purpose::NextPage);
        let has_token = query.contains("token=") || last.contains("token=");
        match page {
            true if self.is_delta() && has_token => 1,
            true => 2,
            false if matches!(last, "versions" | "children" | "drives") => 2,
            false => 1,
        }
    }

    fn directory_units(&self) -> u64 {
        let segments = self.segments();
        let query = self.url.query().unwrap_or_default();
        let has =
            |name| query.contains(&format!("${name}=")) || query.contains(&format!("%24{name}="));
        let base: i32 = match segments[..] {
            // Its price with `$select` is documented by itself.
            [.., "getByIds"] => return if has("select") { 2 } else { 5 },
            [.., "transitiveMembers"] => 5,
            [.., "members"] | ["subscribedSkus", ..] => 3,
            [.., "memberOf" | "licenseDetails"] | ["users"] | ["users", "delta"] => 2,
            _ => 1,
        };
        let top = query.split('&').find_map(|o| o.split_once("top=")?.1.parse::<u32>().ok());
        let units = base - i32::from(has("select")) + i32::from(has("expand"))
            - i32::from(top.is_some_and(|top| top < 20));
        u64::from(units.max(1).unsigned_abs())
    }
}

/// A path that names no item names the folder, or what is in it.
fn mailbox_target(segments: &[&str]) -> Target {
    const FOLDERS: [&str; 5] =
        ["mailFolders", "childFolders", "contactFolders", "calendars", "lists"];
    const ITEMS: [&str; 5] = ["messages", "contacts", "events", "tasks", "attachments"];
    // One of `names` with an id after it, which `delta` is not.
    let named = |names: &[&str]| {
        let mut pairs = segments.windows(2);
        pairs.any(|p| names.contains(&p[0]) && !p[1].starts_with("delta") && !p[1].starts_with('$'))
    };
    match (named(&FOLDERS), named(&ITEMS)) {
        (_, true) => Target::Item,
        (true, false) => Target::Folder,
        (false, false) => Target::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(scope: Scope, purpose: Purpose, path: &str) -> Call {
        let url = Url::parse(&format!("https://graph.example/v1.0{path}")).unwrap();
        Call { operation: "test", purpose, scope, url, prefer: Prefer::none(), write: None }
    }

    #[test]
    fn targets() {
        let mailbox = |path| call(Scope::Mailbox("u".into()), Purpose::Object, path).target();
        assert_eq!(mailbox("/users/u/mailFolders/f/messages/delta"), Target::Folder);
        assert_eq!(mailbox("/users/u/mailFolders/f/messages/delta?$skiptoken=x"), Target::Folder);
        assert_eq!(mailbox("/users/u/mailFolders/f"), Target::Folder);
        assert_eq!(mailbox("/users/u/mailFolders/f/childFolders"), Target::Folder);
        assert_eq!(mailbox("/users/u/messages/m/$value"), Target::Item);
        assert_eq!(mailbox("/users/u/mailFolders/f/messages/m"), Target::Item);
        assert_eq!(mailbox("/users/u/messages/m/attachments"), Target::Item);
        assert_eq!(mailbox("/users/u/mailFolders/delta"), Target::Other);
        assert_eq!(mailbox("/users/u/todo/lists/l/tasks/delta"), Target::Folder);
        let drive = |path| call(Scope::SharePoint, Purpose::Object, path).target();
        assert_eq!(drive("/users/u/drive"), Target::Drive);
        assert_eq!(drive("/drives/d/root/delta"), Target::Drive);
        assert_eq!(drive("/drives/d/items/i/content"), Target::Item);
        assert_eq!(drive("/drives/d/root:/a/b.txt:/content"), Target::Item);
        assert_eq!(drive("/drives/d/root/children"), Target::Drive);
        assert_eq!(drive("/sites/s"), Target::Other);
    }

    #[test]
    fn units() {
        use Purpose::{Content, FirstPage, NextPage, Object};
        let sharepoint = |purpose, path| call(Scope::SharePoint, purpose, path).cost().units;
        assert_eq!(sharepoint(FirstPage, "/drives/d/root/delta"), 2);
        assert_eq!(sharepoint(NextPage, "/drives/d/root/delta?$skiptoken=x"), 1);
        assert_eq!(sharepoint(NextPage, "/drives/d/root/delta(token='x')"), 1);
        assert_eq!(sharepoint(FirstPage, "/sites/getAllSites"), 2);
        assert_eq!(sharepoint(Object, "/drives/d/items/i"), 1);
        assert_eq!(sharepoint(Object, "/drives/d/items/i/versions"), 2);
        assert_eq!(sharepoint(Object, "/drives/d/items/i/permissions"), 5);
        assert_eq!(sharepoint(Content, "/drives/d/items/i/content"), 1);
        let directory = |path| call(Scope::Directory, FirstPage, path).cost().units;
        assert_eq!(directory("/users"), 2);
        assert_eq!(directory("/users?$select=id&$top=999"), 1);
        assert_eq!(directory("/groups/g/members?$expand=x"), 4);
        assert_eq!(directory("/organization?$select=id"), 1);
        assert_eq!(directory("/users/delta?$select=id"), 1);
        assert_eq!(directory("/groups/g/transitiveMembers?$top=19"), 4);
        assert_eq!(directory("/groups/g/transitiveMembers?%24top=20&%24expand=x"), 6);
        assert_eq!(directory("/users/u/memberOf?$select=id&$top=5"), 1);
        assert_eq!(directory("/directoryObjects/getByIds?$select=id"), 2);
        assert_eq!(directory("/directoryObjects/getByIds"), 5);
    }

    #[test]
    fn writes_cost_more() {
        let cost = |scope, path| {
            let content = bytes::Bytes::from_static(b"{\"a\":1}");
            let write = Write::new(http::Method::POST, content, "application/json");
            Call { write: Some(Arc::new(write)), ..call(scope, Purpose::Object, path) }.cost()
        };
        let sharepoint = |path| cost(Scope::SharePoint, path);
        assert_eq!(sharepoint("/drives/d/items/i/children"), Cost { units: 2, written: 0 });
        assert_eq!(sharepoint("/drives/d/items/i/invite"), Cost { units: 5, written: 0 });
        assert_eq!(sharepoint("/drives/d/items/i/permissions/p"), Cost { units: 5, written: 0 });
        let mailbox = cost(Scope::Mailbox("u".into()), "/users/u/messages");
        assert_eq!(mailbox, Cost { units: 1, written: 7 });
        assert_eq!(cost(Scope::Directory, "/groups").written, 1);
    }

    #[test]
    fn only_first_pages_shrink() {
        let mut first = call(Scope::Other, Purpose::FirstPage, "/users?$top=999&$select=id");
        assert!(first.shrink());
        assert_eq!(first.url.query(), Some("$top=499&$select=id"));
        first.purpose = Purpose::NextPage;
        assert!(!first.shrink());
        let mut bare = call(Scope::Other, Purpose::FirstPage, "/users");
        assert!(!bare.shrink());
        bare.prefer = Prefer::page_size(3);
        assert!(bare.shrink());
        assert!(!bare.shrink());
    }
}

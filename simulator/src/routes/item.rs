//! A drive item as JSON.

use serde_json::{Map, Value, json};

use crate::Profile;
use crate::call::Call;
use crate::drive::{Drive, Facet, Node};
use crate::faults::Kind;
use crate::media::media_type;
use crate::page::{Select, escaped};
use crate::person::Person;
use crate::reply::Reply;
use crate::routes::message::date;
use crate::routes::{Asked, drive};
use crate::server::World;

/// How a caller sees the items of a drive.
pub(crate) struct View<'a> {
    world: &'a World,
    call: &'a Call,
    person: &'a Person,
    drive: &'a Drive,
    pub(crate) select: Select,
}

/// Which question a row answers: rows of a delta have less in them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    Item,
    Delta,
}

impl<'a> View<'a> {
    pub(crate) fn new(asked: &Asked<'a>, person: &'a Person, drive: &'a Drive) -> View<'a> {
        View::of(asked.world, asked.call, person, drive)
    }

    /// Of a call that needs no identity.
    pub(crate) fn of(
        world: &'a World,
        call: &'a Call,
        person: &'a Person,
        drive: &'a Drive,
    ) -> View<'a> {
        View { world, call, person, drive, select: Select::new(call.option("select")) }
    }

    /// One item as a reply.
    pub(crate) fn reply(&self, number: u32, node: &Node) -> Reply {
        let mut row = self.row(number, node, Ask::Item);
        let context = "$metadata#drives('id')/items/$entity".replace("id", &self.drive.ids.drive);
        row["@odata.context"] = format!("{}/v1.0/{context}", self.call.roots.graph).into();
        Reply::json(row)
    }

    pub(crate) fn etag(&self, number: u32, node: &Node) -> String {
        format!("\"{{{}}},{}\"", self.drive.ids.unique(number), node.etag)
    }

    pub(crate) fn ctag(&self, number: u32, node: &Node) -> String {
        let content = node.current().map_or(0, |version| version.number);
        format!("\"c:{{{}}},{content}\"", self.drive.ids.unique(number))
    }

    /// A new address from which the bytes can be had without a token.
    fn download_url(&self, number: u32) -> String {
        self.address(number, self.world.tickets.issue(&self.drive.ids.drive, number))
    }

    /// The answer to `/content`.
    pub(crate) fn redirect(&self, number: u32, version: Option<u32>) -> Reply {
        let ticket = self.world.tickets.issue_redirect(&self.drive.ids.drive, number, version);
        Reply::redirect(&self.address(number, ticket))
    }

    fn address(&self, number: u32, ticket: String) -> String {
        format!(
            "{}/personal/{}/_layouts/15/download.aspx?UniqueId={}&Translate=false&tempauth={ticket}&ApiVersion=2.0",
            self.call.roots.download,
            drive::alias(self.person),
            self.drive.ids.unique(number).to_lowercase(),
        )
    }

    /// Whether the service thinks the file is malware.
    pub(crate) fn infected(&self, number: u32, node: &Node) -> bool {
        let faults = &self.world.faults;
        let id = self.drive.ids.item(number);
        node.malware
            || node.facet == Facet::File
                && faults.marks(Kind::Malware, &self.call.line(), &id).is_some()
    }

    pub(crate) fn row(&self, number: u32, node: &Node, ask: Ask) -> Value {
        let mut row =
            if node.gone { self.tombstone(number, node) } else { self.alive(number, node, ask) };
        let url = "@microsoft.graph.downloadUrl";
        let wants_url = self.select.names(url)
            || self.select.names("content.downloadUrl")
            || !self.select.given() && ask == Ask::Item;
        if wants_url && node.facet == Facet::File && !node.gone && !self.infected(number, node) {
            row.insert(url.into(), self.download_url(number).into());
        }
        self.select.apply(&mut row);
        row.into()
    }

    fn tombstone(&self, number: u32, node: &Node) -> Map<String, Value> {
        let facet = if node.facet == Facet::File { "file" } else { "folder" };
        let parent = node.parent.map(|parent| self.drive.ids.item(parent));
        object(json!({
            "id": self.drive.ids.item(number),
            "deleted": {"state": "deleted"},
            "parentReference": {"driveId": self.drive.ids.drive, "driveType": "business", "id": parent},
            facet: {},
        }))
    }

    fn alive(&self, number: u32, node: &Node, ask: Ask) -> Map<String, Value> {
        let user = json!({"user": {
            "displayName": self.person.display_name(),
            "email": self.person.upn(),
            "id": self.person.id,
        }});
        let mut row = object(json!({
            "id": self.drive.ids.item(number),
            "name": node.name,
            "eTag": self.etag(number, node),
            "webUrl": self.web_url(number),
            "createdBy": user,
            "lastModifiedBy": user,
            "createdDateTime": date(node.created),
            "lastModifiedDateTime": date(node.modified),
            "fileSystemInfo": {
                "createdDateTime": date(node.client_created),
                "lastModifiedDateTime": date(node.client_modified),
            },
            "size": self.size(number, node, ask),
            "parentReference": self.parent(node, ask),
        }));
        if node.facet == Facet::File && ask == Ask::Item {
            row.insert("cTag".into(), self.ctag(number, node).into());
        }
        if self.infected(number, node) {
            row.insert("malware".into(), json!({"description": "Trojan:Win32/Simulated"}));
        }
        let (facet, value) = self.facet(number, node);
        row.insert(facet.into(), value);
        if node.facet == Facet::Root {
            row.insert("root".into(), json!({}));
        }
        row
    }

    fn facet(&self, number: u32, node: &Node) -> (&'static str, Value) {
        match node.facet {
            Facet::Root | Facet::Folder => {
                ("folder", json!({"childCount": self.drive.children(number).len()}))
            }
            Facet::Package => ("package", json!({"type": "oneNote"})),
            Facet::Shortcut => ("remoteItem", self.remote(node)),
            Facet::File => {
                let mut file = json!({"mimeType": media_type(&node.name)});
                let packed = node.parent.and_then(|parent| self.drive.node(parent));
                let packed = packed.is_some_and(|parent| parent.facet == Facet::Package);
                if let (Some(version), false) = (node.current(), packed) {
                    file["hashes"] = json!({"quickXorHash": version.hash()});
                }
                ("file", file)
            }
        }
    }

    /// A folder of another user's drive.
    fn remote(&self, node: &Node) -> Value {
        let people = &self.world.tenant.people;
        let other = people.iter().find(|p| p.id != self.person.id && p.drive_id.is_some());
        let drive = other.and_then(|person| person.drive());
        json!({
            "id": drive.map(|drive| drive.ids.item(1)),
            "name": node.name,
            "folder": {"childCount": 1},
            "parentReference": {"driveId": drive.map(|drive| &drive.ids.drive), "driveType": "business"},
            "webUrl": other.map(|person| drive::site(person)),
        })
    }

    fn size(&self, number: u32, node: &Node, ask: Ask) -> u64 {
        if node.is_container() {
            // Adding up whole trees for every row of a round would cost more than it tells.
            return if ask == Ask::Item { self.drive.size_below(number) } else { 0 };
        }
        let true_size = node.current().map_or(0, |version| version.blob.len());
        let line = self.call.line();
        let id = self.drive.ids.item(number);
        let lies = self.world.faults.marks(Kind::SizeLie, &line, &id).is_some();
        if lies && node.facet == Facet::File { true_size + 4321 } else { true_size }
    }

    /// Delta rows have no path; where the service is at its worst they have an outdated one.
    fn parent(&self, node: &Node, ask: Ask) -> Value {
        let mut reference = json!({"driveId": self.drive.ids.drive, "driveType": "business"});
        let Some(parent) = node.parent else {
            return reference;
        };
        reference["id"] = self.drive.ids.item(parent).into();
        let trail = self.drive.trail(parent);
        let names: Vec<String> = trail.iter().map(|name| format!("/{}", escaped(name))).collect();
        let nasty = self.world.options.profile == Profile::Nasty;
        match ask {
            Ask::Item => {
                let path = format!("/drives/{}/root:{}", self.drive.ids.drive, names.concat());
                reference["path"] = path.into();
                reference["name"] = trail.last().map_or("root", String::as_str).into();
            }
            Ask::Delta if nasty => {
                let path =
                    format!("/drives/{}/root:/fr%C3%BCher{}", self.drive.ids.drive, names.concat());
                reference["path"] = path.into();
            }
            Ask::Delta => {}
        }
        reference
    }

    fn web_url(&self, number: u32) -> String {
        let names = self.drive.trail(number);
        let names: Vec<String> = names.iter().map(|name| format!("/{}", escaped(name))).collect();
        format!("{}/Documents{}", drive::site(self.person), names.concat())
    }

    /// A version; its date tells those of one second apart.
    pub(crate) fn version(&self, node: &Node, at: usize) -> Value {
        let version = &node.versions[at];
        let modified = version.modified.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut row = json!({
            "id": format!("{}.0", version.number),
            "lastModifiedBy": {"user": {"id": self.person.id, "displayName": self.person.display_name()}},
            "lastModifiedDateTime": modified,
            "size": version.blob.len(),
        });
        if let Some(row) = row.as_object_mut() {
            self.select.apply(row);
        }
        row
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

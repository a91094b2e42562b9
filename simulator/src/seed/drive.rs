//! Generated drives.

use chrono::TimeDelta;

use crate::Profile;
use crate::blob::Blob;
use crate::dice::{self, Dice};
use crate::drive::{Facet, Node};
use crate::seed::{SPAN, epoch, seconds_after, words};

/// File name endings with their media types and usual sizes.
const KINDS: &[(&str, u64)] = &[
    ("docx", 28_000),
    ("xlsx", 15_000),
    ("pdf", 90_000),
    ("txt", 2_000),
    ("jpg", 180_000),
    ("pptx", 240_000),
    ("md", 4_000),
];

/// The nodes of a drive with `files` ordinary files; the root is the first.
pub(crate) fn nodes(seed: u64, owner: &str, files: u64, profile: Profile) -> Vec<Node> {
    let mut plan = Plan { seed: dice::hash(&[seed, dice::text(owner), 21]), nodes: Vec::new() };
    plan.node(None, "root", Facet::Root);
    if files == 0 {
        return plan.nodes;
    }
    let documents = plan.node(Some(0), "Dokumente", Facet::Folder);
    let projects = plan.node(Some(documents), "Projekte", Facet::Folder);
    let year = plan.node(Some(projects), "2026", Facet::Folder);
    let pictures = plan.node(Some(0), "Bilder", Facet::Folder);
    plan.node(Some(projects), "Leerer Ordner", Facet::Folder);
    let mut folders = vec![0, documents, projects, year, pictures];
    for n in 0..files / 25 {
        let parent = folders[(1 + n % 4) as usize];
        folders.push(plan.node(Some(parent), &format!("Ordner {:03}", n + 1), Facet::Folder));
    }
    for n in 0..files {
        let folder = folders[(n as usize * 7) % folders.len()];
        plan.ordinary(n, folder);
    }
    let notebook = plan.node(Some(0), "Notizbuch", Facet::Package);
    plan.file(notebook, "Abschnitt 1.one", 8_000, false);
    plan.node(Some(0), "Freigegeben von Ben", Facet::Shortcut);
    let infected = plan.file(documents, "Rechnung_8841.zip", 700, false);
    plan.nodes[infected as usize].malware = true;
    if profile == Profile::Nasty {
        let special = plan.node(Some(0), "Sonderfälle", Facet::Folder);
        for (n, name) in words::NASTY_NAMES.iter().enumerate() {
            plan.file(special, name, 100 + n as u64, true);
        }
        for name in ["..", "CON", "readme", "README.", "caf\u{e9}", "cafe\u{301}"] {
            let folder = plan.node(Some(special), &format!("{name} "), Facet::Folder);
            plan.file(folder, "a.txt", 10, true);
        }
        let dead = plan.file(documents, "gelöscht.txt", 10, true);
        plan.nodes[dead as usize].gone = true;
    }
    plan.nodes
}

/// A file of any size that costs nothing until it is read.
pub(crate) fn big(seed: u64, number: u32, len: u64) -> Node {
    let mut plan = Plan { seed, nodes: Vec::new() };
    plan.node(Some(0), "Sicherung.vhdx", Facet::File);
    let mut node = plan.nodes.remove(0);
    let blob = Blob::Woven { seed: dice::hash(&[seed, u64::from(number)]), len, text: false };
    node.push_version(blob, node.modified);
    node
}

struct Plan {
    seed: u64,
    nodes: Vec<Node>,
}

impl Plan {
    fn node(&mut self, parent: Option<u32>, name: &str, facet: Facet) -> u32 {
        let number = self.nodes.len() as u32;
        let mut dice = Dice::new(&[self.seed, u64::from(number), 31]);
        let created = seconds_after(epoch(), dice.below(SPAN));
        let modified = created + TimeDelta::seconds(dice.below(9_000_000) as i64);
        self.nodes.push(Node::new(parent, name, facet, created, modified));
        number
    }

    fn file(&mut self, parent: u32, name: &str, len: u64, text: bool) -> u32 {
        let number = self.node(Some(parent), name, Facet::File);
        let seed = dice::hash(&[self.seed, u64::from(number), 32]);
        let node = &mut self.nodes[number as usize];
        node.push_version(Blob::Woven { seed, len, text }, node.modified);
        number
    }

    fn ordinary(&mut self, n: u64, folder: u32) {
        let mut dice = Dice::new(&[self.seed, n, 33]);
        let (ending, about) = KINDS[(n % KINDS.len() as u64) as usize];
        let len = about / 2 + dice.below(about);
        match n {
            1 => drop(self.file(folder, "leer.txt", 0, true)),
            2 => drop(self.file(folder, "Angebot #12 – 50% Rabatt & mehr.docx", len, false)),
            3 => drop(self.file(0, "Liesmich.md", len, true)),
            5 => drop(self.file(folder, "Video.mp4", 3_000_000 + len, false)),
            _ => {
                let name =
                    format!("{} {}.{ending}", words::topic(&mut dice).replace(": ", " "), n + 1);
                self.file(folder, &name, len, matches!(ending, "txt" | "md"));
            }
        }
    }
}

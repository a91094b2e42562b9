//! The host that hands out files: addresses instead of tokens, ranges, entity tags. It takes
//! uploads in as well, see `upload.rs`.

use std::ops::Range;

use http::Method;

use crate::call::Call;
use crate::dice;
use crate::drive::{Drive, Node};
use crate::faults::Kind;
use crate::media::media_type;
use crate::reply::Reply;
use crate::routes::drive::rewrite;
use crate::routes::{Outcome, upload};
use crate::server::World;

/// Whether the address is one that `/content` redirected to.
pub(crate) fn is_redirected(world: &World, call: &Call) -> bool {
    let ticket = world.tickets.check(call.option("tempauth").unwrap_or_default());
    ticket.is_some_and(|ticket| ticket.redirected)
}

pub(crate) fn answer(world: &World, call: &Call) -> Outcome {
    if call.path.ends_with("/uploadSession") {
        return upload::answer(world, call);
    }
    if !call.path.ends_with("/_layouts/15/download.aspx") {
        return Reply::html(404, "<html><body>404 FILE NOT FOUND</body></html>").into();
    }
    if call.method != Method::GET {
        return Reply::empty(405).into();
    }
    let tempauth = call.option("tempauth").unwrap_or_default();
    let ticket = world.tickets.check(tempauth).filter(|ticket| ticket.upload.is_none());
    let (Some(ticket), None) = (ticket, call.header("authorization")) else {
        return unauthorized().into();
    };
    let drive = world.tenant.drive_owner(&ticket.drive).and_then(|person| person.drive());
    let Some(drive) = drive else {
        return gone().into();
    };
    let (line, key) = (call.line(), drive.ids.item(ticket.item));
    let mut outcome = Outcome::from(Reply::empty(500));
    outcome.owner = Some(ticket.drive.clone());
    let expires = world.faults.strikes(Kind::UrlExpired, &line, &key).is_some();
    if expires {
        world.tickets.kill(tempauth);
        outcome.fault = Some(Kind::UrlExpired);
        // Half of the addresses are dead before their first use, the others die on the way.
        if dice::text(&key).is_multiple_of(2) {
            outcome.reply = unauthorized();
            return outcome;
        }
    }
    let restless = ticket.version.is_none() && world.faults.present(Kind::Restless, &line);
    if restless && drive.largest() == Some(ticket.item) {
        rewrite(drive, ticket.item);
        outcome.fault = Some(Kind::Restless);
    }
    let Some(node) = drive.node(ticket.item) else {
        outcome.reply = gone();
        return outcome;
    };
    outcome.reply = file(world, call, drive, &node, ticket.item, ticket.version);
    if expires && outcome.reply.status.is_success() {
        outcome.reply.halved = true;
    }
    outcome
}

pub(crate) fn unauthorized() -> Reply {
    Reply::html(401, "401 UNAUTHORIZED")
        .with("www-authenticate", "Bearer realm=\"contoso-my.sharepoint.com\"")
        .with(
            "x-ms-diagnostics",
            "3000003;reason=\"Invalid audience Uri or token expired\";category=\"invalid_client\"",
        )
}

fn gone() -> Reply {
    Reply::html(404, "404 FILE NOT FOUND")
}

fn file(
    world: &World,
    call: &Call,
    drive: &Drive,
    node: &Node,
    number: u32,
    wanted: Option<u32>,
) -> Reply {
    let found = match wanted {
        None => node.current(),
        Some(wanted) => node.versions.iter().find(|version| version.number == wanted),
    };
    let Some(version) = found else { return gone() };
    let etag = match wanted {
        None => format!("\"{{{}}},{}\"", drive.ids.unique(number), node.etag),
        Some(wanted) => format!("\"{{{}}},v{wanted}\"", drive.ids.unique(number)),
    };
    let len = version.blob.len();
    let (line, key) = (call.line(), drive.ids.item(number));
    let ignored = world.faults.marks(Kind::RangeIgnored, &line, &key).is_some();
    let stale = call.header("if-range").is_some_and(|tag| tag != etag);
    let range = call.header("range").filter(|_| !ignored && !stale);
    let (status, part) = match range.map(|text| parse_range(text, len)) {
        None | Some(Asked::Nonsense) => (200, 0..len),
        Some(Asked::Part(part)) => (206, part),
        Some(Asked::Beyond) => {
            return Reply::empty(416).with("content-range", &format!("bytes */{len}"));
        }
    };
    let modified = version.modified.format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut reply = Reply::blob(status, version.blob.clone(), part.clone())
        .with("content-type", media_type(&node.name))
        .with(
            "content-disposition",
            &format!("attachment; filename*=UTF-8''{}", crate::page::escaped(&node.name)),
        )
        .with("accept-ranges", "bytes")
        .with("etag", &etag)
        .with("last-modified", &modified);
    if status == 206 {
        let text = format!("bytes {}-{}/{len}", part.start, part.end - 1);
        reply = reply.with("content-range", &text);
    }
    reply
}

enum Asked {
    Part(Range<u64>),
    Beyond,
    /// Several ranges, other units: the header is ignored.
    Nonsense,
}

fn parse_range(text: &str, len: u64) -> Asked {
    let Some((from, to)) = text.strip_prefix("bytes=").and_then(|text| text.split_once('-')) else {
        return Asked::Nonsense;
    };
    let (start, end) = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(start), Ok(end)) if start <= end => (start, end.saturating_add(1).min(len)),
        (Ok(start), Err(_)) if to.is_empty() => (start, len),
        (Err(_), Ok(last)) if from.is_empty() => (len.saturating_sub(last), len),
        _ => return Asked::Nonsense,
    };
    if start >= len || start >= end { Asked::Beyond } else { Asked::Part(start..end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |text, len| match parse_range(text, len) {
            Asked::Part(range) => Some((range.start, range.end)),
            _ => None,
        };
        assert_eq!(part("bytes=0-9", 100), Some((0, 10)));
        assert_eq!(part("bytes=90-", 100), Some((90, 100)));
        assert_eq!(part("bytes=-5", 100), Some((95, 100)));
        assert_eq!(part("bytes=50-500", 100), Some((50, 100)));
        assert!(matches!(parse_range("bytes=100-", 100), Asked::Beyond));
        assert!(matches!(parse_range("bytes=0-", 0), Asked::Beyond));
        assert!(matches!(parse_range("bytes=1-2,4-5", 100), Asked::Nonsense));
    }
}

//! What SharePoint charges for a request (FACTS 2.3).

use http::Method;

use crate::call::Call;
use crate::log::Host;

/// The resource units of a request; `None` for what is no matter of SharePoint's.
pub(crate) fn of(call: &Call) -> Option<u64> {
    let inside: &[String] = match call.host {
        // Attachments are uploaded through the same door, but to Outlook.
        Host::Download if call.path.starts_with("/personal/") => {
            return Some(if call.method == Method::GET { 1 } else { 2 });
        }
        Host::Graph => call.segments.get(1..)?,
        _ => return None,
    };
    let names: Vec<&str> = inside.iter().map(String::as_str).collect();
    let rest = match names.as_slice() {
        ["users", _, "drives"] => return Some(2),
        ["me" | "drives", rest @ ..] | ["users", _, rest @ ..] => rest,
        _ => return None,
    };
    let of_drive = names.first() == Some(&"drives") || rest.first() == Some(&"drive");
    let permissions = rest.last() == Some(&"permissions")
        || call.option("expand").is_some_and(|expand| expand.contains("permissions"));
    let many = match rest.last() {
        Some(&"children" | &"versions") => true,
        Some(&"delta") => call.option("token").is_none_or(str::is_empty),
        _ => false,
    };
    of_drive.then_some(match (permissions, many || call.method != Method::GET) {
        (true, _) => 5,
        (false, true) => 2,
        (false, false) => 1,
    })
}

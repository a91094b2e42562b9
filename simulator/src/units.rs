//! What services charge for a request, in resource units.

use http::Method;

use crate::call::Call;
use crate::log::Host;

/// SharePoint's price of a request to a drive or to a file's host (FACTS 2.3). A download is one
/// operation: who was sent to the file's host by `/content`, as `redirected` says, has paid.
pub(crate) fn of_sharepoint(call: &Call, redirected: bool) -> u64 {
    let reads = call.method == Method::GET;
    if call.host == Host::Download {
        return if reads { u64::from(!redirected) } else { 2 };
    }
    let names: Vec<&str> = call.segments.iter().map(String::as_str).collect();
    // What follows a colon is the path of a file.
    let named = |wanted: &[&str]| {
        names.iter().enumerate().any(|(at, name)| {
            wanted.contains(name) && at.checked_sub(1).is_none_or(|before| names[before] != ":")
        })
    };
    let expanded = call.option("expand").is_some_and(|expand| expand.contains("permissions"));
    if expanded || named(&["permissions", "invite", "createLink"]) {
        return 5;
    }
    let many = match names.last() {
        Some(&"drives" | &"children" | &"versions" | &"search") => true,
        Some(&"delta") => call.option("token").is_none_or(str::is_empty),
        _ => false,
    };
    if many || !reads { 2 } else { 1 }
}

/// The directory's price of a request (FACTS 2.5).
pub(crate) fn of_directory(call: &Call) -> u64 {
    let names: Vec<&str> = call.segments.iter().skip(1).map(String::as_str).collect();
    let selects = call.option("select").is_some();
    let base = match names.as_slice() {
        // The documentation names its price with `$select` itself.
        [.., "getByIds"] => return if selects { 2 } else { 5 },
        [.., "transitiveMembers"] => 5,
        [.., "members"] | ["subscribedSkus"] => 3,
        ["users"] | ["users", "delta"] | [.., "memberOf" | "licenseDetails"] => 2,
        _ => 1,
    };
    let expands = u64::from(call.option("expand").is_some());
    let saves = u64::from(selects) + u64::from(call.number("top").is_some_and(|top| top < 20));
    (base + expands).saturating_sub(saves).max(1)
}

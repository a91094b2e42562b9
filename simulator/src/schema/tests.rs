use super::{Refusal, check};

fn get(target: &str) -> Result<(), Refusal> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    check("GET", path, query)
}

fn accepted(targets: &[&str]) {
    for target in targets {
        assert_eq!(get(target), Ok(()), "{target}");
    }
}

fn refused(targets: &[(&str, &str)]) {
    for (target, message) in targets {
        let refusal = get(target).expect_err(target);
        assert_eq!((refusal.status, refusal.message.as_str()), (400, *message), "{target}");
    }
}

#[test]
fn paths_that_exporters_ask_for() {
    accepted(&[
        "/users",
        "/users/",
        "/users/delta?$select=id,displayName&$deltatoken=latest",
        "/users('$x@y')/messages",
        "/users/a%40b.c/mailFolders?includeHiddenFolders=true&$top=100",
        "/users/x/mailFolders('inbox')/childFolders",
        "/users/x/mailFolders/delta()",
        "/users/x/mailFolders/inbox/messages/microsoft.graph.delta()?$skiptoken=a%2Bb",
        "/users/x/mailFolders/inbox/messages/$count",
        "/users/x/messages/AAMk=/$value",
        "/users/x/messages/AAMk=/attachments/1/$value",
        "/users/x/messages/AAMk=/attachments/1?$expand=microsoft.graph.itemAttachment/item",
        "/users/x/messages/microsoft.graph.eventMessage?$select=meetingMessageType",
        "/users/x/messages/1/microsoft.graph.eventMessage/event",
        "/users/x/onenote/pages?$select=described-later",
        "/me/drive/root:/Documents/a%20b:/children",
        "/drives/b!x/root:/it's%20here.txt",
        "/drives/b!x/root:/a/b.txt:/content",
        "/drives/b!x/items/01A:/new.txt:/content",
        "/drives/b!x/root/delta(token='latest')?$select=id,content.downloadUrl",
        "/drives/b!x/items/01A/versions/2.0/content",
        "/drives/b!x/items/01A/children?$select=id,@microsoft.graph.downloadUrl,file/hashes",
        "/sites/contoso.sharepoint.com:/sites/a%20b:/drives",
        "/sites/root",
        "/sites/getAllSites",
        "/sites?search=*",
        "/organization?$select=id,verifiedDomains",
        "/servicePrincipals?$filter=appId eq 'x'",
        "/servicePrincipals(appId='x')/appRoleAssignments",
    ]);
}

#[test]
fn options_that_exporters_send() {
    accepted(&[
        "/users?$select=id,userPrincipalName,assignedLicenses&$top=999&$count=true",
        "/users?$filter=id%20eq%20'a'%20or%20id+eq+'b''c'",
        "/users?$filter=assignedLicenses/$count ne 0 and userType eq 'Member'",
        "/users?$filter=proxyAddresses/any(a:startswith(a,'smtp:'))",
        "/users?$filter=assignedPlans/any(p:p/service eq 'exchange' and p/capabilityStatus eq 'E')",
        "/users?$filter=extension_0123_costCentre eq 7",
        "/users/x/messages?$filter=receivedDateTime ge 2026-01-01T00:00:00Z&$orderby=receivedDateTime desc",
        "/users/x/messages?$filter=from/emailAddress/address eq 'a@b'&$orderby=from/emailAddress/name",
        "/users/x/messages?$select=id,microsoft.graph.eventMessage/meetingMessageType,flag/flagStatus",
        "/users/x/messages?$expand=attachments($select=id,size;$top=5),extensions",
        "/users/x/messages?$expand=singleValueExtendedProperties(\
         $filter=id%20eq%20'String%20{00020386-0000-0000-C000-000000000046}%20Name%20a;(b'%20or%20\
         id%20eq%20'Integer%200x0E07')",
        "/users/x/messages?$expand=microsoft.graph.eventMessage/event($select=start)",
        "/users/x/messages?select=id&$filter=isof('microsoft.graph.eventMessage')",
    ]);
}

#[test]
fn segments_that_lead_nowhere() {
    let missing = |segment: &str| format!("Resource not found for the segment '{segment}'.");
    for (target, segment) in [
        ("/user", "user"),
        ("/users/x/mailfolder", "mailfolder"),
        ("/users/x/mailFolders/inbox/delta", "delta"),
        ("/users/$x@y/messages", "$x@y"),
        ("/users/x/messages/1/microsoft.graph.user", "microsoft.graph.user"),
        ("/users/x/mailFolders/inbox/$value", "$value"),
        ("/drives/b!x/root/content/more", "more"),
        ("/users/x:/a:/drives", "x:"),
        ("/me('x')", "me('x')"),
    ] {
        refused(&[(target, &missing(segment))]);
    }
    assert_eq!(get("/users//messages").map_err(|r| r.status), Err(400));
}

#[test]
fn names_that_no_type_has() {
    let select = "Parsing OData Select and Expand failed: ";
    refused(&[
        (
            "/users/x/messages?$select=id,isRaed",
            &format!(
                "{select}Could not find a property named 'isRaed' on type 'microsoft.graph.message'."
            ),
        ),
        (
            "/users/x/messages?$select=meetingMessageType",
            &format!(
                "{select}Could not find a property named 'meetingMessageType' on type \
                 'microsoft.graph.message'."
            ),
        ),
        (
            "/users/x/messages?$select=flag/colour",
            &format!(
                "{select}Could not find a property named 'colour' on type \
                 'microsoft.graph.followupFlag'."
            ),
        ),
        (
            "/users/x/messages?$select=@odata.type",
            &format!("{select}Term '@odata.type' is not valid in a $select or $expand expression."),
        ),
        (
            "/users/x/messages?$expand=body",
            &format!(
                "{select}Property 'body' on type 'microsoft.graph.message' is not a navigation \
                 property or complex property. Only navigation properties can be expanded."
            ),
        ),
        (
            "/users/x/messages?$expand=attachments(select=id)",
            &format!("{select}Term '(select=id)' is not valid in a $select or $expand expression."),
        ),
        (
            "/users/x/messages?$expand=attachments($select=contentId)",
            &format!(
                "{select}Could not find a property named 'contentId' on type \
                 'microsoft.graph.attachment'."
            ),
        ),
        (
            "/users?$filter=startswith(surename,'a')",
            "Invalid filter clause: Could not find a property named 'surename' on type \
             'microsoft.graph.user'.",
        ),
        (
            "/users?$filter=assignedPlans/any(p:p/name eq 'x')",
            "Invalid filter clause: Could not find a property named 'name' on type \
             'microsoft.graph.assignedPlan'.",
        ),
        (
            "/users?$filter=starts(surname,'a')",
            "Invalid filter clause: An unknown function with name 'starts' was found.",
        ),
        (
            "/users/x/messages?$orderby=date",
            "Could not find a property named 'date' on type 'microsoft.graph.message'.",
        ),
        ("/users?$fields=id", "The query parameter '$fields' is not supported."),
    ]);
}

#[test]
fn options_that_do_not_fit() {
    for target in [
        "/users?$top=-1",
        "/users?$count=yes",
        "/users/x?$top=1",
        "/users?$select=id&$select=mail",
        "/users?$select=id,",
        "/users?$filter=",
        "/users?$filter=mail eq 'open",
        "/users?$orderby=mail up",
        "/users/x/messages?$expand=attachments($select=id",
    ] {
        assert_eq!(get(target).map_err(|r| r.status), Err(400), "{target}");
    }
}

#[test]
fn methods() {
    for (method, path, allowed) in [
        ("POST", "/$batch", true),
        ("GET", "/$batch", false),
        ("POST", "/users/x/messages", true),
        ("PUT", "/users/x/messages", false),
        ("POST", "/users/x/mailFolders/inbox/messages/delta", false),
        ("POST", "/users/x/messages/1/move", true),
        ("GET", "/users/x/messages/1/move", false),
        ("PATCH", "/users/x/messages/1", true),
        ("DELETE", "/drives/d/items/1", true),
        ("PUT", "/drives/d/root:/a/b.txt:/content", true),
        ("POST", "/drives/d/root:/a/b.txt:/createUploadSession", true),
        ("POST", "/users/x/messages/1/attachments/createUploadSession", true),
        ("PATCH", "/users/x/mailboxSettings", true),
    ] {
        let outcome = check(method, path, None).map_err(|refusal| refusal.status);
        assert_eq!(outcome, if allowed { Ok(()) } else { Err(405) }, "{method} {path}");
    }
}

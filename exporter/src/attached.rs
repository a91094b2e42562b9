//! Attachments as the service lists them: of messages, events and posts alike (FACTS 4.2).

use graph::{ErrorKind, Scope};
use serde_json::Value;

use crate::Error;
use crate::context::Context;

/// The attachments of the item at `base`, by id; without their bytes. The inner error is the
/// item's, the outer the run's.
pub(crate) async fn attachments(
    context: &Context,
    scope: &Scope,
    base: &str,
    doing: &str,
) -> Result<Result<Vec<Value>, graph::Error>, Error> {
    let plain = "id,name,contentType,size,isInline";
    let with_id = format!("{plain},microsoft.graph.fileAttachment/contentId");
    let path = format!("{base}/attachments?$select=");
    let listed = context.ask_all(scope, &format!("{path}{with_id}"), doing).await?;
    let listed = match listed {
        // The cast was not understood: once more without the content id.
        Err(error) if *error.kind() == ErrorKind::BadRequest => {
            context.ask_all(scope, &format!("{path}{plain}"), doing).await?
        }
        listed => listed,
    };
    Ok(listed.map(|mut listed| {
        listed.sort_by_cached_key(|attachment| {
            attachment.get("id").and_then(Value::as_str).unwrap_or_default().to_owned()
        });
        listed
    }))
}

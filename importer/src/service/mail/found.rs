//! Messages that are there though a look into their folder does not show them: moved by their
//! owner.

use archive::metadata::Line;
use graph::{ErrorKind, Prefer};
use serde_json::Value;

use super::place::MailPlace;
use crate::error::Error;

impl MailPlace {
    /// Whether the message itself is in the mailbox, and not thrown away. An id alone is no proof:
    /// a mailbox that was made anew may have given it to another message, made at another time.
    pub(super) async fn is_elsewhere(&self, source: &Line) -> Result<bool, Error> {
        let doing = || "looking for a message that was moved".to_owned();
        let select = "$select=id,parentFolderId,createdDateTime";
        let path = format!("{}?{select}", self.message(&source.id));
        let created = |message: &Value| {
            let text = message.get("createdDateTime").and_then(Value::as_str);
            text.and_then(|text| text.get(..19)).map(str::to_owned)
        };
        match self.mailbox.graph.get(&self.mailbox.scope, &path, Prefer::none()).await {
            Ok(found) if created(&found) != created(&source.graph) => Ok(false),
            Ok(found) => match found.get("parentFolderId").and_then(Value::as_str) {
                Some(folder) => Ok(!self.folders.is_trash(folder).await?),
                None => Ok(false),
            },
            // An id that this mailbox does not know, or that it does not take for one.
            Err(error) if error.status() == Some(404) || *error.kind() == ErrorKind::BadRequest => {
                Ok(false)
            }
            Err(source) => Err(Error::Graph { doing: doing(), source }),
        }
    }
}

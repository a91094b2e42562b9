//! Messages that are there though a look into their folder does not show them: put there a moment
//! ago, or moved by their owner.

use std::time::Duration;

use archive::metadata::Line;
use graph::{ErrorKind, Prefer};
use serde_json::Value;

use super::existing::{Own, partial_mark};
use super::folders::id;
use super::place::MailPlace;
use crate::error::Error;

/// How long a search may not show what was stored before (FACTS 5.1): as long as the looks that a
/// request takes whose answer was lost.
const LAG: Duration = Duration::from_secs(7);
/// Between the first two looks; twice as long between the next.
const FIRST_WAIT: Duration = Duration::from_secs(1);

impl MailPlace {
    /// What was made of the message `source` in a folder by a run that died. It is searched until
    /// a search must show all that was stored before this run began.
    pub(super) async fn late(
        &self,
        source: &str,
        folder: &str,
    ) -> Result<Option<Own>, graph::Error> {
        let mut wait = FIRST_WAIT;
        loop {
            let age = self.opened.elapsed();
            for (mark, is_partial) in [(source.to_owned(), false), (partial_mark(source), true)] {
                match self.marked(folder, &mark).await {
                    Ok(Some(found)) => return Ok(Some(Own { id: id(&found), is_partial })),
                    Ok(None) => {}
                    // The folder is gone, with all that was in it.
                    Err(error) if error.status() == Some(404) => return Ok(None),
                    Err(error) => return Err(error),
                }
            }
            if age >= LAG {
                return Ok(None);
            }
            tokio::time::sleep(wait.min(LAG - age)).await;
            wait *= 2;
        }
    }

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
        match self.graph.get(&self.scope, &path, Prefer::none()).await {
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

//! What was made is read again and compared with what it was made of: a difference is corrected,
//! counted, or makes the message none.

use graph::{ErrorKind, Json, Prefer};
use serde_json::Value;

use super::attachments::{self, Attached};
use super::expected::{Expected, ExpectedAttachment};
use super::message::Message;
use super::place::{Done, MailPlace};
use crate::error::Error;
use crate::item::Item;
use crate::place::Loss;

/// What is compared after a message was made.
const LOOK: &str = "$select=id,subject,receivedDateTime,sentDateTime,isDraft,isRead,flag,\
                    categories,importance,internetMessageId,parentFolderId,changeKey,from,\
                    toRecipients,ccRecipients,bccRecipients,body";
/// What can be set after a message was made.
const CHANGEABLE: [&str; 4] = ["isRead", "flag", "categories", "importance"];

impl MailPlace {
    /// Reads what was made again; corrects what can be; says what can't.
    pub(super) async fn settle(
        &self,
        item: &Item,
        id: String,
        message: &Message,
    ) -> Result<Done, Error> {
        let failed = |source| Error::Graph { doing: format!("checking {}", item.path), source };
        let expected = message.expected();
        let (mut made, mut attached) = self.look(&id, &expected).await.map_err(failed)?;
        let lacks = attached.len() < expected.attachments.len();
        let differs = expected.flags_differ(&made);
        if lacks {
            // A service that does not take them with the message takes them one by one.
            let missing = attachments::missing(message, &attached);
            // Of two with one name nobody can tell which it is that is there.
            let is_unclear =
                |at: &usize| attachments::named(&attached, &message.attachments[*at].name) > 0;
            if missing.iter().any(is_unclear) {
                let what = "of several attachments with one name not all are there".to_owned();
                return Err(Error::Unequal { path: item.path.clone(), what });
            }
            for at in missing {
                let before = attachments::named(&attached, &message.attachments[at].name);
                attachments::add(self, &item.path, &id, at, before, message).await?;
                attached = self.mailbox.attached(&self.message(&id)).await.map_err(failed)?;
            }
        }
        if differs {
            let values = CHANGEABLE.iter().filter_map(|key| Some((*key, message.json.get(key)?)));
            let change: serde_json::Map<_, _> =
                values.map(|(key, value)| (key.to_owned(), value.clone())).collect();
            match self.patch(&id, &change.into()).await {
                Err(error) if *error.kind() != ErrorKind::Invalid => return Err(failed(error)),
                _ => {}
            }
        }
        if lacks || differs {
            (made, attached) = self.look(&id, &expected).await.map_err(failed)?;
        }
        match losses(&expected, &made, &attached) {
            Ok(losses) => Ok(Done { id, losses }),
            Err(what) => Err(Error::Unequal { path: item.path.clone(), what }),
        }
    }

    async fn look(
        &self,
        id: &str,
        expected: &Expected,
    ) -> Result<(Json, Vec<Attached>), graph::Error> {
        let path = format!("{}?{LOOK}", self.message(id));
        let made = self.mailbox.graph.get(&self.mailbox.scope, &path, Prefer::none()).await?;
        let attached = match expected.attachments.is_empty() {
            true => Vec::new(),
            false => self.mailbox.attached(&self.message(id)).await?,
        };
        Ok((made, attached))
    }
}

/// What the service did not keep of a message; an error if that is what makes it a mail at all:
/// that it is no draft, that it says something, and its attachments.
fn losses(expected: &Expected, made: &Value, attached: &[Value]) -> Result<Vec<Loss>, String> {
    let is = Expected::said(made);
    if is.body.is_empty() && !expected.body.is_empty() {
        return Err("its body is empty".into());
    }
    // What is forgiven is taken as the service has it; what is not given is not compared.
    let forgiving = Expected {
        received: None,
        sent: None,
        is_draft: expected.is_draft,
        internet_message_id: None,
        from: None,
        attachments: renamed(expected, attached),
        ..is
    };
    if let Some(what) = forgiving.difference(made, attached) {
        return Err(what);
    }
    let all = || expected.clone();
    let like = || forgiving.clone();
    let strict_in = [
        (
            Loss::Headers,
            Expected {
                subject: all().subject,
                internet_message_id: all().internet_message_id,
                ..like()
            },
        ),
        (
            Loss::Recipients,
            Expected { from: all().from, recipients: expected.recipients, ..like() },
        ),
        (Loss::Body, Expected { body: all().body, ..like() }),
        (
            Loss::Flags,
            Expected {
                is_read: expected.is_read,
                flag_status: all().flag_status,
                categories: all().categories,
                importance: all().importance,
                ..like()
            },
        ),
        (Loss::Date, Expected { received: expected.received, sent: expected.sent, ..like() }),
        (Loss::Name, Expected { attachments: all().attachments, ..like() }),
    ];
    let lost =
        strict_in.into_iter().filter(|(_, strict)| strict.difference(made, attached).is_some());
    Ok(lost.map(|(loss, _)| loss).collect())
}

/// The attachments under the names that the service gave them, if they are as many, and none
/// smaller.
fn renamed(expected: &Expected, attached: &[Value]) -> Vec<ExpectedAttachment> {
    let mut sizes: Vec<_> = expected.attachments.iter().map(|a| a.size.unwrap_or(0)).collect();
    let mut made: Vec<_> =
        attached.iter().map(|a| a["size"].as_u64().unwrap_or(u64::MAX)).collect();
    sizes.sort_unstable();
    made.sort_unstable();
    if sizes.len() != made.len() || sizes.iter().zip(&made).any(|(least, is)| is < least) {
        return expected.attachments.clone();
    }
    let name = |attachment: &Value| attachment["name"].as_str().unwrap_or_default().to_owned();
    let mut all: Vec<_> =
        attached.iter().map(|a| ExpectedAttachment { name: name(a), size: None }).collect();
    all.sort();
    all
}

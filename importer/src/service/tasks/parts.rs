//! What is added to a task after it was made: steps, links, attachments (FACTS 5.2, 5.5).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graph::{Json, Prefer, Upload, segment};
use serde_json::{Value, json};

use super::place::TasksPlace;
use super::task::{Attached, Task, mark_link, mark_of};
use crate::error::Error;
use crate::mailbox::{LARGE, Mailbox, id};
use crate::sequential::Sequential;

/// Bytes of a part of an upload: at most 4 MB (FACTS 5.2).
const CHUNK: u64 = 3_932_160;

impl TasksPlace {
    /// Adds all that belongs to the task at the path `made`.
    pub(super) async fn add_parts(&self, item: &str, made: &str, task: &Task) -> Result<(), Error> {
        let failed = |what: &str| {
            let doing = format!("adding {what} to {item}");
            move |source| Error::Graph { doing, source }
        };
        self.add_rows(made, task).await.map_err(failed("a step or a link"))?;
        for (at, file) in task.files.iter().enumerate() {
            let before = task.files[..at].iter().filter(|other| other.name == file.name).count();
            let what = format!("the attachment {:?}", file.name);
            if file.size >= LARGE {
                self.upload(made, file, before).await.map_err(failed(&what))?;
            } else {
                let body = small(file)
                    .map_err(|source| Error::Content { path: item.to_owned(), source })?;
                let added = self.add(made, "attachments", &body, "name", before).await;
                added.map_err(failed(&what))?;
            }
        }
        Ok(())
    }

    /// Adds its steps and links.
    pub(super) async fn add_rows(&self, made: &str, task: &Task) -> Result<(), graph::Error> {
        for (part, rows) in [("checklistItems", &task.steps), ("linkedResources", &task.links)] {
            for (at, row) in rows.iter().enumerate() {
                let before = alike(&rows[..at], "displayName", row);
                self.add(made, part, row, "displayName", before).await?;
            }
        }
        Ok(())
    }

    /// Adds one part. There are `before` others with its name, so that a lost answer makes no
    /// second one.
    async fn add(
        &self,
        made: &str,
        part: &str,
        body: &Value,
        key: &str,
        before: usize,
    ) -> Result<(), graph::Error> {
        let name = body.get(key).cloned().unwrap_or_default();
        let found = || self.named(made, part, key, &name, before);
        let Mailbox { graph, scope, .. } = &self.mailbox;
        graph.create(scope, &format!("{made}/{part}"), body, found).await.map(drop)
    }

    async fn upload(&self, made: &str, file: &Attached, before: usize) -> Result<(), graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut about = json!({ "attachmentType": "file", "name": file.name, "size": file.size });
        if !file.content_type.is_empty() {
            about["contentType"] = file.content_type.as_str().into();
        }
        let upload = Upload {
            scope: scope.clone(),
            path: format!("{made}/attachments/createUploadSession"),
            body: json!({ "attachmentInfo": about }),
            total: file.size,
            chunk: CHUNK,
            resource: true,
        };
        let content = file.again();
        let mut source = Sequential::new(Box::new(move || content.open()));
        let name = file.name.as_str().into();
        let found = || self.named(made, "attachments", "name", &name, before);
        graph.upload(&upload, &mut source, found).await.map(drop)
    }

    /// The part of that name after `before` others.
    async fn named(
        &self,
        made: &str,
        part: &str,
        key: &str,
        name: &Value,
        before: usize,
    ) -> Result<Option<Json>, graph::Error> {
        let mut found = self.rows(&format!("{made}/{part}")).await?.into_iter();
        let is_it =
            |one: &Json| one.get(key).unwrap_or(&Value::Null) == name && mark_of(one).is_none();
        Ok(found.by_ref().filter(is_it).nth(before))
    }

    async fn rows(&self, path: &str) -> Result<Vec<Json>, graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let mut pages = graph.pages(scope.clone(), path, Prefer::none());
        let mut rows = Vec::new();
        while let Some(page) = pages.next().await? {
            for item in &page.items {
                rows.push(item.parse()?);
            }
        }
        Ok(rows)
    }

    /// Sets the mark of the task at `made`, which was looked at, to `mark`. A service that took no
    /// link with the task, or changes none, gets another one; the earlier goes last.
    pub(super) async fn set_mark(
        &self,
        made: &str,
        task: &Value,
        mark: &str,
    ) -> Result<(), graph::Error> {
        let Mailbox { graph, scope, .. } = &self.mailbox;
        let path = format!("{made}/linkedResources");
        let links = task.get("linkedResources").and_then(Value::as_array).into_iter().flatten();
        let old = links.filter(|link| mark_of(link).is_some()).map(id).next();
        if let Some(old) = &old {
            let link = format!("{path}/{}", segment(old));
            let change = json!({ "externalId": mark });
            match graph.patch(scope, &link, &change, None).await {
                Ok(_) => return Ok(()),
                Err(error) if matches!(error.status(), Some(400 | 404 | 405 | 501)) => {}
                Err(error) => return Err(error),
            }
        }
        let marked = async || {
            let links = self.rows(&path).await?;
            Ok(links.into_iter().find(|link| mark_of(link) == Some(mark)))
        };
        graph.create(scope, &path, &mark_link(mark), marked).await?;
        match old {
            Some(old) => self.mailbox.delete(&format!("{path}/{}", segment(&old))).await,
            None => Ok(()),
        }
    }
}

/// How many of `others` have the name of `one`.
fn alike(others: &[Value], key: &str, one: &Value) -> usize {
    others.iter().filter(|other| other.get(key) == one.get(key)).count()
}

/// A file with its bytes in JSON.
fn small(file: &Attached) -> std::io::Result<Value> {
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut file.open()?, &mut bytes)?;
    let mut body = json!({
        "@odata.type": "#microsoft.graph.taskFileAttachment",
        "name": file.name,
        "contentBytes": STANDARD.encode(bytes),
    });
    if !file.content_type.is_empty() {
        body["contentType"] = file.content_type.as_str().into();
    }
    Ok(body)
}

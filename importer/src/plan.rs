//! What a restore would do, without asking the target anything.

use archive::metadata::Line;
use serde::Serialize;

use crate::choice::Choice;
use crate::error::Error;
use crate::options::{Destination, Options};
use crate::target::Target;
use crate::walk::{Ask, Job, Source, Task, Walk};

/// What would be done.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Plan {
    /// By section, in the order of the archive.
    pub sections: Vec<PlannedSection>,
    /// Of what is there already: `skip`, `copy` or `replace`.
    pub on_conflict: &'static str,
    /// Sections whose metadata is damaged, and how: at most what can be read of it is planned.
    pub damaged_sections: Vec<(String, String)>,
}

/// What would be done for one service of one owner.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PlannedSection {
    /// `users/<upn>/<service>`.
    pub section: String,
    /// Whose it becomes, as far as that can be told without asking.
    pub owner: String,
    /// Where it goes.
    pub destination: String,
    /// Folders the archive knows: an upper bound of those that would be made.
    pub folders: u64,
    /// Items that would be made, if none is there.
    pub items: u64,
    /// Bytes of content.
    pub bytes: u64,
    /// Requests to the service, about; 0 for targets that are not one.
    pub requests: u64,
    /// The least time that the service's documented upload limit allows, in seconds.
    pub seconds: u64,
}

/// Finds out what [`crate::restore`] would do. Reads only metadata of a file; all of a stream.
///
/// # Errors
/// As [`crate::restore`], as far as the archive goes.
pub async fn plan(
    source: Source,
    target: &Target,
    choice: &Choice,
    options: &Options,
) -> Result<Plan, Error> {
    let is_file = matches!(source, Source::File(_));
    let ask = Ask {
        chooser: choice.compile()?,
        only_failed: None,
        incomplete: options.incomplete,
        spool_dir: options.spool_dir.clone(),
        spool_limit: 0,
        contents: !is_file,
    };
    let mut walk = Walk::begin(source, ask);
    let mut plan = Plan { on_conflict: options.on_conflict.name(), ..Plan::default() };
    let is_whole = !choice.names_items();
    while let Some(task) = walk.tasks.recv().await {
        let planned = planned(task, target, options, is_file).await?;
        if planned.items > 0 || is_whole {
            plan.sections.push(planned);
        }
    }
    let walked = walk.ended().await?;
    plan.damaged_sections = walked.damaged;
    match walked.broken {
        Some(broken) if !options.incomplete => Err(broken.into()),
        _ => Ok(plan),
    }
}

async fn planned(
    task: Task,
    target: &Target,
    options: &Options,
    is_file: bool,
) -> Result<PlannedSection, Error> {
    let Task { section, work, mut jobs } = task;
    let label = match &options.destination {
        Destination::InPlace => None,
        Destination::Beside { label } => Some(label.as_ref().unwrap_or(&section.label)),
    };
    let mut planned = PlannedSection {
        owner: options.heir(&section.owner).unwrap_or(&section.owner.names.upn).to_owned(),
        destination: match (target, label) {
            (Target::Directory(_), _) => target.to_string(),
            (_, None) => format!("{target}: in place"),
            (_, Some(label)) => format!("{target}: {}", section.service.beside(label)),
        },
        folders: work.folders()?,
        section: section.prefix,
        ..PlannedSection::default()
    };
    let is_service = matches!(target, Target::Tenant(_));
    let service = section.service;
    let mut add = |line: &Line, size: u64| {
        planned.items += 1;
        planned.bytes += size;
        planned.requests += if is_service { service.requests(line, size) } else { 0 };
    };
    if is_file {
        jobs.close();
        let mut after = 0;
        while let Some(located) = work.next_located(after)? {
            after = located.seq;
            add(&located.line, located.size);
        }
    } else {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Item(item) => add(&item.line, item.size),
                Job::Bad { error, .. } if error.cause() == "damaged" => {}
                Job::Bad { error, .. } => return Err(error),
            }
        }
    }
    if let Some(most) = service.most_upload().filter(|_| is_service) {
        planned.seconds = planned.bytes / most;
    }
    Ok(planned)
}

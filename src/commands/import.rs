//! `import`: an archive, or a selection of it, back to where it came from or to somewhere else.

mod target;

use std::path::PathBuf;

use chrono::Utc;
use importer::{Choice, Destination, OnConflict, Options, Order, Plan, Source, Summary};

use crate::cli::{Conflict, Import};
use crate::commands::export;
use crate::config;
use crate::exit::{Code, Failure};
use crate::input::Input;
use crate::plugins;
use crate::progress::Shown;
use crate::report;
use crate::signals::{self, Stop};
use crate::terminal::{self, Data};

/// Failures that are told one by one; report and journal have more.
const TOLD: usize = 10;
/// Letters of a label: with "tar365 restore " before it, a folder's name in every target.
const LONGEST_LABEL: usize = 200;
/// What an interruption leaves behind.
const RESUMABLE: &str = "the same command with the same --journal goes on";

pub(super) async fn run(args: Import) -> Result<Code, Failure> {
    let stop = signals::watch()?;
    if let Some(journal) = args.journal.undo.clone() {
        return undo(&args, journal, &stop).await;
    }
    let (choice, options) = (choice(&args)?, options(&args)?);
    let (source, filtered) = tokio::select! {
        source = source(&args, &choice) => source?,
        () = stop.requested() => return Err(stop.failure("nothing was done")),
    };
    check_mappings(&source, &options)?;
    let target = tokio::select! {
        target = target::open(&args) => target?,
        () = stop.requested() => return Err(stop.failure("nothing was done")),
    };
    if args.dry_run {
        let plan = importer::plan(source, &target.target, &choice, &options).await?;
        return show(&plan, args.json);
    }
    let code = restore(&args, source, target, &choice, &options, &stop).await?;
    Ok(if code == Code::Success { filtered } else { code })
}

async fn restore(
    args: &Import,
    source: Source,
    target: target::Opened,
    choice: &Choice,
    options: &Options,
    stop: &Stop,
) -> Result<Code, Failure> {
    let started = Utc::now();
    let journal = journal(args)?;
    let shown = Shown::new(args.progress);
    target.check_roles(choice, &shown)?;
    terminal::line(&format!("tar365: journal: {}", journal.display()));
    let order = Order {
        target: &target.target,
        choice,
        options,
        journal: &journal,
        only_failed: args.journal.only_failed.is_some(),
        stop: stop.token(),
    };
    let (summary, ended) = importer::restore(source, &order, &shown).await;
    let ended = ended.map_err(|error| match error {
        importer::Error::Interrupted => {
            let done = summary.created + summary.replaced;
            stop.failure(&format!("{done} items were made so far; {RESUMABLE}"))
        }
        error => Failure::from(error),
    });
    shown.finish();
    tell(&summary);
    let ended = ended.map(|()| code(&summary, choice)).map_err(|failure| {
        let undo = format!("`tar365 import --undo {}` takes back what was done", journal.display());
        match failure.hint_text() {
            None if summary.created + summary.replaced > 0 => failure.hint(undo),
            _ => failure,
        }
    });
    let report = report::Restore {
        started,
        ended: Utc::now(),
        target: target.target.to_string(),
        journal: &journal,
        summary: &summary,
        counters: target.counters(),
        code: ended.as_ref().map_or_else(|failure| failure.code, |code| *code),
        error: ended.as_ref().err().map(ToString::to_string),
    };
    if let Some(path) = &args.report
        && let Err(error) = report.write(path)
    {
        terminal::line(&format!("tar365: warning: writing {}: {error}", path.display()));
    }
    if matches!(ended, Ok(Code::Usage)) {
        return Err(Failure::usage("nothing in the archive matches the selection")
            .hint("`tar365 list` shows what is in it"));
    }
    ended
}

/// How a restore that came to its end has ended.
fn code(summary: &Summary, choice: &Choice) -> Code {
    if summary.damaged > 0 || !summary.damaged_sections.is_empty() {
        return Code::Fatal;
    }
    let selection = &choice.selection;
    let named = [selection.users.is_empty(), selection.groups.is_empty()];
    let names_sections = named.contains(&false) || !selection.services.is_empty();
    if summary.sections == 0 && names_sections {
        return Code::Usage;
    }
    let nothing = summary.wanted == 0 && choice.names_items();
    if summary.failed + summary.left_alone > 0 || nothing { Code::Missing } else { Code::Success }
}

/// What was done, in lines of stderr; the last one says how it ended.
fn tell(summary: &Summary) {
    for (section, place) in &summary.places {
        terminal::line(&format!("tar365: {section} -> {place}"));
    }
    for (path, reason) in summary.failures.iter().take(TOLD) {
        terminal::line(&format!("tar365: not restored: {path}: {reason}"));
    }
    if summary.failed > TOLD as u64 {
        terminal::line(&format!(
            "tar365: ... and {} more: see the journal",
            summary.failed - TOLD as u64
        ));
    }
    for (loss, items) in &summary.losses {
        terminal::line(&format!("tar365: {items} items: {loss} (see doc/restore.md)"));
    }
    for (section, _) in &summary.damaged_sections {
        terminal::line(&format!("tar365: {section}: damaged metadata, not all of it is known"));
    }
    if summary.known > 0 {
        terminal::line(&format!(
            "tar365: {} of those that are there already were not looked for: the journal knows \
             them; a new --journal looks",
            summary.known
        ));
    }
    let Summary { wanted, created, present, replaced, failed, left_alone, missing, .. } = summary;
    terminal::line(&format!(
        "tar365: {wanted} items wanted: {created} created, {replaced} replaced, {present} there \
         already, {left_alone} left out for others that are there, {failed} failed, {missing} not in \
         the archive"
    ));
    if summary.sealed.is_none() && failed + wanted > 0 {
        terminal::line("tar365: all that was wanted was found before the end of the archive");
    }
}

async fn undo(args: &Import, journal: PathBuf, stop: &Stop) -> Result<Code, Failure> {
    let target = target::of_journal(args, &journal).await?;
    let shown = Shown::new(args.progress);
    let summary = tokio::select! {
        summary = importer::undo(&journal, &target.target, &shown) => summary?,
        () = stop.requested() => return Err(stop.failure("the same command goes on")),
    };
    shown.finish();
    terminal::line(&format!(
        "tar365: undone: {} removed, {} changed since and kept, {} failed",
        summary.removed, summary.kept, summary.failed
    ));
    let is_clean = summary.kept + summary.failed == 0;
    Ok(if is_clean { Code::Success } else { Code::Missing })
}

fn choice(args: &Import) -> Result<Choice, Failure> {
    let mut selection = config::selection(&args.selection)?;
    if selection.services.is_empty() {
        selection.services.extend(target::services(args).iter().map(|name| (*name).to_owned()));
    }
    let choice = Choice {
        selection,
        subjects: args.items.subject.clone(),
        senders: args.items.from.clone(),
        recipients: args.items.recipient.clone(),
        message_ids: args.items.message_id.clone(),
        paths: args.items.path.clone(),
    };
    choice.check()?;
    Ok(choice)
}

fn options(args: &Import) -> Result<Options, Failure> {
    let spool = export::spool(&args.spool)?;
    let target = &args.target;
    if let Some(label) = &target.label
        && (label.trim().is_empty() || label.chars().count() > LONGEST_LABEL)
    {
        return Err(Failure::usage(format!(
            "a --label has 1 to {LONGEST_LABEL} letters: it is part of a folder's name"
        )));
    }
    Ok(Options {
        destination: match target.in_place {
            true => Destination::InPlace,
            false => Destination::Beside { label: target.label.clone() },
        },
        on_conflict: match target.on_conflict {
            Conflict::Skip => OnConflict::Skip,
            Conflict::Copy => OnConflict::Copy,
            Conflict::Replace => OnConflict::Replace,
        },
        map_user: target.map_user.clone(),
        to_user: target.to_user.clone(),
        concurrency: usize::from(args.concurrency),
        spool_dir: spool.dir,
        spool_limit: spool.disk_bytes,
        enable_rules: target.enable_rules,
        enable_replies: target.enable_automatic_replies,
        incomplete: args.incomplete,
    })
}

/// A mapping of nobody is a slip: what was his would go back to himself. On a pipe nobody knows yet
/// who comes.
fn check_mappings(source: &Source, options: &Options) -> Result<(), Failure> {
    let (Source::File(file), false) = (source, options.map_user.is_empty()) else { return Ok(()) };
    let owners = importer::owners(file)?;
    for (old, _) in &options.map_user {
        if !owners.iter().any(|owner| importer::is_named(owner, old)) {
            return Err(Failure::usage(format!("--map-user: nobody in the archive is {old}"))
                .hint("`tar365 find ARCHIVE --json` shows the owners"));
        }
    }
    Ok(())
}

/// The archive, and how filtering it ended.
async fn source(args: &Import, choice: &Choice) -> Result<(Source, Code), Failure> {
    let Some(path) = &args.archive else {
        return Err(Failure::usage("no archive is named"));
    };
    let input = tokio::task::block_in_place(|| Input::open(path))?;
    if args.plugins.plugin.is_empty() {
        return unfiltered(args, input).map(|source| (source, Code::Success));
    }
    let spool = export::spool(&args.spool)?;
    let (region, summary) =
        plugins::filtered(input, &args.plugins, &choice.selection, spool).await?;
    Ok((Source::File(region), plugins::told(&args.plugins, &summary)))
}

/// The archive. One that can be seen to be unfinished is refused before the first write.
fn unfiltered(args: &Import, input: Input) -> Result<Source, Failure> {
    let file = match input {
        Input::Seekable(file) => file,
        Input::Stream(_) if args.target.in_place && !args.incomplete && !args.dry_run => {
            return Err(Failure::usage(
                "an archive on a pipe is only known to be whole when all of it was restored",
            )
            .hint("--in-place wants a file, or --incomplete; without it a new folder is filled"));
        }
        Input::Stream(stream) => return Ok(Source::Stream(stream)),
    };
    match archive::Index::open(file.reader()) {
        Ok(_) => Ok(Source::File(file)),
        Err(_) if args.incomplete => Ok(Source::Stream(Input::Seekable(file).into_stream())),
        Err(error) => Err(Failure::from(error)
            .hint("--incomplete restores what there is; nobody knows what is missing")),
    }
}

/// Where what is done is written down.
fn journal(args: &Import) -> Result<PathBuf, Failure> {
    if let Some(path) = args.journal.only_failed.as_ref().or(args.journal.journal.as_ref()) {
        return Ok(path.clone());
    }
    let home = |name: &str, below: &str| {
        let dir = std::env::var_os(name).filter(|dir| !dir.is_empty())?;
        Some(PathBuf::from(dir).join(below))
    };
    let state = home("XDG_STATE_HOME", "").or_else(|| home("HOME", ".local/state"));
    let dir = state.unwrap_or_else(|| PathBuf::from(".")).join("tar365");
    std::fs::create_dir_all(&dir).map_err(|error| {
        Failure::because(Code::Usage, &format!("making {}", dir.display()), &error)
            .hint("--journal names a file for the journal")
    })?;
    let now = Utc::now().format("%Y%m%dT%H%M%SZ");
    Ok(dir.join(format!("import-{now}-{}.journal", std::process::id())))
}

fn show(plan: &Plan, as_json: bool) -> Result<Code, Failure> {
    let mut data = Data::new();
    for (section, what) in &plan.damaged_sections {
        terminal::line(&format!("tar365: warning: {section}: its metadata is damaged: {what}"));
    }
    if as_json {
        let text = serde_json::to_string_pretty(plan)
            .map_err(|error| Failure::because(Code::Fatal, "writing the plan", &error))?;
        data.line(&text)?;
        data.finish()?;
        return Ok(Code::Success);
    }
    for section in &plan.sections {
        data.line(&format!("{} -> {} ({})", section.section, section.destination, section.owner))?;
        let time = humantime::format_duration(std::time::Duration::from_secs(section.seconds));
        data.line(&format!(
            "   {} items in up to {} folders, {}, about {} requests, at least {time}",
            section.items,
            section.folders,
            indicatif::HumanBytes(section.bytes),
            section.requests
        ))?;
    }
    let items: u64 = plan.sections.iter().map(|section| section.items).sum();
    data.line(&format!("{items} items; what is there already: {}", plan.on_conflict))?;
    data.finish()?;
    Ok(match (plan.damaged_sections.is_empty(), items) {
        (false, _) => Code::Fatal,
        (true, 0) => Code::Missing,
        (true, _) => Code::Success,
    })
}

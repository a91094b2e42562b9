//! `plan`: what an export will take, before the first big one.

use bytesize::ByteSize;
use exporter::{Depth, Enquiry, Known, Limits, Load, Owners, Service, ServiceTotal, Survey, Time};
use serde_json::json;

use crate::cli::{Plan, SelectionArgs};
use crate::config;
use crate::exit::{Code, Failure};
use crate::shard;
use crate::terminal::Data;

/// Owners that are named.
const LARGEST: usize = 10;

pub(super) async fn run(args: Plan) -> Result<Code, Failure> {
    let (services, _) = config::services(&args.selection)?;
    let mut selection = config::selection(&args.selection)?;
    selection.shard = shard::chosen(&args.shard)?;
    let selector = selection.compile()?;
    let dir = args.spool_dir.clone().unwrap_or_else(exporter::default_spool_dir);
    let tenant = config::connect(&args.connection).await?;
    let owners = Owners::list(&tenant.graph, &services, &selector, &dir).await?;
    let limits = Limits::documented(args.connection.licences, owners.total)
        .at(u64::from(args.concurrency), args.latency);
    let enquiry = Enquiry {
        services,
        selector,
        depth: if args.exact { Depth::Exact } else { Depth::Sampled },
        include_recoverable: args.include_recoverable,
        without_message_delta: tenant.without_message_delta,
    };
    let survey =
        exporter::survey(&tenant.graph, &owners, &enquiry, &limits, args.sample, LARGEST).await?;
    let remarks = remarks(&args, &survey);
    let mut data = Data::new();
    match args.json {
        true => {
            let document = json!({
                "tar365": env!("CARGO_PKG_VERSION"),
                "tenant": tenant.name,
                "shard": selection.shard.map(|shard| shard.to_string()),
                "licences": args.connection.licences,
                "limits": limits,
                "remarks": remarks,
                "plan": survey,
            });
            data.line(&format!("{document:#}"))?;
        }
        false => table(&mut data, &survey, &remarks)?,
    }
    data.finish()?;
    Ok(Code::Success)
}

/// What the numbers do not say by themselves.
fn remarks(args: &Plan, survey: &Survey) -> Vec<String> {
    let mut remarks = Vec::new();
    if survey.asked < survey.owners {
        let (asked, owners) = (survey.asked, survey.owners);
        remarks.push(format!(
            "{asked} of {owners} owners were asked and taken for all: the busiest mailbox may not \
             be among them, and it may take longer"
        ));
    }
    if narrows(&args.selection) {
        remarks.push(
            "--include, --exclude, --since and --until may leave out some of it: this is the most \
             that it takes"
                .to_owned(),
        );
    }
    for (service, of) in &survey.services {
        remarks.extend(remarks_on(*service, of));
    }
    if args.connection.licences.is_none() && survey.total.units > 0 {
        remarks
            .push("the limits of SharePoint are the smallest tenant's; see --licences".to_owned());
    }
    remarks.extend(survey.unknown.iter().map(|(owner, why)| format!("{owner}: {why}")));
    remarks
}

fn narrows(selection: &SelectionArgs) -> bool {
    let globs = !selection.include.is_empty() || !selection.exclude.is_empty();
    globs || selection.since.is_some() || selection.until.is_some()
}

fn remarks_on(service: Service, of: &ServiceTotal) -> Vec<String> {
    let name = service.name();
    let mut remarks = Vec::new();
    let how = |known: Known| match known {
        Known::Sampled => "are estimated from a sample",
        _ => "are assumed: the service tells nothing to go by",
    };
    for (what, known) in [("items", of.items), ("bytes", of.bytes)] {
        if known != Known::Counted {
            remarks.push(format!("{name}: {what} {}", how(known)));
        }
    }
    if of.refused > 0 {
        remarks.push(format!("{name}: owners who are refused to us: {}", of.refused));
    }
    if of.uncounted > 0 {
        remarks.push(format!("{name}: is not in it, this version does not estimate it"));
    }
    if of.unknown > 0 {
        remarks.push(format!(
            "{name}: owners who could not be asked and are not in it: {}",
            of.unknown
        ));
    }
    remarks
}

fn table(data: &mut Data, survey: &Survey, remarks: &[String]) -> Result<(), Failure> {
    data.line(&format!("{} of {} owners selected", survey.owners, survey.users))?;
    data.line("")?;
    let head = ["", "owners", "items", "bytes", "requests", "units", "time", "bound by"];
    data.line(&row(&head.map(str::to_owned)))?;
    for (service, of) in &survey.services {
        let mut cells = cells(service.name(), of.with, &of.load, &of.time);
        cells[2] = marked(&cells[2], of.items);
        cells[3] = marked(&cells[3], of.bytes);
        data.line(&row(&cells))?;
    }
    let mut users = ["users", "", "", "", "", "", "", ""].map(str::to_owned);
    users[1] = survey.users.to_string();
    users[4] = survey.directory.to_string();
    users[5] = survey.directory.to_string();
    data.line(&row(&users))?;
    data.line(&row(&cells("together", survey.owners, &survey.total, &survey.time)))?;
    if !survey.largest.is_empty() {
        data.line("")?;
        data.line("those that take longest:")?;
    }
    for owner in &survey.largest {
        let (load, time) = (&owner.load, span(owner.seconds));
        let bytes = ByteSize(load.bytes).display().si().to_string();
        data.line(&format!("{time:>14}  {:>9} items  {bytes:>9}  {}", load.items, owner.upn))?;
    }
    if !remarks.is_empty() {
        data.line("")?;
    }
    remarks.iter().try_for_each(|remark| data.line(&format!("note: {remark}")))
}

/// A number that is not counted has a tilde.
fn marked(number: &str, known: Known) -> String {
    if known == Known::Counted { number.to_owned() } else { format!("~{number}") }
}

fn cells(name: &str, owners: u64, load: &Load, time: &Time) -> [String; 8] {
    [
        name.to_owned(),
        owners.to_string(),
        load.items.to_string(),
        ByteSize(load.bytes).display().si().to_string(),
        load.requests().to_string(),
        (load.units + load.directory).to_string(),
        span(time.seconds),
        time.bound.to_string(),
    ]
}

fn row(cells: &[String; 8]) -> String {
    let [name, owners, items, bytes, requests, units, time, bound] = cells;
    let row = format!(
        "{name:<10} {owners:>8} {items:>11} {bytes:>10} {requests:>11} {units:>11} {time:>14}  \
         {bound}"
    );
    row.trim_end().to_owned()
}

/// A time in its two largest units.
fn span(seconds: f64) -> String {
    let minutes = (seconds / 60.0).round();
    match seconds {
        s if s < 99.5 => format!("{s:.0} s"),
        _ if minutes < 100.0 => format!("{minutes} min"),
        _ if minutes < 2880.0 => {
            let hours = (minutes / 60.0).floor();
            format!("{hours} h {} min", minutes - hours * 60.0)
        }
        s => format!("{:.1} days", s / 86_400.0),
    }
}

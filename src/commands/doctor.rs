//! `doctor`: what works, what is missing, what is too much, and what will expire.

use chrono::{DateTime, Utc};
use exporter::{Owner, OwnerKind, Owners, Service};
use graph::{Graph, Prefer, Scope, segment};

use crate::cli::Doctor;
use crate::config::{self, Tenant};
use crate::exit::{Code, Failure, chain};
use crate::terminal::Data;

/// Roles that an export needs besides those of its services (FACTS 1.8).
const DIRECTORY_ROLES: [&str; 3] = ["User.Read.All", "Directory.Read.All", "User.ReadWrite.All"];
/// Those that one needs to list groups.
const GROUP_ROLES: [&str; 4] =
    ["GroupMember.Read.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All"];
/// The service's clock may differ by this many seconds: assertions have 5 minutes (FACTS 1.3).
const CLOCK_SKEW: i64 = 60;
/// Warn this many days before a credential ends.
const EXPIRY_DAYS: i64 = 30;

/// Collects lines of the form `ok    what: how`.
struct Findings {
    data: Data,
    failed: bool,
    refused: bool,
}

impl Findings {
    fn say(&mut self, level: &str, text: &str) -> Result<(), Failure> {
        self.data.line(&format!("{level:<5} {text}"))
    }

    fn ok(&mut self, text: &str) -> Result<(), Failure> {
        self.say("ok", text)
    }

    fn warn(&mut self, text: &str) -> Result<(), Failure> {
        self.say("warn", text)
    }

    fn fail(&mut self, text: &str) -> Result<(), Failure> {
        self.failed = true;
        self.say("fail", text)
    }

    fn hint(&mut self, text: &str) -> Result<(), Failure> {
        self.data.line(&format!("hint: {text}"))
    }
}

pub(super) async fn run(args: Doctor) -> Result<Code, Failure> {
    let mut findings = Findings { data: Data::new(), failed: false, refused: false };
    let tenant = match config::connect(&args.connection).await {
        Ok(tenant) => tenant,
        Err(failure) => {
            findings.fail(&format!("credentials: {failure}"))?;
            if let Some(hint) = failure.hint_text() {
                findings.hint(hint)?;
            }
            findings.data.finish()?;
            return Ok(failure.code);
        }
    };
    let minutes = tenant.identity.expires_in.as_secs() / 60;
    findings.ok(&format!(
        "credentials: signed in to tenant {}, token for {minutes} minutes",
        tenant.name
    ))?;
    clock(&tenant, &mut findings)?;
    expiry(&args, &tenant, &mut findings).await?;
    let (services, _) = config::services(&args.selection)?;
    roles(&tenant, &services, &mut findings)?;
    reach(&args, &tenant, &services, &mut findings).await?;
    let code = match (findings.refused, findings.failed) {
        (true, _) => Code::Refused,
        (_, true) => Code::Fatal,
        _ => Code::Success,
    };
    findings.data.finish()?;
    Ok(code)
}

fn clock(tenant: &Tenant, findings: &mut Findings) -> Result<(), Failure> {
    match tenant.identity.clock_skew.map(|skew| skew.num_seconds()) {
        None => findings.warn("clock: the service did not tell its time"),
        Some(skew) if skew.abs() <= CLOCK_SKEW => {
            findings.ok(&format!("clock: {skew} s from the service's"))
        }
        Some(skew) => {
            findings.warn(&format!("clock: {skew} s from the service's"))?;
            findings.hint("certificate assertions are refused when the clocks differ by minutes: run an NTP client")
        }
    }
}

/// When the credential ends: the certificate says so itself, a secret's end stands in the app
/// registration, which the app may see only with Application.Read.All.
async fn expiry(args: &Doctor, tenant: &Tenant, findings: &mut Findings) -> Result<(), Failure> {
    if let Some(end) = tenant.graph.certificate_expiry() {
        return tell_end("certificate", end, findings);
    }
    let connection = &args.connection;
    let keyless = connection.managed_identity
        || connection.device_code
        || connection.federated_token_file.is_some();
    if keyless {
        return findings.ok("credential expiry: this kind of credential has none of its own");
    }
    let Some(client_id) = tenant.identity.app_id.clone().or_else(|| connection.client_id.clone())
    else {
        return findings.warn("secret expiry: unknown, the token does not name the app");
    };
    let path = format!(
        "/applications?$filter=appId%20eq%20'{}'&$select=id,passwordCredentials",
        segment(&client_id)
    );
    match tenant.graph.get(&Scope::Directory, &path, Prefer::none()).await {
        Ok(answer) => {
            let ends = answer["value"][0]["passwordCredentials"].as_array().map(|all| {
                all.iter().filter_map(|one| one["endDateTime"].as_str()?.parse().ok()).max()
            });
            match ends.flatten() {
                Some(end) => tell_end("newest secret of the app", end, findings),
                None => findings.warn("secret expiry: the app registration lists no secret"),
            }
        }
        Err(error) if error.is_scope_refused() => {
            findings.warn("secret expiry: unknown, the app may not read its own registration")?;
            findings.hint("prefer a certificate: its end is known; or grant Application.Read.All")
        }
        Err(error) => findings.warn(&format!("secret expiry: unknown: {}", chain(&error))),
    }
}

fn tell_end(what: &str, end: DateTime<Utc>, findings: &mut Findings) -> Result<(), Failure> {
    let days = (end - Utc::now()).num_days();
    let date = end.format("%Y-%m-%d");
    match days {
        i64::MIN..0 => findings.fail(&format!("expiry: the {what} ended on {date}")),
        0..=EXPIRY_DAYS => {
            findings.warn(&format!("expiry: the {what} ends on {date}, in {days} days"))?;
            findings.hint("add the new one to the app registration before, both work side by side")
        }
        _ => findings.ok(&format!("expiry: the {what} ends on {date}, in {days} days")),
    }
}

/// Roles that are missing, and roles that an export does not need.
fn roles(tenant: &Tenant, services: &[Service], findings: &mut Findings) -> Result<(), Failure> {
    let Some(roles) = &tenant.identity.roles else {
        return findings.warn("roles: the token does not show its roles; reachability below tells");
    };
    let holds = |any: &[&str]| any.iter().any(|role| roles.iter().any(|held| held == role));
    let mut needed: Vec<(&str, &[&str])> = vec![("users", &DIRECTORY_ROLES)];
    if Service::owner_kinds(services).contains(&OwnerKind::Group) {
        needed.push(("groups", &GROUP_ROLES));
    }
    needed.extend(services.iter().map(|service| (service.name(), service.roles())));
    for (what, any) in &needed {
        if holds(any) {
            findings.ok(&format!("role for {what}: held"))?;
        } else {
            findings.warn(&format!("role missing: {} (for {what})", any[0]))?;
            findings.hint(if any[0].starts_with("Mail") {
                "add it as an application permission and grant admin consent; with RBAC for \
                     Applications the token shows no Mail role, and reachability below counts"
            } else {
                "add it as an application permission and grant admin consent"
            })?;
        }
    }
    for role in roles {
        let writes =
            role.contains("Write") || role.contains("FullControl") || role.contains("Manage");
        let needless = !needed.iter().any(|(_, any)| any.contains(&role.as_str()));
        if writes {
            findings.warn(&format!(
                "role too wide: {role} lets this app change the tenant; an export only reads"
            ))?;
        } else if needless && role != "Application.Read.All" && role != "Organization.Read.All" {
            findings.ok(&format!("role unused: {role} is not needed for {}", names(services)))?;
        }
    }
    Ok(())
}

fn names(services: &[Service]) -> String {
    services.iter().map(|service| service.name()).collect::<Vec<_>>().join(", ")
}

/// Tries a sample of the owners.
async fn reach(
    args: &Doctor,
    tenant: &Tenant,
    services: &[Service],
    findings: &mut Findings,
) -> Result<(), Failure> {
    let selector = config::selection(&args.selection)?.compile()?;
    let dir = exporter::default_spool_dir();
    let owners = match Owners::list(&tenant.graph, services, &selector, &dir).await {
        Ok(owners) => owners,
        Err(error) => {
            let failure = Failure::from(error);
            findings.refused |= failure.code == Code::Refused;
            findings.fail(&format!("users: {failure}"))?;
            return findings.hint(
                "an export needs User.Read.All, and GroupMember.Read.All where it takes groups",
            );
        }
    };
    if let Some(refused) = &owners.refused {
        findings.warn(&format!("groups: {refused}"))?;
        findings.hint("their calendars need GroupMember.Read.All; --user '*' leaves groups out")?;
    }
    findings.ok(&format!("owners: {} of {} selected", owners.ours.count, owners.total))?;
    let sample = owners.ours.after("", args.sample)?;
    for service in services {
        let mut tally = [0_u32; 3];
        let mut refusal = None;
        for owner in &sample {
            match probe(&tenant.graph, *service, owner).await {
                Reach::Open => tally[0] += 1,
                Reach::None => tally[1] += 1,
                Reach::Refused(why) => {
                    tally[2] += 1;
                    refusal.get_or_insert((owner.upn.clone(), why));
                }
            }
        }
        let [open, none, refused] = tally;
        let text = format!(
            "{}: {open} reachable, {none} without, {refused} refused, of {} tried",
            service.name(),
            sample.len()
        );
        match refusal {
            None => findings.ok(&text)?,
            Some((upn, why)) if open > 0 => {
                findings.warn(&text)?;
                findings.hint(&format!(
                    "{upn}: {why}; outside the app's scope? Then it is in the ledger as refused"
                ))?;
            }
            Some((upn, why)) => {
                findings.refused = true;
                findings.fail(&text)?;
                findings.hint(&format!("{upn}: {why}; is {} consented?", service.roles()[0]))?;
            }
        }
    }
    Ok(())
}

enum Reach {
    Open,
    None,
    Refused(String),
}

async fn probe(graph: &Graph, service: Service, owner: &Owner) -> Reach {
    if owner.guest || !service.serves(owner.kind) {
        return Reach::None;
    }
    let (scope, path) = service.probe_request(owner);
    match graph.get(&scope, &path, Prefer::none()).await {
        Ok(_) => Reach::Open,
        Err(error) if *error.kind() == graph::ErrorKind::Permission => {
            Reach::Refused(chain(&error))
        }
        Err(_) => Reach::None,
    }
}

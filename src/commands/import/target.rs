//! `--to`: where a restore goes.

use std::path::Path;

use graph::Counters;
use importer::{
    Choice, Credentials, DavCredentials, DavTarget, DirectoryTarget, ImapTarget, Layout, Service,
    Target, TenantTarget,
};

use crate::cli::{Import, MailLayout};
use crate::config::{self, Tenant};
use crate::exit::{Code, Failure};
use crate::progress::Shown;

/// A target, and what keeps it alive.
pub(super) struct Opened {
    pub(super) target: Target,
    tenant: Option<Tenant>,
}

impl Opened {
    pub(super) fn counters(&self) -> Option<Counters> {
        self.tenant.as_ref().map(|tenant| tenant.graph.counters())
    }

    /// What the token may not do at all is refused before anything is written; what it may only
    /// in part is told. Roles that nobody told us of are the service's matter.
    pub(super) fn check_roles(&self, choice: &Choice, shown: &Shown) -> Result<(), Failure> {
        let Some(roles) = self.tenant.as_ref().and_then(|tenant| tenant.identity.roles.as_ref())
        else {
            return Ok(());
        };
        let named = &choice.selection.services;
        let is_wanted = |service: &Service| named.is_empty() || named.contains(service.name());
        let is_allowed =
            |service: &Service| service.roles().iter().any(|role| roles.iter().any(|r| r == role));
        // What no application may write is told when it is come to.
        let is_writable = |service: &Service| !service.roles().is_empty();
        let wanted = Service::ALL.into_iter().filter(is_wanted).filter(is_writable);
        let wanted: Vec<_> = wanted.collect();
        let missing = wanted.iter().filter(|service| !is_allowed(service)).map(|service| {
            let role = service.roles()[0];
            format!("the token has no permission to restore {}: {role} is missing", service.name())
        });
        let missing: Vec<_> = missing.collect();
        if missing.len() == wanted.len() && !wanted.is_empty() {
            return Err(Failure::new(Code::Refused, missing.join("; "))
                .hint("grant the application permission and admin consent"));
        }
        for text in missing {
            importer::Monitor::warn(shown, &text);
        }
        Ok(())
    }
}

/// The services that the target takes, if it does not take all.
pub(super) fn services(args: &Import) -> &'static [&'static str] {
    let to = args.target.to.as_deref().unwrap_or_default();
    match to.split([':', '+']).next() {
        // Posts of groups are mails too.
        Some("imap" | "imaps") => &["mail", "conversations"],
        Some("caldav") => &["calendar", "tasks"],
        Some("carddav") => &["contacts"],
        _ => &[],
    }
}

/// The target that the flags name.
pub(super) async fn open(args: &Import) -> Result<Opened, Failure> {
    match &args.target.to {
        Some(to) => named(args, to, layout(args.target.layout)),
        None => tenant(args).await,
    }
}

/// The target of the run with this journal, unless the flags name it.
pub(super) async fn of_journal(args: &Import, journal: &Path) -> Result<Opened, Failure> {
    if args.target.to.is_some() {
        return open(args).await;
    }
    let target = importer::target_of(journal)?;
    if target.starts_with("tenant ") {
        return tenant(args).await;
    }
    named(args, &target, layout(args.target.layout))
}

async fn tenant(args: &Import) -> Result<Opened, Failure> {
    let tenant = config::connect(&args.connection).await?;
    let target = TenantTarget::new(tenant.graph.clone(), tenant.name.clone());
    Ok(Opened { target: Target::Tenant(target), tenant: Some(tenant) })
}

fn named(args: &Import, to: &str, layout: Layout) -> Result<Opened, Failure> {
    let target = match to.split_once(':') {
        Some(("directory", path)) if !path.is_empty() => {
            Target::Directory(DirectoryTarget::new(path.into(), layout))
        }
        Some(("imap" | "imaps", _)) => {
            let ca = ca_certificate(args)?;
            Target::Imap(Box::new(ImapTarget::parse(to, credentials()?, ca.as_deref())?))
        }
        Some((scheme, _)) if scheme.starts_with("caldav+") || scheme.starts_with("carddav+") => {
            let ca = ca_certificate(args)?;
            Target::Dav(Box::new(DavTarget::parse(to, &dav_credentials()?, ca.as_deref())?))
        }
        _ => {
            return Err(Failure::usage(format!("{to:?} is no target")).hint(
                "targets are directory:PATH, imaps://USER@HOST, caldav+https://USER@HOST and \
                 carddav+https://USER@HOST; without --to the tenant",
            ));
        }
    };
    Ok(Opened { target, tenant: None })
}

fn ca_certificate(args: &Import) -> Result<Option<Vec<u8>>, Failure> {
    let file = args.connection.ca_certificate.as_ref();
    file.map(|file| config::read(file, "the CA certificate")).transpose()
}

/// From the environment: command lines are seen by everybody on the machine.
fn credentials() -> Result<Credentials, Failure> {
    match secret("IMAP")? {
        Some(Secret::Token(token)) => Ok(Credentials::XOAuth2(token)),
        Some(Secret::Password(password)) => Ok(Credentials::Password(password)),
        None => Err(Failure::new(Code::Usage, "no credential for the IMAP server is given").hint(
            "set TAR365_IMAP_PASSWORD, TAR365_IMAP_PASSWORD_FILE or, for XOAUTH2, \
             TAR365_IMAP_TOKEN",
        )),
    }
}

fn dav_credentials() -> Result<DavCredentials, Failure> {
    match secret("DAV")? {
        Some(Secret::Token(token)) => Ok(DavCredentials::Token(token)),
        Some(Secret::Password(password)) => Ok(DavCredentials::Password(password)),
        None => Err(Failure::new(Code::Usage, "no credential for the server is given").hint(
            "set TAR365_DAV_PASSWORD, TAR365_DAV_PASSWORD_FILE or, for a bearer token, \
             TAR365_DAV_TOKEN",
        )),
    }
}

/// How to show who we are to a server that is not Microsoft's.
enum Secret {
    Token(String),
    Password(String),
}

/// `TAR365_<of>_TOKEN`, `TAR365_<of>_PASSWORD_FILE` or `TAR365_<of>_PASSWORD`.
fn secret(of: &str) -> Result<Option<Secret>, Failure> {
    let variable = |name: &str| {
        let text = std::env::var(format!("TAR365_{of}_{name}")).ok();
        text.filter(|text| !text.is_empty())
    };
    if let Some(token) = variable("TOKEN") {
        return Ok(Some(Secret::Token(token)));
    }
    if let Some(file) = variable("PASSWORD_FILE") {
        let bytes = config::read(Path::new(&file), &format!("the {of} password"))?;
        let text =
            String::from_utf8(bytes).map_err(|_| Failure::usage(format!("{file} is not text")))?;
        return Ok(Some(Secret::Password(text.trim_end_matches(['\r', '\n']).to_owned())));
    }
    Ok(variable("PASSWORD").map(Secret::Password))
}

const fn layout(layout: MailLayout) -> Layout {
    match layout {
        MailLayout::Native => Layout::Native,
        MailLayout::Maildir => Layout::Maildir,
        MailLayout::Mboxrd => Layout::Mboxrd,
    }
}

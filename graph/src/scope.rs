//! Whose budget a request is paid from.

/// The budget that a request is paid from (FACTS 2). A throttled scope stops only itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Mail, calendar, contacts and tasks of one user, by object id: each mailbox has a budget of
    /// its own (FACTS 2.2). Item ids are immutable ones in this scope.
    Mailbox(String),
    /// Drives, sites and lists: resource units of the whole tenant (FACTS 2.3).
    SharePoint,
    /// Users, groups and the organization: resource units of the whole tenant (FACTS 2.5).
    Directory,
    /// All else.
    Other,
}

impl Scope {
    /// The name used in a budget and in [`crate::Counters::requests`].
    pub fn name(&self) -> &'static str {
        match self {
            Scope::Mailbox(_) => "mailbox",
            Scope::SharePoint => "sharepoint",
            Scope::Directory => "directory",
            Scope::Other => "other",
        }
    }
}

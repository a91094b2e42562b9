//! Listings that the service can go on with (FACTS 3.3): listed to the end, anew when the service
//! lost the token, and after that only what changed meanwhile.
//!
//! What a row is, and what an error means, is for the service to say: see [`Listed`]. The rest is
//! the same for a folder of messages, a drive, the lists of tasks. What the service has no delta
//! for is listed again until it stays the same: [`until_still`].

use graph::{DeltaLink, ErrorKind, Graph, Pages, Prefer, Scope};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::error::is_fatal;
use crate::inventory::Inventory;

/// Rounds in which links are replayed, or what has none is listed again (design.md 5).
pub(crate) const CLOSING_ROUNDS: usize = 3;
/// Times a listing begins anew when the service loses its token.
const RESYNCS: usize = 5;

/// One container that is listed.
pub(crate) trait Listed: Send {
    /// Whose throttling it counts to.
    fn scope(&self) -> Scope;

    /// What each request prefers, as the size of pages.
    fn prefer(&self) -> Prefer {
        Prefer::none()
    }

    /// Path and query of a listing from the beginning. Asked anew each time it begins.
    fn beginning(&mut self) -> String;

    /// Takes one row. True if it is worth another round.
    fn take_row(&mut self, row: Value) -> Result<bool, Error>;

    /// After each page: for rows that do not say all.
    fn end_page(&mut self) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Forgets all that it told: it begins anew.
    fn forget(&mut self) -> Result<(), Error>;

    /// What an error means that is neither fatal nor a lost token. `is_closing` when only changes
    /// were asked for. Who answers [`Refusal::Over`] has made his remark.
    fn refused(&mut self, error: graph::Error, is_closing: bool) -> Result<Refusal, Error>;

    /// The service lost the token again and again: a failed listing, to be remarked.
    fn gave_up(&mut self);

    /// The fatal error that ends the run here.
    fn fatal(&self, error: graph::Error) -> Error;
}

/// See [`Listed::refused`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It begins anew, and asks for something else.
    Again,
    /// No more of it can be had.
    Over,
}

/// How a round ended.
pub(crate) enum Round {
    Ended {
        delta: Option<DeltaLink>,
        rows: u64,
        /// A row was worth another round.
        news: bool,
    },
    /// To begin anew, from here if the service says where.
    Lost(Option<DeltaLink>),
    Over,
}

/// From the first page to the last.
pub(crate) async fn round(
    listed: &mut impl Listed,
    pages: &mut Pages,
    is_closing: bool,
) -> Result<Round, Error> {
    let (mut rows, mut news, mut delta) = (0, false, None);
    loop {
        let mut page = match pages.next().await {
            Ok(Some(page)) => page,
            Ok(None) => return Ok(Round::Ended { delta, rows, news }),
            Err(error) if is_fatal(&error) => return Err(listed.fatal(error)),
            Err(error) => {
                if let ErrorKind::SyncStateLost { restart } = error.kind() {
                    return Ok(Round::Lost(restart.clone()));
                }
                return Ok(match listed.refused(error, is_closing)? {
                    Refusal::Again => Round::Lost(None),
                    Refusal::Over => Round::Over,
                });
            }
        };
        rows += page.items.len() as u64;
        for item in &page.items {
            let row = item.parse().map_err(|error| listed.fatal(error))?;
            news |= listed.take_row(row)?;
        }
        delta = page.delta.take().or(delta);
        // Only a few pages may be in memory at a time: a mailbox that is throttled now must not
        // keep the others from listing.
        drop(page);
        listed.end_page().await?;
    }
}

/// A container that was listed to its end, and from where its listing goes on.
pub(crate) struct Followed<L> {
    pub(crate) listed: L,
    /// None where the service gives none, and where it refused to go on.
    pub(crate) link: Option<DeltaLink>,
    /// It could not be listed to its end.
    pub(crate) is_over: bool,
}

impl<L: Listed> Followed<L> {
    /// Lists it to its end, from `start` if that is known.
    pub(crate) async fn begin(
        graph: &Graph,
        listed: L,
        start: Option<DeltaLink>,
    ) -> Result<Self, Error> {
        let mut followed = Self { listed, link: None, is_over: false };
        followed.enumerate(graph, start).await?;
        Ok(followed)
    }

    async fn enumerate(
        &mut self,
        graph: &Graph,
        mut start: Option<DeltaLink>,
    ) -> Result<(), Error> {
        let listed = &mut self.listed;
        for _ in 0..=RESYNCS {
            let mut pages = match start.take() {
                Some(link) => graph.delta_from(listed.scope(), &link, listed.prefer()),
                None => {
                    let path = listed.beginning();
                    graph.pages(listed.scope(), &path, listed.prefer())
                }
            };
            match round(listed, &mut pages, false).await? {
                Round::Ended { delta, .. } => {
                    self.link = delta;
                    return Ok(());
                }
                Round::Lost(restart) => {
                    listed.forget()?;
                    start = restart;
                }
                Round::Over => {
                    self.is_over = true;
                    return Ok(());
                }
            }
        }
        listed.gave_up();
        self.is_over = true;
        Ok(())
    }

    /// Replays the link once. True when nothing came that is worth another round, which nothing
    /// does that has no link.
    pub(crate) async fn replay(&mut self, graph: &Graph) -> Result<bool, Error> {
        let Some(link) = self.link.take() else { return Ok(true) };
        let mut pages = graph.delta_from(self.listed.scope(), &link, self.listed.prefer());
        match round(&mut self.listed, &mut pages, true).await? {
            Round::Ended { delta, news, .. } => {
                self.link = delta;
                Ok(!news)
            }
            Round::Lost(restart) => {
                self.listed.forget()?;
                self.enumerate(graph, restart).await?;
                Ok(false)
            }
            Round::Over => Ok(true),
        }
    }

    /// Replays the link until nothing comes, or often enough.
    pub(crate) async fn settle(&mut self, graph: &Graph) -> Result<(), Error> {
        for _ in 0..CLOSING_ROUNDS {
            if self.replay(graph).await? {
                break;
            }
        }
        Ok(())
    }
}

/// Lists what has no delta until a round brings nothing new and misses nothing, or often enough.
/// All that it puts into `inventory` it must put under `listing`, in each round again.
pub(crate) async fn until_still(
    graph: &Graph,
    inventory: &Inventory,
    listing: &str,
    listed: &mut impl Listed,
) -> Result<(), Error> {
    let mut is_whole = false;
    for _ in 0..=CLOSING_ROUNDS {
        inventory.outdate(listing)?;
        let path = listed.beginning();
        let mut pages = graph.pages(listed.scope(), &path, listed.prefer());
        match round(listed, &mut pages, is_whole).await? {
            Round::Ended { news, .. } => {
                let missing = inventory.remove_outdated(listing)?;
                if std::mem::replace(&mut is_whole, true) && !news && missing == 0 {
                    break;
                }
            }
            Round::Lost(_) => {
                listed.forget()?;
                is_whole = false;
            }
            // What an earlier round told stays.
            Round::Over => return Ok(()),
        }
    }
    if !is_whole {
        listed.gave_up();
    }
    Ok(())
}

/// Tells whether something changed, as the tree of folders, without taking it.
pub(crate) struct Watch {
    scope: Scope,
    prefer: Prefer,
    /// None where the service can't tell.
    link: Option<DeltaLink>,
}

impl Watch {
    /// Begins at the end of the delta at `path`.
    ///
    /// # Errors
    /// Only what is fatal.
    pub(crate) async fn begin(
        graph: &Graph,
        scope: Scope,
        path: &str,
        prefer: Prefer,
    ) -> Result<Self, graph::Error> {
        let mut pages = graph.pages(scope.clone(), path, prefer.clone());
        let link = drain(&mut pages).await?.and_then(|(_, link)| link);
        Ok(Self { scope, prefer, link })
    }

    /// Of a tree of folders in a mailbox, by its delta; one that can't tell where there is none.
    ///
    /// # Errors
    /// Only what is fatal.
    pub(crate) async fn of_folders(
        context: &Context,
        scope: Scope,
        delta: &str,
        page: u32,
    ) -> Result<Self, graph::Error> {
        match context.options.without_message_delta {
            true => Ok(Self::blind(scope)),
            false => Self::begin(context.graph(), scope, delta, Prefer::page_size(page)).await,
        }
    }

    /// One that can't tell.
    pub(crate) fn blind(scope: Scope) -> Self {
        Self { scope, prefer: Prefer::none(), link: None }
    }

    /// Whether anything changed since the last time. Where it can't be told: yes.
    ///
    /// # Errors
    /// Only what is fatal.
    pub(crate) async fn has_changed(&mut self, graph: &Graph) -> Result<bool, graph::Error> {
        let Some(link) = self.link.take() else { return Ok(true) };
        let mut pages = graph.delta_from(self.scope.clone(), &link, self.prefer.clone());
        let Some((rows, link)) = drain(&mut pages).await? else { return Ok(true) };
        self.link = link;
        Ok(rows > 0)
    }

    /// Whether the next question can be answered.
    pub(crate) const fn can_tell(&self) -> bool {
        self.link.is_some()
    }
}

/// Rows and deltaLink of a round that nobody looks into; none if it failed.
async fn drain(pages: &mut Pages) -> Result<Option<(usize, Option<DeltaLink>)>, graph::Error> {
    let (mut rows, mut link) = (0, None);
    loop {
        match pages.next().await {
            Ok(Some(page)) => {
                rows += page.items.len();
                link = page.delta.or(link);
            }
            Ok(None) => return Ok(Some((rows, link))),
            Err(error) if is_fatal(&error) => return Err(error),
            Err(_) => return Ok(None),
        }
    }
}

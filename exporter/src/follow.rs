//! Listings that the service can go on with (FACTS 3.3): listed to the end, anew when the service
//! lost the token, and after that only what changed meanwhile.
//!
//! What a row is, and what an error means, is for the service to say: see [`Listed`]. The rest is
//! the same for a folder of messages, a drive, the lists of tasks. What the service has no delta
//! for is listed again until it stays the same: [`until_still`].

use std::collections::BTreeMap;

use futures::stream::{self, FuturesUnordered};
use futures::{StreamExt as _, TryStreamExt as _};
use graph::{DeltaLink, ErrorKind, Graph, Pages, Prefer, Scope};
use serde_json::Value;

use crate::Error;
use crate::context::Context;
use crate::error::{is_fatal, is_gone};
use crate::inventory::Inventory;

/// Rounds in which links are replayed, or what has none is listed again (design.md 5).
pub(crate) const CLOSING_ROUNDS: usize = 3;
/// Requests of one mailbox at the same time whose answers are short (FACTS 2.2): what a nightly run
/// mostly waits for.
pub(crate) const SHORT_AT_ONCE: usize = 4;
/// Folders of one mailbox that are listed from their beginning at the same time: a page of 1,000
/// messages is about 2 MB.
const LONG_AT_ONCE: usize = 2;
/// Times a listing begins anew when the service loses its token.
const RESYNCS: usize = 5;
/// Times it does because what is refused can't be what was listed.
pub(crate) const LOST_LINKS: usize = 2;

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

    /// Where all that it told stands, and under which listing.
    fn told(&self) -> (&Inventory, &str);

    /// It begins anew: all that it told is to be told again. Until then it is known all the same,
    /// should the new listing not come to its end.
    fn outdate(&self) -> Result<(), Error> {
        let (inventory, listing) = self.told();
        inventory.outdate(listing)
    }

    /// It came to its end: drops what was outdated and not told again. How much that is.
    fn settle(&self) -> Result<usize, Error> {
        let (inventory, listing) = self.told();
        inventory.remove_outdated(listing)
    }

    /// What answers for the container itself, and only if it is there; none if nothing does.
    fn container(&self) -> Option<String> {
        None
    }

    /// The container is gone, and what was in it. To be remarked.
    fn vanished(&mut self, _error: &graph::Error) -> Result<(), Error> {
        Ok(())
    }

    /// What an error means that is neither fatal nor a lost token, of a container that is there.
    /// `is_closing` when only changes were asked for. Who answers [`Refusal::Over`] has made his
    /// remark.
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

/// What a round asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extent {
    /// All there is.
    All,
    /// The same once more.
    AllAgain,
    /// What changed since a link was given.
    Changes,
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

/// A link that the service calls a bad request, or that leads nowhere, is one that it does not know
/// any more: what it stands for was not refused when it was asked for.
pub(crate) fn is_lost(pages: &Pages, error: &graph::Error) -> bool {
    let is_lost = matches!(error.kind(), ErrorKind::BadRequest | ErrorKind::SyncStateLost { .. });
    pages.is_continued() && (is_lost || is_absent(error))
}

/// What is said of a container that is gone.
fn is_absent(error: &graph::Error) -> bool {
    is_gone(error) || *error.kind() == ErrorKind::NoDrive
}

/// Whether a short list is asked for anew that was lost so often before: what the service lost on
/// the way, and once what is not there.
pub(crate) fn may_begin_anew(lost: usize, pages: &Pages, error: &graph::Error) -> bool {
    lost < LOST_LINKS && (is_lost(pages, error) || lost == 0 && is_gone(error))
}

/// Whether what `path` names is gone: one 404, of whatever lists it, does not prove that.
///
/// # Errors
/// Only what is fatal.
pub(crate) async fn is_missing(
    graph: &Graph,
    scope: &Scope,
    path: &str,
) -> Result<bool, graph::Error> {
    match graph.get(scope, path, Prefer::none()).await {
        Err(error) if is_fatal(&error) => Err(error),
        answer => Ok(answer.is_err_and(|error| is_absent(&error))),
    }
}

/// What a short list told.
pub(crate) struct Told {
    /// In the order in which they were told.
    pub(crate) rows: Vec<Value>,
    pub(crate) pages: usize,
    /// Whether these are all: else what ended it, fatal or not.
    pub(crate) ended: Result<(), graph::Error>,
}

/// Reads a short list; anew if [`may_begin_anew`].
pub(crate) async fn all_rows(graph: &Graph, scope: &Scope, path: &str) -> Told {
    let mut lost = 0;
    loop {
        let mut pages = graph.pages(scope.clone(), path, Prefer::none());
        let (mut rows, mut count) = (Vec::new(), 0);
        let ended = extend(&mut rows, &mut count, &mut pages).await;
        match &ended {
            Err(error) if may_begin_anew(lost, &pages, error) => lost += 1,
            _ => return Told { rows, pages: count, ended },
        }
    }
}

async fn extend(
    rows: &mut Vec<Value>,
    count: &mut usize,
    pages: &mut Pages,
) -> Result<(), graph::Error> {
    while let Some(page) = pages.next().await? {
        *count += 1;
        for item in &page.items {
            rows.push(item.parse()?);
        }
    }
    Ok(())
}

/// From the first page to the last. What the service loses on the way, or says to be gone although
/// the container is there, is to be listed anew; if that `is_known` not to help, it is refused.
pub(crate) async fn round(
    graph: &Graph,
    listed: &mut impl Listed,
    pages: &mut Pages,
    extent: Extent,
    is_known: bool,
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
                if !is_known && is_lost(pages, &error) {
                    return Ok(Round::Lost(None));
                }
                if is_absent(&error)
                    && let Some(container) = listed.container()
                {
                    let is_missing = is_missing(graph, &listed.scope(), &container).await;
                    if is_missing.map_err(|error| listed.fatal(error))? {
                        listed.vanished(&error)?;
                        return Ok(Round::Over);
                    }
                    if !is_known {
                        return Ok(Round::Lost(None));
                    }
                }
                return Ok(match listed.refused(error, extent != Extent::All)? {
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
        for tried in 0..=RESYNCS {
            if tried > 0 {
                listed.outdate()?;
            }
            let (mut pages, extent) = match start.take() {
                Some(link) => {
                    (graph.delta_from(listed.scope(), &link, listed.prefer()), Extent::Changes)
                }
                None => {
                    let path = listed.beginning();
                    (graph.pages(listed.scope(), &path, listed.prefer()), Extent::All)
                }
            };
            match round(graph, listed, &mut pages, extent, tried >= LOST_LINKS).await? {
                Round::Ended { delta, .. } => {
                    listed.settle()?;
                    self.link = delta;
                    return Ok(());
                }
                Round::Lost(restart) => start = restart,
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
        match round(graph, &mut self.listed, &mut pages, Extent::Changes, false).await? {
            Round::Ended { delta, news, .. } => {
                self.link = delta;
                Ok(!news)
            }
            Round::Lost(restart) => {
                self.listed.outdate()?;
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

/// How many folders of a mailbox are listed at the same time, by where their listings go on.
pub(crate) fn at_once(links: &BTreeMap<String, DeltaLink>) -> usize {
    if links.is_empty() { LONG_AT_ONCE } else { SHORT_AT_ONCE }
}

/// Replays the links of all once. True when nothing came that is worth another round. An item that
/// moves in the last round may stand where it was: no round is left to hear that it went.
pub(crate) async fn replay_all<L: Listed>(
    graph: &Graph,
    followed: &mut [Followed<L>],
) -> Result<bool, Error> {
    let mut rest = followed.iter_mut();
    let begun = rest.by_ref().take(SHORT_AT_ONCE).map(|one| one.replay(graph));
    let mut replays: FuturesUnordered<_> = begun.collect();
    let mut all_quiet = true;
    while let Some(quiet) = replays.try_next().await? {
        all_quiet &= quiet;
        if let Some(one) = rest.next() {
            replays.push(one.replay(graph));
        }
    }
    Ok(all_quiet)
}

/// A container that has no delta, while it is listed again and again.
pub(crate) struct Still<L> {
    pub(crate) listed: L,
    /// It was listed to its end.
    is_whole: bool,
    /// Nothing more can be had. What an earlier round told stays.
    is_over: bool,
    /// How often the service lost the listing.
    lost: usize,
}

impl<L: Listed> Still<L> {
    pub(crate) fn new(listed: L) -> Self {
        Self { listed, is_whole: false, is_over: false, lost: 0 }
    }

    /// Lists it once. True when that brought nothing new and missed nothing.
    async fn pass(&mut self, graph: &Graph) -> Result<bool, Error> {
        if self.is_over {
            return Ok(true);
        }
        let Self { listed, is_whole, is_over, lost } = self;
        listed.outdate()?;
        let path = listed.beginning();
        let mut pages = graph.pages(listed.scope(), &path, listed.prefer());
        let extent = if *is_whole { Extent::AllAgain } else { Extent::All };
        Ok(match round(graph, listed, &mut pages, extent, *lost >= LOST_LINKS).await? {
            Round::Ended { news, .. } => {
                let missing = listed.settle()?;
                std::mem::replace(is_whole, true) && !news && missing == 0
            }
            // What is known stays until a pass comes to its end.
            Round::Lost(_) => {
                *lost += 1;
                false
            }
            Round::Over => {
                *is_over = true;
                true
            }
        })
    }
}

/// Lists what has no delta, so many at a time, until a pass over all brings nothing new and misses
/// nothing, or often enough: what moves from one to another meanwhile is in one of them then.
pub(crate) async fn until_still<L: Listed>(
    graph: &Graph,
    all: &mut [Still<L>],
    at_once: usize,
) -> Result<(), Error> {
    for _ in 0..=CLOSING_ROUNDS {
        let passes: Vec<_> = all.iter_mut().map(|one| one.pass(graph)).collect();
        let quiet: Vec<bool> = stream::iter(passes).buffered(at_once).try_collect().await?;
        if quiet.into_iter().all(|quiet| quiet) {
            break;
        }
    }
    for one in all.iter_mut().filter(|one| !one.is_whole && !one.is_over) {
        one.listed.gave_up();
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

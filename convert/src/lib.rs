//! Microsoft Graph's items as iCalendar and vCard, and back. Pure: no network, no clock, no
//! machine's settings, so that the same item gives the same bytes anywhere.

pub mod contact;
mod encoding;
mod error;
pub mod event;
mod ical;
mod identity;
mod json;
mod line;
mod loss;
pub mod task;

pub use error::Error;
pub use loss::Loss;

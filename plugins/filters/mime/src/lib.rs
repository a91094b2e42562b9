//! Changes mails in part and leaves all else as it is, byte for byte.
//!
//! A mail is read as a stream: [`Walk`] tells where its parts begin and end and never holds more
//! than the head of one part and a piece of one body, however long the mail. [`edit_texts`] is the
//! loop over the text parts that most filters want; [`Text`] gives a text part's characters and
//! encodes them again in its own charset and transfer encoding.
//!
//! Structure is found the way Python's `email` finds it, with what lenient readers accept beside:
//! line ends of all three kinds, white space before a field's colon, outer boundaries inside inner
//! parts, and parts that follow a closing boundary.

mod edit;
mod part;
mod text;
mod transfer;
mod walk;

pub use edit::{Deferred, Half, Outcome, edit_texts};
pub use part::{Field, Form, Part};
pub use text::Text;
pub use transfer::{Decoder, Encoding, decode, encode, line_end};
pub use walk::{Event, MAX_HEAD, Walk};

//! What the fuzz targets may see that nobody else does.

use archive::metadata::Line;
use bytes::Bytes;
use serde_json::json;

use crate::content::Content;
use crate::item::Item;
use crate::service::mail::read_any;

/// Any bytes as a mail: they must make a message, whatever they are.
///
/// # Panics
/// If they do not.
pub fn mail(data: &[u8]) {
    let line = Line { kind: "message".into(), id: "i".into(), path: None, graph: json!({}) };
    let item = Item {
        path: "users/a@example.com/mail/a.eml".into(),
        line,
        mtime: 0,
        size: data.len() as u64,
        converted: false,
        is_doubtful: false,
        may_be_late: false,
        content: Content::Memory(Bytes::copy_from_slice(data)),
    };
    assert!(read_any(&item), "any bytes make a message");
}

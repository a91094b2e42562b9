//! Identifiers in the forms that the services use. Each carries the number of what it names, so
//! no table is needed, and is refused when any byte of it is wrong.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::dice;

/// A number told from its neighbours: 48 bits, scrambled reversibly.
fn scramble(number: u64, salt: u64) -> u64 {
    const MASK: u64 = (1 << 48) - 1;
    (number.wrapping_mul(0x5deece66d_u64 | 1) ^ salt) & MASK
}

fn unscramble(scrambled: u64, salt: u64) -> u64 {
    const MASK: u64 = (1 << 48) - 1;
    // The inverse of the factor modulo 2^64 (Newton).
    let factor = 0x5deece66d_u64 | 1;
    let inverse =
        (0..6).fold(factor, |x: u64, _| x.wrapping_mul(2_u64.wrapping_sub(factor.wrapping_mul(x))));
    ((scrambled ^ salt) & MASK).wrapping_mul(inverse) & MASK
}

/// The identifiers of one mailbox.
#[derive(Debug, Clone)]
pub(crate) struct MailIds {
    guid: String,
    store: [u8; 16],
    salt: u64,
}

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    /// The form that survives moves.
    Immutable { key: u64 },
    /// The classic form: changes when the message moves.
    Classic { key: u64, folder: u32 },
}

const CLASSIC: [u8; 4] = [0, 3, 0x24, 0];
const IMMUTABLE: [u8; 27] = [
    0, 9, 0, 0x2e, 0, 0, 0, 0, 0, 0x1d, 0x84, 3, 0x11, 0xaa, 0x66, 0x11, 0xcd, 0x9b, 0xc8, 0, 0xaa,
    0, 0x2f, 0xc4, 0x5a, 0x0d, 0,
];

impl MailIds {
    pub(crate) fn new(seed: u64, user: &str) -> MailIds {
        let salt = dice::hash(&[seed, dice::text(user), 1]);
        MailIds {
            guid: dice::guid(&[seed, dice::text(user), 2]),
            store: dice::guid_bytes(&[seed, dice::text(user), 3]),
            salt,
        }
    }

    pub(crate) fn folder(&self, number: u32) -> String {
        let mut bytes = self.classic_head(0x2e);
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&[0, 0, 0]);
        bytes.extend_from_slice(&(number + 0x010c).to_be_bytes());
        bytes.extend_from_slice(&[0, 0]);
        URL_SAFE.encode(bytes)
    }

    pub(crate) fn folder_number(&self, id: &str) -> Option<u32> {
        let bytes = URL_SAFE.decode(id).ok()?;
        let at = bytes.len().checked_sub(6)?;
        let number = u32::from_be_bytes(bytes[at..at + 4].try_into().ok()?).checked_sub(0x010c)?;
        (self.folder(number) == id).then_some(number)
    }

    pub(crate) fn immutable(&self, key: u64) -> String {
        let mut bytes = IMMUTABLE.to_vec();
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&scramble(key, self.salt).to_be_bytes()[2..]);
        bytes.extend_from_slice(&[0, 0, 0]);
        URL_SAFE.encode(bytes)
    }

    pub(crate) fn classic(&self, key: u64, folder: u32) -> String {
        let mut bytes = self.classic_head(0x46);
        bytes.extend_from_slice(&[7, 0]);
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&(u64::from(folder) + 0x010c).to_be_bytes());
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&scramble(key, self.salt).to_be_bytes());
        URL_SAFE.encode(bytes)
    }

    fn classic_head(&self, kind: u8) -> Vec<u8> {
        let mut bytes = CLASSIC.to_vec();
        bytes.extend_from_slice(self.guid.as_bytes());
        bytes.extend_from_slice(&[0, kind, 0, 0, 0, 0, 0]);
        bytes.extend_from_slice(&dice::guid_bytes(&[self.salt, 4]));
        bytes
    }

    /// What a message id names; `None` when it is not one of this mailbox.
    pub(crate) fn message(&self, id: &str) -> Option<Named> {
        let bytes = URL_SAFE.decode(id).ok()?;
        let tail = |back: usize| {
            let at = bytes.len().checked_sub(back)?;
            Some(u64::from_be_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
        };
        let named = if bytes.starts_with(&IMMUTABLE) {
            Named::Immutable { key: unscramble(tail(11)?, self.salt) }
        } else {
            let folder = u32::try_from(tail(32)?.checked_sub(0x010c)?).ok()?;
            Named::Classic { key: unscramble(tail(8)?, self.salt), folder }
        };
        let again = match named {
            Named::Immutable { key } => self.immutable(key),
            Named::Classic { key, folder } => self.classic(key, folder),
        };
        (again == id).then_some(named)
    }

    /// The id of an attachment: its message's id and more.
    pub(crate) fn attachment(&self, message: &str, number: usize) -> String {
        let mut bytes = URL_SAFE.decode(message).unwrap_or_default();
        bytes.extend_from_slice(&[1, 0x12, 0, 0x10, 0]);
        let parts = [self.salt, dice::text(message), number as u64];
        bytes.extend_from_slice(&dice::guid_bytes(&parts));
        URL_SAFE.encode(bytes)
    }

    /// Changes whenever the item does; base64 with `+` and `/`, as in entity tags.
    pub(crate) fn change_key(&self, key: u64, change: u64) -> String {
        let mut bytes = vec![9, 0, 0, 0, 0x16, 0, 0, 0];
        bytes.extend_from_slice(&self.store);
        bytes.extend_from_slice(&dice::hash(&[self.salt, key, change]).to_be_bytes()[2..]);
        STANDARD.encode(bytes)
    }

    pub(crate) fn conversation(&self, number: u64) -> String {
        let mut bytes = vec![0, 4, 0x24, 0];
        bytes.extend_from_slice(self.guid.as_bytes());
        bytes.extend_from_slice(&[0, 0x10, 0]);
        bytes.extend_from_slice(&dice::guid_bytes(&[self.salt, 5, number]));
        URL_SAFE.encode(bytes)
    }
}

/// The identifiers of one drive.
#[derive(Debug, Clone)]
pub(crate) struct DriveIds {
    pub(crate) drive: String,
    prefix: String,
    salt: u64,
}

impl DriveIds {
    pub(crate) fn new(seed: u64, user: &str) -> DriveIds {
        let salt = dice::hash(&[seed, dice::text(user), 11]);
        let bytes: Vec<u8> = (12..15).flat_map(|n| dice::guid_bytes(&[salt, n])).collect();
        let prefix = data_encoding::BASE32_NOPAD.encode(&salt.to_be_bytes()[..5]);
        DriveIds { drive: format!("b!{}", URL_SAFE.encode(bytes)), prefix, salt }
    }

    pub(crate) fn item(&self, number: u32) -> String {
        let mut bytes = dice::guid_bytes(&[self.salt, 15])[..9].to_vec();
        bytes.extend_from_slice(&scramble(u64::from(number), self.salt).to_be_bytes()[2..]);
        let tail = data_encoding::BASE32_NOPAD.encode(&bytes);
        format!("01{}{tail}", self.prefix)
    }

    pub(crate) fn item_number(&self, id: &str) -> Option<u32> {
        let bytes = data_encoding::BASE32_NOPAD.decode(id.get(10..)?.as_bytes()).ok()?;
        let mut number = [0; 8];
        number[2..].copy_from_slice(bytes.get(9..15)?);
        let number = u32::try_from(unscramble(u64::from_be_bytes(number), self.salt)).ok()?;
        (self.item(number) == id).then_some(number)
    }

    /// The GUID inside entity tags and download addresses.
    pub(crate) fn unique(&self, number: u32) -> String {
        dice::guid(&[self.salt, 16, u64::from(number)]).to_uppercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_ids_round_trip_and_nothing_else_does() {
        let ids = MailIds::new(1, "anna");
        let other = MailIds::new(1, "ben");
        for key in [0, 1, 999_999, (1 << 40) + 5] {
            let immutable = ids.immutable(key);
            assert_eq!(immutable.len(), 72);
            assert_eq!(ids.message(&immutable), Some(Named::Immutable { key }));
            let classic = ids.classic(key, 3);
            assert_eq!(classic.len(), 152);
            assert_eq!(ids.message(&classic), Some(Named::Classic { key, folder: 3 }));
            assert_eq!(other.message(&immutable), None);
            assert_eq!(ids.message(&immutable.to_lowercase()), None);
        }
        assert_eq!(ids.folder_number(&ids.folder(7)), Some(7));
        assert_eq!(other.folder_number(&ids.folder(7)), None);
        assert_eq!(ids.message("inbox"), None);
        assert_eq!(ids.folder_number("inbox"), None);
    }

    #[test]
    fn drive_ids_round_trip() {
        let ids = DriveIds::new(1, "anna");
        assert_eq!(ids.drive.len(), 66);
        assert_eq!(ids.item(5).len(), 34);
        assert_eq!(ids.item_number(&ids.item(5)), Some(5));
        assert_eq!(ids.item_number("01NKDM7HMOJTVYMDOSXFDK2QJDXCDI3WUK"), None);
    }
}

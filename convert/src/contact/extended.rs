//! What a contact has in Outlook, but Graph shows only as an extended property of MAPI's
//! (FACTS 3.4): read and written where the JSON has it.

use super::Version;

/// An extended property of type String that is a line of the card.
pub(super) struct Extended {
    /// As in the JSON; hexadecimal digits in any case.
    pub(super) id: &'static str,
    /// Name and parameters of the line.
    pub(super) head: &'static str,
}

pub(super) const BUSINESS_FAX: &str = "String 0x3A24";
pub(super) const HOME_FAX: &str = "String 0x3A25";
pub(super) const PAGER: &str = "String 0x3A21";
pub(super) const OTHER_PHONE: &str = "String 0x3A1F";
pub(super) const CAR_PHONE: &str = "String 0x3A1E";
pub(super) const ISDN: &str = "String 0x3A2D";
pub(super) const PERSONAL_PAGE: &str = "String 0x3A50";
/// A point in time, of which the date counts.
pub(super) const ANNIVERSARY: &str = "SystemTime 0x3A41";

pub(super) const PHONES: &[Extended] = &[
    Extended { id: BUSINESS_FAX, head: "TEL;TYPE=WORK,FAX" },
    Extended { id: HOME_FAX, head: "TEL;TYPE=HOME,FAX" },
    Extended { id: PAGER, head: "TEL;TYPE=PAGER" },
    Extended { id: CAR_PHONE, head: "TEL;TYPE=CAR" },
    Extended { id: ISDN, head: "TEL;TYPE=ISDN" },
    Extended { id: OTHER_PHONE, head: "TEL;TYPE=VOICE" },
];

/// The extended properties that a card has lines for: to be asked for with the contact.
pub const EXTENDED: &[&str] =
    &[BUSINESS_FAX, HOME_FAX, PAGER, OTHER_PHONE, CAR_PHONE, ISDN, PERSONAL_PAGE, ANNIVERSARY];

/// Name of the line of the anniversary.
pub(super) fn anniversary(version: Version) -> &'static str {
    match version {
        Version::V3 => "X-ANNIVERSARY",
        Version::V4 => "ANNIVERSARY",
    }
}

//! `iCalUId` as UID. Exchange writes its GlobalObjectId in hexadecimal (MS-OXOCAL, 2.2.1.27): a
//! class, the date of the instance, a time, and data, which hold another system's UID when the
//! event came from there.

use data_encoding::{HEXLOWER_PERMISSIVE, HEXUPPER};

const CLASS: [u8; 16] = [
    0x04, 0x00, 0x00, 0x00, 0x82, 0x00, 0xe0, 0x00, 0x74, 0xc5, 0xb7, 0x10, 0x1a, 0x82, 0xe0, 0x08,
];
/// Where the date of the instance stands, and where the data begin.
const INSTANCE: std::ops::Range<usize> = 16..20;
const DATA: usize = 40;
/// Marks data that are the UID of another system.
const FOREIGN: &[u8] = b"vCal-Uid\x01\0\0\0";

/// The UID of an `iCalUId`: what another system gave, else the GlobalObjectId without the date of an
/// instance, so that a series and its exceptions have the same. What is no such id is taken as is.
pub(super) fn uid(ical_uid: &str) -> String {
    let Some(mut id) = global_object_id(ical_uid) else { return ical_uid.to_owned() };
    if let Some(foreign) = id.get(DATA..).and_then(|data| data.strip_prefix(FOREIGN)) {
        let end = foreign.iter().position(|&byte| byte == 0).unwrap_or(foreign.len());
        if let Ok(foreign) = std::str::from_utf8(&foreign[..end])
            && !foreign.is_empty()
            && !foreign.contains(|c: char| c.is_control())
        {
            return foreign.to_owned();
        }
    }
    id[INSTANCE].fill(0);
    HEXUPPER.encode(&id)
}

fn global_object_id(text: &str) -> Option<Vec<u8>> {
    let id = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    (id.starts_with(&CLASS) && id.len() >= DATA).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::uid;
    use data_encoding::HEXUPPER;

    const PLAIN: &str = "040000008200E00074C5B7101A82E00800000000DA2B357D94B5D201000000000000000010000000EC4597557F0CB34EA4CC2887EA7B17C3";

    #[test]
    fn instances_have_the_uid_of_their_series() {
        assert_eq!(uid(PLAIN), PLAIN);
        assert_eq!(uid(&PLAIN.to_lowercase()), PLAIN);
        let instance = format!("{}07EA0115{}", &PLAIN[..32], &PLAIN[40..]);
        assert_eq!(uid(&instance), PLAIN);
    }

    #[test]
    fn the_uid_of_another_system_comes_out() {
        let data = HEXUPPER.encode(b"vCal-Uid\x01\0\0\0event-7@example.com\0");
        assert_eq!(uid(&format!("{}{data}", &PLAIN[..80])), "event-7@example.com");
    }

    #[test]
    fn what_is_no_object_id_stays() {
        for text in ["event@example.com", "04000000820089190544", ""] {
            assert_eq!(uid(text), text);
        }
    }
}

//! Kinds of pictures.

/// Bytes of the longest beginning that [`format`] knows.
pub(super) const LONGEST_START: u64 = 4;

/// Name of a picture's format, as the TYPE of version 3.0, from its first bytes.
pub(super) fn format(picture: &[u8]) -> Option<&'static str> {
    const FORMATS: &[(&[u8], &str)] = &[
        (b"\xff\xd8\xff", "JPEG"),
        (b"\x89PNG", "PNG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"II*\0", "TIFF"),
        (b"MM\0*", "TIFF"),
    ];
    FORMATS.iter().find(|(start, _)| picture.starts_with(start)).map(|(_, name)| *name)
}

//! The `ar` archive around a Debian package (deb(5)).

use super::ArchiveError;

const MAGIC: &[u8] = b"!<arch>\n";
const HEADER: usize = 60;
/// Members of a package: `debian-binary`, `control.tar`, `data.tar`, and signatures of some tools.
const MAX: usize = 16;

type Named<'a> = (&'a str, &'a [u8]);

/// Name and content of each member.
pub(super) fn members(
    bytes: &[u8],
) -> Result<impl Iterator<Item = Result<Named<'_>, ArchiveError>>, ArchiveError> {
    let mut rest = bytes.strip_prefix(MAGIC).ok_or(ArchiveError::Format("a Debian package"))?;
    Ok(std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let next = member(rest);
        rest = next.as_ref().map_or(&[][..], |(_, after)| after);
        Some(
            next.map(|(member, _)| member)
                .ok_or_else(|| ArchiveError::Malformed("a member is cut".to_owned())),
        )
    })
    .take(MAX))
}

fn member(bytes: &[u8]) -> Option<(Named<'_>, &[u8])> {
    let name = std::str::from_utf8(bytes.get(..16)?).ok()?.trim_end().trim_end_matches('/');
    let size: usize = std::str::from_utf8(bytes.get(48..58)?).ok()?.trim_end().parse().ok()?;
    if bytes.get(58..HEADER)? != b"`\n" {
        return None;
    }
    let end = HEADER.checked_add(size)?;
    let content = bytes.get(HEADER..end)?;
    // Members start at even offsets.
    Some(((name, content), bytes.get(end + size % 2..).unwrap_or_default()))
}

use crate::line::Lines;
use crate::write::with_version;
use crate::{Description, Direction, SdpError};

/// A description that is not ours to make (external media) with another direction and version: hold and resume. Every active media
/// line gets `direction`; every other byte stays as it is.
pub fn redirected(own_sdp: &str, direction: Direction, version: u64) -> Result<String, SdpError> {
    let description = Description::parse(own_sdp)?;
    let ending = if own_sdp.contains("\r\n") { "\r\n" } else { "\n" };
    // What stands at session level holds for every line that has none of its own.
    let inherited = description.has_session_direction();

    let mut out = String::with_capacity(own_sdp.len() + 16);
    let mut sections = description.media.iter();
    let mut current: Option<&crate::Media<'_>> = None;
    let finish = |out: &mut String, media: Option<&crate::Media<'_>>| {
        let Some(media) = media else { return };
        let silent = media.direction.is_none() && !inherited;
        // Without any attribute a line is sendrecv already (RFC 8866 §6.7).
        if media.port() != 0 && silent && direction != Direction::SendRecv {
            if !out.ends_with('\n') {
                out.push_str(if out.ends_with('\r') { "\n" } else { ending });
            }
            out.push_str("a=");
            out.push_str(direction.as_str());
            out.push_str(ending);
        }
    };
    let mut rest = own_sdp;
    let mut count = count_lines(own_sdp)?;
    while count > 0 {
        count -= 1;
        let (line, after) = rest.split_at(rest.find('\n').map_or(rest.len(), |end| end + 1));
        rest = after;
        let bare = line.trim_end_matches(['\r', '\n']);
        if bare.starts_with("m=") {
            finish(&mut out, current);
            current = sections.next();
        }
        let active = current.is_none_or(|media| media.port() != 0);
        match bare.strip_prefix("a=").map(str::trim_end).and_then(Direction::parse) {
            Some(_) if active => {
                out.push_str("a=");
                out.push_str(direction.as_str());
                out.push_str(line.get(bare.trim_end().len()..).unwrap_or_default());
            }
            _ => out.push_str(line),
        }
    }
    finish(&mut out, current);
    out.push_str(rest);
    Ok(with_version(&out, version))
}

/// The lines that are SDP; blank ones may follow.
/// What a program offers after `previous`, with a version that says so. RFC 3264 §8: a session that changes has the next version, and a peer may
/// pass over one that it has seen; a program need not know of those that hold and resume have made.
pub fn succeeding(previous: &str, own_sdp: String) -> String {
    let (Ok(before), Ok(after)) = (Description::parse(previous), Description::parse(&own_sdp)) else { return own_sdp };
    let (before, after) = (before.origin(), after.origin());
    let of_one = (before.user, before.session_id, before.place) == (after.user, after.session_id, after.place);
    if !of_one || after.version > before.version || previous == own_sdp {
        return own_sdp;
    }
    with_version(&own_sdp, before.version.wrapping_add(1))
}

fn count_lines(text: &str) -> Result<usize, SdpError> {
    let mut lines = Lines::new(text)?;
    let mut count = 0;
    while lines.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}

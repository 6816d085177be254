//! The framing of the Redis protocol, version 2: commands out of bytes, answers into
//! bytes. It knows no command. (The decoders of the crates that there are recurse on
//! nested arrays and know no lines of words; a command is neither.)

use bytes::Bytes;

const MAX_ARGS: usize = 2 * (1 << 16) + 1;
const MAX_BYTES: usize = 16 << 20; // of one argument, and with some room of a command
const MAX_COMMAND: usize = MAX_BYTES + (2 << 20);
const MAX_LINE: usize = 64 << 10;
const NO_COMMAND: &str = "ERR Protocol error";

/// Takes the next command off the front of buf: its arguments and how many bytes it had.
/// None: more bytes are needed. Err: the answer to what is no command, or too large a one,
/// after which nothing can be read.
pub fn parse(buf: &[u8]) -> Result<Option<(Vec<&[u8]>, usize)>, String> {
    match buf.first() {
        None => Ok(None),
        Some(b'*') => parse_array(buf),
        Some(_) => {
            Ok(line(buf, 0)?.map(|(text, next)| (text.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).collect(), next)))
        }
    }
}

fn parse_array(buf: &[u8]) -> Result<Option<(Vec<&[u8]>, usize)>, String> {
    let Some((text, mut at)) = line(buf, 1)? else { return Ok(None) };
    let count = number(text, MAX_ARGS, "multibulk")?;
    let mut args = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        match buf.get(at) {
            None => return Ok(None),
            Some(b'$') => {}
            Some(other) => return Err(format!("{NO_COMMAND}: expected '$', got '{}'", other.escape_ascii())),
        }
        let Some((text, start)) = line(buf, at + 1)? else { return Ok(None) };
        let end = start + number(text, MAX_BYTES, "bulk")?;
        if end > MAX_COMMAND {
            return Err(format!("TOOLARGE a command of more than {MAX_COMMAND} bytes"));
        }
        if buf.len() < end + 2 {
            return Ok(None);
        }
        if &buf[end..end + 2] != b"\r\n" {
            return Err(format!("{NO_COMMAND}: a bulk string that is longer than it says"));
        }
        args.push(&buf[start..end]);
        at = end + 2;
    }
    Ok(Some((args, at)))
}

/// The line that begins at from, without its end, and where the next one begins.
fn line(buf: &[u8], from: usize) -> Result<Option<(&[u8], usize)>, String> {
    let rest = &buf[from..];
    match rest.iter().take(MAX_LINE).position(|b| *b == b'\n') {
        Some(n) => Ok(Some((rest[..n].strip_suffix(b"\r").unwrap_or(&rest[..n]), from + n + 1))),
        None if rest.len() >= MAX_LINE => Err(format!("{NO_COMMAND}: too big inline request")),
        None => Ok(None),
    }
}

fn number(text: &[u8], limit: usize, what: &str) -> Result<usize, String> {
    let digits = std::str::from_utf8(text).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
    match digits.and_then(|t| t.parse().ok()) {
        Some(n) if n <= limit => Ok(n),
        Some(n) => Err(format!("TOOLARGE a {what} of {n}: at most {limit} are allowed")),
        None => Err(format!("{NO_COMMAND}: invalid {what} length")),
    }
}

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    Simple(&'static str),
    Error(String),
    Number(u64),
    Bulk(Bytes),
    Null,
    Array(Vec<Answer>),
}

impl Answer {
    pub fn text(s: impl Into<String>) -> Answer {
        Answer::Bulk(Bytes::from(s.into()))
    }

    pub fn encode(&self, to: &mut Vec<u8>) {
        match self {
            Answer::Simple(s) => frame(to, b'+', s.as_bytes()),
            Answer::Error(s) => frame(to, b'-', s.replace(['\r', '\n'], " ").as_bytes()),
            Answer::Number(n) => frame(to, b':', n.to_string().as_bytes()),
            Answer::Null => to.extend_from_slice(b"$-1\r\n"),
            Answer::Bulk(b) => {
                frame(to, b'$', b.len().to_string().as_bytes());
                to.extend_from_slice(b);
                to.extend_from_slice(b"\r\n");
            }
            Answer::Array(all) => {
                frame(to, b'*', all.len().to_string().as_bytes());
                all.iter().for_each(|a| a.encode(to));
            }
        }
    }
}

fn frame(to: &mut Vec<u8>, kind: u8, text: &[u8]) {
    to.push(kind);
    to.extend_from_slice(text);
    to.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn commands_come_in_pieces_and_are_no_more_than_commands() {
        let whole = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\nPING x\r\n";
        for n in 0..20 {
            assert_eq!(parse(&whole[..n]), Ok(None), "{n} bytes of it");
        }
        assert_eq!(parse(whole), Ok(Some((vec![&b"GET"[..], b"a"], 20))));
        assert_eq!(parse(&whole[20..]), Ok(Some((vec![&b"PING"[..], b"x"], 8))));
        for bad in
            ["*1\r\n*1\r\n", "*1\r\n:1\r\n", "*-2\r\n", "*99999999999\r\n", "*1\r\n$-1\r\n", "*1\r\n$1\r\nab\r\n", "*1\r\n$99999999\r\n"]
        {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(b"*2\r\n$3\r\nGET\r\n$99999999\r\n").unwrap_err().starts_with("TOOLARGE "));
    }
}

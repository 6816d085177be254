//! What each command of docs/engine-programs.md asks for: a change of the map, a look at
//! it, or something of the member itself. It checks arguments and words answers.

use std::sync::Arc;

use bytes::Bytes;

use crate::Address;
use crate::kv::{self, Command, Condition, Outcome, State};
use crate::node::{Failure, Status};
use crate::resp::Answer;

const MAX_VALUE: usize = 16 << 20;

/// What does not change while the member runs.
pub struct About {
    pub own: u64,
    pub group: String,
    pub members: Vec<Address>, // number 1 first
    pub has_lease: bool,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Level {
    Linearizable,
    Lease,
    Stale,
}

/// How a write is answered.
#[derive(Clone, Copy)]
pub enum Then {
    Ok,
    OkOrNull,
    OneOrZero,
    Count,
}

/// A look at the map.
pub type Look = Box<dyn FnOnce(&State) -> Answer + Send>;

pub enum Do {
    Answer(Answer),
    Write(Vec<u8>, Then),
    Read(Look),
    Level(Level),
    Reset,
    Quit,
    Status,
    Members,
    ReadLevel,
    Transfer(Option<u64>),
    Snapshot,
    Digest,
}

fn refuse(why: impl Into<String>) -> Do {
    Do::Answer(Answer::Error(why.into()))
}

fn ok() -> Do {
    Do::Answer(Answer::Simple("OK"))
}

/// Whether an argument is this word, in any case.
fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// Takes a command's arguments, the first its name, and says what to do.
pub fn parse(args: &[&[u8]], about: &About) -> Do {
    let name = String::from_utf8_lossy(args[0]).to_ascii_uppercase();
    let n = args.len() - 1;
    let wrong = || refuse(format!("ERR wrong number of arguments for '{}' command", name.to_ascii_lowercase()));
    match (name.as_str(), n) {
        ("GET", 1) => look(args, |m, a| value(m.get(&a[0]))),
        ("STRLEN", 1) => look(args, |m, a| Answer::Number(m.get(&a[0]).map_or(0, |v| v.len() as u64))),
        ("EXISTS", 1..) => look(args, |m, a| Answer::Number(a.iter().filter(|k| m.get(k).is_some()).count() as u64)),
        ("MGET", 1..) => look(args, |m, a| Answer::Array(a.iter().map(|k| value(m.get(k))).collect())),
        ("DBSIZE", 0) => Do::Read(Box::new(|m| Answer::Number(m.keys))),
        ("SET", 2) => set(args[1], args[2], Condition::Always, Then::Ok),
        ("SET", 3) if is(args[3], "NX") => set(args[1], args[2], Condition::Absent, Then::OkOrNull),
        ("SET", 3) if is(args[3], "XX") => set(args[1], args[2], Condition::Present, Then::OkOrNull),
        ("SET", 3..) => refuse("ERR syntax error: SET key value [NX | XX]"),
        ("SETNX", 2) => set(args[1], args[2], Condition::Absent, Then::OneOrZero),
        ("MSET", 2..) if n % 2 == 0 => batch(args[1..].chunks_exact(2).map(|p| (p[0], Some(p[1]))), Then::Ok),
        ("DEL", 1..) => batch(args[1..].iter().map(|k| (*k, None)), Then::Count),
        ("PING", 0) => Do::Answer(Answer::Simple("PONG")),
        ("PING" | "ECHO", 1) => Do::Answer(Answer::Bulk(Bytes::copy_from_slice(args[1]))),
        ("SELECT", 1) if args[1] == b"0" => ok(),
        ("SELECT", 1) => refuse("ERR DB index is out of range: there is only 0"),
        ("RESET", 0) => Do::Reset,
        ("QUIT", _) => Do::Quit,
        ("HELLO", 0) => hello(),
        ("HELLO", 1) if args[1] == b"2" => hello(),
        ("HELLO", 1) => refuse("NOPROTO unsupported protocol version"),
        ("HELLO", _) => refuse("ERR syntax error in HELLO option: there is HELLO 2"),
        ("CLIENT", 2) if is(args[1], "SETNAME") => ok(),
        ("CLIENT", 3) if is(args[1], "SETINFO") => ok(),
        ("CLIENT", 1..) => refuse("ERR CLIENT: there are SETNAME and SETINFO"),
        ("COMMAND", _) => Do::Answer(Answer::Array(Vec::new())),
        ("RAFT.STATUS", 0) => Do::Status,
        ("RAFT.MEMBERS", 0) => Do::Members,
        ("RAFT.SNAPSHOT", 0) => Do::Snapshot,
        ("RAFT.DIGEST", 0) => Do::Digest,
        ("RAFT.READLEVEL", 0) => Do::ReadLevel,
        ("RAFT.READLEVEL", 1) => level(args[1], about),
        ("RAFT.FORWARD", 0) => Do::Answer(Answer::text("no")),
        ("RAFT.FORWARD", 1) if is(args[1], "no") => ok(),
        ("RAFT.FORWARD", 1) => refuse("ERR RAFT.FORWARD: this member does not forward: there is no"),
        ("RAFT.TRANSFER", 0) => Do::Transfer(None),
        ("RAFT.TRANSFER", 1) => match about.members.iter().position(|m| m.id.as_bytes() == args[1]) {
            Some(i) => Do::Transfer(Some(i as u64 + 1)),
            None => refuse(format!("ERR {}: there is no such member", args[1].escape_ascii())),
        },
        ("GET" | "STRLEN" | "EXISTS" | "MGET" | "DBSIZE" | "SET" | "SETNX" | "MSET" | "DEL" | "PING" | "ECHO" | "SELECT", _) => wrong(),
        ("RESET" | "CLIENT" | "RAFT.STATUS" | "RAFT.MEMBERS" | "RAFT.SNAPSHOT" | "RAFT.DIGEST" | "RAFT.READLEVEL", _) => wrong(),
        ("RAFT.FORWARD" | "RAFT.TRANSFER", _) => wrong(),
        _ => refuse(format!("ERR unknown command '{:.40}'", args[0].escape_ascii().to_string())),
    }
}

fn value(v: Option<Bytes>) -> Answer {
    v.map_or(Answer::Null, Answer::Bulk)
}

fn look(args: &[&[u8]], f: impl FnOnce(&State, &[Vec<u8>]) -> Answer + Send + 'static) -> Do {
    if let Some(problem) = args[1..].iter().find_map(|k| bad_key(k)) {
        return refuse(problem);
    }
    let keys: Vec<Vec<u8>> = args[1..].iter().map(|k| k.to_vec()).collect();
    Do::Read(Box::new(move |m| f(m, &keys)))
}

fn bad_key(key: &[u8]) -> Option<String> {
    match key.len() {
        0 => Some("ERR the key is empty: keys have at least one byte".into()),
        n if n > kv::MAX_KEY => Some(format!("TOOLARGE a key of {n} bytes: at most {} are allowed", kv::MAX_KEY)),
        _ => None,
    }
}

fn set(key: &[u8], value: &[u8], condition: Condition, then: Then) -> Do {
    match bad_key(key) {
        Some(problem) => refuse(problem),
        None if value.len() > MAX_VALUE => refuse(format!("TOOLARGE a value of {} bytes: at most {MAX_VALUE} are allowed", value.len())),
        None => Do::Write(Command::set(condition, key, value), then),
    }
}

fn batch<'a>(operations: impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + Clone, then: Then) -> Do {
    if let Some(problem) = operations.clone().find_map(|(k, _)| bad_key(k)) {
        return refuse(problem);
    }
    let bytes: usize = operations.clone().map(|(k, v)| k.len() + v.map_or(0, <[u8]>::len)).sum();
    if bytes > MAX_VALUE || operations.len() > kv::MAX_BATCH {
        return refuse(format!(
            "TOOLARGE {bytes} bytes and {} keys at once: at most {MAX_VALUE} and {} are allowed",
            operations.len(),
            kv::MAX_BATCH
        ));
    }
    Do::Write(Command::batch(operations), then)
}

fn level(arg: &[u8], about: &About) -> Do {
    match arg {
        _ if is(arg, "linearizable") => Do::Level(Level::Linearizable),
        _ if is(arg, "stale") => Do::Level(Level::Stale),
        _ if is(arg, "lease") && about.has_lease => Do::Level(Level::Lease),
        _ if about.has_lease => refuse("ERR RAFT.READLEVEL [linearizable | lease | stale]"),
        _ => refuse("ERR RAFT.READLEVEL [linearizable | stale]: for lease set check_quorum"),
    }
}

pub fn level_name(level: Level) -> Answer {
    Answer::text(match level {
        Level::Linearizable => "linearizable",
        Level::Lease => "lease",
        Level::Stale => "stale",
    })
}

fn map<const N: usize>(fields: [(&str, Answer); N]) -> Answer {
    Answer::Array(fields.into_iter().flat_map(|(k, v)| [Answer::text(k), v]).collect())
}

fn hello() -> Do {
    Do::Answer(map([
        ("server", Answer::text("raftlab")),
        ("version", Answer::text(env!("CARGO_PKG_VERSION"))),
        ("proto", Answer::Number(2)),
        ("id", Answer::Number(1)),
        ("mode", Answer::text("standalone")),
        ("role", Answer::text("master")),
        ("modules", Answer::Array(Vec::new())),
    ]))
}

/// The answer of a write that was applied.
pub fn written(outcome: &Outcome, then: Then) -> Answer {
    if let Some(reason) = &outcome.refused {
        return Answer::Error(format!("ERR {reason}"));
    }
    let holds = outcome.condition.is_none();
    match then {
        Then::Ok => Answer::Simple("OK"),
        Then::OkOrNull if !holds => Answer::Null,
        Then::OkOrNull => Answer::Simple("OK"),
        Then::OneOrZero => Answer::Number(u64::from(holds)),
        Then::Count => Answer::Number(outcome.changed),
    }
}

/// The answer of a request that was not done.
pub fn failed(failure: Failure, status: &Status, about: &Arc<About>) -> Answer {
    Answer::Error(match failure {
        Failure::NotLeader => match about.members.get((status.leader as usize).wrapping_sub(1)) {
            Some(m) if status.leader != about.own => format!("NOTLEADER {} {}", m.id, m.resp),
            _ => "NOTLEADER - -".into(),
        },
        Failure::NoRoom => "TRYAGAIN there is no room for more now".into(),
        Failure::Timeout => "TIMEOUT not done within 5 s".into(),
        Failure::Unknown(why) => format!("UNKNOWN outcome: the write may have taken effect, or may yet: {why}"),
        Failure::Refused(why) => format!("ERR {why}"),
    })
}

pub fn status(s: &Status, map_state: &State, about: &About) -> Answer {
    let leader = about.members.get((s.leader as usize).wrapping_sub(1));
    map([
        ("id", Answer::text(&*about.members[about.own as usize - 1].id)),
        ("group", Answer::text(&*about.group)),
        ("role", Answer::text(s.role)),
        ("leader", Answer::text(leader.map_or("", |m| &m.id))),
        ("leader_resp", Answer::text(leader.map_or("", |m| if m.resp == "-" { "" } else { &m.resp }))),
        ("term", Answer::text(s.term.to_string())),
        ("last_index", Answer::text(s.last.to_string())),
        ("commit_index", Answer::text(s.commit.to_string())),
        ("applied_index", Answer::text(s.applied.to_string())),
        ("keys", Answer::text(map_state.keys.to_string())),
        ("commands", Answer::text(map_state.commands.to_string())),
    ])
}

pub fn members(s: &Status, about: &About) -> Answer {
    let each = about.members.iter().zip(1..).map(|(m, number)| {
        map([
            ("id", Answer::text(&*m.id)),
            ("address", Answer::text(&*m.raft)),
            ("http", Answer::text("")),
            ("resp", Answer::text(if m.resp == "-" { "" } else { &m.resp })),
            ("voter", Answer::text("yes")),
            ("leader", Answer::text(if s.leader == number { "yes" } else { "no" })),
        ])
    });
    Answer::Array(each.collect())
}

pub fn digest(state: &State, about: &About) -> Answer {
    let sum: String = state.digest().iter().map(|b| format!("{b:02x}")).collect();
    map([
        ("id", Answer::text(&*about.members[about.own as usize - 1].id)),
        ("keys", Answer::text(state.keys.to_string())),
        ("commands", Answer::text(state.commands.to_string())),
        ("sha256", Answer::text(sum)),
    ])
}

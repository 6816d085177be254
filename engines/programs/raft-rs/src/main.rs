//! A raftlab member on raft-rs and raft-engine: see docs/engine-programs.md.

use std::path::PathBuf;
use std::process::exit;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, mpsc};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

mod commands;
mod disk;
mod kv;
mod log;
mod member;
mod node;
mod resp;
mod server;
mod settings;
mod snapshot;
mod wire;

use disk::die;
use settings::Settings;

const USAGE: &str = "usage: raftlab-raft-rs describe [--settings FILE]
       raftlab-raft-rs --id ID --raft HOST:PORT --resp HOST:PORT --data DIR --members ID=HOST:PORT,…
                       [--resp-members ID=HOST:PORT,…] [--settings FILE]";

/// A member of the group.
#[derive(Clone)]
pub struct Address {
    pub id: String,
    pub raft: String,
    pub resp: String, // - where it is not known
}

struct Flags {
    id: String,
    raft: String,
    resp: String,
    data: PathBuf,
    members: Vec<Address>, // by id
    settings: Settings,
}

fn usage(why: impl std::fmt::Display) -> ! {
    eprintln!("raftlab-raft-rs: {why} (raftlab-raft-rs --help)");
    exit(2)
}

fn main() {
    // Whatever panics, of ours or of a library's, ends the process.
    std::panic::set_hook(Box::new(|info| {
        let text = info.payload().downcast_ref::<String>().map(String::as_str).or(info.payload().downcast_ref::<&str>().copied());
        let what = text.and_then(|t| t.lines().next()).unwrap_or("?");
        let at = info.location().map_or(String::new(), |l| format!(" ({}:{})", l.file().rsplit('/').next().unwrap_or(""), l.line()));
        die(format!("cannot go on: {what}{at}"))
    }));
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.iter().any(|a| a == "--help" || a == "-h" || a == "help") {
        println!("{USAGE}");
        return;
    }
    if args.first().is_some_and(|a| a == "describe") {
        let flags = pairs(&args[1..], &["--settings"]);
        return println!("{}", settings_of(&flags).describe());
    }
    let flags = read_flags(&args).unwrap_or_else(|why| usage(why));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers()).enable_all().build();
    runtime.unwrap_or_else(|e| die(format!("cannot start threads: {e}"))).block_on(serve(flags));
    exit(0) // whatever is acknowledged is flushed
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8)
}

/// Takes flags and values, as --flag value or --flag=value.
fn pairs(args: &[String], known: &[&str]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let (flag, value) = match arg.split_once('=') {
            Some((f, v)) if f.starts_with("--") => (f, Some(v.to_string())),
            _ => (arg.as_str(), None),
        };
        if !known.contains(&flag) {
            usage(format!("unknown argument {arg:?}"));
        }
        if found.iter().any(|(f, _)| f == flag) {
            usage(format!("{flag} is given twice"));
        }
        let value = value.or_else(|| args.next().cloned()).unwrap_or_else(|| usage(format!("{flag} needs a value")));
        found.push((flag.to_string(), value));
    }
    found
}

fn settings_of(flags: &[(String, String)]) -> Settings {
    let file = flags.iter().find(|(f, _)| f == "--settings").map(|(_, v)| v);
    let text = file.map_or(Ok(String::new()), std::fs::read_to_string);
    let text = text.unwrap_or_else(|e| usage(format!("--settings {}: {e}", file.expect("it was read"))));
    Settings::parse(file.map_or("", |f| f), &text).unwrap_or_else(|why| usage(why))
}

fn read_flags(args: &[String]) -> Result<Flags, String> {
    let found = pairs(args, &["--id", "--raft", "--resp", "--data", "--members", "--resp-members", "--settings"]);
    let optional = |flag: &str| found.iter().find(|(f, _)| f == flag).map(|(_, v)| v.clone());
    let required = |flag: &str| optional(flag).filter(|v| !v.is_empty()).ok_or(format!("{flag} is missing"));
    let (id, raft, resp) = (required("--id")?, required("--raft")?, required("--resp")?);
    for (flag, address) in [("--raft", &raft), ("--resp", &resp)] {
        check_address(flag, address)?;
    }
    let mut members: Vec<Address> = Vec::new();
    for (id, raft) in addresses("--members", &required("--members")?)? {
        members.push(Address { id, raft, resp: "-".into() });
    }
    members.sort_by(|a, b| a.id.cmp(&b.id));
    for (id, resp) in optional("--resp-members").map_or(Ok(Vec::new()), |v| addresses("--resp-members", &v))? {
        let member = members.iter_mut().find(|m| m.id == id);
        member.ok_or(format!("--resp-members: {id} is not in --members"))?.resp = resp;
    }
    if !members.iter().any(|m| m.id == id) {
        return Err(format!("--members: {id}, this member, is missing"));
    }
    Ok(Flags { id, raft, resp, data: required("--data")?.into(), members, settings: settings_of(&found) })
}

fn addresses(flag: &str, list: &str) -> Result<Vec<(String, String)>, String> {
    let mut found: Vec<(String, String)> = Vec::new();
    for part in list.split(',') {
        let (id, address) = part.split_once('=').ok_or(format!("{flag}: {part:?}: want ID=HOST:PORT"))?;
        if id.is_empty() || id.len() > 256 || !id.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(format!("{flag}: {part:?}: an id has 1 to 256 visible characters"));
        }
        if found.iter().any(|(other, _)| other == id) {
            return Err(format!("{flag}: {id} stands there twice"));
        }
        check_address(flag, address)?;
        found.push((id.to_string(), address.to_string()));
    }
    Ok(found)
}

fn check_address(flag: &str, address: &str) -> Result<(), String> {
    let is_one = address.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host_fits = bare.map_or(!host.contains([':', ' ', '/']), |h| h.parse::<std::net::Ipv6Addr>().is_ok());
        host_fits && !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0)
    });
    is_one.then_some(()).ok_or(format!("{flag}: {address:?}: want HOST:PORT"))
}

async fn serve(flags: Flags) {
    // Before anything is written: a port that is taken, a folder that is another's.
    let bind = async |address: &str| TcpListener::bind(address).await.unwrap_or_else(|e| die(format!("cannot listen on {address}: {e}")));
    let (raft, resp) = (bind(&flags.raft).await, bind(&flags.resp).await);
    let (mut terminate, mut interrupt) = (stop_signal(SignalKind::terminate()), stop_signal(SignalKind::interrupt()));
    let _lock = lock(&flags.data);
    let ids: Vec<&str> = flags.members.iter().map(|m| m.id.as_str()).collect();
    let own = 1 + ids.iter().position(|id| *id == flags.id).expect("checked with the flags") as u64;
    let mut member = member::Member::open(&flags.data, &flags.id, &ids);
    let path = snapshot::path(&flags.data);
    let (at, state) = match path.exists() {
        true => snapshot::load(&path).unwrap_or_else(|e| die(format!("{}: {e}", path.display()))),
        false => (log::At::default(), kv::State::new()),
    };
    let voters = (1..=ids.len() as u64).collect();
    let is_fresh = !member.begun;
    let log = log::Log::open(&flags.data, &flags.settings, voters, is_fresh, at);
    if is_fresh {
        member.begun = true;
        member.save();
    }
    let group = group_of(&ids);
    let (events, from_all) = mpsc::channel();
    let ends = Arc::new(wire::Ends {
        group,
        own,
        incarnation: member.incarnation,
        met: member.met.iter().map(|n| AtomicU64::new(*n)).collect(),
        max_entries: flags.settings.number("max_append_entries") as usize,
        max_bytes: flags.settings.number("max_append_bytes") as usize,
        events,
        dir: flags.data.clone(),
    });
    let others: Vec<(u64, String)> = flags.members.iter().enumerate().map(|(i, m)| (i as u64 + 1, m.raft.clone())).collect();
    let peers = wire::Peers::start(ends.clone(), &others);
    let parts = node::Parts {
        log,
        state,
        member,
        is_fresh,
        settings: flags.settings.clone(),
        dir: flags.data,
        ends: ends.clone(),
        peers,
        events: from_all,
    };
    let view = node::start(parts);
    tokio::spawn(wire::listen(ends, raft));
    let about = Arc::new(commands::About {
        own,
        group: format!("{group:016x}"),
        members: flags.members,
        has_lease: flags.settings.is("check_quorum"),
    });
    tokio::spawn(server::listen(resp, view, about));
    eprintln!("raftlab-raft-rs: {} serves clients on {}, members on {}", flags.id, flags.resp, flags.raft);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

fn stop_signal(kind: SignalKind) -> tokio::signal::unix::Signal {
    signal(kind).unwrap_or_else(|e| die(format!("cannot wait for signals: {e}")))
}

/// Makes the folder, and holds it against a second process.
fn lock(dir: &std::path::Path) -> std::fs::File {
    let made = std::fs::create_dir_all(dir).and_then(|()| std::fs::File::create(dir.join("lock")));
    let file = made.unwrap_or_else(|e| die(format!("{}: {e}", dir.display())));
    file.try_lock().unwrap_or_else(|e| die(format!("{} is in use by another process: {e}", dir.display())));
    file
}

fn group_of(ids: &[&str]) -> u64 {
    ids.join(",").bytes().fold(0xcbf29ce484222325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100000001b3))
}

//! Who this member is, and whom it met: one small file in its folder. It keeps a folder
//! from being served as another member's, and a member that lost its folder from voting
//! as if it had never said anything.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use crate::disk::{self, die};

const TITLE: &str = "raftlab-raft-rs member 1";

pub struct Member {
    path: PathBuf,
    id: String,
    group: String, // all ids, in order
    pub incarnation: u64,
    /// Somebody knew an earlier folder of this member: it does not vote until it has
    /// caught up, as it does not know what it said then.
    pub rejoining: bool,
    /// Its log is there.
    pub begun: bool,
    pub met: Vec<u64>,
}

impl Member {
    /// Reads the file, or makes one in a new folder.
    pub fn open(dir: &Path, id: &str, ids: &[&str]) -> Member {
        let path = dir.join("member");
        let group = ids.join(",");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                if ["log", "snapshot"].iter().any(|f| dir.join(f).exists()) {
                    die(format!("{} is missing beside a log or a snapshot: start this member with an empty folder", path.display()));
                }
                let m =
                    Member { path, id: id.into(), group, incarnation: random(), rejoining: false, begun: false, met: vec![0; ids.len()] };
                m.save();
                return m;
            }
            Err(e) => die(format!("{}: {e}", path.display())),
        };
        let m = Member::parse(path.clone(), &text, ids.len()).unwrap_or_else(|| die(format!("{} is damaged", path.display())));
        if m.id != id || m.group != group {
            die(format!(
                "{} is the folder of {} of the group {}, not of {id} of {group}: give each member its own",
                dir.display(),
                m.id,
                m.group
            ));
        }
        m
    }

    fn parse(path: PathBuf, text: &str, members: usize) -> Option<Member> {
        let (body, sum) = text.trim_end().rsplit_once("\ncrc ")?;
        let mut lines = body.lines();
        if lines.next() != Some(TITLE) || sum.parse() != Ok(crc32c::crc32c(body.as_bytes())) {
            return None;
        }
        let mut next = |key| lines.next().and_then(|l: &str| l.strip_prefix(key)).map(str::trim);
        let (id, group) = (next("id")?.into(), String::from(next("group")?));
        let (incarnation, rejoining, begun) = (next("incarnation")?.parse().ok()?, next("rejoining")? == "true", next("begun")? == "true");
        let met: Vec<u64> = next("met")?.split(' ').map(|n| n.parse().ok()).collect::<Option<_>>()?;
        (met.len() == members || group.split(',').count() != members).then_some(Member {
            path,
            id,
            group,
            incarnation,
            rejoining,
            begun,
            met,
        })
    }

    pub fn save(&self) {
        let met: Vec<_> = self.met.iter().map(u64::to_string).collect();
        let body = format!(
            "{TITLE}\nid {}\ngroup {}\nincarnation {}\nrejoining {}\nbegun {}\nmet {}",
            self.id,
            self.group,
            self.incarnation,
            self.rejoining,
            self.begun,
            met.join(" ")
        );
        let sum = crc32c::crc32c(body.as_bytes());
        disk::replace(&self.path, |to| writeln!(to, "{body}\ncrc {sum}")).unwrap_or_else(|e| die(format!("{}: {e}", self.path.display())));
    }
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    let read = fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.unwrap_or_else(|e| die(format!("/dev/urandom: {e}")));
    u64::from_be_bytes(bytes).max(1)
}

//! The file of a member's snapshot: where in the log it ends, then the map as
//! the Go package `kv` writes it. It is replaced whole.
//!
//!     "raftlab-raft-rs snapshot 1\n" index term crc (8, 8, 4 bytes; of the two before it) map

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::kv::State;
use crate::log::At;

const MAGIC: &[u8] = b"raftlab-raft-rs snapshot 1\n";

pub fn path(dir: &Path) -> PathBuf {
    dir.join("snapshot")
}

/// One that is being received; it takes path's place when the node installs it.
pub fn incoming(dir: &Path) -> PathBuf {
    dir.join("snapshot.incoming")
}

/// One that this member is writing.
pub fn outgoing(dir: &Path) -> PathBuf {
    dir.join("snapshot.new")
}

/// Writes and flushes it.
pub fn write(path: &Path, at: At, state: &State) -> io::Result<()> {
    disk::write_synced(path, |to| {
        to.write_all(MAGIC)?;
        to.write_all(&place(at))?;
        state.write_to(to)
    })
}

fn place(at: At) -> Vec<u8> {
    let numbers = [at.index.to_be_bytes(), at.term.to_be_bytes()].concat();
    let sum = crc32c::crc32c(&numbers);
    [numbers.as_slice(), &sum.to_be_bytes()].concat()
}

fn read_place(from: &mut impl Read) -> io::Result<At> {
    let mut head = [0; MAGIC.len() + 20];
    from.read_exact(&mut head)?;
    let (magic, rest) = head.split_at(MAGIC.len());
    let number = |i: usize| u64::from_be_bytes(rest[i..i + 8].try_into().expect("8 bytes"));
    let at = At { index: number(0), term: number(8) };
    if magic != MAGIC || rest != place(at) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "damaged snapshot: its beginning"));
    }
    Ok(at)
}

/// Opens it to be sent: the whole file, and where it ends in the log.
pub fn open(path: &Path) -> io::Result<(File, At)> {
    let mut file = File::open(path)?;
    let at = read_place(&mut file)?;
    file.rewind()?;
    Ok((file, at))
}

/// Reads it whole.
pub fn load(path: &Path) -> io::Result<(At, State)> {
    let mut from = BufReader::with_capacity(256 << 10, File::open(path)?);
    Ok((read_place(&mut from)?, State::read_from(&mut from)?))
}

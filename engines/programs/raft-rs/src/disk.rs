//! What this program itself does to files: a file that is replaced whole or not at all,
//! and the file system under raft-engine, which decides what of a log's end may be
//! dropped. A failure ends the process: nothing goes on after a write that failed.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raft_engine::env::{DefaultFileSystem, FileSystem, Handle, Permission};

/// Ends the process with one line.
pub fn die(why: impl std::fmt::Display) -> ! {
    eprintln!("raftlab-raft-rs: {why}");
    std::process::exit(1)
}

/// Puts what write writes where path is, durably: readers find the old or the new.
pub fn replace(path: &Path, write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    write_synced(&temporary, write)?;
    rename(&temporary, path)
}

/// Writes a file and flushes it.
pub fn write_synced(path: &Path, write: impl FnOnce(&mut io::BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut to = io::BufWriter::with_capacity(256 << 10, File::create(path)?);
    write(&mut to)?;
    to.flush()?;
    to.get_ref().sync_all()
}

/// Renames a flushed file durably.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    File::open(to.parent().expect("it is in a folder"))?.sync_all()
}

/// The file system under raft-engine, which makes its recovery `strict`. After a crash the last file
/// ends in what was being written, and raft-engine, told to tolerate that, cuts the file
/// where the first batch is that it cannot read, wherever that is. Such a cut is allowed
/// only where a crash explains it: a write that was not finished leaves zeros, which the
/// file was allocated with, where damage leaves other bytes, or has whole batches behind it.
pub struct Guarded {
    pub strict: bool,
}

pub struct GuardedHandle {
    inner: Arc<<DefaultFileSystem as FileSystem>::Handle>,
    path: PathBuf,
    strict: bool,
}

const SECTOR: usize = 512;
const BATCH_HEADER: usize = 16;

/// Whether rest, from the first batch of a file that cannot be read to the file's end, is
/// what a crash leaves of one write.
fn is_unfinished_write(rest: &[u8]) -> bool {
    let used = rest.iter().rposition(|b| *b != 0).map_or(0, |n| n + 1);
    if used == 0 {
        return true;
    }
    // The header says how long the batch is, in the upper seven of its first eight bytes.
    let length = match rest.first_chunk::<8>() {
        Some(head) if rest.len() >= BATCH_HEADER => (u64::from_be_bytes(*head) >> 8) as usize,
        _ => return true, // less than a header is left
    };
    if length < BATCH_HEADER {
        return false; // no header, and yet something behind it
    }
    if used > length {
        return false; // more behind it
    }
    // All of it is there, unless some of it was never written.
    used + 8 < length || rest[..used].chunks_exact(SECTOR).any(|s| s.iter().all(|b| *b == 0))
}

impl Handle for GuardedHandle {
    fn truncate(&self, offset: usize) -> io::Result<()> {
        let mut rest = vec![0; self.inner.file_size()?.saturating_sub(offset)];
        File::open(&self.path)?.read_exact_at(&mut rest, offset as u64)?;
        if self.strict && !is_unfinished_write(&rest) {
            die(format!(
                "the log is damaged: {} cannot be read from byte {offset} on, and no crash explains it: \
                 start this member with an empty folder, and the others bring it up to date",
                self.path.display()
            ));
        }
        self.inner.truncate(offset)
    }
    fn file_size(&self) -> io::Result<usize> {
        self.inner.file_size()
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}

impl Guarded {
    fn handle(&self, inner: <DefaultFileSystem as FileSystem>::Handle, path: &Path) -> GuardedHandle {
        GuardedHandle { inner: Arc::new(inner), path: path.to_path_buf(), strict: self.strict }
    }
}

impl FileSystem for Guarded {
    type Handle = GuardedHandle;
    type Reader = <DefaultFileSystem as FileSystem>::Reader;
    type Writer = <DefaultFileSystem as FileSystem>::Writer;

    fn create<P: AsRef<Path>>(&self, path: P) -> io::Result<GuardedHandle> {
        Ok(self.handle(DefaultFileSystem.create(&path)?, path.as_ref()))
    }
    fn open<P: AsRef<Path>>(&self, path: P, permission: Permission) -> io::Result<GuardedHandle> {
        Ok(self.handle(DefaultFileSystem.open(&path, permission)?, path.as_ref()))
    }
    fn delete<P: AsRef<Path>>(&self, path: P) -> io::Result<()> {
        DefaultFileSystem.delete(path)
    }
    fn rename<P: AsRef<Path>>(&self, from: P, to: P) -> io::Result<()> {
        DefaultFileSystem.rename(from, to)
    }
    fn new_reader(&self, handle: Arc<GuardedHandle>) -> io::Result<Self::Reader> {
        DefaultFileSystem.new_reader(handle.inner.clone())
    }
    fn new_writer(&self, handle: Arc<GuardedHandle>) -> io::Result<Self::Writer> {
        DefaultFileSystem.new_writer(handle.inner.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::is_unfinished_write;

    fn batch(length: usize, fill: u8) -> Vec<u8> {
        let mut b = vec![fill; length];
        b[..8].copy_from_slice(&((length as u64) << 8).to_be_bytes());
        b
    }

    #[test]
    fn a_crash_leaves_zeros_and_damage_does_not() {
        let room = vec![0; 4096];
        assert!(is_unfinished_write(&room), "allocated, never written");
        let whole = batch(3000, 7);
        assert!(!is_unfinished_write(&[&whole[..], &room].concat()), "all of it is there");
        assert!(is_unfinished_write(&[&whole[..1000], &room].concat()), "only its beginning");
        let mut hole = whole.clone();
        hole[512..1024].fill(0);
        assert!(is_unfinished_write(&[&hole[..], &room].concat()), "a sector never came to the disk");
        assert!(!is_unfinished_write(&[&hole[..], &whole, &room].concat()), "later ones are there");
        let mut headless = whole.clone();
        headless[..16].fill(0);
        assert!(!is_unfinished_write(&[&headless[..], &room].concat()));
        assert!(is_unfinished_write(&whole[..10]), "less than a header");
    }
}

//! What a member runs with: the table of keys, the file that sets them, and `describe`.

use std::collections::BTreeMap;
use std::time::Duration;

/// A key: its default, what it means, and the kind of value that it takes.
struct Key {
    name: &'static str,
    default: &'static str,
    kind: Kind,
    doc: &'static str,
}

enum Kind {
    Microseconds,
    Number(u64, u64),
    Words(&'static [&'static str]),
}

const BOOL: Kind = Kind::Words(&["true", "false"]);

/// The defaults are those of the library's example of production, TiKV, at a heartbeat
/// timeout of one second; purge_threshold alone is smaller (there 10 GB).
const KEYS: &[Key] = &[
    Key {
        name: "heartbeat_timeout",
        default: "1000000us",
        kind: Kind::Microseconds,
        doc: "a follower stands for election after a random time of one to two times this without a leader; 20 ticks, and a heartbeat every 2",
    },
    Key {
        name: "max_append_entries",
        default: "1024",
        kind: Kind::Number(1, 1 << 32),
        doc: "entries of one message; the library bounds bytes only, so longer messages are split when they are sent",
    },
    Key {
        name: "max_append_bytes",
        default: "1048576",
        kind: Kind::Number(0, 1 << 30),
        doc: "bytes of one message, beyond its first entry",
    },
    Key { name: "max_in_flight", default: "256", kind: Kind::Number(1, 1 << 20), doc: "messages under way to one follower" },
    Key { name: "pre_vote", default: "true", kind: BOOL, doc: "ask whether an election could be won before one begins" },
    Key {
        name: "snapshot_threshold",
        default: "100000",
        kind: Kind::Number(0, u64::MAX),
        doc: "new entries that make a snapshot; 0: only those asked for",
    },
    Key { name: "trailing_logs", default: "10000", kind: Kind::Number(0, u64::MAX), doc: "entries kept in the log behind a snapshot" },
    Key {
        name: "check_quorum",
        default: "true",
        kind: BOOL,
        doc: "a leader that does not hear from a majority steps down; without it there are no lease reads",
    },
    Key { name: "batch_append", default: "true", kind: BOOL, doc: "entries join a message to the follower that has not been sent yet" },
    Key {
        name: "recovery_mode",
        default: "strict",
        kind: Kind::Words(&["strict", "tolerate-tail-corruption", "absolute-consistency"]),
        doc: "strict drops what a crash left of an unfinished write at the log's end, and nothing else; the others are the library's",
    },
    Key {
        name: "log_file_bytes",
        default: "67108864",
        kind: Kind::Number(1 << 20, 1 << 32),
        doc: "size at which raft-engine begins a new file",
    },
    Key {
        name: "purge_threshold",
        default: "268435456",
        kind: Kind::Number(1 << 20, 1 << 40),
        doc: "bytes of log files beyond which raft-engine deletes those without live entries, after a snapshot; at least log_file_bytes",
    },
    Key {
        name: "batch_compression_threshold",
        default: "8192",
        kind: Kind::Number(0, 1 << 30),
        doc: "bytes of a write from which on raft-engine compresses it (LZ4); 0: never",
    },
];

#[derive(Clone)]
pub struct Settings {
    values: BTreeMap<&'static str, String>,
}

impl Settings {
    /// Reads the text of a settings file; an error names the line and the mend.
    pub fn parse(file: &str, text: &str) -> Result<Settings, String> {
        let mut values: BTreeMap<_, _> = KEYS.iter().map(|k| (k.name, k.default.to_string())).collect();
        let mut seen = Vec::new();
        for (i, line) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = format!("{file}:{i}");
            let (name, value) = line.split_once('=').ok_or(format!("{at}: {line:?}: want key = value"))?;
            let (name, value) = (name.trim(), value.trim());
            let known = || KEYS.iter().map(|k| k.name).collect::<Vec<_>>().join(", ");
            let key =
                KEYS.iter().find(|k| k.name == name).ok_or_else(|| format!("{at}: unknown setting {name:?}: there are {}", known()))?;
            if seen.contains(&key.name) {
                return Err(format!("{at}: {name} is set twice"));
            }
            seen.push(key.name);
            key.check(value).map_err(|e| format!("{at}: {name} = {value:?}: {e}"))?;
            values.insert(key.name, value.to_string());
        }
        let s = Settings { values };
        if s.number("purge_threshold") < s.number("log_file_bytes") {
            return Err(format!("{file}: purge_threshold is less than log_file_bytes: raft-engine deletes whole files"));
        }
        Ok(s)
    }

    pub fn word(&self, name: &str) -> &str {
        &self.values[name]
    }

    pub fn is(&self, name: &str) -> bool {
        self.word(name) == "true"
    }

    pub fn number(&self, name: &str) -> u64 {
        self.word(name).parse().expect("checked when it was read")
    }

    pub fn heartbeat_timeout(&self) -> Duration {
        Duration::from_micros(microseconds(self.word("heartbeat_timeout")).expect("checked when it was read"))
    }

    /// The answer of `describe`.
    pub fn describe(&self) -> String {
        let levels: &[&str] = if self.is("check_quorum") { &["linearizable", "lease", "stale"] } else { &["linearizable", "stale"] };
        let part = |name: &str, library: &str, version: &str| {
            object([("name", quote(name)), ("library", quote(library)), ("version", quote(version))])
        };
        let settings = object(
            KEYS.iter().map(|k| (k.name, object([("default", quote(k.default)), ("doc", quote(k.doc)), ("honoured", "true".into())]))),
        );
        let runs = self.values.iter().map(|(k, v)| match *k {
            "max_append_entries" => (*k, quote(&format!("{v} (this program splits longer messages)"))),
            _ => (*k, quote(v)),
        });
        object([
            ("protocol", "1".into()),
            ("engine", quote("raft-rs")),
            ("library", quote("raft")),
            ("version", quote("0.7.0")),
            ("language", quote(concat!("Rust ", env!("RUST_VERSION")))),
            ("storage", part("raft-engine, fdatasync before a message that answers for it", "raft-engine", "0.4.2")),
            ("transport", part("TCP, one connection each way, one more for a snapshot", "tokio", "1")),
            ("durability", quote("disk")),
            ("read_levels", list(levels)),
            ("reads", quote("read index")),
            ("features", list(&["transfer", "snapshot", "links", "checksums"])),
            ("ours", quote("driver, framing, snapshots, identity, results, reads, state machine, server")),
            ("settings", settings),
            ("runs", object(runs)),
        ])
    }
}

impl Key {
    fn check(&self, value: &str) -> Result<(), String> {
        match self.kind {
            Kind::Microseconds => match microseconds(value) {
                Some(n) if (20_000..=3_600_000_000).contains(&n) => Ok(()),
                Some(_) => Err("want 20000us to an hour: a tick is a twentieth of it".into()),
                None => Err("want whole microseconds, as 1000000us".into()),
            },
            Kind::Number(low, high) => match value.parse::<u64>() {
                Ok(n) if (low..=high).contains(&n) => Ok(()),
                _ => Err(format!("want a whole number from {low} to {high}")),
            },
            Kind::Words(words) if words.contains(&value) => Ok(()),
            Kind::Words(words) => Err(format!("want one of {}", words.join(", "))),
        }
    }
}

fn microseconds(value: &str) -> Option<u64> {
    value.strip_suffix("us")?.parse().ok()
}

fn quote(s: &str) -> String {
    format!("\"{}\"", s.replace('\\', "\\\\").replace('"', "\\\""))
}

fn object<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<_> = fields.into_iter().map(|(k, v)| format!("{}: {v}", quote(k))).collect();
    format!("{{{}}}", fields.join(", "))
}

fn list(words: &[&str]) -> String {
    format!("[{}]", words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn a_settings_file_is_read_and_its_mistakes_are_named() {
        let s = Settings::parse("f", "# all\n\nheartbeat_timeout = 300000us\npre_vote = false\n").unwrap();
        assert_eq!((s.heartbeat_timeout().as_millis(), s.is("pre_vote"), s.number("max_in_flight")), (300, false, 256));
        for (text, said) in [
            ("pre_vote", "f:1: \"pre_vote\": want key = value"),
            ("\nnone = 1", "f:2: unknown setting \"none\""),
            ("heartbeat_timeout = 1s", "want whole microseconds"),
            ("max_in_flight = 0", "want a whole number from 1"),
            ("pre_vote = yes", "want one of true, false"),
            ("pre_vote = true\npre_vote = true", "f:2: pre_vote is set twice"),
        ] {
            let e = Settings::parse("f", text).err().expect(text);
            assert!(e.contains(said), "{text:?}: {e}");
        }
        let described: serde_json::Value = serde_json::from_str(&s.describe()).unwrap();
        assert_eq!(described["runs"]["heartbeat_timeout"], "300000us");
        assert_eq!(described["settings"]["pre_vote"]["default"], "true");
    }
}

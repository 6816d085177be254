package raftlab.ratis;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** What a member runs with: the settings of a file over the defaults, which are Ratis' own where a doc does not say otherwise. */
final class Settings {
  /** All settings, with their defaults. */
  enum Key {
    HEARTBEAT_TIMEOUT("150000us", Kind.DURATION, 1000, 3_600_000_000L,
        "raft.server.rpc.timeout.min, and twice it as timeout.max, in whole milliseconds; a leader that is idle sends after half of it"),
    MAX_APPEND_ENTRIES("0", Kind.NUMBER, 0, 1 << 20,
        "raft.server.log.appender.buffer.element-limit; 0: as many as max_append_bytes holds"),
    MAX_APPEND_BYTES("4194304", Kind.NUMBER, 4096, 64 << 20,
        "raft.server.log.appender.buffer.byte-limit, which includes the first entry: so that the largest write can be sent, it is 17 MiB at least"),
    MAX_IN_FLIGHT("8", Kind.NUMBER, 1, 1 << 16, "raft.grpc.server.leader.outstanding.appends.max"),
    PRE_VOTE("true", Kind.CHOICE, 0, 0, "raft.server.leaderelection.pre-vote", "true", "false"),
    SNAPSHOT_THRESHOLD("0", Kind.NUMBER, 0, 1L << 40, "raft.server.snapshot.auto.trigger.threshold; 0: off"),
    TRAILING_LOGS("0", Kind.NUMBER, 0, 1L << 40,
        "raft.server.log.purge.preservation.log.num; the log is cut in whole segments that are closed, see segment_bytes"),
    HEAP("512m", Kind.HEAP, 0, 0, "heap of the Java virtual machine, least and most: a number and m or g"),
    GC("G1", Kind.CHOICE, 0, 0, "garbage collector", "G1", "Parallel", "Serial", "Z"),
    THREADS("4", Kind.NUMBER, 1, 1024, "threads that serve clients"),
    APPENDER_WAIT("0us", Kind.DURATION, 0, 1_000_000,
        "raft.server.log.appender.wait-time.min, between two messages to a follower; the library's own is 1 ms"),
    FORCE_SYNC_NUM("0", Kind.NUMBER, 0, 1 << 20,
        "raft.server.log.force.sync.num: entries that are written before a flush although more wait; 0: as many as a message holds, 128 (the library's own) at least"),
    LOG_METADATA("true", Kind.CHOICE, 0, 0,
        "raft.server.log.log-metadata.enabled: an entry with the commit index follows each that is committed", "true", "false"),
    COMPOSE_APPENDS("false", Kind.CHOICE, 0, 0,
        "raft.server.log.append-entries.compose.enabled; true, the library's own since 3.2: a follower writes a message only once"
            + " the one before it is flushed, a flush for each (RATIS-2235, RATIS-2387)", "true", "false"),
    SEGMENT_BYTES("33554432", Kind.NUMBER, 65536, 1 << 30, "raft.server.log.segment.size.max");

    final String text;
    final String doc;
    private final Kind kind;
    private final long least;
    private final long most;
    private final List<String> choices;

    Key(String text, Kind kind, long least, long most, String doc, String... choices) {
      this.text = text;
      this.kind = kind;
      this.least = least;
      this.most = most;
      this.doc = doc;
      this.choices = List.of(choices);
    }

    String key() {
      return name().toLowerCase(java.util.Locale.ROOT);
    }

    private String wanted() {
      return switch (kind) {
        case CHOICE -> "one of " + String.join(", ", choices);
        case HEAP -> "a number of megabytes or gigabytes, such as 512m";
        case DURATION -> "whole microseconds from " + least + "us to " + most + "us";
        case NUMBER -> "a whole number from " + least + " to " + most;
      };
    }

    private boolean takes(String value) {
      return switch (kind) {
        case CHOICE -> choices.contains(value);
        case HEAP -> HEAP_WORD.matcher(value).matches();
        case DURATION -> value.endsWith("us") && inRange(value.substring(0, value.length() - 2));
        case NUMBER -> inRange(value);
      };
    }

    private boolean inRange(String value) {
      return DIGITS.matcher(value).matches() && Long.parseLong(value) >= least && Long.parseLong(value) <= most;
    }
  }

  private enum Kind { NUMBER, DURATION, CHOICE, HEAP }

  private static final long LARGEST_ENTRY_BYTES = 17 << 20; // a request at its limit, its encoding and its place in the log
  private static final Pattern DIGITS = Pattern.compile("[0-9]{1,15}");
  private static final Pattern HEAP_WORD = Pattern.compile("[1-9][0-9]{0,6}[mg]"); // as in the launcher

  private final Map<Key, String> values = new EnumMap<>(Key.class);

  /** Returns the defaults, or those with what the file says. */
  static Settings read(Path file) throws UsageException {
    var s = new Settings();
    for (Key k : Key.values()) {
      s.values.put(k, k.text);
    }
    if (file == null) {
      return s;
    }
    try {
      int number = 0;
      for (String line : Files.readAllLines(file)) {
        s.line(file + ":" + ++number + ": ", line.strip());
      }
    } catch (IOException e) {
      throw new UsageException("--settings: cannot read " + file + ": " + e);
    }
    return s;
  }

  private void line(String place, String line) throws UsageException {
    if (line.isEmpty() || line.startsWith("#")) {
      return;
    }
    String[] parts = line.split("=", 2);
    if (parts.length < 2) {
      throw new UsageException(place + "\"" + line + "\" is not key = value");
    }
    String name = parts[0].strip();
    String value = parts[1].strip();
    Key key = Arrays.stream(Key.values()).filter(k -> k.key().equals(name)).findFirst().orElseThrow(() ->
        new UsageException(place + "there is no setting " + name + "; there are "
            + String.join(", ", Arrays.stream(Key.values()).map(Key::key).toList())));
    if (!key.takes(value)) {
      throw new UsageException(place + name + " = " + value + ": it takes " + key.wanted());
    }
    values.put(key, value);
  }

  String text(Key key) {
    return values.get(key);
  }

  long number(Key key) {
    return Long.parseLong(values.get(key));
  }

  boolean is(Key key) {
    return values.get(key).equals("true");
  }

  long micros(Key key) {
    String v = values.get(key);
    return Long.parseLong(v.substring(0, v.length() - 2));
  }

  /** How many bytes a message holds at most: what is larger by itself would never be sent. */
  long appendBytes() {
    return Math.max(LARGEST_ENTRY_BYTES, number(Key.MAX_APPEND_BYTES));
  }

  /** How many entries are written at most before they are flushed. */
  int forceSyncNum() {
    long n = number(Key.FORCE_SYNC_NUM);
    return (int) (n > 0 ? n : Math.max(128, number(Key.MAX_APPEND_ENTRIES)));
  }
}

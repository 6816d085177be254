package raftlab.ratis;

import static raftlab.ratis.Answer.fields;

import java.io.IOException;
import java.io.InputStream;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.StringJoiner;
import raftlab.ratis.Settings.Key;

/** What the program says about itself: the object that describe prints. */
final class Description {
  /**
   * After so many operations of 64 clients the virtual machine has compiled what matters: from there on CPU time per
   * operation falls by a tenth at most, having fallen to a fifth.
   */
  private static final int WARMUP_OPERATIONS = 60_000;

  private static final String SERVER = "org.apache.ratis:ratis-server";

  private Description() {}

  static String of(Settings settings) throws IOException {
    var versions = new Properties();
    try (InputStream in = Description.class.getResourceAsStream("/versions.properties")) {
      versions.load(in);
    }
    String ratis = versions.getProperty("ratis");
    var known = new LinkedHashMap<String, Object>();
    for (Key k : Key.values()) {
      known.put(k.key(), fields("default", k.text, "doc", k.doc, "honoured", true));
    }
    return json(fields("protocol", 1, "engine", "ratis", "library", SERVER, "version", ratis,
        "language", "Java " + System.getProperty("java.version"),
        "storage", fields("name", "segmented log, forced for each batch", "library", SERVER, "version", ratis),
        "transport", fields("name", "gRPC streams", "library", "org.apache.ratis:ratis-grpc", "version", ratis),
        "durability", "disk", "read_levels", Commands.LEVELS, "reads", "log entry",
        "warmup_operations", WARMUP_OPERATIONS, "ours", "reads, state machine, server",
        "features", List.of("transfer", "snapshot", "links", "checksums"), "settings", known, "runs", runs(settings)));
  }

  private static Map<String, Object> runs(Settings settings) {
    var m = new LinkedHashMap<String, Object>();
    for (Key k : Key.values()) {
      m.put(k.key(), settings.text(k));
    }
    m.put("max_append_bytes", String.valueOf(settings.appendBytes()));
    m.put("force_sync_num", String.valueOf(settings.forceSyncNum()));
    m.put("heartbeat_interval", settings.micros(Key.HEARTBEAT_TIMEOUT) / 1000 / 2 + "ms: half of the timeout, the library's own");
    m.put("flush", "FileChannel.force(false) for each batch, before it counts (unsafe-flush and async-flush off)");
    m.put("reads", "an entry without a command, which reads share that wait at the same time: the library's read index trusts an"
        + " index that was once confirmed, also after another member has become leader");
    m.put("retry_cache", Member.RETRY_CACHE + ": no request is sent again");
    m.put("java", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
    return m;
  }

  private static String json(Object o) {
    if (o instanceof Map<?, ?> map) {
      var j = new StringJoiner(", ", "{", "}");
      map.forEach((k, v) -> j.add(json(k) + ": " + json(v)));
      return j.toString();
    }
    if (o instanceof List<?> list) {
      var j = new StringJoiner(", ", "[", "]");
      list.forEach(v -> j.add(json(v)));
      return j.toString();
    }
    // The texts are this program's own, without control characters.
    return o instanceof String s ? '"' + s.replace("\\", "\\\\").replace("\"", "\\\"") + '"' : String.valueOf(o);
  }
}

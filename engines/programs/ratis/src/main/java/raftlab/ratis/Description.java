package raftlab.ratis;

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
  private Description() {}

  static String of(Settings settings) throws IOException {
    var versions = new Properties();
    try (InputStream in = Description.class.getResourceAsStream("/versions.properties")) {
      versions.load(in);
    }
    String ratis = versions.getProperty("ratis");
    var d = new LinkedHashMap<String, Object>();
    d.put("protocol", 1);
    d.put("engine", "ratis");
    d.put("library", "org.apache.ratis:ratis-server");
    d.put("version", ratis);
    d.put("language", "Java " + System.getProperty("java.version"));
    d.put("storage", library("segmented log, forced for each batch", "org.apache.ratis:ratis-server", ratis));
    d.put("transport", library("gRPC streams", "org.apache.ratis:ratis-grpc", ratis));
    d.put("durability", "disk");
    d.put("read_levels", Commands.LEVELS);
    d.put("reads", "log entry");
    d.put("ours", "reads, state machine, server");
    d.put("features", List.of("transfer", "snapshot", "links", "checksums"));
    var known = new LinkedHashMap<String, Object>();
    for (Key k : Key.values()) {
      var one = new LinkedHashMap<String, Object>();
      one.put("default", k.text);
      one.put("doc", k.doc);
      one.put("honoured", true);
      known.put(k.key(), one);
    }
    d.put("settings", known);
    d.put("runs", runs(settings));
    return json(d);
  }

  private static Map<String, Object> library(String name, String library, String version) {
    var m = new LinkedHashMap<String, Object>();
    m.put("name", name);
    m.put("library", library);
    m.put("version", version);
    return m;
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

package raftlab.ratis;

import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/** The command line of a member. */
record Flags(String id, Address raft, Address resp, Path data, Map<String, Address> members,
    Map<String, Address> respMembers, Path settings) {
  static final String USAGE = "usage: raftlab-ratis --id n1 --raft H:P --resp H:P --data DIR --members n1=H:P,n2=H:P,n3=H:P"
      + " [--resp-members n1=H:P,...] [--settings FILE], or raftlab-ratis describe [--settings FILE]";

  private static final Pattern ID = Pattern.compile("[A-Za-z0-9_.-]{1,64}");
  private static final List<String> NAMES = List.of("id", "raft", "resp", "data", "members", "resp-members", "settings");

  /** A host and a port, as they were given. */
  record Address(String host, int port) {
    static Address of(String flag, String text) throws UsageException {
      int colon = text.lastIndexOf(':');
      try {
        int port = Integer.parseInt(text.substring(colon + 1));
        String host = text.substring(0, Math.max(colon, 0));
        if (!host.isEmpty() && !host.contains("/") && !host.contains(" ") && port > 0 && port < 65536) {
          return new Address(host, port);
        }
      } catch (NumberFormatException e) { // told below
      }
      throw new UsageException("--" + flag + ": \"" + text + "\" is no address: host:port is one, with a port from 1 to 65535");
    }

    @Override
    public String toString() {
      return host + ":" + port;
    }

    String bareHost() {
      return host.startsWith("[") && host.endsWith("]") ? host.substring(1, host.length() - 1) : host;
    }
  }

  static Flags parse(String[] words) throws UsageException {
    Map<String, String> given = words(words);
    for (String name : NAMES.subList(0, 5)) {
      if (given.getOrDefault(name, "").isEmpty()) {
        throw new UsageException("--" + name + " is missing; " + USAGE);
      }
    }
    var members = members("members", given.get("members"));
    String id = given.get("id");
    if (!members.containsKey(id)) {
      throw new UsageException("--id " + id + " is none of --members " + given.get("members"));
    }
    return new Flags(id, Address.of("raft", given.get("raft")), Address.of("resp", given.get("resp")),
        Path.of(given.get("data")), members, members("resp-members", given.getOrDefault("resp-members", "")),
        settings(given));
  }

  /** Returns the settings file of describe, or null. */
  static Path describe(String[] words) throws UsageException {
    Map<String, String> given = words(Arrays.copyOfRange(words, 1, words.length));
    for (String name : given.keySet()) {
      if (!name.equals("settings")) {
        throw new UsageException("describe does not take --" + name + "; " + USAGE);
      }
    }
    return settings(given);
  }

  private static Path settings(Map<String, String> given) {
    return given.containsKey("settings") ? Path.of(given.get("settings")) : null;
  }

  private static Map<String, String> words(String[] words) throws UsageException {
    var given = new HashMap<String, String>();
    for (int i = 0; i < words.length; i++) {
      String[] flag = words[i].split("=", 2);
      String name = flag[0].startsWith("--") ? flag[0].substring(2) : "";
      if (!NAMES.contains(name)) {
        throw new UsageException("there is no flag " + words[i] + "; " + USAGE);
      }
      if (flag.length < 2 && i + 1 == words.length) {
        throw new UsageException("--" + name + " needs a value; " + USAGE);
      }
      if (given.put(name, flag.length > 1 ? flag[1] : words[++i]) != null) {
        throw new UsageException("--" + name + " is given twice");
      }
    }
    return given;
  }

  private static Map<String, Address> members(String flag, String list) throws UsageException {
    var members = new LinkedHashMap<String, Address>();
    for (String member : list.isEmpty() ? new String[0] : list.split(",", -1)) {
      String[] parts = member.split("=", 2);
      if (parts.length < 2 || !ID.matcher(parts[0]).matches()) {
        throw new UsageException("--" + flag + ": \"" + member + "\" is not id=host:port, with an id of letters, digits, _, . and -");
      }
      if (members.put(parts[0], Address.of(flag, parts[1])) != null) {
        throw new UsageException("--" + flag + ": " + parts[0] + " stands there twice");
      }
    }
    return members;
  }
}

package raftlab.ratis;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * Whose a data folder is: a member of one group, and no other may run on it. It stands in the
 * file "member" of the folder; the library's log and term are in the folder "raft".
 */
final class Identity {
  private final Path data;
  private final String text;
  final UUID group;

  /** The group's id follows from its members, so that all of them find the same. */
  Identity(Path data, String id, Map<String, Flags.Address> members) {
    this.data = data;
    String list = new TreeMap<>(members).toString();
    group = UUID.nameUUIDFromBytes(KvMap.bytes("raftlab-ratis " + list));
    text = "raftlab-ratis 1\nid " + id + "\nmembers " + list + "\n";
  }

  Path storage() {
    return data.resolve("raft");
  }

  /** Makes the folder this member's, or finds that it is; it must not have lost what it had. */
  void claim() throws IOException {
    Files.createDirectories(storage());
    Path file = data.resolve("member");
    Path meta = storage().resolve(group.toString()).resolve("current").resolve("raft-meta");
    if (!Files.exists(file)) {
      try (Stream<Path> inside = Files.list(storage())) {
        if (inside.findAny().isPresent()) {
          throw new IOException(data + " has a log and no file that says whose: it is not a folder of this program, or is damaged; give an empty one");
        }
      }
      write(file, text + "began\n");
      return;
    }
    String is = Files.readString(file);
    if (!is.startsWith(text)) {
      throw new IOException(data + " belongs to another member or group (" + oneLine(is) + "), not to this (" + oneLine(text) + "); give it its own folder");
    }
    if (is.endsWith("runs\n") && !Files.exists(meta)) {
      throw new IOException(data + " has lost its term and vote: there is no " + meta + "; the member must not go on under its id");
    }
  }

  /** Says that there is a term and a vote to lose from now on. */
  void running() throws IOException {
    Path file = data.resolve("member");
    if (!Files.readString(file).endsWith("runs\n")) {
      write(file, text + "runs\n");
    }
  }

  private static String oneLine(String s) {
    return s.strip().replace("\n", ", ");
  }

  private static void write(Path file, String text) throws IOException {
    Path next = file.resolveSibling(file.getFileName() + ".next");
    try (var out = FileChannel.open(next, StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)) {
      out.write(ByteBuffer.wrap(KvMap.bytes(text)));
      out.force(true);
    }
    Files.move(next, file, StandardCopyOption.ATOMIC_MOVE);
    forceFolder(file.toAbsolutePath().getParent());
  }

  /** Makes names in a folder durable. */
  static void forceFolder(Path folder) throws IOException {
    try (var in = FileChannel.open(folder, StandardOpenOption.READ)) {
      in.force(true);
    }
  }
}

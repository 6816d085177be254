package raftlab.ratis;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.zip.CRC32C;
import java.util.zip.CheckedOutputStream;

/** The map as bytes, in the format of kv/snapshot.go, and the digest over them. */
final class Snapshot {
  private static final byte[] MAGIC = KvMap.bytes("raftlab-kv");
  private static final int VERSION = 1;
  private static final int BUFFER_BYTES = 256 << 10;
  private static final int STEP_BYTES = 1 << 20;

  private Snapshot() {}

  /** Writes the state of this moment; nothing is applied meanwhile. */
  static void write(KvMap map, OutputStream to) throws IOException {
    var sum = new CRC32C();
    var out = new BufferedOutputStream(new CheckedOutputStream(to, sum), BUFFER_BYTES);
    out.write(MAGIC);
    number(out, VERSION);
    map.look(s -> state(s, out));
    out.flush();
    long crc = sum.getValue();
    for (int i = 0; i < 4; i++) {
      to.write((int) (crc >>> 8 * i));
    }
    to.flush();
  }

  record Digest(long keys, long commands, byte[] sha256) {}

  static Digest digest(KvMap map) {
    try {
      var sha = MessageDigest.getInstance("SHA-256");
      return map.look(s -> {
        var out = new BufferedOutputStream(new DigestOutputStream(OutputStream.nullOutputStream(), sha), BUFFER_BYTES);
        state(s, out).flush();
        return new Digest(s.entries.size(), s.commands, sha.digest());
      });
    } catch (IOException | NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has SHA-256, and nothing is written
    }
  }

  private static OutputStream state(KvMap.State s, OutputStream out) throws IOException {
    for (long n : new long[] {s.index, s.commands, s.refused, s.lastRefused, s.nodes.size()}) {
      number(out, n);
    }
    for (var node : s.nodes.entrySet()) {
      sized(out, node.getKey());
      sized(out, node.getValue());
    }
    number(out, s.entries.size());
    for (var e : s.entries.entrySet()) {
      number(out, e.getValue().index());
      sized(out, e.getKey());
      sized(out, e.getValue().value());
    }
    return out;
  }

  private static void sized(OutputStream out, byte[] b) throws IOException {
    number(out, b.length);
    out.write(b);
  }

  private static void number(OutputStream out, long n) throws IOException {
    var b = new ByteArrayOutputStream(Varint.MAX_BYTES);
    Varint.write(b, n);
    b.writeTo(out);
  }

  /** Says why bytes are no snapshot. */
  static final class Damaged extends IOException {
    private static final long serialVersionUID = 1;

    Damaged(String reason) {
      super("damaged snapshot: " + reason);
    }
  }

  static KvMap.State read(InputStream from) throws IOException {
    return new Reader(new BufferedInputStream(from, BUFFER_BYTES)).state();
  }

  /** Takes a snapshot apart without trusting any length in it. */
  private static final class Reader {
    private final InputStream from;
    private final CRC32C sum = new CRC32C();

    Reader(InputStream from) {
      this.from = from;
    }

    KvMap.State state() throws IOException {
      if (!Arrays.equals(take(MAGIC.length), MAGIC)) {
        throw new Damaged("it does not begin with \"raftlab-kv\"");
      }
      long version = number();
      if (version != VERSION) {
        throw new Damaged("version " + version + ", this program knows " + VERSION);
      }
      var s = new KvMap.State();
      s.index = number();
      s.commands = number();
      s.refused = number();
      s.lastRefused = number();
      nodes(s);
      entries(s);
      trailer();
      return s;
    }

    private void nodes(KvMap.State s) throws IOException {
      byte[] last = {};
      for (long n = number(); n != 0; n--) {
        byte[] id = sized(Command.MAX_NODE_BYTES, "id");
        byte[] address = sized(Command.MAX_NODE_BYTES, "address");
        if (Arrays.compareUnsigned(id, last) <= 0 || address.length == 0) {
          throw new Damaged("members are not in order");
        }
        s.nodes.put(id, address);
        last = id;
      }
    }

    private void entries(KvMap.State s) throws IOException {
      byte[] last = {};
      for (long n = number(); n != 0; n--) {
        long index = number();
        byte[] key = sized(Command.MAX_KEY_BYTES, "key");
        byte[] value = sized(Command.MAX_VALUE_BYTES, "value");
        if (Arrays.compareUnsigned(key, last) <= 0) { // an empty key too
          throw new Damaged("keys are not in order");
        }
        if (Long.compareUnsigned(index, s.index) > 0) {
          throw new Damaged("a key was changed at index " + index + ", after index " + s.index + " of the snapshot");
        }
        s.entries.put(key, new KvMap.Entry(value, index));
        last = key;
      }
    }

    private void trailer() throws IOException {
      long want = sum.getValue();
      byte[] b = take(4);
      long got = 0;
      for (int i = 0; i < 4; i++) {
        got |= (b[i] & 0xffL) << 8 * i;
      }
      if (got != want) {
        throw new Damaged("checksum %08x, computed %08x".formatted(got, want));
      }
      if (from.read() != -1) {
        throw new Damaged("bytes after its end");
      }
    }

    private byte[] sized(int limit, String what) throws IOException {
      long n = number();
      if (n < 0 || n > limit) {
        throw new Damaged(what + " of " + Long.toUnsignedString(n) + " bytes: at most " + limit + " are allowed");
      }
      return take((int) n);
    }

    /** Reads n bytes, allocating as they come in. */
    private byte[] take(int n) throws IOException {
      byte[] b = from.readNBytes(Math.min(n, STEP_BYTES));
      if (n > STEP_BYTES && b.length == STEP_BYTES) {
        b = Arrays.copyOf(b, n);
        int more = from.readNBytes(b, STEP_BYTES, n - STEP_BYTES);
        b = more == n - STEP_BYTES ? b : new byte[0];
      }
      if (b.length < n) {
        throw new Damaged("cut off");
      }
      sum.update(b, 0, n);
      return b;
    }

    private long number() throws IOException {
      long n = 0;
      for (int i = 0; i < Varint.MAX_BYTES; i++) {
        int b = from.read();
        if (b < 0) {
          throw new Damaged("cut off");
        }
        sum.update(b);
        if (i == Varint.MAX_BYTES - 1 && b > 1) {
          break;
        }
        n |= (long) (b & 0x7f) << 7 * i;
        if (b < 0x80) {
          return n;
        }
      }
      throw new Damaged("bad number: more than 64 bits");
    }
  }
}

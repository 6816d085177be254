package raftlab.ratis;

import java.io.ByteArrayOutputStream;
import java.util.ArrayList;
import java.util.List;

/**
 * A log entry's command in the encoding of kv/command.go: one command, one encoding, the same
 * bytes in every language. Its operations are carried out in order, all or none.
 */
record Command(List<Op> ops) {
  static final int MAX_KEY_BYTES = 64 << 10;
  static final int MAX_VALUE_BYTES = 64 << 20;
  static final int MAX_BATCH_OPS = 1 << 16;
  static final int MAX_NODE_BYTES = 1 << 10;

  private static final int VERSION = 1;

  static final int SET = 1;
  static final int DELETE = 2;
  private static final int BATCH = 3;
  private static final int IF = 4;
  static final int NODE = 5;

  static final int ALWAYS = 0;
  static final int IF_INDEX = 1;
  static final int IF_PRESENT = 2;
  static final int IF_ABSENT = 3;

  /** One change; for NODE, key and value are the id and the address of a member. */
  record Op(int kind, byte[] key, byte[] value, int condition, long index) {
    static Op set(byte[] key, byte[] value) {
      return new Op(SET, key, value, ALWAYS, 0);
    }

    static Op delete(byte[] key) {
      return new Op(DELETE, key, null, ALWAYS, 0);
    }
  }

  /** Says why bytes are no command. */
  static final class Malformed extends Exception {
    private static final long serialVersionUID = 1;

    Malformed(String reason) {
      super("malformed command: " + reason);
    }
  }

  static byte[] encode(Op op) {
    return encode(ALWAYS, op);
  }

  /** Returns the command that carries op out if the condition, which is none on an index, holds. */
  static byte[] encode(int condition, Op op) {
    var to = new ByteArrayOutputStream(16 + op.key.length + (op.value == null ? 0 : op.value.length));
    to.write(VERSION);
    if (condition != ALWAYS) {
      to.write(IF);
      to.write(condition);
    }
    write(to, op);
    return to.toByteArray();
  }

  static byte[] encode(List<Op> batch) {
    var to = new ByteArrayOutputStream();
    to.write(VERSION);
    to.write(BATCH);
    Varint.write(to, batch.size());
    batch.forEach(op -> write(to, op));
    return to.toByteArray();
  }

  private static void write(ByteArrayOutputStream to, Op op) {
    to.write(op.kind);
    Varint.write(to, op.key.length);
    to.writeBytes(op.key);
    if (op.kind == SET) {
      Varint.write(to, op.value.length);
      to.writeBytes(op.value);
    }
  }

  static Command decode(byte[] bytes) throws Malformed {
    var d = new Decoder(bytes);
    int version = d.next();
    if (version != VERSION) {
      throw new Malformed("version " + version + ", this program knows " + VERSION);
    }
    var ops = new ArrayList<Op>(1);
    int kind = d.next();
    switch (kind) {
      case BATCH -> {
        long count = d.number(MAX_BATCH_OPS, "operations");
        for (long i = 0; i < count; i++) {
          ops.add(d.op(d.next(), ALWAYS, 0));
        }
      }
      case IF -> {
        int condition = d.next();
        if (condition < IF_INDEX || condition > IF_ABSENT) {
          throw new Malformed("condition " + condition);
        }
        long index = condition == IF_INDEX ? d.number(-1, "index") : 0;
        ops.add(d.op(d.next(), condition, index));
      }
      case NODE -> ops.add(d.notEmpty(new Op(NODE, d.bytes(MAX_NODE_BYTES, "id bytes"),
          d.bytes(MAX_NODE_BYTES, "address bytes"), ALWAYS, 0)));
      default -> ops.add(d.op(kind, ALWAYS, 0));
    }
    if (d.at < bytes.length) {
      throw new Malformed(bytes.length - d.at + " bytes after its end");
    }
    return new Command(ops);
  }

  /** Takes a command apart without trusting any length in it. */
  private static final class Decoder {
    private final byte[] from;
    private int at;

    Decoder(byte[] from) {
      this.from = from;
    }

    Op op(int kind, int condition, long index) throws Malformed {
      return notEmpty(switch (kind) {
        case SET -> new Op(SET, bytes(MAX_KEY_BYTES, "key bytes"), bytes(MAX_VALUE_BYTES, "value bytes"), condition, index);
        case DELETE -> new Op(DELETE, bytes(MAX_KEY_BYTES, "key bytes"), null, condition, index);
        default -> throw new Malformed("operation " + kind);
      });
    }

    Op notEmpty(Op op) throws Malformed {
      if (op.key.length == 0) {
        throw new Malformed("an empty key");
      }
      return op;
    }

    int next() throws Malformed {
      if (at == from.length) {
        throw new Malformed("cut off");
      }
      return from[at++] & 0xff;
    }

    byte[] bytes(int limit, String what) throws Malformed {
      int n = (int) number(limit, what);
      if (n > from.length - at) {
        throw new Malformed(what + " cut off");
      }
      at += n;
      return java.util.Arrays.copyOfRange(from, at - n, at);
    }

    /** Takes a number in its shortest form, at most limit, both unsigned. */
    long number(long limit, String what) throws Malformed {
      long n = 0;
      for (int i = 0; ; i++) {
        if (at == from.length || i == Varint.MAX_BYTES) {
          throw new Malformed(what + ": bad length");
        }
        byte b = from[at++];
        if (i == Varint.MAX_BYTES - 1 && (b & 0xff) > 1) {
          throw new Malformed(what + ": bad length");
        }
        n |= (long) (b & 0x7f) << 7 * i;
        if (b < 0) {
          continue;
        }
        if (Long.compareUnsigned(n, limit) > 0) {
          throw new Malformed(Long.toUnsignedString(n) + " " + what + ": at most " + limit + " are allowed");
        }
        if (i > 0 && b == 0) {
          throw new Malformed(what + ": length is not in its shortest form");
        }
        return n;
      }
    }
  }
}

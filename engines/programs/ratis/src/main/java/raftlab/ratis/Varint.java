package raftlab.ratis;

import java.io.ByteArrayOutputStream;

/** Unsigned numbers in groups of seven bits, the least first. */
final class Varint {
  static final int MAX_BYTES = 10;

  private Varint() {}

  static void write(ByteArrayOutputStream to, long n) {
    for (; (n & ~0x7fL) != 0; n >>>= 7) {
      to.write((int) (n & 0x7f | 0x80));
    }
    to.write((int) n);
  }
}

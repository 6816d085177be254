package raftlab.ratis;

import io.netty.buffer.ByteBuf;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Writes answers of version 2 of the Redis protocol. */
final class Answer {
  private static final byte[] END = {'\r', '\n'};

  private Answer() {}

  static void simple(ByteBuf out, String text) {
    line(out, '+', text);
  }

  static void ok(ByteBuf out) {
    simple(out, "OK");
  }

  /** The first word of text says what kind of error it is. */
  static void error(ByteBuf out, String text) {
    line(out, '-', text.replace('\r', ' ').replace('\n', ' '));
  }

  static void number(ByteBuf out, long n) {
    line(out, ':', Long.toString(n));
  }

  static void array(ByteBuf out, int elements) {
    line(out, '*', Integer.toString(elements));
  }

  /** Writes a value, or null. */
  static void bulk(ByteBuf out, byte[] value) {
    if (value == null) {
      line(out, '$', "-1");
      return;
    }
    line(out, '$', Integer.toString(value.length));
    out.writeBytes(value).writeBytes(END);
  }

  static void text(ByteBuf out, String text) {
    bulk(out, KvMap.bytes(text));
  }

  /** Writes names and values in turn; values are texts, whole numbers, lists of nothing or maps. */
  static void map(ByteBuf out, Map<String, ?> map) {
    array(out, 2 * map.size());
    map.forEach((name, value) -> {
      text(out, name);
      if (value instanceof Number n) {
        number(out, n.longValue());
      } else if (value instanceof List<?> list) {
        array(out, list.size());
      } else {
        text(out, value.toString());
      }
    });
  }

  /** Returns a map of names and values that stand in turn, in that order. */
  static Map<String, Object> fields(Object... pairs) {
    var m = new LinkedHashMap<String, Object>();
    for (int i = 0; i < pairs.length; i += 2) {
      m.put((String) pairs[i], pairs[i + 1]);
    }
    return m;
  }

  private static void line(ByteBuf out, char kind, String text) {
    out.writeByte(kind).writeBytes(KvMap.bytes(text)).writeBytes(END);
  }
}

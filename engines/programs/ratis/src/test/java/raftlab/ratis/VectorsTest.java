package raftlab.ratis;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.Gson;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** Holds the map to kv/testdata/vectors.json, which Go writes. */
class VectorsTest {
  // As the file has them, so the names are not those of Java.
  record Vectors(List<Sequence> sequences, List<Broken> refused_snapshots) {}

  record Sequence(String name, List<Step> steps, int keys, long commands, List<Entry> entries, String snapshot, String digest) {}

  record Step(long index, String command, int changed, List<Integer> missing, String error, long error_index) {}

  record Entry(String key, String value, long index) {}

  record Broken(String name, String snapshot) {}

  private static Vectors vectors() throws IOException {
    return new Gson().fromJson(Files.readString(Path.of("../../../kv/testdata/vectors.json")), Vectors.class);
  }

  private static byte[] bytes(String hex) {
    return HexFormat.of().parseHex(hex);
  }

  private static String hex(byte[] b) {
    return HexFormat.of().formatHex(b);
  }

  @Test
  void appliesAsGoDoes() throws IOException {
    for (Sequence s : vectors().sequences()) {
      var map = new KvMap();
      for (Step step : s.steps()) {
        KvMap.Result r = map.apply(step.index(), bytes(step.command()));
        String at = s.name() + " at " + step.index();
        assertEquals(step.changed(), r.changed(), at);
        assertEquals(step.missing(), r.missing(), at);
        String error = r.failure() == KvMap.Failure.NONE ? "" : r.failure().name().toLowerCase(Locale.ROOT);
        assertEquals(step.error(), error, at);
        assertEquals(step.error_index(), r.failedAt(), at);
      }
      same(s, map);
      var restored = new KvMap();
      restored.replace(Snapshot.read(new ByteArrayInputStream(bytes(s.snapshot()))));
      same(s, restored);
    }
  }

  private static void same(Sequence s, KvMap map) throws IOException {
    var out = new ByteArrayOutputStream();
    Snapshot.write(map, out);
    assertEquals(s.snapshot(), hex(out.toByteArray()), s.name());
    Snapshot.Digest d = Snapshot.digest(map);
    assertEquals(s.digest(), hex(d.sha256()), s.name());
    assertEquals(s.keys(), d.keys(), s.name());
    assertEquals(s.commands(), d.commands(), s.name());
    var entries = new ArrayList<Entry>();
    map.look(state -> {
      state.entries.forEach((k, e) -> entries.add(new Entry(hex(k), hex(e.value()), e.index())));
      return null;
    });
    assertEquals(s.entries(), entries, s.name());
  }

  @Test
  void refusesDamagedSnapshots() throws IOException {
    for (Broken b : vectors().refused_snapshots()) {
      assertThrows(Snapshot.Damaged.class, () -> Snapshot.read(new ByteArrayInputStream(bytes(b.snapshot()))), b.name());
    }
  }

  @Test
  void encodesAsItDecodes() throws Command.Malformed {
    byte[] key = {(byte) 0xff, 0};
    byte[] value = new byte[300];
    Command.Op set = Command.decode(Command.encode(Command.IF_ABSENT, Command.Op.set(key, value))).ops().get(0);
    assertArrayEquals(key, set.key());
    assertArrayEquals(value, set.value());
    assertEquals(Command.IF_ABSENT, set.condition());
    assertEquals("010302010161017802" + "0162", hex(Command.encode(List.of(
        Command.Op.set(new byte[] {'a'}, new byte[] {'x'}), Command.Op.delete(new byte[] {'b'})))));
  }
}

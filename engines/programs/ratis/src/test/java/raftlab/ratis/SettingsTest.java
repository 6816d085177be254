package raftlab.ratis;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import raftlab.ratis.Settings.Key;

/** What is wrong on the command line, in a settings file or about a data folder is said clearly. */
class SettingsTest {
  @TempDir Path folder;

  private Settings read(String text) throws IOException, UsageException {
    return Settings.read(Files.writeString(folder.resolve("settings"), text));
  }

  @Test
  void takesWhatTheHarnessWrites() throws Exception {
    Settings s = read("# aligned\n\nheartbeat_timeout = 1000000us\nmax_append_entries=1024\npre_vote = false\n");
    assertEquals(1_000_000, s.micros(Key.HEARTBEAT_TIMEOUT));
    assertEquals(1024, s.forceSyncNum());
    assertEquals(false, s.is(Key.PRE_VOTE));
    assertEquals("8", s.text(Key.MAX_IN_FLIGHT));
    assertTrue(s.appendBytes() > RequestDecoder.MAX_REQUEST_BYTES, "what is larger than a message is never sent");
  }

  @Test
  void refusesWithThePlace() {
    for (String line : new String[] {"nonsense = 1", "heap = 512", "heartbeat_timeout = 1s", "max_in_flight = 0", "gc = Epsilon", "pre_vote"}) {
      UsageException e = assertThrows(UsageException.class, () -> read("\n" + line), line);
      assertTrue(e.getMessage().contains("settings:2: "), e.getMessage());
    }
  }

  @Test
  void refusesFlags() {
    String good = "--id n1 --raft h:1 --resp h:2 --data d --members n1=h:1,n2=h:3";
    for (String line : new String[] {"", good + " --nonsense x", good.replace("--id n1", "--id n9"), good.replace("h:2", "h"),
        good.replace("n2=h:3", "n2=h:0"), good + " --id n1", good + " --settings"}) {
      assertThrows(UsageException.class, () -> Flags.parse(line.split(" ")), line);
    }
  }

  @Test
  void aFolderIsOneMembers() throws Exception {
    var members = Map.of("n1", new Flags.Address("h", 1), "n2", new Flags.Address("h", 2));
    var mine = new Identity(folder, "n1", members);
    mine.claim();
    mine.claim(); // it had not begun to run
    assertThrows(IOException.class, () -> new Identity(folder, "n2", members).claim());
    assertThrows(IOException.class, () -> new Identity(folder, "n1", Map.of("n1", new Flags.Address("h", 1))).claim());
    mine.running();
    assertTrue(assertThrows(IOException.class, mine::claim).getMessage().contains("has lost its term and vote"));
  }
}

package raftlab.ratis;

import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicBoolean;
import sun.misc.Signal;

/** The program raftlab-ratis, see docs/engine-programs.md: describes itself, or is a member until it is told to end. */
final class Main {
  private static final int CANNOT_GO_ON = 1;
  private static final int WRONG_USAGE = 2;
  private static final long WATCH_MILLIS = 200;
  private static final int PATIENCE = 25; // looks at a term that is not on the disk, and flushes of that disk
  private static final long CLOSE_MILLIS = 8000; // of the ten seconds that there are to end

  private final AtomicBoolean ending = new AtomicBoolean();
  private final List<AutoCloseable> opened = new CopyOnWriteArrayList<>(); // in the order in which they are closed

  public static void main(String[] words) throws Exception {
    try {
      if (words.length > 0 && words[0].equals("describe")) {
        System.out.println(Description.of(Settings.read(Flags.describe(words))));
        return;
      }
      Flags flags = Flags.parse(words);
      new Main().serve(flags, Settings.read(flags.settings()));
    } catch (UsageException e) {
      end(WRONG_USAGE, e.getMessage());
    }
  }

  private void serve(Flags flags, Settings settings) {
    Thread.setDefaultUncaughtExceptionHandler((thread, e) -> fail("thread " + thread.getName() + " has failed: " + e));
    for (String signal : List.of("TERM", "INT")) {
      Signal.handle(new Signal(signal), s -> close());
    }
    // Whoever else ends the virtual machine, as Ratis does where it cannot listen, has failed.
    Runtime.getRuntime().addShutdownHook(new Thread(() -> fail("Ratis has ended the process: its reason stands above")));
    try {
      var identity = new Identity(flags.data(), flags.id(), flags.members());
      identity.claim();
      var map = new KvMap();
      var member = new Member(flags, settings, identity, map, this::fail);
      var clients = new RespServer(member, (int) settings.number(Settings.Key.THREADS));
      opened.add(clients::close);
      opened.add(member::close);
      listens(flags.raft());
      member.start();
      identity.running();
      clients.start(flags.resp());
      System.err.println("raftlab-ratis " + flags.id() + ": serves clients at " + flags.resp() + ", members at " + flags.raft());
      watch(member, identity);
    } catch (Exception e) {
      fail(reason(e));
    }
  }

  /** Says of an address that is taken what Ratis says in many lines. */
  private static void listens(Flags.Address raft) throws IOException {
    try (var socket = new ServerSocket()) {
      socket.setReuseAddress(true);
      socket.bind(new InetSocketAddress(raft.bareHost(), raft.port()));
    } catch (IOException e) {
      throw new IOException("cannot listen on --raft " + raft + ": " + e.getMessage(), e);
    }
  }

  /** Finds the failures that Ratis tells nobody of. A disk that is slow is none: it is waited for. */
  private void watch(Member member, Identity identity) throws Exception {
    for (int unwritten = 0; unwritten < PATIENCE; unwritten = member.termIsWritten() ? 0 : unwritten + 1) {
      Thread.sleep(WATCH_MILLIS);
      if (!member.isAlive()) {
        fail("Ratis has ended its server: its reason stands above");
      }
      if (unwritten > 0) {
        Identity.forceFolder(identity.storage());
      }
    }
    fail("term and vote cannot be written: the reason stands above");
  }

  /** Says all that the causes say, without saying anything twice. */
  private static String reason(Throwable e) {
    var text = new StringBuilder();
    for (Throwable t = e; t != null; t = t.getCause()) {
      String message = t.getMessage() == null ? t.toString() : t.getMessage();
      if (text.indexOf(message) < 0) {
        text.append(text.isEmpty() ? "" : ": ").append(message);
      }
    }
    return text.toString();
  }

  /** Ends the process at once: after a failed write nothing may be answered or voted for. */
  private void fail(String why) {
    if (!ending.get()) {
      end(CANNOT_GO_ON, why);
    }
  }

  private void close() {
    ending.set(true);
    var closing = new Thread(() -> opened.forEach(one -> {
      try {
        one.close();
      } catch (Exception e) {
        System.err.println("raftlab-ratis: close: " + e);
      }
    }));
    closing.setDaemon(true);
    closing.start();
    try {
      closing.join(CLOSE_MILLIS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    Runtime.getRuntime().halt(0);
  }

  private static void end(int code, String why) {
    System.err.println("raftlab-ratis: " + why.replace('\n', ' '));
    Runtime.getRuntime().halt(code);
  }
}

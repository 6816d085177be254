package raftlab.ratis;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.concurrent.locks.ReentrantReadWriteLock;

/**
 * The replicated map, as kv/store.go has it: keys are bytes in the order of unsigned bytes, each
 * entry remembers the log index of its last change. Applied by one thread, read by any; readers
 * see whole commands only.
 */
final class KvMap {
  /** A value, which nobody may modify, with the log index of its last change. */
  record Entry(byte[] value, long index) {}

  /** Why a command changed nothing. */
  enum Failure { NONE, REFUSED, CONDITION }

  /**
   * What a command did: missing are the places of deletions whose keys were not there. A condition
   * fails at the index of its key's last change, 0 without one.
   */
  record Result(int changed, List<Integer> missing, Failure failure, long failedAt, String reason) {
    static Result failed(Failure failure, long at, String reason) {
      return new Result(0, List.of(), failure, at, reason);
    }
  }

  /** All that is replicated; read it under {@link #look}. */
  static final class State {
    final TreeMap<byte[], Entry> entries = new TreeMap<>(Arrays::compareUnsigned);
    final TreeMap<byte[], byte[]> nodes = new TreeMap<>(Arrays::compareUnsigned);
    long index; // of the last command, refused ones included
    long commands;
    long refused;
    long lastRefused;
  }

  private final ReentrantReadWriteLock lock = new ReentrantReadWriteLock();
  private State state = new State();

  Result apply(long index, byte[] command) {
    lock.writeLock().lock();
    try {
      state.index = index;
      state.commands++;
      try {
        return apply(Command.decode(command));
      } catch (Command.Malformed e) {
        state.refused++;
        state.lastRefused = index;
        return Result.failed(Failure.REFUSED, 0, "command at index " + index + " refused: " + e.getMessage());
      }
    } finally {
      lock.writeLock().unlock();
    }
  }

  private Result apply(Command command) {
    int changed = 0;
    List<Integer> missing = List.of();
    for (int i = 0; i < command.ops().size(); i++) {
      Command.Op op = command.ops().get(i);
      if (!holds(op)) {
        Entry e = state.entries.get(op.key());
        return Result.failed(Failure.CONDITION, e == null ? 0 : e.index, "condition does not hold");
      }
      switch (op.kind()) {
        case Command.SET -> {
          state.entries.put(op.key(), new Entry(op.value(), state.index));
          changed++;
        }
        case Command.DELETE -> {
          if (state.entries.remove(op.key()) != null) {
            changed++;
            break;
          }
          if (missing.isEmpty()) {
            missing = new ArrayList<>();
          }
          missing.add(i);
        }
        default -> announce(op);
      }
    }
    return new Result(changed, missing, Failure.NONE, 0, "");
  }

  private boolean holds(Command.Op op) {
    if (op.condition() == Command.ALWAYS) {
      return true;
    }
    Entry e = state.entries.get(op.key());
    return switch (op.condition()) {
      case Command.IF_INDEX -> e != null && e.index == op.index();
      case Command.IF_PRESENT -> e != null;
      default -> e == null;
    };
  }

  private void announce(Command.Op op) {
    if (op.value().length == 0) {
      state.nodes.remove(op.key());
    } else {
      state.nodes.put(op.key(), op.value());
    }
  }

  /** Finds something in a state. */
  interface Look<T, E extends Exception> {
    T in(State state) throws E;
  }

  /** Returns what look finds in the state of one moment, during which nothing is applied. */
  <T, E extends Exception> T look(Look<T, E> look) throws E {
    lock.readLock().lock();
    try {
      return look.in(state);
    } finally {
      lock.readLock().unlock();
    }
  }

  /** Returns the values of keys at one moment, null where there is none. */
  List<byte[]> get(List<byte[]> keys) {
    return look(s -> {
      var values = new ArrayList<byte[]>(keys.size());
      for (byte[] key : keys) {
        Entry e = s.entries.get(key);
        values.add(e == null ? null : e.value);
      }
      return values;
    });
  }

  void replace(State restored) {
    lock.writeLock().lock();
    try {
      state = restored;
    } finally {
      lock.writeLock().unlock();
    }
  }

  static byte[] bytes(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }
}

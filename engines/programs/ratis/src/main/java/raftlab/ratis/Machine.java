package raftlab.ratis;

import java.io.BufferedOutputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.security.DigestOutputStream;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;
import org.apache.ratis.io.MD5Hash;
import org.apache.ratis.proto.RaftProtos.LogEntryProto;
import org.apache.ratis.proto.RaftProtos.RoleInfoProto;
import org.apache.ratis.protocol.Message;
import org.apache.ratis.protocol.RaftGroupId;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.protocol.TermIndex;
import org.apache.ratis.server.storage.FileInfo;
import org.apache.ratis.server.storage.RaftStorage;
import org.apache.ratis.statemachine.TransactionContext;
import org.apache.ratis.statemachine.impl.BaseStateMachine;
import org.apache.ratis.statemachine.impl.SimpleStateMachineStorage;
import org.apache.ratis.statemachine.impl.SingleFileSnapshotInfo;
import org.apache.ratis.thirdparty.com.google.protobuf.ByteString;
import org.apache.ratis.thirdparty.com.google.protobuf.UnsafeByteOperations;
import org.apache.ratis.util.LifeCycle;
import org.apache.ratis.util.MD5FileUtil;

/**
 * The map as Ratis' state machine. The library applies, takes snapshots and installs them on one
 * thread. A failed write of the log or of a snapshot, or the end of the server by itself, is told
 * to failed, which does not return.
 */
final class Machine extends BaseStateMachine {
  /** A command on its way into the log of this member. */
  static final class Proposal implements Message {
    private final ByteString command;
    /** Whether the log may have it: once it is so, only the answer tells what became of it. */
    volatile boolean taken;

    Proposal(byte[] command) {
      this.command = UnsafeByteOperations.unsafeWrap(command);
    }

    @Override
    public ByteString getContent() {
      return command;
    }
  }

  /** What applying gave, null for an entry without a command; it never leaves the process, so it has no bytes. */
  record Applied(KvMap.Result result) implements Message {
    @Override
    public ByteString getContent() {
      return ByteString.EMPTY;
    }
  }

  private final KvMap map;
  private final Consumer<String> failed;
  private final SimpleStateMachineStorage storage = new SimpleStateMachineStorage();
  private volatile SingleFileSnapshotInfo latest; // null: there is none

  Machine(KvMap map, Consumer<String> failed) {
    this.map = map;
    this.failed = failed;
  }

  @Override
  public void initialize(RaftServer server, RaftGroupId group, RaftStorage raft) throws IOException {
    super.initialize(server, group, raft);
    getLifeCycle().startAndTransition(() -> {
      storage.init(raft);
      load();
    });
  }

  @Override
  public SimpleStateMachineStorage getStateMachineStorage() {
    return storage;
  }

  /** Asked for each message to a follower; the storage, while it has none, reads its folder every time. */
  @Override
  public SingleFileSnapshotInfo getLatestSnapshot() {
    return latest;
  }

  @Override
  public TransactionContext preAppendTransaction(TransactionContext transaction) {
    ((Proposal) Objects.requireNonNull(transaction.getClientRequest()).getMessage()).taken = true;
    return transaction;
  }

  @Override
  public CompletableFuture<Message> applyTransaction(TransactionContext transaction) {
    LogEntryProto entry = Objects.requireNonNull(transaction.getLogEntry());
    byte[] command = entry.getStateMachineLogEntry().getLogData().toByteArray();
    KvMap.Result result = command.length == 0 ? null : map.apply(entry.getIndex(), command); // without one: a read's
    updateLastAppliedTermIndex(entry.getTerm(), entry.getIndex());
    return CompletableFuture.completedFuture(new Applied(result));
  }

  /** Writes a snapshot of what is applied; the library calls it where it applies. */
  @Override
  public long takeSnapshot() {
    TermIndex at = getLastAppliedTermIndex();
    if (at.getIndex() < 0 || latest != null && latest.getIndex() == at.getIndex()) {
      return at.getIndex();
    }
    File file = storage.getSnapshotFile(at.getTerm(), at.getIndex());
    try {
      MD5Hash md5 = write(file);
      latest = storage.updateLatestSnapshot(new SingleFileSnapshotInfo(new FileInfo(file.toPath(), md5), at));
    } catch (IOException e) {
      failed.accept("cannot write a snapshot: " + e);
    }
    return at.getIndex();
  }

  /** The checksum's file comes first: a snapshot that is there has it. */
  private MD5Hash write(File file) throws IOException {
    File next = new File(file.getPath() + ".next");
    var md5 = MD5FileUtil.newMD5();
    try (var out = new FileOutputStream(next)) {
      var buffered = new BufferedOutputStream(new DigestOutputStream(out, md5), 256 << 10);
      Snapshot.write(map, buffered);
      buffered.flush();
      out.getFD().sync();
    }
    var hash = MD5Hash.newInstance(md5.digest());
    MD5FileUtil.saveMD5File(file, hash);
    Files.move(next.toPath(), file.toPath(), StandardCopyOption.ATOMIC_MOVE);
    Identity.forceFolder(file.toPath().getParent());
    return hash;
  }

  @Override
  public void pause() {
    getLifeCycle().transition(LifeCycle.State.PAUSING);
    getLifeCycle().transition(LifeCycle.State.PAUSED);
  }

  /** Takes what the leader sent over into the map. */
  @Override
  public void reinitialize() throws IOException {
    load();
    if (getLifeCycleState() == LifeCycle.State.PAUSED) {
      getLifeCycle().transition(LifeCycle.State.STARTING);
      getLifeCycle().transition(LifeCycle.State.RUNNING);
    }
  }

  private void load() throws IOException {
    SingleFileSnapshotInfo snapshot = storage.loadLatestSnapshot();
    latest = snapshot;
    if (snapshot == null) {
      return;
    }
    try (var in = new FileInputStream(snapshot.getFile().getPath().toFile())) {
      map.replace(Snapshot.read(in));
    } catch (IOException e) {
      failed.accept("cannot load snapshot " + snapshot.getFile().getPath() + ": " + e.getMessage());
    }
    setLastAppliedTermIndex(snapshot.getTermIndex());
  }

  @Override
  public void notifyLogFailed(Throwable cause, LogEntryProto entry) {
    failed.accept("the log cannot be written: " + cause);
  }

  @Override
  public void notifyServerShutdown(RoleInfoProto role, boolean all) {
    failed.accept("Ratis has ended its server: its reason stands above");
  }
}

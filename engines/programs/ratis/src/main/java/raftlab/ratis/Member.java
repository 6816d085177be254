package raftlab.ratis;

import java.io.IOException;
import java.util.Collections;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Consumer;
import org.apache.ratis.RaftConfigKeys;
import org.apache.ratis.conf.RaftProperties;
import org.apache.ratis.grpc.GrpcConfigKeys;
import org.apache.ratis.protocol.ClientId;
import org.apache.ratis.protocol.RaftClientAsynchronousProtocol;
import org.apache.ratis.protocol.RaftClientReply;
import org.apache.ratis.protocol.RaftClientRequest;
import org.apache.ratis.protocol.RaftGroup;
import org.apache.ratis.protocol.RaftGroupId;
import org.apache.ratis.protocol.RaftPeer;
import org.apache.ratis.protocol.RaftPeerId;
import org.apache.ratis.protocol.SnapshotManagementRequest;
import org.apache.ratis.protocol.TransferLeadershipRequest;
import org.apache.ratis.protocol.exceptions.LeaderNotReadyException;
import org.apache.ratis.rpc.SupportedRpcType;
import org.apache.ratis.server.DivisionInfo;
import org.apache.ratis.server.RaftServer;
import org.apache.ratis.server.RaftServerConfigKeys;
import org.apache.ratis.server.protocol.TermIndex;
import org.apache.ratis.server.storage.RaftStorage;
import org.apache.ratis.util.SizeInBytes;
import org.apache.ratis.util.TimeDuration;
import raftlab.ratis.Settings.Key;

/** A member of the group: Ratis' server in this process, with its requests made by hand. */
final class Member {
  static final String RETRY_CACHE = "1s";

  /** How long a request may take before its answer is that its fate is not known. */
  static final long DEADLINE_MILLIS = 5000;

  private static final long RETRY_MILLIS = 50;

  private static final int PENDING_WRITES = 1 << 16;

  final KvMap map;
  final Flags flags;
  final RaftGroupId group;

  private final RaftPeerId id;
  private final RaftServer server;
  private final ClientId client = ClientId.randomId();
  private final AtomicLong calls = new AtomicLong();
  private CompletableFuture<RaftClientReply> confirming; // the entry of reads that is under way
  private CompletableFuture<RaftClientReply> waiting; // for the next one
  private RaftServer.Division division;
  private RaftClientAsynchronousProtocol requests;

  Member(Flags flags, Settings settings, Identity identity, KvMap map, Consumer<String> failed) throws IOException {
    this.flags = flags;
    this.map = map;
    id = RaftPeerId.valueOf(flags.id());
    group = RaftGroupId.valueOf(identity.group);
    var peers = flags.members().entrySet().stream()
        .map(m -> RaftPeer.newBuilder().setId(m.getKey()).setAddress(m.getValue().toString()).build()).toList();
    server = RaftServer.newBuilder()
        .setServerId(id)
        .setGroup(RaftGroup.valueOf(group, peers))
        .setStateMachine(new Machine(map, failed))
        .setOption(RaftStorage.StartupOption.RECOVER) // which formats what is not there
        .setProperties(properties(flags, settings, identity))
        .build();
  }

  private static RaftProperties properties(Flags flags, Settings s, Identity identity) {
    var p = new RaftProperties();
    RaftConfigKeys.Rpc.setType(p, SupportedRpcType.GRPC);
    GrpcConfigKeys.Server.setHost(p, flags.raft().bareHost());
    GrpcConfigKeys.Server.setPort(p, flags.raft().port());
    RaftServerConfigKeys.setStorageDir(p, Collections.singletonList(identity.storage().toFile()));

    // Durability: an entry counts once it is forced.
    RaftServerConfigKeys.Log.setUnsafeFlushEnabled(p, false);
    RaftServerConfigKeys.Log.setAsyncFlushEnabled(p, false);
    RaftServerConfigKeys.Log.setForceSyncNum(p, s.forceSyncNum());
    RaftServerConfigKeys.Log.setCorruptionPolicy(p, RaftServerConfigKeys.Log.CorruptionPolicy.EXCEPTION);
    RaftServerConfigKeys.Log.setSegmentSizeMax(p, SizeInBytes.valueOf(s.number(Key.SEGMENT_BYTES)));
    RaftServerConfigKeys.Log.setPreallocatedSize(p, SizeInBytes.valueOf(Math.min(4 << 20, s.number(Key.SEGMENT_BYTES))));

    long timeout = s.micros(Key.HEARTBEAT_TIMEOUT) / 1000;
    RaftServerConfigKeys.Rpc.setTimeoutMin(p, millis(timeout));
    RaftServerConfigKeys.Rpc.setTimeoutMax(p, millis(2 * timeout));
    RaftServerConfigKeys.LeaderElection.setPreVote(p, s.is(Key.PRE_VOTE));
    // A process that was stopped for longer than this would end instead of going on.
    RaftServerConfigKeys.setCloseThreshold(p, TimeDuration.valueOf(365, TimeUnit.DAYS));

    long bytes = s.appendBytes();
    RaftServerConfigKeys.Log.Appender.setBufferByteLimit(p, SizeInBytes.valueOf(bytes));
    RaftServerConfigKeys.Log.Appender.setBufferElementLimit(p, (int) s.number(Key.MAX_APPEND_ENTRIES));
    RaftServerConfigKeys.Log.Appender.setWaitTimeMin(p, TimeDuration.valueOf(s.micros(Key.APPENDER_WAIT), TimeUnit.MICROSECONDS));
    RaftServerConfigKeys.Log.setWriteBufferSize(p, SizeInBytes.valueOf(Math.max(8 << 20, bytes + 4096)));
    GrpcConfigKeys.setMessageSizeMax(p, SizeInBytes.valueOf(Math.max(64 << 20, 2 * bytes)));
    GrpcConfigKeys.Server.setLeaderOutstandingAppendsMax(p, (int) s.number(Key.MAX_IN_FLIGHT));
    RaftServerConfigKeys.Write.setElementLimit(p, PENDING_WRITES);
    RaftServerConfigKeys.RetryCache.setExpiryTime(p, TimeDuration.valueOf(RETRY_CACHE, TimeUnit.SECONDS));

    RaftServerConfigKeys.Log.setLogMetadataEnabled(p, s.is(Key.LOG_METADATA));
    RaftServerConfigKeys.Log.setAppendEntriesComposeEnabled(p, s.is(Key.COMPOSE_APPENDS));

    long threshold = s.number(Key.SNAPSHOT_THRESHOLD);
    RaftServerConfigKeys.Snapshot.setAutoTriggerEnabled(p, threshold > 0);
    RaftServerConfigKeys.Snapshot.setAutoTriggerThreshold(p, Math.max(1, threshold));
    RaftServerConfigKeys.Snapshot.setTriggerWhenStopEnabled(p, false);
    RaftServerConfigKeys.Snapshot.setRetentionFileNum(p, 2);
    RaftServerConfigKeys.Log.setPurgeUptoSnapshotIndex(p, true);
    RaftServerConfigKeys.Log.setPurgePreservationLogNum(p, s.number(Key.TRAILING_LOGS));
    RaftServerConfigKeys.Log.setPurgeGap(p, 1);
    return p;
  }

  private static TimeDuration millis(long n) {
    return TimeDuration.valueOf(n, TimeUnit.MILLISECONDS);
  }

  void start() throws IOException {
    server.start();
    division = server.getDivision(group);
    // The division takes requests on the caller's thread, which keeps their order; the server
    // in front of it hands each to another thread and waits for that.
    requests = (RaftClientAsynchronousProtocol) division;
  }

  void close() throws IOException {
    server.close();
  }

  /** Proposes a command; what is proposed by one thread is in the log in that order. */
  CompletableFuture<RaftClientReply> propose(Machine.Proposal proposal) {
    try {
      return requests.submitClientRequestAsync(RaftClientRequest.newBuilder().setClientId(client).setServerId(id)
          .setGroupId(group).setCallId(calls.incrementAndGet()).setType(RaftClientRequest.writeRequestType())
          .setMessage(proposal).build());
    } catch (IOException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  /**
   * Is done once the map has all that was acknowledged before the call: by an entry without a
   * command, which all share that ask while the one before it is under way. The library's own
   * read index is no help: its leader asks nobody where it has confirmed the same commit index
   * before (ReadIndexHeartbeats of 3.3.0), though another may lead since and have committed more.
   */
  synchronized CompletableFuture<RaftClientReply> confirm() {
    if (confirming != null) {
      waiting = waiting == null ? new CompletableFuture<>() : waiting;
      return waiting;
    }
    var mine = new CompletableFuture<RaftClientReply>();
    confirming = mine;
    confirmBy(mine);
    return mine;
  }

  private void confirmBy(CompletableFuture<RaftClientReply> reads) {
    propose(new Machine.Proposal(new byte[0])).whenComplete((reply, error) -> {
      CompletableFuture<RaftClientReply> next;
      synchronized (this) {
        next = waiting;
        confirming = next;
        waiting = null;
      }
      if (next != null) {
        confirmBy(next);
      }
      if (error == null) {
        reads.complete(reply);
      } else {
        reads.completeExceptionally(error);
      }
    });
  }

  /** Hands the lead to the member; the future is done once it has it. A new leader is waited for until it can. */
  CompletableFuture<RaftClientReply> transfer(String to) {
    return transfer(to, System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(DEADLINE_MILLIS));
  }

  private CompletableFuture<RaftClientReply> transfer(String to, long deadline) {
    long left = TimeUnit.NANOSECONDS.toMillis(deadline - System.nanoTime());
    try {
      return server.transferLeadershipAsync(new TransferLeadershipRequest(client, id, group, calls.incrementAndGet(),
          RaftPeerId.valueOf(to), Math.max(1, left))).thenCompose(reply ->
              reply.getException() instanceof LeaderNotReadyException && left > RETRY_MILLIS
                  ? CompletableFuture.supplyAsync(() -> transfer(to, deadline),
                      CompletableFuture.delayedExecutor(RETRY_MILLIS, TimeUnit.MILLISECONDS)).thenCompose(f -> f)
                  : CompletableFuture.completedFuture(reply));
    } catch (IOException e) {
      return CompletableFuture.failedFuture(e);
    }
  }

  /** Returns the follower that has most of the log; null where this member does not lead. */
  String mostUpToDate() {
    long[] match = division.getInfo().getFollowerMatchIndices();
    var followers = division.getRaftConf().getCurrentPeers().stream().map(RaftPeer::getId).filter(p -> !p.equals(id)).toList();
    if (match == null || match.length != followers.size() || match.length == 0) {
      return null;
    }
    int best = 0;
    for (int i = 1; i < match.length; i++) {
      best = match[i] > match[best] ? i : best;
    }
    return followers.get(best).toString();
  }

  CompletableFuture<RaftClientReply> snapshot() {
    long anything = 1; // is worth a snapshot
    return server.snapshotManagementAsync(SnapshotManagementRequest.newCreate(client, id, group, calls.incrementAndGet(),
        DEADLINE_MILLIS, anything));
  }

  boolean leads() {
    return division.getInfo().isLeader();
  }

  /** Returns the leader's id, empty where it is not known. */
  String leader() {
    RaftPeerId leader = division.getInfo().getLeaderId();
    return leader == null ? "" : leader.toString();
  }

  /** Returns where a member serves clients, or otherwise. */
  String respAddress(String member, String otherwise) {
    Flags.Address at = flags.respMembers().get(member);
    return at == null ? otherwise : at.toString();
  }

  /** Returns what RAFT.STATUS tells of the log. */
  Map<String, Long> progress() {
    DivisionInfo info = division.getInfo();
    TermIndex last = division.getRaftLog().getLastEntryTermIndex();
    long lastIndex = Math.max(last == null ? 0 : last.getIndex(), division.getRaftLog().getSnapshotIndex());
    return Map.of("term", info.getCurrentTerm(), "last_index", Math.max(0, lastIndex),
        "commit_index", Math.max(0, division.getRaftLog().getLastCommittedIndex()),
        "applied_index", Math.max(0, info.getLastAppliedIndex()));
  }

  String role() {
    DivisionInfo info = division.getInfo();
    return info.isLeader() ? "leader" : info.isCandidate() ? "candidate" : "follower";
  }

  boolean isAlive() {
    return division.getInfo().isAlive();
  }

  /** Whether the term is on the disk: a member whose term and vote cannot be written may not go on. */
  boolean termIsWritten() throws IOException {
    long term = division.getInfo().getCurrentTerm(); // which is written once it is known here
    return division.getRaftStorage().getMetadataFile().getMetadata().getTerm() >= term;
  }
}

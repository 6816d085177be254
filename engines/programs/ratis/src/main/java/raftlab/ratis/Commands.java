package raftlab.ratis;

import io.netty.buffer.ByteBuf;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import java.util.function.Supplier;
import org.apache.ratis.protocol.RaftClientReply;
import org.apache.ratis.protocol.exceptions.LeaderNotReadyException;
import org.apache.ratis.protocol.exceptions.NotLeaderException;
import org.apache.ratis.protocol.exceptions.TimeoutIOException;
import org.apache.ratis.protocol.exceptions.TransferLeadershipException;

/** The commands of clients: what each asks of the member, and how it is answered. */
final class Commands {
  static final List<String> LEVELS = List.of("linearizable", "stale");

  private static final int MAX_ANSWER_BYTES = 64 << 20;

  /** What a connection remembers. */
  static final class Session {
    String level = LEVELS.get(0);
    boolean ends;
  }

  /** What a command asks for, in its turn. */
  sealed interface Action {}

  /** An entry of the log. */
  record Write(byte[] command, BiConsumer<KvMap.Result, ByteBuf> answer) implements Action {}

  /** A look at the map, at the level of the connection. */
  record Read(Consumer<ByteBuf> answer) implements Action {}

  /** What needs nothing but the connection. */
  record Now(BiConsumer<Session, ByteBuf> answer) implements Action {}

  /** What takes time. */
  record Later(Supplier<CompletableFuture<Consumer<ByteBuf>>> begin) implements Action {}

  /** An error as it is answered. */
  private static final class Refused extends Exception {
    private static final long serialVersionUID = 1;

    Refused(String answer) {
      super(answer, null, false, false);
    }
  }

  private final Member member;

  Commands(Member member) {
    this.member = member;
  }

  Action of(RequestDecoder.Request request) {
    if (request.error() != null) {
      return new Now((session, out) -> {
        session.ends = true;
        Answer.error(out, request.error());
      });
    }
    try {
      return of(name(request.words().get(0)), request.words());
    } catch (Refused e) {
      return new Now((session, out) -> Answer.error(out, e.getMessage()));
    }
  }

  private static String name(byte[] word) {
    return new String(word, StandardCharsets.UTF_8).toUpperCase(Locale.ROOT);
  }

  private Action of(String name, List<byte[]> words) throws Refused {
    return switch (name) {
      case "SET" -> set(words);
      case "SETNX" -> setnx(counted(words, 3, 3));
      case "MSET" -> mset(words);
      case "DEL", "UNLINK" -> del(counted(words, 2, Command.MAX_BATCH_OPS + 1));
      case "GET" -> get(counted(words, 2, 2));
      case "MGET" -> mget(counted(words, 2, Command.MAX_BATCH_OPS + 1));
      case "EXISTS" -> exists(counted(words, 2, Command.MAX_BATCH_OPS + 1));
      case "STRLEN" -> strlen(counted(words, 2, 2));
      case "DBSIZE" -> new Read(out -> Answer.number(out, member.map.look(s -> s.entries.size())));
      case "PING" -> counted(words, 1, 2).size() == 2 ? echo(words.get(1)) : now(out -> Answer.simple(out, "PONG"));
      case "ECHO" -> echo(counted(words, 2, 2).get(1));
      case "SELECT" -> select(counted(words, 2, 2));
      case "RESET" -> reset();
      case "QUIT" -> quit();
      case "HELLO" -> hello(words);
      case "CLIENT" -> client(counted(words, 2, 16));
      case "COMMAND" -> now(out -> Answer.array(out, 0));
      case "RAFT.STATUS" -> now(out -> Answer.map(out, status()));
      case "RAFT.MEMBERS" -> now(this::members);
      case "RAFT.READLEVEL" -> readLevel(counted(words, 1, 2));
      case "RAFT.FORWARD" -> forward(counted(words, 1, 2));
      case "RAFT.TRANSFER" -> transfer(counted(words, 1, 2));
      case "RAFT.SNAPSHOT" -> new Later(this::snapshot);
      case "RAFT.DIGEST" -> new Later(() -> CompletableFuture.supplyAsync(this::digest));
      default -> throw new Refused("ERR unknown command '" + shortened(name) + "'");
    };
  }

  private static String shortened(String s) {
    return s.substring(0, Math.min(s.length(), 64));
  }

  private static Now now(Consumer<ByteBuf> answer) {
    return new Now((session, out) -> answer.accept(out));
  }

  private static List<byte[]> counted(List<byte[]> words, int least, int most) throws Refused {
    if (words.size() < least || words.size() > most) {
      throw new Refused("ERR wrong number of arguments for '" + name(words.get(0)).toLowerCase(Locale.ROOT) + "' command");
    }
    return words;
  }

  private static byte[] key(byte[] key) throws Refused {
    if (key.length == 0) {
      throw new Refused("ERR the key is empty: keys have at least one byte");
    }
    if (key.length > Command.MAX_KEY_BYTES) {
      throw new Refused("TOOLARGE a key of " + key.length + " bytes: at most " + Command.MAX_KEY_BYTES + " are allowed");
    }
    return key;
  }

  private static List<byte[]> keys(List<byte[]> words) throws Refused {
    for (byte[] key : words.subList(1, words.size())) {
      key(key);
    }
    return words.subList(1, words.size());
  }

  private static boolean held(KvMap.Result r) {
    return r.failure() != KvMap.Failure.CONDITION;
  }

  private Action set(List<byte[]> words) throws Refused {
    if (words.size() < 3) {
      counted(words, 3, 3);
    }
    int condition = Command.ALWAYS;
    for (byte[] word : words.subList(3, words.size())) {
      String option = name(word);
      if (!option.equals("NX") && !option.equals("XX") || condition != Command.ALWAYS) {
        throw new Refused("ERR syntax error: of SET's options there are NX and XX here, which exclude each other");
      }
      condition = option.equals("NX") ? Command.IF_ABSENT : Command.IF_PRESENT;
    }
    return new Write(Command.encode(condition, Command.Op.set(key(words.get(1)), words.get(2))), (r, out) -> {
      if (held(r)) {
        Answer.ok(out);
      } else {
        Answer.bulk(out, null);
      }
    });
  }

  private Action setnx(List<byte[]> words) throws Refused {
    return new Write(Command.encode(Command.IF_ABSENT, Command.Op.set(key(words.get(1)), words.get(2))),
        (r, out) -> Answer.number(out, held(r) ? 1 : 0));
  }

  private Action mset(List<byte[]> words) throws Refused {
    if (words.size() < 3 || words.size() % 2 == 0) {
      counted(words, 0, 0);
    }
    var ops = new ArrayList<Command.Op>();
    for (int i = 1; i < words.size(); i += 2) {
      ops.add(Command.Op.set(key(words.get(i)), words.get(i + 1)));
    }
    return new Write(Command.encode(ops), (r, out) -> Answer.ok(out));
  }

  private Action del(List<byte[]> words) throws Refused {
    List<Command.Op> ops = keys(words).stream().map(Command.Op::delete).toList();
    return new Write(ops.size() == 1 ? Command.encode(ops.get(0)) : Command.encode(ops),
        (r, out) -> Answer.number(out, r.changed()));
  }

  private Action get(List<byte[]> words) throws Refused {
    List<byte[]> keys = keys(words);
    return new Read(out -> Answer.bulk(out, member.map.get(keys).get(0)));
  }

  private Action mget(List<byte[]> words) throws Refused {
    List<byte[]> keys = keys(words);
    return new Read(out -> {
      List<byte[]> values = member.map.get(keys);
      long bytes = values.stream().mapToLong(v -> v == null ? 0 : v.length).sum();
      if (bytes > MAX_ANSWER_BYTES) {
        Answer.error(out, "TOOLARGE an answer of " + bytes + " bytes: at most " + MAX_ANSWER_BYTES + " are allowed");
        return;
      }
      Answer.array(out, values.size());
      values.forEach(v -> Answer.bulk(out, v));
    });
  }

  private Action exists(List<byte[]> words) throws Refused {
    List<byte[]> keys = keys(words);
    return new Read(out -> Answer.number(out, member.map.get(keys).stream().filter(v -> v != null).count()));
  }

  private Action strlen(List<byte[]> words) throws Refused {
    List<byte[]> keys = keys(words);
    return new Read(out -> {
      byte[] value = member.map.get(keys).get(0);
      Answer.number(out, value == null ? 0 : value.length);
    });
  }

  private static Action echo(byte[] text) {
    return now(out -> Answer.bulk(out, text));
  }

  private static Action select(List<byte[]> words) throws Refused {
    if (!name(words.get(1)).equals("0")) {
      throw new Refused("ERR DB index is out of range: there is only 0");
    }
    return now(Answer::ok);
  }

  private static Action reset() {
    return new Now((session, out) -> {
      session.level = LEVELS.get(0);
      Answer.simple(out, "RESET");
    });
  }

  private static Action quit() {
    return new Now((session, out) -> {
      session.ends = true;
      Answer.ok(out);
    });
  }

  private Action hello(List<byte[]> words) throws Refused {
    if (words.size() > 1 && !name(words.get(1)).equals("2")) {
      throw new Refused("NOPROTO unsupported protocol version: there is 2");
    }
    if (words.size() != 1 && words.size() != 2 && !(words.size() == 4 && name(words.get(2)).equals("SETNAME"))) {
      throw new Refused("ERR syntax error in HELLO: HELLO 2 SETNAME name is all there is");
    }
    return now(out -> Answer.map(out, Answer.fields("server", "raftlab-ratis", "version", "1", "proto", 2, "id", 0,
        "mode", "cluster", "role", member.leads() ? "master" : "replica", "modules", List.of())));
  }

  private static Action client(List<byte[]> words) throws Refused {
    String what = name(words.get(1));
    if (!what.equals("SETNAME") && !what.equals("SETINFO")) {
      throw new Refused("ERR CLIENT " + shortened(what) + ": there are SETNAME and SETINFO");
    }
    return now(Answer::ok);
  }

  private java.util.Map<String, Object> status() {
    var progress = member.progress();
    String leader = member.leader();
    return member.map.look(s -> Answer.fields("id", member.flags.id(), "group", member.group.getUuid().toString(),
        "role", member.role(), "leader", leader, "leader_resp", member.respAddress(leader, ""),
        "term", progress.get("term"), "last_index", progress.get("last_index"),
        "commit_index", progress.get("commit_index"), "applied_index", progress.get("applied_index"),
        "keys", s.entries.size(), "commands", s.commands));
  }

  private void members(ByteBuf out) {
    String leader = member.leader();
    Answer.array(out, member.flags.members().size());
    member.flags.members().forEach((id, address) -> Answer.map(out, Answer.fields("id", id, "address", address.toString(),
        "http", "", "resp", member.respAddress(id, ""), "voter", "yes", "leader", id.equals(leader) ? "yes" : "no")));
  }

  private static Action readLevel(List<byte[]> words) throws Refused {
    if (words.size() == 1) {
      return new Now((session, out) -> Answer.text(out, session.level));
    }
    String level = name(words.get(1)).toLowerCase(Locale.ROOT);
    if (!LEVELS.contains(level)) {
      throw new Refused("ERR there is no read level " + shortened(level) + " here: there are " + String.join(", ", LEVELS));
    }
    return new Now((session, out) -> {
      session.level = level;
      Answer.ok(out);
    });
  }

  private static Action forward(List<byte[]> words) throws Refused {
    if (words.size() == 1) {
      return now(out -> Answer.text(out, "no"));
    }
    if (!name(words.get(1)).equals("NO")) {
      throw new Refused("ERR this member does not forward: go to the leader that NOTLEADER names");
    }
    return now(Answer::ok);
  }

  private Action transfer(List<byte[]> words) throws Refused {
    String to = words.size() == 1 ? "" : new String(words.get(1), StandardCharsets.UTF_8);
    if (!to.isEmpty() && !member.flags.members().containsKey(to)) {
      throw new Refused("ERR there is no member " + shortened(to));
    }
    return new Later(() -> {
      String heir = to.isEmpty() ? member.mostUpToDate() : to;
      if (!member.leads() || heir == null) {
        return CompletableFuture.completedFuture(out -> Answer.error(out, notLeader()));
      }
      return done(member.transfer(heir)); // to this member it is done at once
    });
  }

  private CompletableFuture<Consumer<ByteBuf>> snapshot() {
    return done(member.snapshot());
  }

  private CompletableFuture<Consumer<ByteBuf>> done(CompletableFuture<RaftClientReply> future) {
    return future.handle((reply, error) -> {
      Throwable failure = failure(reply, error);
      return out -> {
        if (failure == null) {
          Answer.ok(out);
        } else {
          boolean late = failure instanceof TransferLeadershipException || failure instanceof TimeoutIOException
              || failure instanceof LeaderNotReadyException;
          String word = late ? "TIMEOUT " : "ERR ";
          Answer.error(out, failure instanceof NotLeaderException ? notLeader() : word + failure.getMessage());
        }
      };
    });
  }

  private Consumer<ByteBuf> digest() {
    Snapshot.Digest d = Snapshot.digest(member.map);
    return out -> Answer.map(out, Answer.fields("id", member.flags.id(), "keys", d.keys(), "commands", d.commands(),
        "sha256", HexFormat.of().formatHex(d.sha256())));
  }

  /** Returns why a request has failed, or null. */
  private static Throwable failure(RaftClientReply reply, Throwable error) {
    if (error != null) {
      return error instanceof CompletionException && error.getCause() != null ? error.getCause() : error;
    }
    return reply.isSuccess() ? null : reply.getException();
  }

  /** Answers a write whose future is done. */
  Consumer<ByteBuf> outcome(Write write, Machine.Proposal proposal, RaftClientReply reply, Throwable error) {
    Throwable failure = failure(reply, error);
    if (failure == null) {
      KvMap.Result result = ((Machine.Applied) reply.getMessage()).result();
      return result.failure() == KvMap.Failure.REFUSED
          ? out -> Answer.error(out, "ERR " + result.reason()) : out -> write.answer.accept(result, out);
    }
    String text = proposal.taken ? "UNKNOWN outcome: the write may have taken effect, or may yet: " + failure.getMessage()
        : failure instanceof NotLeaderException ? notLeader() : "TRYAGAIN " + failure.getMessage();
    return out -> Answer.error(out, text);
  }

  /** Returns the error of a read whose confirmation is done, or null. */
  String readFailure(RaftClientReply reply, Throwable error) {
    Throwable failure = failure(reply, error);
    if (failure == null) {
      return null;
    }
    if (failure instanceof NotLeaderException || !member.leads()) {
      return notLeader();
    }
    return (failure instanceof TimeoutIOException ? "TIMEOUT " : "TRYAGAIN ") + failure.getMessage();
  }

  private String notLeader() {
    String leader = member.leader();
    return leader.isEmpty() || leader.equals(member.flags.id()) ? "NOTLEADER - -"
        : "NOTLEADER " + leader + " " + member.respAddress(leader, "-");
  }
}

package raftlab.ratis;

import io.netty.buffer.ByteBuf;
import io.netty.channel.ChannelFutureListener;
import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.SimpleChannelInboundHandler;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;
import raftlab.ratis.Commands.Action;

/**
 * A client's connection. Its commands begin in their order, consecutive writes without waiting
 * for each other, anything else once all before it is answered; consecutive reads share one
 * confirmation. Answers go out in order. All of it happens on the channel's thread, but for the
 * completions, which leave their answer and wake it. While too much is under way, it reads no more.
 */
final class Connection extends SimpleChannelInboundHandler<RequestDecoder.Request> {
  private static final int MAX_WRITES = 4096;
  private static final int MAX_WAITING = 1024;
  private static final long MAX_BYTES = 16 << 20;
  private static final int FLUSH_BYTES = 1 << 20;

  private record Waiting(Action action, int bytes) {}

  /** A place in the order of answers. */
  private static final class Slot {
    private final int bytes;
    private final int count; // of the answers
    private final String late;
    private final long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(Member.DEADLINE_MILLIS);
    private volatile Consumer<ByteBuf> answer;

    Slot(int bytes, int count, String late) {
      this.bytes = bytes;
      this.count = count;
      this.late = late;
    }

    void expire() {
      answer = b -> {
        for (int i = 0; i < count; i++) {
          Answer.error(b, late);
        }
      };
    }
  }

  private final Member member;
  private final Commands commands;
  private final Commands.Session session;
  private final ArrayDeque<Waiting> waiting = new ArrayDeque<>();
  private final ArrayDeque<Slot> underWay = new ArrayDeque<>();
  private final AtomicBoolean woken = new AtomicBoolean();
  private boolean alone; // what is under way is no write: nothing begins beside it
  private boolean timed;
  private long bytes; // of what waits and what is under way
  private ChannelHandlerContext context;
  private ByteBuf out;

  Connection(Member member, Commands commands) {
    this.member = member;
    this.commands = commands;
    session = new Commands.Session();
  }

  @Override
  public void handlerAdded(ChannelHandlerContext context) {
    this.context = context;
  }

  @Override
  protected void channelRead0(ChannelHandlerContext context, RequestDecoder.Request request) {
    waiting.add(new Waiting(commands.of(request), request.bytes()));
    bytes += request.bytes();
    advance();
  }

  @Override
  public void channelReadComplete(ChannelHandlerContext context) {
    work();
  }

  @Override
  public void channelWritabilityChanged(ChannelHandlerContext context) {
    work();
  }

  private void work() {
    advance();
    flush();
    context.channel().config().setAutoRead(!session.ends && waiting.size() < MAX_WAITING
        && underWay.size() < MAX_WRITES && bytes < MAX_BYTES && context.channel().isWritable());
  }

  private void advance() {
    answered();
    while (!waiting.isEmpty() && !alone && !session.ends && room()) {
      Action action = waiting.peek().action();
      if (action instanceof Commands.Write write) {
        if (underWay.size() >= MAX_WRITES) {
          return;
        }
        propose(write, waiting.poll().bytes());
      } else if (!underWay.isEmpty()) {
        return;
      } else if (action instanceof Commands.Now now) {
        bytes -= waiting.poll().bytes();
        now.answer().accept(session, out());
      } else if (action instanceof Commands.Later later) {
        var slot = begin(waiting.poll().bytes(), 1, "TIMEOUT not done in time; it may be yet");
        alone = true;
        later.begin().get().whenComplete((answer, error) ->
            done(slot, error == null ? answer : b -> Answer.error(b, "ERR " + error.getMessage())));
      } else {
        read();
      }
    }
  }

  /** Whether the client takes what it is answered. */
  private boolean room() {
    if (out != null && out.readableBytes() > FLUSH_BYTES) {
      flush();
    }
    return context.channel().isWritable();
  }

  private Slot begin(int bytes, int answers, String late) {
    var slot = new Slot(bytes, answers, late);
    underWay.add(slot);
    if (!timed) {
      timed = true;
      expireIn(Member.DEADLINE_MILLIS);
    }
    return slot;
  }

  private void propose(Commands.Write write, int bytes) {
    var slot = begin(bytes, 1, "UNKNOWN outcome: the write may have taken effect, or may yet: not done in time");
    var proposal = new Machine.Proposal(write.command());
    member.propose(proposal).whenComplete((reply, error) -> done(slot, commands.outcome(write, proposal, reply, error)));
  }

  /** Answers the reads that are next. */
  private void read() {
    List<Waiting> reads = new ArrayList<>();
    int sum = 0;
    while (!waiting.isEmpty() && waiting.peek().action() instanceof Commands.Read) {
      sum += waiting.peek().bytes();
      reads.add(waiting.poll());
    }
    if (session.level.equals("stale")) {
      bytes -= sum;
      look(reads, out());
      return;
    }
    var slot = begin(sum, reads.size(), "TIMEOUT not confirmed in time");
    alone = true;
    member.confirm().whenComplete((reply, error) -> {
      String failure = commands.readFailure(reply, error);
      done(slot, failure == null ? b -> look(reads, b) : b -> reads.forEach(r -> Answer.error(b, failure)));
    });
  }

  /** Looks for reads one by one; what would make a large answer larger goes back in the queue. */
  private void look(List<Waiting> reads, ByteBuf to) {
    for (int i = 0; i < reads.size(); i++) {
      if (to.readableBytes() > FLUSH_BYTES) {
        var rest = new ArrayList<>(reads.subList(i, reads.size()));
        Collections.reverse(rest);
        rest.forEach(r -> {
          bytes += r.bytes();
          waiting.addFirst(r);
        });
        return;
      }
      ((Commands.Read) reads.get(i).action()).answer().accept(to);
    }
  }

  /** Called by whoever completes; the first answer counts. */
  private void done(Slot slot, Consumer<ByteBuf> answer) {
    slot.answer = answer;
    if (!woken.getAndSet(true)) {
      context.executor().execute(() -> {
        woken.set(false);
        work();
      });
    }
  }

  private void answered() {
    for (Slot slot = underWay.peek(); slot != null && slot.answer != null; slot = underWay.peek()) {
      underWay.poll();
      bytes -= slot.bytes;
      alone = false;
      slot.answer.accept(out());
    }
  }

  private void expireIn(long millis) {
    context.executor().schedule(this::expire, millis, TimeUnit.MILLISECONDS);
  }

  private void expire() {
    timed = false;
    long now = System.nanoTime();
    for (Slot slot : underWay) {
      if (slot.answer == null && slot.deadline - now <= 0) {
        slot.expire();
      }
    }
    work();
    if (!underWay.isEmpty() && !timed) {
      timed = true;
      expireIn(Math.max(1, TimeUnit.NANOSECONDS.toMillis(underWay.peek().deadline - now) + 1));
    }
  }

  private ByteBuf out() {
    if (out == null) {
      out = context.alloc().buffer();
    }
    return out;
  }

  private void flush() {
    if (out == null) {
      return;
    }
    var sent = context.writeAndFlush(out);
    out = null;
    if (session.ends) {
      sent.addListener(ChannelFutureListener.CLOSE);
    }
  }

  @Override
  public void channelInactive(ChannelHandlerContext context) {
    session.ends = true; // what waits does not begin any more
    waiting.clear();
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    context.close(); // a connection that broke concerns nobody else
  }
}

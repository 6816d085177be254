package raftlab.ratis;

import io.netty.channel.ChannelHandlerContext;
import io.netty.channel.ChannelInboundHandlerAdapter;
import io.netty.handler.codec.DecoderException;
import io.netty.handler.codec.redis.ArrayHeaderRedisMessage;
import io.netty.handler.codec.redis.BulkStringHeaderRedisMessage;
import io.netty.handler.codec.redis.BulkStringRedisContent;
import io.netty.handler.codec.redis.FullBulkStringRedisMessage;
import io.netty.handler.codec.redis.InlineCommandRedisMessage;
import io.netty.handler.codec.redis.LastBulkStringRedisContent;
import io.netty.util.ReferenceCountUtil;
import java.util.ArrayList;
import java.util.List;

/**
 * Makes requests of what Netty's Redis codec finds: arrays of bulk strings, and lines of words.
 * A length beyond the limits is refused before anything is allocated for it. After an error the
 * connection has no further request.
 */
final class RequestDecoder extends ChannelInboundHandlerAdapter {
  static final int MAX_VALUE_BYTES = 16 << 20;
  static final int MAX_WORDS = 2 * Command.MAX_BATCH_OPS + 1;
  static final int MAX_REQUEST_BYTES = MAX_VALUE_BYTES + 2 * Command.MAX_KEY_BYTES;

  /** A command's words, or the error that ends the connection. */
  record Request(List<byte[]> words, int bytes, String error) {}

  private List<byte[]> words; // of the command that has begun
  private int wanted;
  private int bytes;
  private byte[] word; // that has begun
  private int filled;
  private boolean refused;

  @Override
  public void channelRead(ChannelHandlerContext context, Object message) {
    try {
      if (!refused) {
        take(context, message);
      }
    } finally {
      ReferenceCountUtil.release(message);
    }
  }

  private void take(ChannelHandlerContext context, Object message) {
    if (message instanceof ArrayHeaderRedisMessage array && words == null) {
      begin(context, array.length());
    } else if (message instanceof InlineCommandRedisMessage line && words == null) {
      inline(context, line.content().strip());
    } else if (words == null) {
      refuse(context, "ERR Protocol error: a command is an array of bulk strings");
    } else if (message instanceof FullBulkStringRedisMessage full) { // an empty one, or null
      if (full.isNull()) {
        refuse(context, "ERR Protocol error: invalid bulk length");
        return;
      }
      word = new byte[0];
      filled = 0;
      last(context);
    } else if (message instanceof BulkStringHeaderRedisMessage header) {
      header(context, header.bulkStringLength());
    } else if (message instanceof BulkStringRedisContent content && word != null) {
      int n = content.content().readableBytes();
      content.content().readBytes(word, filled, n);
      filled += n;
      if (message instanceof LastBulkStringRedisContent) {
        last(context);
      }
    } else {
      refuse(context, "ERR Protocol error: expected '$', got another type");
    }
  }

  private void begin(ChannelHandlerContext context, long length) {
    if (length > MAX_WORDS) {
      tooLarge(context, length, MAX_WORDS);
    } else if (length > 0) {
      words = new ArrayList<>((int) Math.min(length, 16));
      wanted = (int) length;
      bytes = 0;
    }
  }

  private void header(ChannelHandlerContext context, int length) {
    if (length > MAX_VALUE_BYTES) {
      tooLarge(context, length, MAX_VALUE_BYTES);
    } else if (bytes + length > MAX_REQUEST_BYTES) {
      tooLarge(context, bytes + length, MAX_REQUEST_BYTES);
    } else {
      word = new byte[length];
      filled = 0;
      bytes += length;
    }
  }

  private void last(ChannelHandlerContext context) {
    words.add(word);
    word = null;
    if (words.size() == wanted) {
      List<byte[]> done = words;
      words = null;
      context.fireChannelRead(new Request(done, bytes, null));
    }
  }

  private void inline(ChannelHandlerContext context, String line) {
    if (line.isEmpty()) {
      return;
    }
    String[] parts = line.split("\\s+");
    if (parts[0].equalsIgnoreCase("POST") || parts[0].equalsIgnoreCase("Host:")) {
      refuse(context, "ERR Protocol error: this is not HTTP");
      return;
    }
    var found = new ArrayList<byte[]>();
    for (String part : parts) {
      found.add(KvMap.bytes(part));
    }
    context.fireChannelRead(new Request(found, line.length(), null));
  }

  @Override
  public void exceptionCaught(ChannelHandlerContext context, Throwable cause) {
    if (cause instanceof DecoderException && !refused) {
      refuse(context, "ERR Protocol error: " + cause.getMessage());
    } else {
      context.fireExceptionCaught(cause);
    }
  }

  private void tooLarge(ChannelHandlerContext context, long length, long most) {
    refuse(context, "TOOLARGE too large: a length of " + length + ", and at most " + most + " are allowed");
  }

  private void refuse(ChannelHandlerContext context, String error) {
    refused = true;
    words = null;
    word = null;
    context.fireChannelRead(new Request(List.of(), 0, error));
  }
}

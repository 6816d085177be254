package raftlab.ratis;

import io.netty.bootstrap.ServerBootstrap;
import io.netty.channel.Channel;
import io.netty.channel.ChannelInitializer;
import io.netty.channel.ChannelOption;
import io.netty.channel.EventLoopGroup;
import io.netty.channel.MultiThreadIoEventLoopGroup;
import io.netty.channel.WriteBufferWaterMark;
import io.netty.channel.group.ChannelGroup;
import io.netty.channel.group.DefaultChannelGroup;
import io.netty.channel.nio.NioIoHandler;
import io.netty.channel.socket.nio.NioServerSocketChannel;
import io.netty.handler.codec.redis.FixedRedisMessagePool;
import io.netty.handler.codec.redis.RedisDecoder;
import io.netty.util.concurrent.GlobalEventExecutor;
import java.io.IOException;
import java.net.InetSocketAddress;

/** Serves clients over the Redis protocol (docs/resp.md). */
final class RespServer {
  private static final int MAX_CONNECTIONS = 1024;
  private static final int MAX_INLINE_BYTES = 64 << 10;

  private final Member member;
  private final Commands commands;
  private final EventLoopGroup threads;
  private final ChannelGroup open = new DefaultChannelGroup(GlobalEventExecutor.INSTANCE);

  RespServer(Member member, int threads) {
    this.member = member;
    this.commands = new Commands(member);
    this.threads = new MultiThreadIoEventLoopGroup(threads, NioIoHandler.newFactory());
  }

  void start(Flags.Address at) throws IOException, InterruptedException {
    var bound = new ServerBootstrap().group(threads).channel(NioServerSocketChannel.class)
        .option(ChannelOption.SO_REUSEADDR, true)
        .childOption(ChannelOption.TCP_NODELAY, true)
        .childOption(ChannelOption.WRITE_BUFFER_WATER_MARK, new WriteBufferWaterMark(1 << 20, 4 << 20))
        .childHandler(new ChannelInitializer<Channel>() {
          @Override
          protected void initChannel(Channel channel) {
            accept(channel);
          }
        })
        .bind(new InetSocketAddress(at.bareHost(), at.port())).await();
    if (!bound.isSuccess()) {
      throw new IOException("cannot listen on --resp " + at + ": " + bound.cause().getMessage());
    }
    open.add(bound.channel());
  }

  private void accept(Channel channel) {
    if (open.size() > MAX_CONNECTIONS) {
      channel.close();
      return;
    }
    open.add(channel);
    channel.pipeline().addLast(new RedisDecoder(MAX_INLINE_BYTES, FixedRedisMessagePool.INSTANCE, true),
        new RequestDecoder(), new Connection(member, commands));
  }

  /** Takes no more connections, and breaks those that are. */
  void close() {
    open.close().awaitUninterruptibly(1000);
    threads.shutdownGracefully(0, 1, java.util.concurrent.TimeUnit.SECONDS);
  }
}

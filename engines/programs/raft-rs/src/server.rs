//! Clients' connections. Each is one task that carries commands out in their order:
//! consecutive writes are under way at the same time, a read waits for what was before it,
//! and answers go out in order, as many at once as there are. A client that does not read
//! its answers is not read from.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot::{self, Receiver, error::TryRecvError};

use crate::commands::{self, About, Do, Level, Look, Then};
use crate::kv::Outcome;
use crate::node::{Event, Failure, Reply, View};
use crate::resp::{self, Answer};

const MAX_UNDER_WAY: usize = 4096; // writes of one connection
const READ_BYTES: usize = 64 << 10;
const OUT_BYTES: usize = 256 << 10; // of answers, after which they are sent

/// Takes connections until the runtime ends.
pub async fn listen(listener: TcpListener, view: View, about: Arc<About>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                _ = stream.set_nodelay(true);
                let connection = Connection {
                    stream,
                    view: view.clone(),
                    about: about.clone(),
                    input: BytesMut::new(),
                    output: Vec::new(),
                    under_way: VecDeque::new(),
                    level: Level::Linearizable,
                    confirmed: 0,
                    is_ending: false,
                };
                tokio::spawn(connection.serve());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await, // out of descriptors
        }
    }
}

type Written = Result<Outcome, Failure>;

struct Connection {
    stream: TcpStream,
    view: View,
    about: Arc<About>,
    input: BytesMut,
    output: Vec<u8>,
    under_way: VecDeque<(Receiver<Written>, Then)>,
    level: Level,
    /// Bytes of the input that were there when the last confirmed read asked: reads among
    /// them share its confirmation, unless a write comes in between.
    confirmed: usize,
    is_ending: bool,
}

impl Connection {
    async fn serve(mut self) {
        _ = self.run().await; // an error is the client's going
    }

    async fn run(&mut self) -> std::io::Result<()> {
        loop {
            self.take_commands().await?;
            self.flush().await?;
            if self.is_ending && self.under_way.is_empty() {
                return self.stream.shutdown().await;
            }
            let may_read = !self.is_ending && self.under_way.len() < MAX_UNDER_WAY;
            let (stream, input) = (&mut self.stream, &mut self.input);
            let first = async {
                match self.under_way.front_mut() {
                    Some((reply, _)) => reply.await,
                    None => std::future::pending().await,
                }
            };
            input.reserve(READ_BYTES);
            tokio::select! {
                n = stream.read_buf(input), if may_read => if n? == 0 { return Ok(()) },
                result = first => {
                    let (_, then) = self.under_way.pop_front().expect("it was awaited");
                    self.put_written(result.ok(), then);
                    self.put_what_is_done();
                }
            }
        }
    }

    /// Carries out what has come whole.
    async fn take_commands(&mut self) -> std::io::Result<()> {
        while !self.is_ending && self.under_way.len() < MAX_UNDER_WAY {
            let (what, used) = match resp::parse(&self.input) {
                Ok(None) => break,
                Ok(Some((args, used))) if args.is_empty() => (None, used),
                Ok(Some((args, used))) => (Some(commands::parse(&args, &self.about)), used),
                Err(why) => (Some(Do::Answer(Answer::Error(why))), 0),
            };
            self.is_ending |= used == 0;
            let seen = self.input.len();
            self.input.advance(used);
            match what {
                None => {}
                Some(Do::Write(command, then)) => {
                    self.confirmed = 0;
                    let (reply, result) = oneshot::channel();
                    _ = self.view.events.send(Event::Propose(command, reply));
                    self.under_way.push_back((result, then));
                }
                Some(other) => {
                    self.finish_writes().await?;
                    let answer = self.carry_out(other, seen).await;
                    answer.encode(&mut self.output);
                }
            }
            self.confirmed = self.confirmed.saturating_sub(used);
            if self.output.len() > OUT_BYTES {
                self.flush().await?;
            }
        }
        Ok(())
    }

    /// Waits for the writes that are under way, sending answers as they come.
    async fn finish_writes(&mut self) -> std::io::Result<()> {
        while let Some((reply, then)) = self.under_way.pop_front() {
            let result = reply.await.ok();
            self.put_written(result, then);
            self.put_what_is_done();
            self.flush().await?;
        }
        Ok(())
    }

    fn put_what_is_done(&mut self) {
        while let Some((reply, _)) = self.under_way.front_mut() {
            let result = match reply.try_recv() {
                Ok(result) => Some(result),
                Err(TryRecvError::Closed) => None,
                Err(TryRecvError::Empty) => return,
            };
            let (_, then) = self.under_way.pop_front().expect("it was looked at");
            self.put_written(result, then);
        }
    }

    fn put_written(&mut self, result: Option<Written>, then: Then) {
        match result.unwrap_or(Err(Failure::Unknown("the member ends"))) {
            Ok(outcome) => commands::written(&outcome, then).encode(&mut self.output),
            Err(failure) => self.failed(failure).encode(&mut self.output),
        }
    }

    fn failed(&self, failure: Failure) -> Answer {
        commands::failed(failure, &self.view.status.lock().expect("no holder panics"), &self.about)
    }

    async fn flush(&mut self) -> std::io::Result<()> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
            self.output.shrink_to(OUT_BYTES);
        }
        Ok(())
    }

    /// Carries out what is no write; seen are the bytes of the input, the command included.
    async fn carry_out(&mut self, what: Do, seen: usize) -> Answer {
        match what {
            Do::Answer(answer) => answer,
            Do::Read(look) => self.read(look, seen).await,
            Do::Level(level) => {
                (self.level, self.confirmed) = (level, 0);
                Answer::Simple("OK")
            }
            Do::ReadLevel => commands::level_name(self.level),
            Do::Reset => {
                (self.level, self.confirmed) = (Level::Linearizable, 0);
                Answer::Simple("RESET")
            }
            Do::Quit => {
                self.is_ending = true;
                Answer::Simple("OK")
            }
            Do::Status => {
                let status = self.view.status.lock().expect("no holder panics").clone();
                commands::status(&status, &self.view.store.read().expect("no holder panics"), &self.about)
            }
            Do::Members => commands::members(&self.view.status.lock().expect("no holder panics"), &self.about),
            Do::Transfer(to) => {
                self.ask(|reply| Event::Transfer(to, reply)).await.map_or_else(|f| self.failed(f), |()| Answer::Simple("OK"))
            }
            Do::Snapshot => self.ask(Event::TakeSnapshot).await.map_or_else(|f| self.failed(f), |()| Answer::Simple("OK")),
            Do::Digest => {
                let (state, about) = (self.view.store.read().expect("no holder panics").clone(), self.about.clone());
                let digest = tokio::task::spawn_blocking(move || commands::digest(&state, &about));
                digest.await.unwrap_or_else(|e| Answer::Error(format!("ERR {e}")))
            }
            Do::Write(..) => unreachable!("a write is not waited for"),
        }
    }

    async fn read(&mut self, look: Look, seen: usize) -> Answer {
        if self.level != Level::Stale && self.confirmed == 0 {
            let lease = self.level == Level::Lease;
            if let Err(failure) = self.ask(|reply| Event::Read { lease, reply }).await {
                return self.failed(failure);
            }
            self.confirmed = seen;
        }
        look(&self.view.store.read().expect("no holder panics"))
    }

    async fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, Failure> {
        let (reply, result) = oneshot::channel();
        _ = self.view.events.send(event(reply));
        result.await.unwrap_or(Err(Failure::Timeout))
    }
}

//! A network under a test's control: between a node and the CQL server it cuts, holds and drops single questions and answers.
//!
//! ```text
//! node ──► frame ──► a rule matches? ──► pass · drop · hold · pass, and cut the connection instead of the answer ──► server
//! ```
//!
//! Frames of the native protocol, version 4: version u8, flags u8, stream i16, opcode u8, length i32, body.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

const HEADER: usize = 9;
const BATCH: u8 = 0x0d;

/// What happens to a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// The server never sees it, and the connection is gone.
    CutBefore,
    /// The server carries it out, and the connection is gone before the answer.
    CutAfter,
    /// The server carries it out, and the answer is lost; the connection stays.
    LoseAnswer,
    /// It waits on the way until it is let go; others pass it.
    Hold,
}

/// Which questions.
enum Of {
    Holding(Vec<u8>),
    Batches,
}

/// A rule, and what it has met.
pub(crate) struct Rule {
    of: Of,
    act: Act,
    /// How many questions it still applies to.
    left: AtomicUsize,
    met: AtomicUsize,
    met_some: Notify,
    gate: watch::Sender<bool>,
}

impl Rule {
    /// Waits until it has met a question.
    pub(crate) async fn met(&self) {
        loop {
            let notified = self.met_some.notified();
            if self.met.load(Ordering::SeqCst) > 0 {
                return;
            }
            notified.await;
        }
    }

    pub(crate) fn times(&self) -> usize {
        self.met.load(Ordering::SeqCst)
    }

    /// Lets go what it holds, and what comes.
    pub(crate) fn let_go(&self) {
        self.left.store(0, Ordering::SeqCst);
        self.gate.send_replace(true);
    }

    fn applies(&self, opcode: u8, body: &[u8]) -> bool {
        let named = match &self.of {
            Of::Batches => opcode == BATCH,
            Of::Holding(bytes) => body.windows(bytes.len()).any(|window| window == bytes.as_slice()),
        };
        let take = |left: usize| left.checked_sub(1);
        if !named || self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_err() {
            return false;
        }
        self.met.fetch_add(1, Ordering::SeqCst);
        self.met_some.notify_waiters();
        true
    }
}

type Rules = Arc<Mutex<Vec<Arc<Rule>>>>;
type Streams = Arc<Mutex<BTreeSet<i16>>>;

/// The network.
pub(crate) struct Proxy {
    address: String,
    rules: Rules,
}

impl Proxy {
    /// A way to the server at `target`.
    pub(crate) async fn before(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let rules = Rules::default();
        let (target, ours) = (target.to_owned(), Arc::clone(&rules));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if let Ok(server) = TcpStream::connect(&target).await {
                    tokio::spawn(carry(client, server, Arc::clone(&ours)));
                }
            }
        });
        Self { address, rules }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    fn rule(&self, of: Of, times: usize, act: Act) -> Arc<Rule> {
        let gate = watch::Sender::new(false);
        let (left, met) = (AtomicUsize::new(times), AtomicUsize::new(0));
        let rule = Arc::new(Rule { of, act, left, met, met_some: Notify::new(), gate });
        self.rules.lock().unwrap().push(Arc::clone(&rule));
        rule
    }

    /// For the next `times` questions with these bytes in them.
    pub(crate) fn on(&self, bytes: &str, times: usize, act: Act) -> Arc<Rule> {
        self.rule(Of::Holding(bytes.as_bytes().to_vec()), times, act)
    }

    /// For all questions with these bytes in them.
    pub(crate) fn on_bytes(&self, bytes: &[u8], act: Act) -> Arc<Rule> {
        self.rule(Of::Holding(bytes.to_vec()), usize::MAX, act)
    }

    /// For all batches of plain writes.
    pub(crate) fn on_batches(&self, act: Act) -> Arc<Rule> {
        self.rule(Of::Batches, usize::MAX, act)
    }
}

async fn frame(from: &mut OwnedReadHalf) -> Option<(u8, i16, Vec<u8>)> {
    let mut bytes = vec![0; HEADER];
    from.read_exact(&mut bytes).await.ok()?;
    let length = usize::try_from(i32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]])).ok()?;
    let (opcode, stream) = (bytes[4], i16::from_be_bytes([bytes[2], bytes[3]]));
    bytes.resize(HEADER + length, 0);
    from.read_exact(&mut bytes[HEADER..]).await.ok()?;
    Some((opcode, stream, bytes))
}

async fn carry(client: TcpStream, server: TcpStream, rules: Rules) {
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let to_server = Arc::new(tokio::sync::Mutex::new(to_server));
    // Streams whose answer is to be lost, or to cut the connection.
    let (lost, cut) = (Streams::default(), Streams::default());
    let questions = {
        let (lost, cut) = (Arc::clone(&lost), Arc::clone(&cut));
        async move {
            while let Some((opcode, stream, bytes)) = frame(&mut from_client).await {
                let rules: Vec<Arc<Rule>> = rules.lock().unwrap().clone();
                let met = rules.into_iter().find(|rule| rule.applies(opcode, &bytes[HEADER..]));
                match met.as_ref().map(|rule| rule.act) {
                    Some(Act::CutBefore) => return,
                    Some(Act::Hold) => {
                        let mut gate = met.unwrap().gate.subscribe();
                        let to_server = Arc::clone(&to_server);
                        tokio::spawn(async move {
                            gate.wait_for(|open| *open).await.ok();
                            send(&to_server, &bytes).await;
                        });
                        continue;
                    }
                    Some(Act::CutAfter) => drop(cut.lock().unwrap().insert(stream)),
                    Some(Act::LoseAnswer) => drop(lost.lock().unwrap().insert(stream)),
                    None => {}
                }
                if !send(&to_server, &bytes).await {
                    return;
                }
            }
        }
    };
    let answers = async move {
        while let Some((_, stream, bytes)) = frame(&mut from_server).await {
            if cut.lock().unwrap().contains(&stream) {
                return;
            }
            if !lost.lock().unwrap().remove(&stream) && to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = questions => {}
        () = answers => {}
    }
}

async fn send(to: &tokio::sync::Mutex<OwnedWriteHalf>, bytes: &[u8]) -> bool {
    to.lock().await.write_all(bytes).await.is_ok()
}

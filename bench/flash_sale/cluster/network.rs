//! The paths between nodes, store and Redis, each of which can be cut one way or both.
//!
//! ```text
//! node 1 ──► relay of node 1 for CQL ──► CQL server        each node has relays of its own for what it dials …
//! node 1 ──► relay in front of node 2 ──► node 2            … and one in front of it, for the nodes that dial it
//! ```
//!
//! The ports of shoppers and operators are never cut: the crowd comes from elsewhere, and the harness must be able to look.

use super::dialler;
use super::options::Chaos;
use doorbuster_bench::error::BenchError;
use doorbuster_test_kit::relay::{Gate, Gates, Relay, listen_on_all};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;

/// The process of each node, as the kernel numbers it; 0 while there is none.
pub(crate) type Processes = Arc<Vec<AtomicU32>>;

/// A node by its index, or what all nodes use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Node(usize),
    Cql,
    Redis,
}

/// The addresses that a node dials instead of the real ones.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    /// The CQL servers.
    pub(crate) cql: Vec<SocketAddr>,
    /// Redis.
    pub(crate) redis: Option<SocketAddr>,
    /// Where the node listens for other nodes.
    pub(crate) listen: SocketAddr,
    /// Where other nodes are to dial it.
    pub(crate) advertise: SocketAddr,
}

/// All gates, and the relays they belong to.
#[derive(Debug)]
pub(crate) struct Network {
    flows: Flows,
    paths: Vec<Paths>,
    _relays: Vec<Relay>,
}

/// One gate for each pair of places and direction.
#[derive(Debug, Clone)]
struct Flows {
    nodes: usize,
    gates: Arc<Vec<Gate>>,
}

impl Flows {
    fn new(nodes: usize) -> Self {
        let places = nodes + 2;
        Self { nodes, gates: Arc::new((0..places * places).map(|_| Gate::open()).collect()) }
    }

    fn number(&self, place: Place) -> usize {
        match place {
            Place::Node(index) => index,
            Place::Cql => self.nodes,
            Place::Redis => self.nodes + 1,
        }
    }

    fn between(&self, from: Place, to: Place) -> Gate {
        let index = self.number(from) * (self.nodes + 2) + self.number(to);
        self.gates.get(index).cloned().expect("there is a gate for every pair of places")
    }

    /// The gates of a connection that `dialler` made to `dialled`.
    fn gates(&self, dialler: Place, dialled: Place) -> Gates {
        Gates { out: self.between(dialler, dialled), back: self.between(dialled, dialler) }
    }

    fn places(&self) -> impl Iterator<Item = Place> + use<> {
        (0..self.nodes).map(Place::Node).chain([Place::Cql, Place::Redis])
    }

    /// The gates that are closed while `chaos` is done to the node of this index.
    fn closed_by(&self, chaos: Chaos, node: usize) -> Vec<Gate> {
        let own = Place::Node(node);
        let far = self.places().filter(|place| *place != own);
        let far = far.filter(|place| chaos != Chaos::CutPeers || matches!(place, Place::Node(_)));
        far.flat_map(|place| {
            let Gates { out, back } = self.gates(own, place);
            match chaos {
                Chaos::Cut | Chaos::CutPeers => vec![out, back],
                Chaos::CutOut => vec![out],
                Chaos::CutIn => vec![back],
                Chaos::Kill | Chaos::Stop | Chaos::Drain | Chaos::Rolling => Vec::new(),
            }
        })
        .collect()
    }
}

impl Network {
    /// Relays for as many nodes as there are `processes`, in front of these servers.
    pub(crate) async fn lay(
        processes: &Processes,
        cql: &[SocketAddr],
        redis: Option<SocketAddr>,
    ) -> Result<Self, BenchError> {
        let flows = Flows::new(processes.len());
        let (mut relays, mut paths) = (Vec::new(), Vec::new());
        let hosts: Vec<IpAddr> = cql.iter().map(SocketAddr::ip).collect();
        for node in 0..processes.len() {
            let own = Place::Node(node);
            let mut stand_ins = Vec::new();
            for (listener, target) in listen_on_all(&hosts).await.map_err(not_listening)?.into_iter().zip(cql) {
                let gates = flows.gates(own, Place::Cql);
                let relay = Relay::start(listener, Some(*target), move |_| gates.clone()).map_err(not_listening)?;
                stand_ins.push(relay.address());
                relays.push(relay);
            }
            let mut stand_in = None;
            if let Some(target) = redis {
                let gates = flows.gates(own, Place::Redis);
                let relay = Relay::start(one_port().await?, Some(target), move |_| gates.clone());
                let relay = relay.map_err(not_listening)?;
                stand_in = Some(relay.address());
                relays.push(relay);
            }
            // The port that the node will listen on: the system gave it out and has it back now. The relay in front of it must know it before.
            let behind = one_port().await?.local_addr().map_err(not_listening)?;
            let (all, flows) = (Arc::clone(processes), flows.clone());
            let front = Relay::start(one_port().await?, Some(behind), move |from| {
                let pids: Vec<u32> = all.iter().map(|pid| pid.load(Ordering::Relaxed)).collect();
                // A dialler that is none of the nodes is never cut off.
                dialler::of(from, &pids).map_or_else(
                    || Gates { out: Gate::open(), back: Gate::open() },
                    |index| flows.gates(Place::Node(index), own),
                )
            });
            let front = front.map_err(not_listening)?;
            paths.push(Paths { cql: stand_ins, redis: stand_in, listen: behind, advertise: front.address() });
            relays.push(front);
        }
        Ok(Self { flows, paths, _relays: relays })
    }

    /// The addresses that the node of this index dials.
    pub(crate) fn paths(&self, node: usize) -> Option<&Paths> {
        self.paths.get(node)
    }

    /// Cuts the node of this index off, as `chaos` says.
    pub(crate) fn cut(&self, chaos: Chaos, node: usize) {
        for gate in self.flows.closed_by(chaos, node) {
            gate.set(false);
        }
    }

    /// Every path is open again.
    pub(crate) fn heal(&self) {
        for gate in self.flows.gates.iter() {
            gate.set(true);
        }
    }
}

async fn one_port() -> Result<TcpListener, BenchError> {
    TcpListener::bind("127.0.0.1:0").await.map_err(not_listening)
}

fn not_listening(source: std::io::Error) -> BenchError {
    BenchError::io("listen on loopback", source)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which gates a cut of node 1 (of three) closes, as `from>to` of node numbers, `c` the store, `r` Redis.
    fn closed(chaos: Chaos) -> Vec<String> {
        let flows = Flows::new(3);
        for gate in flows.closed_by(chaos, 1) {
            gate.set(false);
        }
        let name = |place: Place| match place {
            Place::Node(index) => index.to_string(),
            Place::Cql => "c".to_owned(),
            Place::Redis => "r".to_owned(),
        };
        let pairs = flows.places().flat_map(|from| flows.places().map(move |to| (from, to)));
        let is_closed = |(from, to): &(Place, Place)| {
            let index = flows.number(*from) * 5 + flows.number(*to);
            !flows.gates[index].is_open()
        };
        pairs.filter(is_closed).map(|(from, to)| format!("{}>{}", name(from), name(to))).collect()
    }

    #[test]
    fn a_cut_both_ways_leaves_the_node_no_path_and_the_others_theirs() {
        assert_eq!(closed(Chaos::Cut), ["0>1", "1>0", "1>2", "1>c", "1>r", "2>1", "c>1", "r>1"]);
    }

    #[test]
    fn a_cut_one_way_leaves_the_other_way() {
        assert_eq!(closed(Chaos::CutOut), ["1>0", "1>2", "1>c", "1>r"]);
        assert_eq!(closed(Chaos::CutIn), ["0>1", "2>1", "c>1", "r>1"]);
        assert_eq!(closed(Chaos::CutPeers), ["0>1", "1>0", "1>2", "2>1"]);
        assert!(closed(Chaos::Kill).is_empty());
    }

    #[tokio::test]
    async fn each_node_has_stand_ins_of_its_own_and_a_cut_closes_them() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let server = one_port().await.unwrap();
        let target = server.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = server.accept().await {
                tokio::spawn(async move {
                    drop(stream.write_all(b"hello").await);
                    drop(stream.read(&mut [0; 8]).await);
                });
            }
        });
        let processes: Processes = Arc::new((0..2).map(|_| AtomicU32::new(0)).collect());
        let network = Network::lay(&processes, &[target], None).await.unwrap();
        let (one, two) = (network.paths(0).unwrap().cql[0], network.paths(1).unwrap().cql[0]);
        assert!(one != two && one != target);
        let greeted = async |address: SocketAddr| {
            let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
            let mut word = [0; 5];
            tokio::time::timeout(std::time::Duration::from_millis(500), stream.read_exact(&mut word)).await.is_ok()
        };
        network.cut(Chaos::CutIn, 0);
        assert!(!greeted(one).await && greeted(two).await);
        network.heal();
        assert!(greeted(one).await);
    }
}

//! `doorbuster admin` against nodes that are made up, over real sockets: what is asked, what is printed, and the exit status.

use super::{Said, carry_out};
use crate::cli::{Admin, Invocation, read};
use doorbuster_api::operator::{
    Cluster, Fault, Guard, HandOff, Node, NodeStanding, OperationError, Operations, Readiness, RegistryShown, Saga,
    SetAside, Shard, ShardHere, filter,
};
use doorbuster_api::server::Runtimes;
use doorbuster_api::{SocketCounts, SocketLimits, bind, serve};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::{ProviderAnswer, Reference};
use doorbuster_settings::Secret;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// A node with made-up answers; it records the requests it receives.
#[derive(Clone)]
struct Fake {
    name: &'static str,
    /// Operator ports of the members it knows.
    members: Arc<Mutex<Vec<String>>>,
    received: Arc<Mutex<Vec<String>>>,
    is_clean: bool,
    /// The operator token that it requires.
    token: Option<&'static str>,
}

impl Fake {
    fn new(name: &'static str) -> Self {
        Self { name, members: Arc::default(), received: Arc::default(), is_clean: true, token: None }
    }

    fn record(&self, what: String) -> Result<(), OperationError> {
        self.received.lock().expect("no test panicked").push(what);
        Ok(())
    }

    fn received(&self) -> Vec<String> {
        self.received.lock().expect("no test panicked").clone()
    }

    /// Serves; gives its address.
    fn serve(&self) -> String {
        let listener = bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 16).expect("a free port");
        let address = listener.local_addr().expect("it listens").to_string();
        let counts = Arc::new(SocketCounts::default());
        let guard = Guard::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[], self.token);
        let filter = filter(self.clone(), guard);
        let (own, never) = (Runtimes::current(), std::future::pending());
        let serving = serve(listener, own, None, filter, SocketLimits::default(), counts, never);
        tokio::spawn(serving.expect("room for a thread"));
        address
    }
}

fn member(name: &str, state: NodeStanding, operator: &str) -> Node {
    let is_me = name == "node1";
    Node {
        name: name.to_owned(),
        incarnation: 3,
        state,
        drain_wished: false,
        heartbeats_missed: if state == NodeStanding::Suspect { 5 } else { 0 },
        last_heartbeat_ms_ago: (!is_me).then_some(340),
        beat: 1_200,
        beat_age_ms: 12_340,
        version: "0.1.0".to_owned(),
        cluster: Some("10.0.0.1:7070".to_owned()),
        public: "10.0.0.1:8080".to_owned(),
        operator: operator.to_owned(),
        shards_owned: 2,
        shards_placed: 10,
        shards_claimed: is_me.then_some(3),
        shards_serving: is_me.then_some(2),
        up_s: is_me.then_some(77),
    }
}

impl Operations for Fake {
    async fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
    async fn health(&self) -> Result<(), String> {
        Ok(())
    }
    async fn readiness(&self) -> Readiness {
        Readiness { ready: true, status: "serving".to_owned(), shards: (2, 2) }
    }
    async fn cluster(&self) -> Result<Cluster, OperationError> {
        let addresses = self.members.lock().expect("no test panicked").clone();
        let states = [NodeStanding::Up, NodeStanding::Suspect, NodeStanding::Gone];
        let members = ["node1", "node2", "node3"].iter().zip(states).zip(&addresses);
        Ok(Cluster {
            node: format!("{}.3", self.name),
            version: "0.1.0".to_owned(),
            view: Some(12),
            registry: Some(RegistryShown { read_ms_ago: Some(210), failure: None, failures: 4 }),
            members: members.map(|((name, state), operator)| member(name, state, operator)).collect(),
        })
    }
    async fn shards(&self) -> Result<Vec<Shard>, OperationError> {
        let shard = |shard: u16, owner: Option<&str>| Shard {
            shard,
            owner: owner.map(str::to_owned),
            epoch: 5,
            placed: Some("node1".to_owned()),
            moved: shard == 1,
            serving: owner.is_some(),
            doing: (shard == 2).then(|| "claiming".to_owned()),
            last_handoff: (shard == 0).then(|| HandOff {
                at: "2026-11-21T09:00:00.000Z".to_owned(),
                from: Some("node2.1".to_owned()),
                to: Some("node1.3".to_owned()),
                why: "owner_gone".to_owned(),
                took_ms: Some(1_240),
            }),
            here: owner.is_some_and(|owner| owner == format!("{}.3", self.name)).then_some(ShardHere {
                seq: 1_234,
                flushed_upto: 1_200,
                lag: 34,
                resident: 7,
                waiting_for_checkpoint: 3,
                deadlines: 2,
                set_aside: 0,
                queue_depth: 11,
            }),
        };
        Ok(vec![shard(0, Some("node1.3")), shard(1, Some("node2.3")), shard(2, None)])
    }
    async fn drain(&self, node: &str, drained: bool) -> Result<(), OperationError> {
        if node == "node9" {
            return Err(OperationError::NoSuch("there is no node \"node9\"; there are node1, node2".to_owned()));
        }
        self.record(format!("drain {node} {drained}"))
    }
    async fn move_shard(&self, shard: u16, to: Option<&str>) -> Result<(), OperationError> {
        self.record(format!("move {shard} {to:?}"))
    }
    async fn sagas(&self, _limit: usize) -> Result<Vec<Saga>, OperationError> {
        Ok(vec![Saga {
            order: format!("ord_of_{}", self.name),
            step: "held".to_owned(),
            status: "awaiting_payment".to_owned(),
            age_s: 61,
            trouble: vec!["Stuck\u{1b}[2J".to_owned()],
        }])
    }
    async fn set_aside(&self) -> Result<Vec<SetAside>, OperationError> {
        Ok(Vec::new())
    }
    async fn retry(&self, entity: EntityId) -> Result<(), OperationError> {
        self.record(format!("retry {entity}"))
    }
    async fn audit(&self) -> Result<Value, OperationError> {
        let violations = if self.is_clean { vec![] } else { vec!["stock_is_conserved: A: 3 came, 2 are there"] };
        Ok(json!({ "clean": self.is_clean, "orders": 20, "confirmed": 17, "in_flight": 1, "violations": violations,
            "violations_total": violations.len(), "in_flight_orders": ["ord_1"], "ledger_compared": false }))
    }
    async fn audits(&self) -> Result<Value, OperationError> {
        Ok(json!({ "running": null, "last": null }))
    }
    async fn fault(&self, _fault: Fault) -> Result<(), OperationError> {
        Err(OperationError::NotAllowed)
    }
    async fn settle(&self, reference: Reference, answer: ProviderAnswer) -> Result<(), OperationError> {
        self.record(format!("settle {reference} {answer:?}"))
    }
    async fn erase(&self, _entity: EntityId) -> Result<(), OperationError> {
        Err(OperationError::Unknown)
    }
}

fn admin(operator: &str, words: &str) -> Admin {
    let line = ["doorbuster", "admin", "--operator", operator];
    match read(line.into_iter().chain(words.split_whitespace()), Vec::new()).map(|asked| asked.invocation) {
        Ok(Invocation::Admin(admin)) => admin,
        other => panic!("{words}: {other:?}"),
    }
}

async fn said(operator: &str, words: &str) -> Said {
    carry_out(&admin(operator, words)).await.unwrap_or_else(|error| panic!("{words}: {error}"))
}

/// One that answers, one that answers, one that is gone.
fn two_nodes() -> (Fake, Fake, String) {
    let (one, two) = (Fake::new("node1"), Fake::new("node2"));
    let (first, second) = (one.serve(), two.serve());
    let members = vec![first.clone(), second, "127.0.0.1:1".to_owned()];
    *one.members.lock().expect("no test panicked") = members;
    (one, two, first)
}

#[tokio::test]
async fn the_cluster_is_a_table_in_which_every_node_has_its_row() {
    let (one, _two, address) = two_nodes();
    *one.members.lock().expect("no test panicked") =
        vec!["10.0.0.1:8081".to_owned(), "10.0.0.2:8081".to_owned(), "10.0.0.3:8081".to_owned()];
    let shown = said(&address, "cluster").await;
    assert!(shown.well);
    assert_eq!(
        shown.out,
        "asked node1.3, Doorbuster 0.1.0, view 12\n\
         registry read 210 ms ago, 4 failures\n\
         \n\
         NODE     STATE    OWNED  PLACED  CLAIMED  SERVING  MISSED  HEARTBEAT  ROW     VERSION  CLUSTER        PUBLIC         OPERATOR\n\
         node1.3  up           2      10        3        2       0  -          12.3 s  0.1.0    10.0.0.1:7070  10.0.0.1:8080  10.0.0.1:8081\n\
         node2.3  suspect      2      10        -        -       5  340 ms     12.3 s  0.1.0    10.0.0.1:7070  10.0.0.1:8080  10.0.0.2:8081\n\
         node3.3  gone         2      10        -        -       0  340 ms     12.3 s  0.1.0    10.0.0.1:7070  10.0.0.1:8080  10.0.0.3:8081\n"
    );
}

#[tokio::test]
async fn shards_show_who_owns_them_and_how_they_changed_hands() {
    let (_one, _two, address) = two_nodes();
    let shown = said(&address, "shards").await;
    assert_eq!(
        shown.out,
        "SHARD  OWNER    EPOCH  PLACED        SERVING        SEQ  LAG  RESIDENT  WAITING  DEADLINES  ASIDE  QUEUE  LAST HAND-OFF\n    \
            0  node1.3      5  node1         yes           1234   34         7        3          2      0     11  2026-11-21T09:00:00.000Z node2.1 → node1.3, owner_gone, 1.2 s\n    \
            1  node2.3      5  node1, moved  yes              -    -         -        -          -      -      -  -\n    \
            2  -            5  node1         no, claiming     -    -         -        -          -      -      -  -\n"
    );
}

#[tokio::test]
async fn all_nodes_together_show_the_figures_of_every_shard_that_is_served() {
    let (_one, _two, address) = two_nodes();
    let shown = said(&address, "shards --all --json").await;
    assert_eq!((shown.well, shown.remarks.len()), (true, 0), "a node that is gone is not asked: {:?}", shown.remarks);
    let answer: Value = serde_json::from_str(&shown.out).expect("JSON");
    let seqs: Vec<Option<u64>> =
        answer["data"].as_array().expect("a list").iter().map(|it| it["seq"].as_u64()).collect();
    assert_eq!(seqs, [Some(1_234), Some(1_234), None]);
    let sagas = said(&address, "sagas --all").await.out;
    assert!(sagas.contains("ord_of_node1") && sagas.contains("ord_of_node2"), "{sagas}");
    assert!(!sagas.contains('\u{1b}'), "control sequences do not reach the terminal");
}

#[tokio::test]
async fn a_node_that_cannot_be_asked_is_remarked_on_and_the_rest_is_shown() {
    let (one, _two, address) = two_nodes();
    *one.members.lock().expect("no test panicked") = vec![address.clone(), "127.0.0.1:1".to_owned()];
    let shown = said(&address, "sagas --all").await;
    assert!(!shown.well && shown.out.contains("ord_of_node1"), "{shown:?}");
    assert!(shown.remarks.iter().any(|remark| remark.contains("127.0.0.1:1")), "{:?}", shown.remarks);
}

#[tokio::test]
async fn each_command_reaches_its_path() {
    let (one, _two, address) = two_nodes();
    let order = "ord_00000000000000000000010000";
    let settle = format!("settle {order}.authorize.1.1 declined --code no");
    let words =
        ["drain node2", "resume node2", "move 7 node2", "move 7 --back", "retry inventory/A~B", settle.as_str()];
    for words in words {
        assert!(said(&address, words).await.well, "{words}");
    }
    let received = one.received();
    let expected =
        ["drain node2 true", "drain node2 false", "move 7 Some(\"node2\")", "move 7 None", "retry inventory/A~B"];
    assert_eq!(received.iter().take(5).map(String::as_str).collect::<Vec<_>>(), expected);
    assert!(received.last().is_some_and(|last| last.starts_with(&format!("settle {order}.authorize.1.1 Declined"))));
}

#[tokio::test]
async fn what_is_refused_is_said_in_the_words_of_the_node() {
    let (_one, _two, address) = two_nodes();
    let error = carry_out(&admin(&address, "drain node9")).await.expect_err("there is none");
    assert_eq!(error, format!("{address} refused: there is no node \"node9\"; there are node1, node2 (404 not_found)"));
}

#[tokio::test]
async fn an_audit_that_finds_something_is_no_success() {
    let clean = Fake::new("node1");
    let shown = said(&clean.serve(), "audit").await;
    assert!(shown.well && shown.out.starts_with("clean: no law is broken\n"), "{}", shown.out);
    let broken = Fake { is_clean: false, ..Fake::new("node1") };
    for words in ["audit", "audit --json"] {
        let shown = said(&broken.serve(), words).await;
        assert!(!shown.well && shown.out.contains("stock_is_conserved"), "{}", shown.out);
    }
    assert!(said(&broken.serve(), "audit").await.out.starts_with("NOT CLEAN\n"));
}

#[tokio::test]
async fn the_token_of_the_settings_goes_with_every_request() {
    let guarded = Fake { token: Some("0123456789abcdef"), ..Fake::new("node1") };
    let address = guarded.serve();
    let error = carry_out(&admin(&address, "cluster")).await.expect_err("it has no token");
    assert!(error.contains("(401 unauthenticated)"), "{error}");
    let with_token = Admin { token: Secret("0123456789abcdef".to_owned()), ..admin(&address, "cluster") };
    assert!(carry_out(&with_token).await.expect("it is answered").well);
}

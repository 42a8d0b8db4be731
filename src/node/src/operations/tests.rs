//! A node's answers to its operator, alone and as a member of a cluster that is made up.

use super::*;
use crate::cluster_admin::tests::Quiet;
use crate::projections::Projections;
use doorbuster_actors::settings::Settings as ActorSettings;
use doorbuster_actors::system::{Actors, Shards};
use doorbuster_clock::{SharedClock, SystemClock};
use doorbuster_domain::ids::Sku;
use doorbuster_storage::memory::{Groups, MemoryStore};
use doorbuster_storage::{Layout, Store};
use std::net::Ipv4Addr;

const SHARDS: u16 = 6;

/// A node with all its shards, or with none yet.
pub(crate) async fn node(cluster: Option<Arc<Quiet>>) -> (Actors, NodeOperations) {
    let clock: SharedClock = Arc::new(SystemClock);
    let provider = crate::provider::build(&crate::config::Payments::default(), "", None, Arc::clone(&clock), None);
    let provider = Arc::new(provider.expect("the simulated provider needs nothing"));
    let (groups, shards) =
        if cluster.is_some() { (Groups::PerShard, Shards::Assigned) } else { (Groups::One, Shards::All("alone")) };
    let store = Store::Memory(MemoryStore::new(Layout { shards: SHARDS, hash_version: 1 }, groups, 1).open());
    let settings = ActorSettings { writer_thread: false, ..ActorSettings::default() };
    let actors =
        Actors::start(store, Arc::<AnyProvider>::clone(&provider), clock, settings, Arc::default(), shards).await;
    let actors = actors.expect("it starts");
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let addresses = Addresses { public: address, operator: address };
    let cluster = cluster.map(|cluster| cluster as Arc<dyn ClusterAdmin>);
    let config = Config::default();
    let projections = Projections::start(&config, &actors.handle(), &[7; 32]).await.expect("they need nothing");
    let counts = (Arc::default(), Arc::default(), projections.figures());
    let operations = NodeOperations::new(actors.handle(), provider, &config, addresses, counts, cluster);
    (actors, operations)
}

#[tokio::test]
async fn a_node_alone_shows_itself_and_has_no_peer_to_hand_its_shards_to() {
    let (_actors, node) = node(None).await;
    let cluster = node.cluster().await.expect("it knows itself");
    let me = cluster.members.first().expect("itself");
    assert_eq!((cluster.members.len(), me.state, me.shards_owned), (1, NodeStanding::Up, usize::from(SHARDS)));
    let shards = node.shards().await.expect("its own");
    assert!(shards.len() == usize::from(SHARDS) && shards.iter().all(|shard| shard.serving && shard.here.is_some()));
    assert_eq!(node.readiness().await.shards, (usize::from(SHARDS), usize::from(SHARDS)));
    for refused in [node.drain("alone", true).await, node.drain("alone", false).await, node.move_shard(0, None).await] {
        assert!(matches!(&refused, Err(OperationError::Refused(why)) if why.contains("no cluster")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_desired_state_is_set_only_if_it_can_be_reached() {
    let cluster = Arc::new(Quiet::default());
    let (_actors, node) = node(Some(Arc::clone(&cluster))).await;
    node.drain("b", true).await.expect("there is one");
    node.drain("c", false).await.expect("it has a row, though it is gone");
    node.move_shard(5, Some("b")).await.expect("it lives");
    node.move_shard(5, None).await.expect("where the placement says");
    let unknown = node.drain("z", true).await;
    assert!(
        matches!(&unknown, Err(OperationError::NoSuch(what)) if what.ends_with("there are a, b, c")),
        "{unknown:?}"
    );
    assert!(matches!(node.move_shard(5, Some("z")).await, Err(OperationError::NoSuch(_))));
    let beyond = node.move_shard(SHARDS, Some("b")).await;
    assert!(matches!(&beyond, Err(OperationError::NoSuch(what)) if what.ends_with("there are 0 to 5")), "{beyond:?}");
    let dead = node.move_shard(5, Some("c")).await;
    assert!(matches!(&dead, Err(OperationError::Refused(why)) if why.contains("is gone")), "{dead:?}");
    let desired = cluster.desired.lock().expect("no test panicked").clone();
    assert_eq!(desired, ["drain b true", "drain c false", "move 5 Some(\"b\")", "move 5 None"]);
}

#[tokio::test]
async fn a_member_is_ready_even_without_a_shard_and_a_node_that_is_not_yet_one_is_not() {
    let (actors, member) = node(Some(Arc::default())).await;
    let readiness = member.readiness().await;
    assert_eq!((readiness.ready, readiness.status.as_str(), readiness.shards), (true, "serving", (0, 3)));
    actors.handle().acquire(Shard(0), "a.1").await.expect("no other node claims");
    assert_eq!(member.readiness().await.shards, (1, 3));
    for (own, ready, word) in [(MemberState::Joining, false, "joining"), (MemberState::Draining, true, "draining")] {
        let (_actors, node) = node(Some(Arc::new(Quiet { own: Some(own), ..Quiet::default() }))).await;
        let readiness = node.readiness().await;
        assert_eq!((readiness.ready, readiness.status.as_str()), (ready, word));
    }
}

#[tokio::test]
async fn a_member_that_is_cut_off_or_about_to_stop_is_not_ready() {
    let deaf = Quiet { silent_ms: Some(STORE_SILENT_MS_MAX + 1), ..Quiet::default() };
    let (_actors, node) = node(Some(Arc::new(deaf))).await;
    let readiness = node.readiness().await;
    assert_eq!((readiness.ready, readiness.status.as_str()), (false, "cut off from the store"));
    let (_actors, member) = self::node(Some(Arc::default())).await;
    assert!(member.readiness().await.ready);
    member.leave();
    let readiness = member.readiness().await;
    assert_eq!((readiness.ready, readiness.status.as_str()), (false, "stopping"));
}

#[tokio::test]
async fn a_node_that_does_not_own_an_entity_says_where_to_retry_it() {
    let (_actors, node) = node(Some(Arc::default())).await;
    let of_shard = |wanted: u16| {
        let names = (0..).map(|number| EntityId::Inventory(Sku::parse(&format!("S-{number}")).expect("lawful")));
        let layout = Layout { shards: SHARDS, hash_version: 1 };
        names.into_iter().find(|entity| layout.shard_of(entity) == Shard(wanted)).expect("there are enough")
    };
    let elsewhere = node.retry(of_shard(2)).await;
    assert!(matches!(&elsewhere, Err(OperationError::Refused(why)) if why.ends_with("ask b:8081")), "{elsewhere:?}");
}

#[tokio::test]
async fn a_node_of_a_cluster_shows_every_shard_and_figures_of_its_own() {
    let (actors, node) = node(Some(Arc::default())).await;
    actors.handle().acquire(Shard(0), "a.1").await.expect("no other node claims");
    let shards = node.shards().await.expect("the cluster is there");
    let here: Vec<bool> = shards.iter().map(|shard| shard.here.is_some()).collect();
    assert_eq!(here, [true, false, false, false, false, false]);
    let page = node.metrics().await;
    assert!(page.contains("doorbuster_cluster_members_live 2\n"), "{page}");
    assert!(page.contains("doorbuster_cluster_questions_total 9\n") && page.ends_with("# EOF\n"));
}

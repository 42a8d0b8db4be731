//! BenchError, one kind after the other, each measured: noticed, serving again, whole again.
//!
//! ```text
//! quiet ── it happens ── noticed by all others ── every shard serves ── (it ends) ── whole again ── quiet …
//!          └────────────────── the crowd never stops ──────────────────┘
//! ```

use super::fleet::Fleet;
use super::network::Network;
use super::options::Chaos;
use super::probe::Probe;
use super::screen::Screen;
use super::stats::seconds;
use super::view::Board;
use doorbuster_bench::api::Caller;
use doorbuster_bench::error::BenchError;
use doorbuster_bench::number::length;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long a loss is watched for before it counts as never noticed, or never served again.
const WATCH_LIMIT: Duration = Duration::from_secs(40);
/// How long the cluster has to become whole again after the fault is over.
const WHOLE_LIMIT: Duration = Duration::from_secs(90);
/// A killed node stays away at least so long; a restart that is quicker than being noticed would try something else.
const AWAY_MIN: Duration = Duration::from_secs(3);
/// How long a node is stopped, in seconds: long enough to be given up, and to find its shards gone when it wakes.
const STOPPED_S: u64 = 10;
/// How long a cut lasts at least.
const CUT_MIN: Duration = Duration::from_secs(10);
/// How often we look whether what is waited for has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What happened, from the beginning of the sale; the rest from the moment it happened.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    /// What was done.
    pub(crate) chaos: Chaos,
    /// To whom.
    pub(crate) node: String,
    /// When.
    pub(crate) began: Duration,
    /// Until all others said so; `None`: they did not.
    pub(crate) noticed: Option<Duration>,
    /// Until every shard answered a question from after that moment; of a drain: until it owned nothing.
    pub(crate) serving: Option<Duration>,
    /// Until all nodes were up again and every shard where it belongs.
    pub(crate) whole: Option<Duration>,
    /// The longest time for which a shard gave no answer, until it was whole again.
    pub(crate) silence: Duration,
    /// When we stopped looking.
    pub(crate) ended: Duration,
}

/// Where it all happens.
#[derive(Debug)]
pub(crate) struct Stage<'a> {
    /// The nodes.
    pub(crate) fleet: &'a mut Fleet,
    /// The paths, if they can be cut.
    pub(crate) network: Option<&'a Network>,
    /// What the nodes see.
    pub(crate) board: &'a Board,
    /// What the shards answer.
    pub(crate) probe: &'a Probe,
    /// Where it is printed.
    pub(crate) screen: &'a Screen,
    /// When the sale began.
    pub(crate) sale_began: Instant,
    /// Pause between two faults.
    pub(crate) quiet: Duration,
    /// Who is first.
    pub(crate) seed: u64,
}

/// The victim of the fault of this number: each node in turn, beginning where the seed says.
fn victim(seed: u64, number: usize, nodes: usize) -> usize {
    let nodes = doorbuster_bench::number::count(nodes).max(1);
    length(seed.wrapping_add(doorbuster_bench::number::count(number)) % nodes)
}

impl Stage<'_> {
    /// Does all of it.
    pub(crate) async fn run(&mut self, plan: &[Chaos]) -> Result<Vec<Event>, BenchError> {
        let mut events = Vec::new();
        for (number, chaos) in plan.iter().enumerate() {
            tokio::time::sleep(self.quiet).await;
            let nodes = self.fleet.members.len();
            let victims = match chaos {
                Chaos::Rolling => (0..nodes).collect(),
                _ => vec![victim(self.seed, number, nodes)],
            };
            for index in victims {
                let event = self.one(*chaos, index).await?;
                self.screen.say(shown(&event));
                let is_whole = event.whole.is_some();
                events.push(event);
                if !is_whole {
                    return Err(BenchError::Node(format!(
                        "{}: the cluster is not whole again {} s after it was over",
                        shown(events.last().expect("pushed just now")),
                        WHOLE_LIMIT.as_secs()
                    )));
                }
            }
        }
        tokio::time::sleep(self.quiet).await;
        Ok(events)
    }

    /// One fault, from its beginning until all is whole again.
    pub(crate) async fn one(&mut self, chaos: Chaos, index: usize) -> Result<Event, BenchError> {
        let node = self.board.names().get(index).cloned().unwrap_or_default();
        let incarnation = self.board.incarnation(index);
        self.probe.attend(true);
        // Probes that are under way have begun before; a moment later those of the attentive pace are.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let began = Instant::now();
        self.screen.say(format!("{} {node}", chaos.word()));
        let (noticed, serving) = match chaos {
            Chaos::Kill => {
                self.fleet.kill(index).await?;
                let seen = watch(self.board, self.probe, index, incarnation, began).await;
                tokio::time::sleep_until((began + AWAY_MIN).into()).await;
                self.fleet.restart(index).await?;
                seen
            }
            Chaos::Stop => {
                self.fleet.pause(index, STOPPED_S)?;
                let seen = watch(self.board, self.probe, index, incarnation, began).await;
                tokio::time::sleep_until((began + Duration::from_secs(STOPPED_S)).into()).await;
                seen
            }
            Chaos::Cut | Chaos::CutOut | Chaos::CutIn | Chaos::CutPeers => {
                let network = self.network.ok_or_else(|| BenchError::Input("no relays were laid".to_owned()))?;
                network.cut(chaos, index);
                // A node that only its peers cannot reach lives on: it may not be evicted, so there is nothing to be noticed.
                let seen = if chaos == Chaos::CutPeers {
                    (None, None)
                } else {
                    watch(self.board, self.probe, index, incarnation, began).await
                };
                tokio::time::sleep_until((began + CUT_MIN).into()).await;
                network.heal();
                seen
            }
            Chaos::Drain => {
                self.wish(index, "drain").await?;
                let emptied = until(WATCH_LIMIT, || self.board.is_emptied(index, began)).await;
                let noticed = self.board.is_noticed(index, incarnation, began).then_some(emptied).flatten();
                self.wish(index, "resume").await?;
                (noticed, emptied)
            }
            Chaos::Rolling => {
                let (stopped, seen) =
                    tokio::join!(self.fleet.stop(index), watch(self.board, self.probe, index, incarnation, began));
                if !stopped? {
                    self.screen.say(format!("{node} did not stop cleanly in time"));
                }
                self.fleet.restart(index).await?;
                seen
            }
        };
        let whole = self.wait_until_whole(began).await?;
        self.probe.attend(false);
        let ended = Instant::now();
        Ok(Event {
            chaos,
            node,
            began: began.saturating_duration_since(self.sale_began),
            noticed,
            serving: serving.or_else(|| self.served(began)),
            whole,
            silence: self.probe.longest_silence(began, ended),
            ended: ended.saturating_duration_since(self.sale_began),
        })
    }

    fn served(&self, since: Instant) -> Option<Duration> {
        self.probe.served_since(since).map(|at| at.saturating_duration_since(since))
    }

    /// Waits until all is as it was, and starts again every node that ended by itself meanwhile.
    async fn wait_until_whole(&mut self, began: Instant) -> Result<Option<Duration>, BenchError> {
        let over = Instant::now();
        while over.elapsed() < WHOLE_LIMIT {
            self.fleet.tend().await?;
            if self.board.is_whole(over) && self.probe.served_since(over).is_some() {
                return Ok(Some(began.elapsed()));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(None)
    }

    /// Says by another node's operator port what is wished of this one.
    async fn wish(&self, index: usize, wish: &str) -> Result<(), BenchError> {
        let node = self.fleet.members.get(index).ok_or_else(|| BenchError::Input("no such node".to_owned()))?;
        let asked = self.fleet.members.iter().find(|member| member.name != node.name).unwrap_or(node);
        let path = format!("/admin/nodes/{}/{wish}", node.name);
        let answer = Caller::new(asked.operator.clone()).post(&path, wish, None, &json!({})).await?;
        if answer.is_ok() { Ok(()) } else { Err(answer.error(format!("POST {path}"))) }
    }
}

/// Waits until the others have noticed and all shards have answered; what has not happened within the limit is `None`.
async fn watch(
    board: &Board,
    probe: &Probe,
    index: usize,
    incarnation: u64,
    began: Instant,
) -> (Option<Duration>, Option<Duration>) {
    let mut noticed = None;
    loop {
        if noticed.is_none() && board.is_noticed(index, incarnation, began) {
            noticed = Some(began.elapsed());
        }
        let serving = probe.served_since(began).map(|at| at.saturating_duration_since(began));
        if (noticed.is_some() && serving.is_some()) || began.elapsed() > WATCH_LIMIT {
            return (noticed, serving);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Waits until something is so, and says how long that took.
async fn until(limit: Duration, is_so: impl Fn() -> bool) -> Option<Duration> {
    let began = Instant::now();
    while began.elapsed() < limit {
        if is_so() {
            return Some(began.elapsed());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    None
}

/// One line of what happened.
pub(crate) fn shown(event: &Event) -> String {
    let at = |duration: Option<Duration>| duration.map_or_else(|| "never".to_owned(), seconds);
    let (first, second) = match event.chaos {
        Chaos::Drain => ("noticed", "empty"),
        _ => ("noticed", "serving"),
    };
    format!(
        "{:<9} {} at {}: {first} {}, {second} {}, longest silence of a shard {}, whole again {}",
        event.chaos.word(),
        event.node,
        seconds(event.began),
        at(event.noticed),
        at(event.serving),
        seconds(event.silence),
        at(event.whole)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_their_turn_and_the_seed_says_who_begins() {
        let turns = |seed: u64| (0..4).map(|number| victim(seed, number, 3)).collect::<Vec<_>>();
        assert_eq!((turns(0), turns(1)), (vec![0, 1, 2, 0], vec![1, 2, 0, 1]));
        assert_eq!(victim(u64::MAX, 1, 1), 0);
    }

    #[test]
    fn what_never_happened_is_told_so() {
        let event = Event {
            chaos: Chaos::CutPeers,
            node: "node2".into(),
            began: Duration::from_secs(5),
            noticed: None,
            serving: Some(Duration::from_millis(2_300)),
            whole: Some(Duration::from_secs(11)),
            silence: Duration::from_secs(2),
            ended: Duration::from_secs(16),
        };
        assert_eq!(
            shown(&event),
            "cut-peers node2 at 5.00 s: noticed never, serving 2.30 s, longest silence of a shard 2.00 s, whole again 11.00 s"
        );
    }

    #[tokio::test]
    async fn waiting_has_an_end() {
        assert_eq!(until(Duration::from_millis(60), || false).await, None);
        assert!(until(Duration::from_secs(20), || true).await.is_some());
    }
}

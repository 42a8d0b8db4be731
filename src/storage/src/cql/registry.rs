//! The registry on CQL: a row that each node renews, the owner of each shard, and the state that operators want (rule O6).
//!
//! A transaction assigns an incarnation. A node's later writes about itself are plain, with `USING TIMESTAMP base + beat`, so a renewal counts
//! whatever the servers' clocks say. The desired state is changed by compare-and-set, so that the last change counts.

use super::options::{Counts, TIMESTAMP_BASE};
use super::session::{Cql, Pauses, bigint, number, shard_key};
use crate::journal::{ReadError, Shard};
use crate::registry::{DesiredState, NodeId, NodeRow, NodeState, OwnerRow, Registry, RegistryError};
use doorbuster_clock::monotonic;
use std::sync::Arc;

/// The timestamp that deletes a row for ever: no beat comes near it.
const END_OF_BEATS: i64 = 1 << 62;
/// The number of attempts to change the desired state against concurrent changes.
const CONFLICTS_MAX: u32 = 16;

/// The registry. Clones are the same registry.
#[derive(Debug, Clone)]
pub struct CqlRegistry {
    cql: Arc<Cql>,
}

type Stored =
    (String, i64, Option<i64>, Option<String>, Option<String>, Option<String>, Option<String>, Option<String>);

fn failed(error: ReadError) -> RegistryError {
    match error {
        ReadError::Corrupt(why) | ReadError::Failed(why) => RegistryError::Failed(why),
    }
}

const fn word(state: NodeState) -> &'static str {
    match state {
        NodeState::Up => "up",
        NodeState::Draining => "draining",
    }
}

impl CqlRegistry {
    pub(super) const fn new(cql: Arc<Cql>) -> Self {
        Self { cql }
    }

    /// If the outcome is unknown, the incarnation is raised once more: numbers may be skipped, but are never shared.
    async fn win(&self, name: &str) -> Result<u64, RegistryError> {
        let (cql, begun) = (&self.cql, monotonic());
        let mut pauses = Pauses::new();
        loop {
            let seen = cql.first::<(Option<i64>,)>(&cql.statements.incarnation, (name,)).await.map_err(failed)?;
            let seen = seen.and_then(|(incarnation,)| incarnation);
            let next = seen.unwrap_or(0).saturating_add(1);
            let answer = match seen {
                None => cql.transact(&cql.statements.first_incarnation, (next, name)).await,
                Some(seen) => cql.transact(&cql.statements.next_incarnation, (next, name, seen)).await,
            };
            let why = match answer {
                Ok(answer) if answer.applied => return number("an incarnation", next).map_err(failed),
                Ok(_) => {
                    Counts::add(&cql.counts.conflicts);
                    format!("{name}: another process joins at the same time")
                }
                Err(why) => {
                    Counts::add(&cql.counts.unknown_outcomes);
                    why
                }
            };
            if doorbuster_clock::since(begun) >= cql.options.settle_timeout {
                return Err(RegistryError::Failed(why));
            }
            pauses.pause().await;
        }
    }

    async fn put(&self, row: &NodeRow) -> Result<(), RegistryError> {
        let id = &row.id;
        let about = (word(row.state), &row.cluster, &row.public, &row.operator, &row.version);
        let at = TIMESTAMP_BASE.saturating_add(bigint(row.beat)).min(END_OF_BEATS - 1);
        let values =
            (&id.name, bigint(id.incarnation), bigint(row.beat), about.0, about.1, about.2, about.3, about.4, at);
        self.cql.write(&self.cql.statements.put_node, values).await.map_err(failed)
    }

    async fn set_desired(&self, kind: &str, subject: &str, value: &str) -> Result<(), RegistryError> {
        let cql = &self.cql;
        let mut pauses = Pauses::new();
        let mut why = String::new();
        for _ in 0..CONFLICTS_MAX {
            let read = cql.first::<(Option<String>, Option<i64>)>(&cql.statements.desired, (kind, subject)).await;
            let (stands, revision) = read.map_err(failed)?.unwrap_or_default();
            if stands.unwrap_or_default() == value {
                return Ok(());
            }
            let answer = match revision {
                None => cql.transact(&cql.statements.first_desired, (value, 1_i64, kind, subject)).await,
                Some(revision) => {
                    let next = revision.saturating_add(1);
                    cql.transact(&cql.statements.next_desired, (value, next, kind, subject, revision)).await
                }
            };
            match answer {
                Ok(answer) if answer.applied => return Ok(()),
                Ok(_) => Counts::add(&cql.counts.conflicts),
                Err(error) => why = error,
            }
            pauses.pause().await;
        }
        Err(RegistryError::Failed(format!("{kind} {subject}: the change could not be written {why}")))
    }
}

impl Registry for CqlRegistry {
    async fn join(&self, row: &NodeRow) -> Result<NodeId, RegistryError> {
        let id = NodeId { name: row.id.name.clone(), incarnation: self.win(&row.id.name).await? };
        self.put(&NodeRow { id: id.clone(), ..row.clone() }).await?;
        for earlier in self.nodes().await? {
            if earlier.id.name == id.name && earlier.id.incarnation < id.incarnation {
                self.leave(&earlier.id).await?;
            }
        }
        Ok(id)
    }

    /// One plain read and one plain write.
    async fn renew(&self, row: &NodeRow) -> Result<(), RegistryError> {
        let (cql, name) = (&self.cql, row.id.name.as_str());
        let seen = cql.first::<(Option<i64>,)>(&cql.statements.incarnation_seen, (name,)).await.map_err(failed)?;
        let newest = seen.and_then(|(incarnation,)| incarnation).unwrap_or(0);
        if newest > bigint(row.id.incarnation) {
            return Err(RegistryError::Replaced(name.to_owned()));
        }
        self.put(row).await
    }

    async fn leave(&self, id: &NodeId) -> Result<(), RegistryError> {
        let values = (END_OF_BEATS, &id.name, bigint(id.incarnation));
        self.cql.write(&self.cql.statements.delete_node, values).await.map_err(failed)
    }

    async fn nodes(&self) -> Result<Vec<NodeRow>, RegistryError> {
        let rows = self.cql.all::<Stored>(&self.cql.statements.nodes, ()).await.map_err(failed)?;
        let mut nodes = Vec::with_capacity(rows.len());
        for (name, incarnation, beat, state, cluster, public, operator, version) in rows {
            nodes.push(NodeRow {
                id: NodeId { name, incarnation: number("an incarnation", incarnation).map_err(failed)? },
                beat: number("a beat", beat.unwrap_or(0)).map_err(failed)?,
                state: if state.as_deref() == Some(word(NodeState::Draining)) {
                    NodeState::Draining
                } else {
                    NodeState::Up
                },
                cluster: cluster.unwrap_or_default(),
                public: public.unwrap_or_default(),
                operator: operator.unwrap_or_default(),
                version: version.unwrap_or_default(),
            });
        }
        Ok(nodes)
    }

    async fn owners(&self) -> Result<Vec<OwnerRow>, RegistryError> {
        let rows = self.cql.all::<(i32, Option<i64>, Option<String>)>(&self.cql.statements.owners, ()).await;
        let mut owners = Vec::new();
        for (shard, epoch, node) in rows.map_err(failed)? {
            let (Ok(shard), Some(epoch)) = (u16::try_from(shard), epoch) else { continue };
            let epoch = number("an epoch", epoch).map_err(failed)?;
            owners.push(OwnerRow { shard: Shard(shard), epoch, node: node.as_deref().and_then(NodeId::parse) });
        }
        owners.sort_by_key(|row| row.shard);
        Ok(owners)
    }

    async fn desired_state(&self) -> Result<DesiredState, RegistryError> {
        let rows = self.cql.all::<(String, String, Option<String>)>(&self.cql.statements.desired_state, ()).await;
        let mut desired = DesiredState::default();
        for (kind, subject, value) in rows.map_err(failed)? {
            let value = value.unwrap_or_default();
            match kind.as_str() {
                _ if value.is_empty() => {}
                "drained" => drop(desired.drained.insert(subject)),
                "moved" => {
                    if let Ok(shard) = subject.parse() {
                        desired.moved.insert(Shard(shard), value);
                    }
                }
                _ => {}
            }
        }
        Ok(desired)
    }

    async fn set_drained(&self, name: &str, drained: bool) -> Result<(), RegistryError> {
        self.set_desired("drained", name, if drained { "yes" } else { "" }).await
    }

    async fn set_placement(&self, shard: Shard, to: Option<&str>) -> Result<(), RegistryError> {
        self.set_desired("moved", &shard_key(shard).to_string(), to.unwrap_or_default()).await
    }
}

//! stub
use super::*;
use crate::domain::ids::EntityId;
use futures_util::stream::BoxStream;
use std::collections::BTreeMap;
#[derive(Debug, Clone)]
pub enum Store {}
impl Journal for Store {
    fn layout(&self) -> Layout {
        match *self {}
    }
    fn group_of(&self, _: Shard) -> Group {
        match *self {}
    }
    async fn claim(&self, _: Shard, _: &str) -> Result<Claim, ClaimError> {
        match *self {}
    }
    async fn append(&self, _: Group, _: &Batch) -> Result<(), AppendError> {
        match *self {}
    }
    fn replay(&self, _: Shard, _: Seq) -> impl futures_util::Stream<Item = Result<Record, ReadError>> + Send {
        let s: BoxStream<'static, Result<Record, ReadError>> = match *self {};
        s
    }
    async fn load(&self, _: Shard, _: &EntityId) -> Result<Vec<StateRow>, ReadError> {
        match *self {}
    }
    async fn agenda(&self, _: Shard) -> Result<Vec<AgendaRow>, ReadError> {
        match *self {}
    }
    async fn entities(&self, _: Shard, _: Option<&EntityId>, _: usize) -> Result<Vec<EntityId>, ReadError> {
        match *self {}
    }
    async fn checkpoint(&self, _: &Claim, _: StateFlush, _: Seq) -> Result<(), AppendError> {
        match *self {}
    }
    async fn history(&self, _: Shard, _: &EntityId, _: u64, _: usize) -> Result<Vec<Record>, ReadError> {
        match *self {}
    }
    fn ends(&self) -> BTreeMap<Shard, Seq> {
        match *self {}
    }
}

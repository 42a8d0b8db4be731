//! A process that proves the cookie and is no honest node: it understands no envelope, sends what we do not understand, sends the same frames again,
//! and claims shards that it does not own.

use super::process::Settings;
use doorbuster_cluster::message::{
    self, DeliveryStatus, Frame, Header, MessageKind, read_frame, read_receipt, write_receipt,
};
use doorbuster_cluster::wire::{ask_body, owner_hint_body};
use doorbuster_domain::time::Timestamp;
use doorbuster_storage::Shard;
use doorbuster_storage::registry::NodeId;
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{NodeServer, client_connect};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;

#[derive(Debug)]
struct Deliver(Vec<u8>, RpcReplyPort<Vec<u8>>);

impl ractor::Message for Deliver {
    fn serializable() -> bool {
        true
    }
    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        Ok(SerializedMessage::Call { variant: "Deliver".to_owned(), args: self.0, reply: self.1, metadata: None })
    }
    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Call { variant, args, reply, .. } if variant == "Deliver" => Ok(Self(args, reply)),
            _ => Err(BoxedDowncastErr),
        }
    }
}

/// Takes every frame, keeps its envelopes and refuses all of them.
#[derive(Debug)]
struct Deaf(Received);

/// The envelopes that came.
type Received = Arc<Mutex<Vec<Vec<u8>>>>;

impl Actor for Deaf {
    type Msg = Deliver;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Deliver>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Deliver>, message: Deliver, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let (_, envelopes) = read_frame(&message.0).unwrap();
        self.0.lock().unwrap().extend(envelopes.iter().map(|envelope| envelope.to_vec()));
        let id = |envelope: &&[u8]| u64::from_le_bytes(envelope[2..10].try_into().unwrap());
        let refused: Vec<_> = envelopes.iter().map(|envelope| (id(envelope), DeliveryStatus::BadVersion)).collect();
        message.1.send(write_receipt(&refused)).ok();
        Ok(())
    }
}

pub async fn run(settings: Settings) {
    let name = settings.name.clone();
    let received = Received::default();
    let mut sent: Vec<Vec<u8>> = Vec::new();
    let server = NodeServer::new(
        0,
        settings.cookie.clone(),
        name.clone(),
        format!("{name}.test"),
        None,
        Some(NodeConnectionMode::Isolated),
    );
    let (gateway, _) = Actor::spawn(None, Deaf(Arc::clone(&received)), ()).await.unwrap();
    ractor::pg::join(format!("doorbuster.gateway.{name}"), vec![gateway.get_cell()]);
    let (server, _) = Actor::spawn(None, server, ()).await.unwrap();
    println!("> 0 {}", json!("nowhere"));
    let mut group = String::new();
    let mut orders = super::child::orders();
    while let Some(line) = orders.recv().await {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[1] {
            "connect" => {
                client_connect(&server, words[2]).await.unwrap();
                group = format!("doorbuster.gateway.{}", words[3]);
                while ractor::pg::get_members(&group).is_empty() {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Value::Null
            }
            "another_version" => {
                let mut frame = Frame::from(&name);
                let mut envelope = vec![99, 0];
                envelope.extend_from_slice(&77_u64.to_le_bytes());
                envelope.extend_from_slice(b"what the future brings");
                frame.put(&envelope);
                deliver(&group, frame.into_bytes()).await
            }
            "claim" => {
                let node = NodeId::parse(&name).unwrap();
                let (shard, epoch) = (words[2].parse().unwrap(), words[3].parse().unwrap());
                let header = header(MessageKind::OwnerHint, 0, shard, Timestamp(u64::MAX));
                deliver(&group, frame(&name, &header, &owner_hint_body(epoch, &node))).await
            }
            "answer" => {
                let header = header(MessageKind::Answer, words[2].parse().unwrap(), 1, Timestamp(u64::MAX));
                deliver(&group, frame(&name, &header, &[DeliveryStatus::Unknown.number()])).await
            }
            "ask" => {
                let (id, life_ms) = (words[2].parse().unwrap(), words[3].parse().unwrap());
                let ask = super::child::question("echo", life_ms, 0);
                let frame = frame(&name, &header(MessageKind::Request, id, 1, ask.deadline), &ask_body(&ask));
                sent.push(frame.clone());
                deliver(&group, frame).await
            }
            "replay" => {
                for _ in 0..words[2].parse::<usize>().unwrap() {
                    for frame in sent.iter().rev() {
                        deliver(&group, frame.clone()).await;
                    }
                }
                Value::Null
            }
            "answered" => {
                let received = received.lock().unwrap();
                let answers = received.iter().filter_map(|envelope| message::read(envelope).ok());
                let answers = answers.filter(|message| message.header.kind == MessageKind::Answer);
                answers.map(|message| json!(message.header.id)).collect()
            }
            "nonsense" => deliver(&group, vec![7; 100]).await,
            "too_large" => {
                let (reply, _receipt) = oneshot::channel();
                let to: ActorRef<Deliver> = ractor::pg::get_members(&group)[0].clone().into();
                to.send_message(Deliver(vec![7; 8 << 20], reply.into())).unwrap();
                Value::Null
            }
            other => panic!("no such order: {other}"),
        };
        println!("> {} {answer}", words[0]);
    }
}

fn header(kind: MessageKind, id: u64, shard: u16, deadline: Timestamp) -> Header {
    Header { kind, id, shard: Shard(shard), deadline, command: 0 }
}

fn frame(name: &str, header: &Header, body: &[u8]) -> Vec<u8> {
    let mut frame = Frame::from(name);
    frame.put(&message::write(header, body).unwrap());
    frame.into_bytes()
}

async fn deliver(group: &String, frame: Vec<u8>) -> Value {
    let to: ActorRef<Deliver> = ractor::pg::get_members(group)[0].clone().into();
    let (reply, receipt) = oneshot::channel();
    to.send_message(Deliver(frame, reply.into())).unwrap();
    let receipt = read_receipt(&receipt.await.unwrap()).unwrap();
    receipt.iter().map(|(id, status)| json!([id, format!("{status:?}")])).collect()
}

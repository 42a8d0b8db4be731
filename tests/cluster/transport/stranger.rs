//! A process that proves the cookie and speaks the transport, but not our version: it understands no envelope, and sends what we do not understand.

use super::process::Settings;
use doorbuster_cluster::message::{DeliveryStatus, Frame, read_frame, read_receipt, write_receipt};
use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use ractor_cluster::node::NodeConnectionMode;
use ractor_cluster::{NodeServer, client_connect};
use serde_json::{Value, json};
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

#[derive(Debug)]
struct Deaf;

impl Actor for Deaf {
    type Msg = Deliver;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Deliver>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Deliver>, message: Deliver, (): &mut ()) -> Result<(), ActorProcessingErr> {
        let (_, envelopes) = read_frame(&message.0).unwrap();
        let id = |envelope: &&[u8]| u64::from_le_bytes(envelope[2..10].try_into().unwrap());
        let refused: Vec<_> = envelopes.iter().map(|envelope| (id(envelope), DeliveryStatus::BadVersion)).collect();
        message.1.send(write_receipt(&refused)).ok();
        Ok(())
    }
}

pub async fn run(settings: Settings) {
    let name = settings.name.clone();
    let server = NodeServer::new(
        0,
        settings.cookie.clone(),
        name.clone(),
        format!("{name}.test"),
        None,
        Some(NodeConnectionMode::Isolated),
    );
    let (gateway, _) = Actor::spawn(None, Deaf, ()).await.unwrap();
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

async fn deliver(group: &String, frame: Vec<u8>) -> Value {
    let to: ActorRef<Deliver> = ractor::pg::get_members(group)[0].clone().into();
    let (reply, receipt) = oneshot::channel();
    to.send_message(Deliver(frame, reply.into())).unwrap();
    let receipt = read_receipt(&receipt.await.unwrap()).unwrap();
    receipt.iter().map(|(id, status)| json!([id, format!("{status:?}")])).collect()
}

//! `doorbuster admin …`: what an operator may ask of running nodes, and tell them, from a shell.

use super::entity;
use crate::config::Config;
use clap::{Args, Subcommand, ValueEnum};
use doorbuster_domain::ids::{EntityId, OrderId};

/// A question to a node's operator port, or a lever of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where the node's operator port is, `host:port`.
    pub operator: String,
    /// Print the answer as it came instead of tables.
    pub json: bool,
    /// How long to wait for an answer, in seconds.
    pub timeout_s: u64,
    /// What.
    pub command: AdminCommand,
}

/// What is asked or told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminCommand {
    /// Who is a member, and how each stands.
    Cluster,
    /// Every shard: who owns it, and how it is.
    Shards {
        /// Figures from every node, not only from the one that is asked.
        all: bool,
    },
    /// Sagas in flight.
    Sagas {
        /// Of every node.
        all: bool,
    },
    /// Entities that kept failing.
    SetAside {
        /// Of every node.
        all: bool,
    },
    /// A node is to give its shards away.
    Drain {
        /// Which, by name.
        node: String,
    },
    /// A drained node may take shards again.
    Resume {
        /// Which, by name.
        node: String,
    },
    /// A shard is to be with a node.
    Move {
        /// Which.
        shard: u16,
        /// With which node, by name; `None`: where the placement says.
        to: Option<String>,
    },
    /// Proof from the journal that nothing was oversold, lost or charged twice.
    Audit,
    /// An entity that was set aside gets another try.
    Retry {
        /// Which.
        entity: EntityId,
    },
    /// How a payment call ended that nobody can ask about any more (rule M2).
    Settle(Settlement),
}

/// What an operator found out about a payment call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The order.
    pub order: OrderId,
    /// The call, as `admin sagas` shows it: `ord_….authorize.1.1`.
    pub reference: String,
    /// How it ended, in the word of the API.
    pub outcome: String,
    /// The provider's own reference.
    pub provider_reference: Option<String>,
    /// The provider's word for a decline.
    pub code: Option<String>,
    /// When an authorization ends by itself, as RFC 3339.
    pub lapses_at: Option<String>,
}

/// Seconds to wait for an answer, unless told otherwise.
const TIMEOUT_S: u64 = 30;
/// The same for an audit, which reads every log.
const AUDIT_TIMEOUT_S: u64 = 600;
/// The longest wait that may be asked for, in seconds.
const TIMEOUT_S_MAX: u64 = 86_400;

#[derive(Debug, Args)]
pub(super) struct AdminLine {
    /// Ask the node whose operator port is at ADDRESS ([api] operator_listen unless given)
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = address)]
    operator: Option<String>,
    /// Print the answer as it came, as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Wait at most so long for an answer (30; audit: 600)
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_S_MAX))]
    timeout_s: Option<u64>,
    #[command(subcommand)]
    command: AdminCommands,
}

#[derive(Debug, Subcommand)]
enum AdminCommands {
    /// Who is a member, and how each stands
    Cluster,
    /// Every shard: who owns it, how it is, how it last changed hands
    Shards(Reach),
    /// Sagas in flight, oldest first
    Sagas(Reach),
    /// Entities that kept failing
    SetAside(Reach),
    /// Have a node give its shards away, before it is stopped
    Drain {
        /// The node's name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Let a drained node take shards again
    Resume {
        /// The node's name
        #[arg(value_name = "NODE")]
        node: String,
    },
    /// Have a shard be with a certain node
    Move {
        /// The shard's number
        #[arg(value_name = "SHARD")]
        shard: u16,
        /// The node's name
        #[arg(value_name = "NODE", required_unless_present = "back", conflicts_with = "back")]
        to: Option<String>,
        /// Back to where the placement says
        #[arg(long)]
        back: bool,
    },
    /// Prove from the journal, while it serves, that nothing was oversold, lost or charged twice
    Audit,
    /// Give an entity that was set aside another try
    Retry {
        /// As in inventory/NOVA-LOW-42
        #[arg(value_name = "KIND/ID", value_parser = entity)]
        entity: EntityId,
    },
    /// Say how a payment call ended that nobody can ask about any more
    Settle {
        /// The call, as `admin sagas` shows it: ord_….authorize.1.1
        #[arg(value_name = "REFERENCE", value_parser = reference)]
        reference: (OrderId, String),
        /// How it ended
        #[arg(value_name = "OUTCOME")]
        outcome: Outcome,
        /// The provider's own reference
        #[arg(long, value_name = "TEXT")]
        provider_reference: Option<String>,
        /// The provider's word for a decline
        #[arg(long, value_name = "TEXT")]
        code: Option<String>,
        /// When the authorization ends by itself, as in 2026-11-21T09:00:00Z
        #[arg(long, value_name = "TIME")]
        lapses_at: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Reach {
    /// Ask every node, not only this one
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Outcome {
    Authorized,
    Succeeded,
    Declined,
}

/// `host:port`, perhaps with `http://` before it.
fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let wanted = || "an address is wanted, like 127.0.0.1:8081".to_owned();
    let (host, port) = bare.rsplit_once(':').ok_or_else(wanted)?;
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    match port.parse::<u16>() {
        Ok(port) if is_host && port > 0 => Ok(bare.to_owned()),
        Ok(_) | Err(_) => Err(wanted()),
    }
}

fn reference(text: &str) -> Result<(OrderId, String), String> {
    let order = text.split('.').next().unwrap_or_default();
    let order = OrderId::parse(order).map_err(|error| format!("ord_….authorize.1.1 is wanted: {error}"))?;
    Ok((order, text.to_owned()))
}

impl AdminLine {
    /// With the operator port of the settings where none was named.
    pub(super) fn meant(self, config: &Config) -> Admin {
        let command = match self.command {
            AdminCommands::Cluster => AdminCommand::Cluster,
            AdminCommands::Shards(reach) => AdminCommand::Shards { all: reach.all },
            AdminCommands::Sagas(reach) => AdminCommand::Sagas { all: reach.all },
            AdminCommands::SetAside(reach) => AdminCommand::SetAside { all: reach.all },
            AdminCommands::Drain { node } => AdminCommand::Drain { node },
            AdminCommands::Resume { node } => AdminCommand::Resume { node },
            AdminCommands::Move { shard, to, back: _ } => AdminCommand::Move { shard, to },
            AdminCommands::Audit => AdminCommand::Audit,
            AdminCommands::Retry { entity } => AdminCommand::Retry { entity },
            AdminCommands::Settle { reference: (order, reference), outcome, provider_reference, code, lapses_at } => {
                let outcome = match outcome {
                    Outcome::Authorized => "authorized",
                    Outcome::Succeeded => "succeeded",
                    Outcome::Declined => "declined",
                };
                let outcome = outcome.to_owned();
                AdminCommand::Settle(Settlement { order, reference, outcome, provider_reference, code, lapses_at })
            }
        };
        let usual_s = if command == AdminCommand::Audit { AUDIT_TIMEOUT_S } else { TIMEOUT_S };
        Admin {
            operator: self.operator.unwrap_or_else(|| config.api.operator_listen.to_string()),
            json: self.json,
            timeout_s: self.timeout_s.unwrap_or(usual_s),
            command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Error, Invocation, read};
    use doorbuster_domain::ids::{RequestId, Sku};

    fn meant(words: &str) -> Result<Admin, Error> {
        let words = ["doorbuster", "admin"].into_iter().chain(words.split_whitespace());
        match read(words, Vec::new())? {
            Invocation::Admin(admin) => Ok(admin),
            other => panic!("{other:?}"),
        }
    }

    fn command(words: &str) -> AdminCommand {
        meant(words).unwrap_or_else(|error| panic!("{words}: {error}")).command
    }

    #[test]
    fn the_node_that_is_asked_is_the_one_of_the_settings_unless_another_is_named() {
        let own = meant("cluster").unwrap();
        assert_eq!((own.operator.as_str(), own.json, own.timeout_s), ("127.0.0.1:8081", false, 30));
        for words in ["cluster --operator node2:9000 --json", "--operator http://node2:9000/ --json cluster"] {
            let other = meant(words).unwrap();
            assert_eq!((other.operator.as_str(), other.json), ("node2:9000", true), "{words}");
        }
        assert_eq!(meant("cluster --operator-listen 127.0.0.1:7").unwrap().operator, "127.0.0.1:7");
        for wrong in ["node2", "node2:", ":80", "node2:0", "node2:99999", "https://node2:1/x", "a@b:1"] {
            assert!(meant(&format!("cluster --operator {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_audit_may_take_longer_and_whoever_asks_may_say_how_long() {
        assert_eq!(meant("audit").unwrap().timeout_s, 600);
        assert_eq!(meant("audit --timeout-s 5").unwrap().timeout_s, 5);
        assert!(meant("audit --timeout-s 0").is_err());
    }

    #[test]
    fn what_is_asked_is_of_one_node_or_of_all() {
        assert_eq!(command("cluster"), AdminCommand::Cluster);
        assert_eq!(command("shards"), AdminCommand::Shards { all: false });
        assert_eq!(command("shards --all"), AdminCommand::Shards { all: true });
        assert_eq!(command("sagas --all"), AdminCommand::Sagas { all: true });
        assert_eq!(command("set-aside"), AdminCommand::SetAside { all: false });
        assert!(meant("").is_err(), "something must be asked");
    }

    #[test]
    fn a_lever_needs_what_it_is_pulled_for() {
        assert_eq!(command("drain node2"), AdminCommand::Drain { node: "node2".to_owned() });
        assert_eq!(command("resume node2"), AdminCommand::Resume { node: "node2".to_owned() });
        assert_eq!(command("move 7 node2"), AdminCommand::Move { shard: 7, to: Some("node2".to_owned()) });
        assert_eq!(command("move 7 --back"), AdminCommand::Move { shard: 7, to: None });
        for words in ["drain", "resume", "move 7", "move", "move node2 7", "move 7 node2 --back", "move 70000 node2"] {
            assert!(meant(words).is_err(), "{words}");
        }
        let sku = EntityId::Inventory(Sku::parse("NOVA-LOW-42").unwrap());
        assert_eq!(command("retry inventory/NOVA-LOW-42"), AdminCommand::Retry { entity: sku });
        assert!(meant("retry shoe/A").is_err());
    }

    #[test]
    fn a_call_is_settled_by_its_own_reference() {
        let order = OrderId::of_request(RequestId::new("p", "/v1/orders", "k"));
        let words = format!("settle {order}.authorize.1.1 authorized --lapses-at 2026-11-21T09:00:00Z");
        let AdminCommand::Settle(settled) = command(&words) else { panic!("{words}") };
        assert_eq!((settled.order, settled.outcome.as_str()), (order, "authorized"));
        assert_eq!(settled.reference, format!("{order}.authorize.1.1"));
        assert_eq!(settled.lapses_at.as_deref(), Some("2026-11-21T09:00:00Z"));
        assert!(meant("settle x.authorize.1.1 authorized").is_err());
        assert!(meant(&format!("settle {order}.authorize.1.1 perhaps")).is_err());
    }
}

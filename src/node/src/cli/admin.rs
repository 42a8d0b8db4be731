//! `doorbuster admin …`: what an operator asks of running nodes, and what they are to do, from a shell.

use super::entity;
use crate::config::Config;
use crate::operator_token;
use clap::{Args, Subcommand, ValueEnum};
use doorbuster_domain::ids::EntityId;
use doorbuster_domain::payment::Reference;
use doorbuster_settings::Secret;

/// Seconds to wait for an answer unless the command line says otherwise.
const TIMEOUT_S: u64 = 30;
/// The same for an audit, which reads every log.
const AUDIT_TIMEOUT_S: u64 = 600;
/// The longest wait that the command line may ask for, in seconds.
const TIMEOUT_S_MAX: u64 = 86_400;

/// One request to the operator port of a node, or of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// The operator port of the node to ask, `host:port`.
    pub operator: String,
    /// Print the answer as it came instead of tables.
    pub json: bool,
    /// How long to wait for an answer, in seconds.
    pub timeout_s: u64,
    /// The operator token of the settings or of the data folder; empty: there is none.
    pub token: Secret,
    /// The request.
    pub command: AdminCommand,
}

/// `admin` as it is written; what is left out comes from the settings and from the command.
#[derive(Debug, Args)]
pub(super) struct AdminLine {
    /// Ask the node whose operator port is at ADDRESS ([api] operator_listen unless given)
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = address)]
    operator: Option<String>,
    /// Wait at most this long for an answer (30; audit: 600)
    #[arg(long, global = true, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=TIMEOUT_S_MAX))]
    timeout_s: Option<u64>,
    #[command(subcommand)]
    command: AdminCommand,
}

// These comments are the help texts of the command line, and the first is that of `admin` itself.
/// Ask running nodes for their state, and tell them what to do
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum AdminCommand {
    /// The members of the cluster, and the state of each
    Cluster,
    /// Every shard: its owner, its state, how it last changed hands
    Shards {
        /// Ask every node, not only this one
        #[arg(long)]
        all: bool,
    },
    /// Sagas in flight, oldest first
    Sagas {
        /// Ask every node, not only this one
        #[arg(long)]
        all: bool,
    },
    /// Entities that kept failing and are quarantined
    SetAside {
        /// Ask every node, not only this one
        #[arg(long)]
        all: bool,
    },
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
    /// Move a shard to a node
    Move {
        /// The shard's number
        #[arg(value_name = "SHARD")]
        shard: u16,
        /// The node's name
        #[arg(value_name = "NODE", required_unless_present = "back", conflicts_with = "back")]
        to: Option<String>,
        /// Back to the node that the placement names
        #[arg(long)]
        back: bool,
    },
    /// Prove from the journal, while it serves, that nothing was oversold, lost or charged twice
    Audit,
    /// Give a quarantined entity another try
    Retry {
        /// As in inventory/NOVA-LOW-42
        #[arg(value_name = "KIND/ID", value_parser = entity)]
        entity: EntityId,
    },
    /// Say how a payment call ended when the provider can no longer be asked (rule M2)
    Settle(Settlement),
}

/// Say how a payment call ended when the provider can no longer be asked (rule M2)
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Settlement {
    /// The call, as `admin sagas` shows it: ord_….authorize.1.1
    #[arg(value_name = "REFERENCE", value_parser = reference)]
    pub reference: Reference,
    /// How it ended
    #[arg(value_name = "OUTCOME")]
    pub outcome: Outcome,
    /// The provider's own reference
    #[arg(long, value_name = "TEXT")]
    pub provider_reference: Option<String>,
    /// The provider's word for a decline
    #[arg(long, value_name = "TEXT")]
    pub code: Option<String>,
    /// When the authorization ends by itself, as in 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub lapses_at: Option<String>,
}

/// How a payment call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Outcome {
    /// The money is reserved.
    Authorized,
    /// The money moved.
    Succeeded,
    /// The provider refused.
    Declined,
}

impl Outcome {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authorized => "authorized",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
        }
    }
}

/// `host:port`, perhaps with `http://` before it.
fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let expected = || "an address is expected, like 127.0.0.1:8081".to_owned();
    let (host, port) = bare.rsplit_once(':').ok_or_else(expected)?;
    let is_host = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    match port.parse::<u16>() {
        Ok(port) if is_host && port > 0 => Ok(bare.to_owned()),
        Ok(_) | Err(_) => Err(expected()),
    }
}

fn reference(text: &str) -> Result<Reference, String> {
    Reference::parse(text).ok_or_else(|| "a reference is expected, like ord_….authorize.1.1".to_owned())
}

impl AdminLine {
    /// With the operator port of the settings where none was named.
    pub(super) fn complete(self, config: &Config, json: bool) -> Admin {
        let usual_s = if self.command == AdminCommand::Audit { AUDIT_TIMEOUT_S } else { TIMEOUT_S };
        Admin {
            operator: self.operator.unwrap_or_else(|| config.api.operator_listen.to_string()),
            json,
            timeout_s: self.timeout_s.unwrap_or(usual_s),
            token: Secret(operator_token::of_client(config).unwrap_or_default()),
            command: self.command,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Error, Invocation, read};
    use doorbuster_domain::ids::{OrderId, RequestId, Sku};

    fn parsed(words: &str) -> Result<Admin, Error> {
        let words = ["doorbuster", "admin"].into_iter().chain(words.split_whitespace());
        match read(words, Vec::new())?.invocation {
            Invocation::Admin(admin) => Ok(admin),
            other => panic!("{other:?}"),
        }
    }

    fn command(words: &str) -> AdminCommand {
        parsed(words).unwrap_or_else(|error| panic!("{words}: {error}")).command
    }

    #[test]
    fn the_node_of_the_settings_is_asked_unless_another_is_named() {
        let own = parsed("cluster").unwrap();
        assert_eq!((own.operator.as_str(), own.json, own.timeout_s), ("127.0.0.1:8081", false, 30));
        for words in ["cluster --operator node2:9000 --json", "--operator http://node2:9000/ --json cluster"] {
            let other = parsed(words).unwrap();
            assert_eq!((other.operator.as_str(), other.json), ("node2:9000", true), "{words}");
        }
        assert_eq!(parsed("cluster --operator-listen 127.0.0.1:7").unwrap().operator, "127.0.0.1:7");
        for wrong in ["node2", "node2:", ":80", "node2:0", "node2:99999", "https://node2:1/x", "a@b:1"] {
            assert!(parsed(&format!("cluster --operator {wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_audit_may_take_longer_and_the_operator_may_say_how_long() {
        assert_eq!(parsed("audit").unwrap().timeout_s, 600);
        assert_eq!(parsed("audit --timeout-s 5").unwrap().timeout_s, 5);
        assert!(parsed("audit --timeout-s 0").is_err());
    }

    #[test]
    fn a_question_goes_to_one_node_or_to_all() {
        assert_eq!(command("cluster"), AdminCommand::Cluster);
        assert_eq!(command("shards"), AdminCommand::Shards { all: false });
        assert_eq!(command("shards --all"), AdminCommand::Shards { all: true });
        assert_eq!(command("sagas --all"), AdminCommand::Sagas { all: true });
        assert_eq!(command("set-aside"), AdminCommand::SetAside { all: false });
        assert!(parsed("").is_err(), "something must be asked");
    }

    #[test]
    fn a_command_needs_its_arguments() {
        assert_eq!(command("drain node2"), AdminCommand::Drain { node: "node2".to_owned() });
        assert_eq!(command("resume node2"), AdminCommand::Resume { node: "node2".to_owned() });
        assert_eq!(command("move 7 node2"), AdminCommand::Move { shard: 7, to: Some("node2".to_owned()), back: false });
        assert_eq!(command("move 7 --back"), AdminCommand::Move { shard: 7, to: None, back: true });
        for words in ["drain", "resume", "move 7", "move", "move node2 7", "move 7 node2 --back", "move 70000 node2"] {
            assert!(parsed(words).is_err(), "{words}");
        }
        let sku = EntityId::Inventory(Sku::parse("NOVA-LOW-42").unwrap());
        assert_eq!(command("retry inventory/NOVA-LOW-42"), AdminCommand::Retry { entity: sku });
        assert!(parsed("retry shoe/A").is_err());
    }

    #[test]
    fn a_call_is_settled_by_its_own_reference() {
        let order = OrderId::of_request(RequestId::new("p", "/v1/orders", "k"));
        let words = format!("settle {order}.authorize.1.1 authorized --lapses-at 2026-11-21T09:00:00Z");
        let AdminCommand::Settle(settled) = command(&words) else { panic!("{words}") };
        assert_eq!((settled.reference.order, settled.outcome), (order, Outcome::Authorized));
        assert_eq!(settled.reference.to_string(), format!("{order}.authorize.1.1"));
        assert_eq!(settled.lapses_at.as_deref(), Some("2026-11-21T09:00:00Z"));
        assert!(parsed("settle x.authorize.1.1 authorized").is_err());
        assert!(parsed(&format!("settle {order} authorized")).is_err(), "which call?");
        assert!(parsed(&format!("settle {order}.authorize.1.1 perhaps")).is_err());
    }
}

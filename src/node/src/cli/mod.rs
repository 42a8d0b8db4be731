//! The command line: its commands and flags, and the settings that they are carried out with.
//!
//! Parsing reads the settings, too (flags are their last layer). So an [`Invocation`] is complete: carrying it out reads no file, variable or
//! flag of settings.

mod admin;
mod texts;

pub use admin::{Admin, AdminCommand, Outcome, Settlement};
pub(crate) use texts::write_manual;

use crate::config::{self, Config, Sources};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;
use doorbuster_api::keys::Scope;
use doorbuster_domain::ids::{EntityId, OrderId};
use doorbuster_storage::Shard;
use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use thiserror::Error;

/// The exit status of a command line or settings that cannot be used.
pub const EXIT_USAGE: u8 = 2;

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The command, with its settings.
    pub invocation: Invocation,
    /// How it is answered.
    pub output: Output,
}

/// How a command is answered on standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Output {
    /// Results as JSON.
    pub json: bool,
    /// Nothing but what the command was called for: no remarks about how it goes.
    pub quiet: bool,
}

/// A command, with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Invocation {
    /// Run the node.
    Serve(Config),
    /// Print a log as JSON lines. The node must be stopped.
    JournalDump {
        /// Where the data is.
        config: Config,
        /// Of what.
        of: DumpOf,
    },
    /// Prove the laws from the journal of a stopped node.
    Audit(Config),
    /// Make, list or revoke secret keys.
    Key {
        /// Where the keys are.
        config: Config,
        /// What is to be done with them.
        of: KeyCommand,
    },
    /// Erase the personal data of an order.
    Erase {
        /// Where the data is.
        config: Config,
        /// Of this order.
        order: OrderId,
    },
    /// Compare what Redis shows shoppers with the journal.
    Reconcile {
        /// Where both are.
        config: Config,
        /// Put right what differs.
        repair: bool,
    },
    /// Send a request to the operator port of running nodes.
    Admin(Admin),
    /// Make keyspace and tables of `journal.kind = "cql"`, or apply what is missing.
    SchemaApply(Config),
    /// The settings were read and are in order.
    ConfigCheck(Config),
    /// Print a text: completions for a shell, or the manual page. It needs no settings.
    Print(Vec<u8>),
    /// Write the manual pages of all commands into a folder.
    WriteManual(PathBuf),
}

/// What is to be done with secret keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyCommand {
    /// Make one and show it once.
    Create {
        /// For this seller account.
        account: String,
        /// For these uses.
        scopes: Vec<Scope>,
    },
    /// Show the valid ones, without their secrets.
    List,
    /// Revoke the one with this id.
    Revoke {
        /// `key_…`.
        id: String,
    },
}

/// Which part of the journal to print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DumpOf {
    /// All shards, one after the other.
    Everything,
    /// One shard.
    Shard(Shard),
    /// One entity.
    Entity(EntityId),
}

/// Why there is no [`Invocation`].
#[derive(Debug, Error)]
pub enum Error {
    /// Help or the version was asked for, or the command line makes no sense.
    #[error("{0}")]
    CommandLine(#[from] clap::Error),
    /// The settings cannot be used.
    #[error("{0}")]
    Settings(#[from] config::Error),
}

#[derive(Debug, Parser)]
#[command(name = "doorbuster", version, about, args_conflicts_with_subcommands = false)]
struct Line {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Option<Commands>,
}

#[derive(Debug, Args)]
struct Common {
    /// Read the settings from FILE instead of ./cluster.toml
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Keep the data in DIR ([node] data_folder)
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// Listen for shoppers and sellers on ADDRESS ([api] listen)
    #[arg(long, global = true, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Listen for operators on ADDRESS ([api] operator_listen)
    #[arg(long, global = true, value_name = "ADDRESS")]
    operator_listen: Option<String>,
    /// Print results as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print results and errors only, no remarks
    #[arg(long, short, global = true)]
    quiet: bool,
}

#[derive(Debug, Subcommand)]
enum Commands {
    #[command(flatten)]
    Configured(Configured),
    /// Print what completes these commands in a shell, as in: doorbuster completions bash > /etc/bash_completion.d/doorbuster
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, or write one for each command into a folder
    Man {
        /// The folder, such as /usr/local/share/man/man1
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
    },
}

/// Commands that need the settings.
#[derive(Debug, Subcommand)]
enum Configured {
    /// Run the node (what happens without a command)
    Serve,
    /// Look into the journal of a stopped node
    Journal {
        #[command(subcommand)]
        command: JournalCommands,
    },
    /// Prove from the journal of a stopped node that nothing was oversold, lost or charged twice
    Audit,
    /// Make, list and revoke secret keys
    Key {
        #[command(subcommand)]
        command: KeyCommands,
    },
    /// Erase the personal data of an order
    Erase {
        /// As in order/ord_…
        #[arg(value_name = "order/ID", value_parser = order)]
        order: OrderId,
    },
    /// Compare availability and prices in Redis with the journal, and put right what differs
    Reconcile {
        /// Only report
        #[arg(long)]
        dry_run: bool,
    },
    /// Ask running nodes for their state, and tell them what to do
    Admin(admin::AdminLine),
    /// The tables of a cluster's store
    Schema {
        #[command(subcommand)]
        command: SchemaCommands,
    },
    /// Look at the settings
    Config {
        #[command(subcommand)]
        command: ConfigCommands,
    },
}

#[derive(Debug, Subcommand)]
enum JournalCommands {
    /// Print a log as JSON lines
    Dump {
        /// Only this shard
        #[arg(long, value_name = "N", conflicts_with = "entity")]
        shard: Option<u16>,
        /// Only this entity, as in order/ord_… or inventory/NOVA-LOW-42
        #[arg(long, value_name = "kind/id", value_parser = entity)]
        entity: Option<EntityId>,
    },
}

#[derive(Debug, Subcommand)]
enum KeyCommands {
    /// Make a secret key and show it once
    Create {
        /// The seller account it acts for
        #[arg(long)]
        account: String,
        /// What it may be used for, separated by commas
        #[arg(long, value_delimiter = ',', required = true, value_parser = scopes())]
        scopes: Vec<Scope>,
    },
    /// Show the valid keys, without their secrets
    List,
    /// Revoke a key: no request with it is accepted any more
    Revoke {
        /// As `key list` shows it
        #[arg(value_name = "key_ID")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
enum SchemaCommands {
    /// Make the keyspace of [cql] where there is none, and apply what is missing; nothing is changed or deleted
    Apply,
}

#[derive(Debug, Subcommand)]
enum ConfigCommands {
    /// Read all settings, say what is wrong, start nothing
    Check,
}

fn entity(text: &str) -> Result<EntityId, String> {
    EntityId::parse(text)
        .map_err(|error| format!("kind/id is expected, like order/ord_… or inventory/NOVA-LOW-42: {error}"))
}

/// Every scope, as `key create --scopes` takes them.
#[must_use]
pub fn all_scopes() -> String {
    Scope::ALL.map(Scope::as_str).join(",")
}

/// Reads a scope; help lists them all.
fn scopes() -> impl TypedValueParser<Value = Scope> {
    PossibleValuesParser::new(Scope::ALL.map(Scope::as_str))
        .map(|word| Scope::parse(&word).expect("only words of scopes pass"))
}

fn order(text: &str) -> Result<OrderId, String> {
    match entity(text)? {
        EntityId::Order(order) => Ok(order),
        other => Err(format!("only orders hold personal data, not {other}")),
    }
}

/// Reads a command line (its first word is the program's name) and the settings it points to.
pub fn read(
    words: impl IntoIterator<Item = impl Into<OsString> + Clone>,
    variables: Vec<(String, String)>,
) -> Result<Asked, Error> {
    let Line { common, command } = Line::try_parse_from(words)?;
    let Common { config: file, data, listen, operator_listen, json, quiet } = common;
    let output = Output { json, quiet };
    let command = match command {
        None => Configured::Serve,
        Some(Commands::Configured(command)) => command,
        Some(Commands::Completions { shell }) => {
            return Ok(Asked { invocation: Invocation::Print(texts::completions(shell)), output });
        }
        Some(Commands::Man { folder: None }) => {
            return Ok(Asked { invocation: Invocation::Print(texts::manual_page()), output });
        }
        Some(Commands::Man { folder: Some(folder) }) => {
            return Ok(Asked { invocation: Invocation::WriteManual(folder), output });
        }
    };
    let flags = [
        ("--data", "node.data_folder", data),
        ("--listen", "api.listen", listen),
        ("--operator-listen", "api.operator_listen", operator_listen),
    ];
    let flags = flags.into_iter().filter_map(|(flag, key, value)| Some((flag, key, value?))).collect();
    let config = Config::load(&Sources { file, variables, flags })?;
    Ok(Asked { invocation: completed(command, config, output), output })
}

/// A command that needs settings, with them.
fn completed(command: Configured, config: Config, output: Output) -> Invocation {
    match command {
        Configured::Serve => Invocation::Serve(config),
        Configured::Journal { command: JournalCommands::Dump { shard, entity } } => {
            let of = match (entity, shard) {
                (Some(entity), _) => DumpOf::Entity(entity),
                (None, Some(shard)) => DumpOf::Shard(Shard(shard)),
                (None, None) => DumpOf::Everything,
            };
            Invocation::JournalDump { config, of }
        }
        Configured::Audit => Invocation::Audit(config),
        Configured::Key { command } => {
            let of = match command {
                KeyCommands::Create { account, scopes } => KeyCommand::Create { account, scopes },
                KeyCommands::List => KeyCommand::List,
                KeyCommands::Revoke { id } => KeyCommand::Revoke { id },
            };
            Invocation::Key { config, of }
        }
        Configured::Erase { order } => Invocation::Erase { config, order },
        Configured::Reconcile { dry_run } => Invocation::Reconcile { config, repair: !dry_run },
        Configured::Admin(line) => Invocation::Admin(line.complete(&config, output.json)),
        Configured::Schema { command: SchemaCommands::Apply } => Invocation::SchemaApply(config),
        Configured::Config { command: ConfigCommands::Check } => Invocation::ConfigCheck(config),
    }
}

/// [`read`] for a program's `main`, with the process's environment: faults, or the help that was asked for, are printed, and the exit status is
/// returned.
pub fn parse(words: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> Result<Asked, ExitCode> {
    read(words, config::environment()).map_err(|error| say(&error))
}

fn say(error: &Error) -> ExitCode {
    match error {
        Error::CommandLine(line) => {
            // Standard output or error is closed: there is no place left to report it.
            drop(line.print());
            let was_asked = matches!(line.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if was_asked { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
        }
        Error::Settings(settings) => {
            for fault in &settings.faults {
                drop(writeln!(io::stderr(), "doorbuster: {fault}"));
            }
            ExitCode::from(EXIT_USAGE)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorbuster_domain::ids::{RequestId, Sku};

    fn said(words: &str) -> Result<Invocation, Error> {
        read(["doorbuster"].into_iter().chain(words.split_whitespace()), Vec::new()).map(|asked| asked.invocation)
    }

    #[test]
    fn help_and_the_version_are_asked_for_in_every_usual_way() {
        for (words, kind) in [
            ("--help", ErrorKind::DisplayHelp),
            ("help", ErrorKind::DisplayHelp),
            ("help key create", ErrorKind::DisplayHelp),
            ("-V", ErrorKind::DisplayVersion),
            ("--version", ErrorKind::DisplayVersion),
        ] {
            assert!(matches!(said(words), Err(Error::CommandLine(error)) if error.kind() == kind), "{words}");
        }
    }

    #[test]
    fn json_and_quiet_stand_before_or_after_any_command() {
        let output = |words: &str| {
            let words = ["doorbuster"].into_iter().chain(words.split_whitespace());
            read(words, Vec::new()).map(|asked| asked.output).unwrap()
        };
        for words in ["--json --quiet key list", "key list --json -q", "--quiet serve --json"] {
            assert_eq!(output(words), Output { json: true, quiet: true }, "{words}");
        }
        assert_eq!(output("config check"), Output::default());
    }

    #[test]
    fn completions_and_the_manual_need_no_settings_that_are_in_order() {
        let variables = || vec![("DOORBUSTER__NODE__SHARDS".to_owned(), "none".to_owned())];
        let printed = |words: &str| {
            let words = ["doorbuster"].into_iter().chain(words.split_whitespace());
            match read(words, variables()).map(|asked| asked.invocation) {
                Ok(Invocation::Print(text)) => String::from_utf8(text).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        for shell in ["bash", "zsh", "fish"] {
            assert!(printed(&format!("completions {shell}")).contains("operator-listen"), "{shell}");
        }
        assert!(printed("man").contains(".SH SYNOPSIS"));
        assert!(said("completions tcsh").is_err());
    }

    fn order_id() -> OrderId {
        OrderId::of_request(RequestId::new("p", "/v1/orders", "k"))
    }

    #[test]
    fn the_command_line_does_not_contradict_itself() {
        <Line as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn without_a_command_the_node_serves() {
        assert!(matches!(said(""), Ok(Invocation::Serve(_))));
        assert!(matches!(said("serve"), Ok(Invocation::Serve(_))));
    }

    #[test]
    fn flags_are_settings_before_and_after_the_command() {
        for words in ["--data /d --listen 127.0.0.1:0 serve", "serve --data /d --listen 127.0.0.1:0"] {
            let Ok(Invocation::Serve(config)) = said(words) else { panic!("{words}") };
            assert_eq!(config.node.data_folder, PathBuf::from("/d"));
            assert_eq!(config.api.listen.port(), 0);
        }
        let error = said("--operator-listen nowhere").unwrap_err().to_string();
        assert!(error.starts_with("--operator-listen: `api.operator_listen` is \"nowhere\"; allowed: "), "{error}");
    }

    #[test]
    fn a_dump_is_of_everything_of_a_shard_or_of_an_entity() {
        let of = |words: &str| match said(words) {
            Ok(Invocation::JournalDump { of, .. }) => of,
            other => panic!("{words}: {other:?}"),
        };
        let sku = EntityId::Inventory(Sku::parse("NOVA-LOW-42").unwrap());
        assert_eq!(of("journal dump"), DumpOf::Everything);
        assert_eq!(of("journal dump --shard 3 --data /d"), DumpOf::Shard(Shard(3)));
        assert_eq!(of("journal dump --entity inventory/NOVA-LOW-42"), DumpOf::Entity(sku));
        assert!(said("journal dump --shard 3 --entity inventory/A").is_err());
        assert!(said("journal dump --entity shoe/A").is_err());
    }

    #[test]
    fn a_key_has_an_account_and_scopes_that_exist() {
        match said("key create --account sel_main --scopes catalog,orders") {
            Ok(Invocation::Key { of: KeyCommand::Create { account, scopes }, .. }) => {
                assert_eq!((account.as_str(), scopes), ("sel_main", vec![Scope::Catalog, Scope::Orders]));
            }
            other => panic!("{other:?}"),
        }
        assert!(said("key create --account sel_main").is_err());
        assert!(said("key create --account sel_main --scopes everything").is_err());
        assert!(said("key create --scopes orders").is_err());
    }

    #[test]
    fn keys_are_listed_and_revoked_by_their_ids() {
        let of = |words: &str| match said(words) {
            Ok(Invocation::Key { of, .. }) => of,
            other => panic!("{words}: {other:?}"),
        };
        assert_eq!(of("key list"), KeyCommand::List);
        assert_eq!(of("key revoke key_12"), KeyCommand::Revoke { id: "key_12".into() });
        assert!(said("key revoke").is_err());
    }

    #[test]
    fn only_an_order_can_be_erased() {
        let order = order_id();
        assert!(
            matches!(said(&format!("erase order/{order}")), Ok(Invocation::Erase { order: found, .. }) if found == order)
        );
        assert!(said("erase inventory/A").is_err());
        assert!(said(&format!("erase {order}")).is_err());
    }

    #[test]
    fn the_rest_is_audit_schema_and_config_check() {
        assert!(matches!(said("schema apply"), Ok(Invocation::SchemaApply(_))));
        assert!(matches!(said("audit --data /d"), Ok(Invocation::Audit(_))));
        assert!(matches!(said("config check"), Ok(Invocation::ConfigCheck(_))));
        assert!(said("frobnicate").is_err());
    }

    #[test]
    fn a_reconciliation_repairs_unless_it_is_only_to_report() {
        assert!(matches!(said("reconcile"), Ok(Invocation::Reconcile { repair: true, .. })));
        assert!(matches!(said("reconcile --dry-run"), Ok(Invocation::Reconcile { repair: false, .. })));
    }

    #[test]
    fn a_setting_that_is_wrong_stops_every_command() {
        let variables = vec![("DOORBUSTER__NODE__SHARDS".to_owned(), "none".to_owned())];
        assert!(matches!(read(["doorbuster", "audit"], variables), Err(Error::Settings(_))));
    }
}

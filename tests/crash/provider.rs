//! The payment provider as a process of its own. Its ledger is the referee: it outlives every process.

use crate::node::Node;
use crate::oracle::is_confirmed;
use doorbuster_domain::ids::OrderId;
use doorbuster_domain::money::{Currency, Money};
use doorbuster_domain::payment::LedgerLine;
use doorbuster_domain::payment::reconciliation;
use doorbuster_domain::time::Timestamp;
use doorbuster_payments::wire::LineForm;
use doorbuster_test_kit::client::{Call, Client};
use doorbuster_test_kit::process::Process;
use doorbuster_test_kit::relay::Relay;
use doorbuster_test_kit::settings::Settings;
use doorbuster_test_kit::until::{PATIENCE, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tested-payment-simulator");
const SECRET: &str = "whsec_dGhlIGNyYXNoIHRlc3RzJyB3ZWJob29rIHNlY3JldA==";

/// A provider and the two relays that let node and provider find each other after any restart.
#[derive(Debug)]
pub struct Provider {
    process: Option<Process>,
    at: SocketAddr,
    profile: &'static str,
    seed: u64,
    client: Client,
    /// Where the node calls.
    calls: Relay,
    /// Where the provider calls back.
    webhooks: Relay,
    folder: TempDir,
}

impl Provider {
    /// One that serves. `profile`: `instant`, or `fast` with its declines, lost answers and late webhooks.
    pub async fn started(profile: &'static str, seed: u64) -> Self {
        let folder = tempfile::Builder::new().prefix("doorbuster-crash-").tempdir().expect("a temporary folder");
        let relay = async || Relay::without_target().await.expect("a free port");
        let (calls, webhooks) = (relay().await, relay().await);
        let at = calls.address();
        let mut provider =
            Self { process: None, at, profile, seed, client: Client::default(), calls, webhooks, folder };
        provider.start().await;
        provider
    }

    /// The settings of a node that pays through it.
    pub fn settings(&self, settings: Settings) -> Settings {
        settings
            .with("payments.provider", "http")
            .with("payments.url", format!("http://{}", self.calls.address()))
            .with("payments.webhook_secret", SECRET)
    }

    /// The node listens here now: webhooks go there.
    pub fn calls_back(&self, node: &Node) {
        self.webhooks.point_to(Some(node.public()));
    }

    async fn start(&mut self) {
        let hooks = format!("http://{}/v1/providers/simulated/webhooks", self.webhooks.address());
        let ledger = self.folder.path().join("ledger").display().to_string();
        let seed = self.seed.to_string();
        // Without fsync: these tests cut off processes, not power.
        let arguments = ["--listen", "127.0.0.1:0", "--ledger", &ledger, "--no-fsync", "--seed", &seed]
            .into_iter()
            .chain(["--profile", self.profile, "--webhook-url", &hooks, "--webhook-secret", SECRET]);
        let arguments: Vec<String> = arguments.map(str::to_owned).collect();
        let mut process =
            Process::start("payment-simulator", PROGRAM, self.folder.path(), &arguments, &Settings::default());
        let Some(said) = process.said("listening on http://", PATIENCE).await else {
            panic!("the payment simulator does not start:\n{}", process.ended(PATIENCE).await.all());
        };
        self.at = said.parse().expect("an address");
        self.calls.point_to(Some(self.at));
        self.process = Some(process);
    }

    /// SIGKILL, and a new process on the same ledger.
    pub async fn kill_and_restart(&mut self) {
        self.calls.point_to(None);
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("a process of our own");
            assert!(!process.stderr().contains("panicked"), "the simulator panicked:\n{}", process.stderr());
        }
        self.start().await;
    }

    /// Where shoppers pass its checks.
    pub fn bank(&self) -> Bank {
        Bank { client: self.client.clone(), at: self.calls.address() }
    }

    /// The whole ledger.
    pub async fn ledger(&self) -> Vec<LedgerLine> {
        let mut lines = Vec::new();
        let mut after = 0;
        loop {
            let call = Call::get(format!("/v1/ledger?after={after}"));
            let page = until("the ledger", PATIENCE, || self.client.send(self.at, "", &call)).await.expect(&call, 200);
            let mut got = 0;
            for line in page.text.lines() {
                let line: LineForm = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                after = line.number;
                lines.push(line.read().expect("an amount"));
                got += 1;
            }
            if got == 0 {
                return lines;
            }
        }
    }

    /// Where the ledger and these orders (id, what is due) disagree, in words; an order that is not named owes nothing.
    pub async fn disagreements(&self, orders: &[Value]) -> Vec<String> {
        let lines = self.ledger().await;
        let of = |order: &Value| {
            let id = OrderId::parse(order["id"].as_str().unwrap_or_default()).expect("an order's id");
            let due = &order["totals"]["due"];
            let currency = Currency::parse(due["currency"].as_str().expect("a currency")).expect("a known one");
            let due = due["amount"].as_i64().expect("due");
            // Before it is confirmed no money is due, and an order that ended otherwise owes none.
            (id, Money { amount: if is_confirmed(order) { due } else { 0 }, currency })
        };
        let due: BTreeMap<OrderId, Money> = orders.iter().map(of).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let now = Timestamp(u64::try_from(now.as_millis()).expect("a few more years"));
        let findings = reconciliation::reconcile(&lines, &due, |_| false, now);
        let sums = reconciliation::totals_by_order(&lines, now);
        let describe = |(order, finding)| {
            let sums: Vec<_> = sums.iter().filter(|((of, _), _)| *of == order).collect();
            let due = due.get(&order);
            format!("{finding:?}: {order}, due {due:?}, the ledger has {sums:?}")
        };
        findings.into_iter().map(describe).collect()
    }
}

/// The provider's page on which shoppers pass or fail a check, wherever its present process listens.
#[derive(Debug, Clone)]
pub struct Bank {
    client: Client,
    at: SocketAddr,
}

impl Bank {
    /// Passes (`ok`) or fails (`fail`) the check that an order asks for.
    pub async fn act(&self, url: &str, outcome: &str) {
        // The address in it is of the process that made it, which may be gone: the reference is what counts.
        let reference = url.rsplit('/').next().unwrap_or_default();
        let call = Call::post(format!("/v1/actions/{reference}/complete"), reference, json!({ "outcome": outcome }));
        until("the shopper's action", PATIENCE, || async {
            let answer = self.client.send(self.at, "", &call).await.map_err(|lost| lost.to_string())?;
            if answer.status == 200 { Ok(()) } else { Err(answer.to_string()) }
        })
        .await;
    }
}

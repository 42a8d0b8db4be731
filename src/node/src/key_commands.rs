//! `doorbuster key`: makes, lists and revokes secret keys, beside running nodes or without one.

use super::commands::{CommandError, runtime};
use super::key_store::KeyStore;
use crate::cli::{KeyCommand, Output};
use crate::config::Config;
use doorbuster_api::keys::{Key, ListedKey, Made};
use doorbuster_clock::{Clock, SystemClock};
use serde_json::json;
use std::process::ExitCode;

/// Carries it out. When it has, the next request to a running node meets what was changed.
pub(super) fn carry_out(config: &Config, of: &KeyCommand, output: Output) -> Result<ExitCode, CommandError> {
    runtime(config)?.block_on(async {
        let store = KeyStore::of_settings(config).await?;
        let now = SystemClock.now();
        match of {
            KeyCommand::Create { account, scopes } => {
                let made = store.create(account, scopes, now).await?;
                let Made { key: Key { id, .. }, token, .. } = &made;
                let lines = [format!("{id} for {account}; it is shown this once:"), token.clone()];
                let lines = if output.quiet { lines.get(1..).unwrap_or_default() } else { &lines };
                if let Err(unseen) = output.must_show(&json!({ "id": id, "account": account, "key": token }), lines) {
                    // Nobody has it, so nobody may use it.
                    store.revoke(id, now).await?;
                    return Err(unseen.into());
                }
            }
            KeyCommand::List => {
                let keys = store.list().await?;
                output.result(&json!(keys), &table(&keys))?;
            }
            KeyCommand::Revoke { id } => {
                store.revoke(id, now).await?;
                output.result(&json!({ "id": id, "revoked": true }), &[format!("{id} is revoked")])?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn table(keys: &[ListedKey]) -> Vec<String> {
    let row = |listed: &ListedKey| {
        let scopes: Vec<&str> = listed.scopes.iter().map(|scope| scope.as_str()).collect();
        let remark = if listed.never_shown { "  made by a first start that never showed it" } else { "" };
        format!("{}  {}  {:<16}  {}{remark}", listed.id, listed.created_at, listed.account, scopes.join(","))
    };
    keys.iter().map(row).collect()
}

//! The token of the operator port: the setting, else a file of the data folder that is made when it is first needed.

use crate::config::{Config, OperatorAuth};
use doorbuster_api::secret;
use std::io;
use std::path::Path;

/// Name of the file in the data folder: the token, 64 hexadecimal digits.
pub(super) const FILE: &str = "operator.token";

/// Must a request to the operator port carry a token?
fn is_required(config: &Config) -> bool {
    match config.api.operator_auth {
        OperatorAuth::Always => true,
        OperatorAuth::Never => false,
        OperatorAuth::Exposed => {
            !config.api.operator_listen.ip().is_loopback() || !config.api.operator_token.0.is_empty()
        }
    }
}

/// The token that this node requires; `None`: it requires none.
pub(super) fn of_node(config: &Config) -> io::Result<Option<String>> {
    if !is_required(config) {
        return Ok(None);
    }
    if !config.api.operator_token.0.is_empty() {
        return Ok(Some(config.api.operator_token.0.clone()));
    }
    let folder: &Path = &config.node.data_folder;
    // Nodes that share a journal have no other file there.
    std::fs::create_dir_all(folder)?;
    secret::kept_in_folder(folder, FILE, secret::fresh()?).map(|token| Some(secret::hex(&token)))
}

/// The token that a command of these settings sends: that of the setting, else that of the data folder, if it has one.
pub(super) fn of_client(config: &Config) -> Option<String> {
    if !config.api.operator_token.0.is_empty() {
        return Some(config.api.operator_token.0.clone());
    }
    let text = std::fs::read_to_string(config.node.data_folder.join(FILE)).ok()?;
    Some(text.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(listen: &str, folder: &Path) -> Config {
        let mut config = Config::default();
        config.api.operator_listen = listen.parse().expect("an address");
        folder.clone_into(&mut config.node.data_folder);
        config
    }

    #[test]
    fn a_token_is_required_and_made_where_the_port_is_open_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let local = config("127.0.0.1:8081", folder.path());
        assert_eq!((of_node(&local).expect("no file is needed"), of_client(&local)), (None, None));
        let open = config("0.0.0.0:8081", folder.path());
        let made = of_node(&open).expect("it is made").expect("it is required");
        assert_eq!(made.len(), 64);
        assert_eq!(of_node(&open).expect("it is there"), Some(made.clone()), "it stays over restarts");
        assert_eq!(of_client(&open), Some(made));
    }

    #[test]
    fn the_setting_comes_before_the_file_and_the_operator_decides() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut chosen = config("127.0.0.1:8081", folder.path());
        chosen.api.operator_token.0 = "chosen-by-the-operator-0123456789".to_owned();
        assert_eq!(of_node(&chosen).expect("no file is needed"), of_client(&chosen));
        chosen.api.operator_auth = OperatorAuth::Never;
        assert_eq!(of_node(&chosen).expect("no file is needed"), None);
        let mut always = config("127.0.0.1:8081", folder.path());
        always.api.operator_auth = OperatorAuth::Always;
        assert!(of_node(&always).expect("it is made").is_some());
    }
}

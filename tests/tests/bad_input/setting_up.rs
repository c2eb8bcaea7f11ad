//! `init` where there is something, and configs that are wrong or missing.

use std::fs;
use std::path::Path;

use tests::attempt::{Program, contents};
use tests::failure::{Failure, TestResult};

use crate::ground::{on_ground, refused};

const LSP: &str = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619@127.0.0.1:9735";
const CHAIN: [&str; 6] = [
    "--bitcoind-rpc-url",
    "http://127.0.0.1:18443",
    "--bitcoind-rpc-user",
    "user",
    "--bitcoind-rpc-password",
    "hunter2",
];

fn init<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["init"], more, &CHAIN].concat()
}

fn edit(path: &Path, changes: &[(&str, &str)]) -> Result<(), Failure> {
    let failure = |source| Failure::File { path: path.to_owned(), source };
    let mut text = fs::read_to_string(path).map_err(failure)?;
    for (from, to) in changes {
        assert!(text.contains(from), "{from} is not in {text}");
        text = text.replacen(from, to, 1);
    }
    fs::write(path, text).map_err(failure)
}

#[test]
fn init_overwrites_nothing() -> TestResult {
    on_ground(async |ground| {
        let server_init = init(&["--network", "regtest"]);
        let wallet_init = init(&["--network", "regtest", "--lsp", LSP]);
        for (name, program, arguments, database) in [
            ("again-lsp", Program::lsp_server as fn(&Path) -> Program, &server_init, "lsp.sqlite"),
            ("again-wallet", Program::wallet, &wallet_init, "wallet.db"),
        ] {
            let data_dir = ground.folder.path().join(name);
            assert_eq!(program(&data_dir).attempt(arguments).await?.code, Some(0));
            let before = contents(&data_dir)?;
            let again = program(&data_dir).attempt(arguments).await?;
            refused(&again, 2, &["config.toml", "Name another directory with --data-dir"]);
            assert_eq!(contents(&data_dir)?, before);

            let left = ground.folder.path().join(format!("{name}-left"));
            let failure = |source| Failure::File { path: left.clone(), source };
            fs::create_dir(&left).map_err(failure)?;
            fs::write(left.join(database), "all that is left of a node").map_err(failure)?;
            let before = contents(&left)?;
            refused(&program(&left).attempt(arguments).await?, 2, &[database, "--data-dir"]);
            assert_eq!(contents(&left)?, before);
        }
        Ok(())
    })
}

#[test]
fn init_with_wrong_arguments_makes_nothing() -> TestResult {
    on_ground(async |ground| {
        let data_dir = ground.folder.path().join("never");
        let (server, wallet) = (Program::lsp_server(&data_dir), Program::wallet(&data_dir));
        let long = "a name that has no place in a node announcement";
        for (program, arguments, words) in [
            (&server, init(&["--network", "moonnet"]), ["--network", "moonnet"]),
            (
                &server,
                init(&["--network", "regtest", "--alias", long]),
                ["lightning.alias", "at most 32 bytes"],
            ),
            (&server, init(&["--network", "regtest", "--listen", "9735"]), ["--listen", "9735"]),
            (
                &wallet,
                init(&["--network", "moonnet", "--lsp", LSP]),
                ["network: expected bitcoin", "regtest"],
            ),
            (&wallet, init(&["--network", "regtest", "--lsp", "nobody"]), ["nobody", "NODEID@HOST:PORT"]),
        ] {
            refused(&program.attempt(&arguments).await?, 2, &words);
            assert!(!data_dir.exists(), "{arguments:?}");
        }
        Ok(())
    })
}

#[test]
fn every_mistake_in_a_config_is_told_at_once() -> TestResult {
    on_ground(async |ground| {
        let data_dir = ground.folder.path().join("mistaken-lsp");
        let server = Program::lsp_server(&data_dir);
        assert_eq!(server.attempt(&init(&["--network", "regtest"])).await?.code, Some(0));
        edit(
            &data_dir.join("config.toml"),
            &[
                ("network = \"regtest\"", "network = \"moonnet\""),
                ("rpc_password", "rpc_pasword"),
                ("# cltv_expiry_delta_blocks = 144", "cltv_expiry_delta_blocks = 10"),
                ("# hold_blocks_max = 1008", "hold_block_max = 1008"),
                ("# wait_secs = 60", "wait_secs = \"long\""),
            ],
        )?;
        let before = contents(&data_dir)?;
        let ended = server.variable("LSP__HTTP__LISTEN", "8080").attempt(&["run"]).await?;
        let words = [
            "the config has 7 mistakes",
            "network: expected bitcoin, testnet, testnet4, signet or regtest",
            "bitcoind.rpc_password: is missing",
            "bitcoind.rpc_pasword: is unknown; did you mean bitcoind.rpc_password?",
            "lightning.cltv_expiry_delta_blocks: is 10: expected 48 to 1008",
            "holds.hold_block_max: is unknown; did you mean holds.hold_blocks_max?",
            "payee.wait_secs: expected a whole number",
            "LSP__HTTP__LISTEN: expected an address with a port",
        ];
        refused(&ended, 2, &words);
        assert!(!ended.stderr.contains("hunter2"), "a password is told: {ended:#?}");
        assert_eq!(contents(&data_dir)?, before);

        let data_dir = ground.folder.path().join("mistaken-wallet");
        let wallet = Program::wallet(&data_dir);
        assert_eq!(wallet.attempt(&init(&["--network", "regtest", "--lsp", LSP])).await?.code, Some(0));
        edit(
            &data_dir.join("config.toml"),
            &[
                ("network = \"regtest\"", "network = \"moonnet\""),
                ("\nlsp = \"", "\nlsp = \"nobody"),
                ("rpc_password = \"hunter2\"", "rpc_pasword = \"hunter2\""),
                ("# show_payer = false", "show_payer = \"perhaps\"\ncolour = \"red\""),
            ],
        )?;
        let before = contents(&data_dir)?;
        let ended = wallet.variable("WALLET__LSP_APY", "http://127.0.0.1").attempt(&["info"]).await?;
        let words = [
            "the config has 7 mistakes",
            "network: expected bitcoin, testnet, testnet4, signet or regtest",
            "lsp: expected NODEID@HOST:PORT",
            "bitcoind.rpc_password: is missing",
            "bitcoind.rpc_pasword: is unknown; did you mean bitcoind.rpc_password?",
            "show_payer: expected true or false",
            "colour: is unknown",
            "WALLET__LSP_APY: is unknown; did you mean lsp_api?",
        ];
        refused(&ended, 2, &words);
        assert!(!ended.stderr.contains("hunter2"), "a password is told: {ended:#?}");
        assert_eq!(contents(&data_dir)?, before);
        Ok(())
    })
}

#[test]
fn a_config_that_is_missing_or_no_toml_is_told() -> TestResult {
    on_ground(async |ground| {
        let nowhere = ground.folder.path().join("nowhere");
        for (program, command, word) in [
            (Program::lsp_server(&nowhere), "run", "lsp-server init"),
            (Program::wallet(&nowhere), "balance", "wallet init"),
        ] {
            refused(&program.attempt(&[command]).await?, 2, &["nowhere", word]);
        }
        assert!(!nowhere.exists());

        let torn = ground.folder.path().join("torn");
        let failure = |source| Failure::File { path: torn.clone(), source };
        fs::create_dir(&torn).map_err(failure)?;
        fs::write(torn.join("config.toml"), "network = \"regtest\"\n[bitcoind\n").map_err(failure)?;
        for (program, command) in [(Program::lsp_server(&torn), "run"), (Program::wallet(&torn), "balance")] {
            refused(&program.attempt(&[command]).await?, 2, &["config.toml, line 2"]);
        }
        assert_eq!(contents(&torn)?.len(), 1);
        Ok(())
    })
}

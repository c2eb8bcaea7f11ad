//! A server, or a wallet, that is started where it cannot run.

use std::fs;
use std::net::TcpListener;

use tests::attempt::{Program, contents};
use tests::failure::{Failure, TestResult};
use tests::lsp::Lsp;
use tests::ports::free_port;
use tests::wait::{SOON, Seen, wait_until};

use crate::ground::{FEES, bitcoind_of, on_ground, refused};

const OTHER_SEED: &str = "6f8be5b1a2c4d7e9f00112233445566778899aabbccddeeff0123456789abcde\n";

#[test]
fn a_server_that_cannot_start_says_why_and_is_as_it_was() -> TestResult {
    on_ground(async |ground| {
        let mut lsp = Lsp::start_new("stopped", ground.folder.path(), &ground.bitcoind, FEES, &[]).await?;
        ground.bitcoind.send(&lsp.address().await?, 100_000).await?;
        ground.bitcoind.mine(1).await?;
        wait_until("the LSP to have its money", SOON, async || {
            let total_sat = lsp.info().await?.on_chain_total_sat;
            Ok(if total_sat == 100_000 { Seen::Done(()) } else { Seen::NotYet(total_sat.to_string()) })
        })
        .await?;
        let node_id = lsp.node_id().to_owned();
        lsp.stop().await?;
        let data_dir = lsp.data_dir().to_owned();
        let before = contents(&data_dir)?;

        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        let other = bitcoind_of("signet").await?;
        let cases: [(&str, &str, i32, &[&str]); 4] = [
            ("LSP__BITCOIND__RPC_URL", &nobody, 1, &[&nobody, "cannot be used", "check that it runs"]),
            ("LSP__BITCOIND__RPC_URL", &other, 1, &["bitcoind is on signet", "the config says regtest"]),
            ("LSP__BITCOIND__RPC_PASSWORD", "hunter2", 1, &["refuses the RPC user or password", "check"]),
            ("LSP__NETWORK", "signet", 1, &["made on regtest", "the config says signet", "put regtest back"]),
        ];
        for (variable, value, code, words) in cases {
            let ended = Program::lsp_server(&data_dir).variable(variable, value).attempt(&["run"]).await?;
            refused(&ended, code, words);
            assert!(!ended.stderr.contains("hunter2"), "a password is told: {ended:#?}");
            assert_eq!(contents(&data_dir)?, before, "{variable}");
        }

        let server = Program::lsp_server(&data_dir);
        let seed = data_dir.join("seed");
        let failure = |source| Failure::File { path: seed.clone(), source };
        let own_seed = fs::read_to_string(&seed).map_err(failure)?;
        fs::write(&seed, OTHER_SEED).map_err(failure)?;
        let ended = server.attempt(&["run"]).await?;
        refused(&ended, 1, &["belongs to node", &node_id, "use the seed that the database was made with"]);
        assert!(!ended.stderr.contains(OTHER_SEED.trim()), "a seed is told");
        fs::write(&seed, "garbage").map_err(failure)?;
        refused(&server.attempt(&["run"]).await?, 2, &["is damaged", "64 hex digits", "put your copy"]);
        fs::remove_file(&seed).map_err(failure)?;
        refused(
            &server.attempt(&["run"]).await?,
            2,
            &["cannot read the seed", "put the node's own seed there"],
        );
        fs::write(&seed, &own_seed).map_err(failure)?;
        refused(&server.attempt(&["run"]).await?, 2, &["can be read by others", "chmod 600"]);
        fs::set_permissions(&seed, std::os::unix::fs::PermissionsExt::from_mode(0o600)).map_err(failure)?;
        assert_eq!(contents(&data_dir)?, before, "a wrong seed");

        let http = lsp.api_url().trim_start_matches("http://").to_owned();
        for (address, words) in [
            (lsp.listen().to_string(), ["cannot listen on", "change the address in the config"]),
            (http, ["cannot serve HTTP on", "change http.listen"]),
        ] {
            let taken = TcpListener::bind(&address)
                .map_err(|source| Failure::Start { name: format!("a listener on {address}"), source })?;
            refused(&server.attempt(&["run"]).await?, 1, &[words[0], &address, words[1]]);
            drop(taken);
            assert_eq!(contents(&data_dir)?, before, "{address}");
        }

        lsp.start().await?;
        let info = lsp.info().await?;
        assert_eq!((info.node_id.to_string(), info.on_chain_total_sat), (node_id, 100_000));
        lsp.stop().await?;
        Ok(())
    })
}

#[test]
fn two_servers_do_not_share_a_data_directory_or_a_database() -> TestResult {
    on_ground(async |ground| {
        let data_dir = ground.lsp.data_dir();
        let second = Program::lsp_server(data_dir).attempt(&["run"]).await?;
        refused(&second, 1, &["a server is running for", "stop it first", "--data-dir"]);

        let elsewhere = ground.folder.path().join("sharer");
        let http = format!("127.0.0.1:{}", free_port()?);
        let listen = format!("127.0.0.1:{}", free_port()?);
        let url = ground.bitcoind.rpc_url();
        let init = ["init", "--network", "regtest", "--listen", &listen, "--http-listen", &http];
        let chain = ["--bitcoind-rpc-url", &url, "--bitcoind-rpc-user", "u", "--bitcoind-rpc-password", "p"];
        let sharer = Program::lsp_server(&elsewhere);
        assert_eq!(sharer.attempt(&[&init[..], &chain].concat()).await?.code, Some(0));
        let database = format!("sqlite:{}", data_dir.join("lsp.sqlite").display());
        let ended = sharer.variable("LSP__DATABASE__URL", database).attempt(&["run"]).await?;
        refused(&ended, 1, &["in use by another process", "stop it first"]);

        assert_eq!(ground.lsp.info().await?.node_id.to_string(), ground.lsp.node_id());
        Ok(())
    })
}

#[test]
fn a_wallet_that_cannot_open_says_why_and_is_as_it_was() -> TestResult {
    on_ground(async |ground| {
        let payer = ground.payer.lock().await;
        let data_dir = payer.data_dir().to_owned();
        let (balance, channels) = (payer.ask(&["balance"]).await?, payer.ask(&["channels"]).await?);
        let before = contents(&data_dir)?;

        let nobody = format!("http://127.0.0.1:{}", free_port()?);
        let other = bitcoind_of("main").await?;
        let cases: [(&str, &str, &[&str]); 4] = [
            ("WALLET__BITCOIND__RPC_URL", &nobody, &[&nobody, "cannot be used", "check that it runs"]),
            ("WALLET__BITCOIND__RPC_URL", &other, &["bitcoind is on main", "the config says regtest"]),
            ("WALLET__BITCOIND__RPC_PASSWORD", "hunter2", &["refuses the RPC user or password", "check"]),
            ("WALLET__NETWORK", "signet", &["made on regtest", "the config says signet", "put regtest back"]),
        ];
        for (variable, value, words) in cases {
            let ended = Program::wallet(&data_dir).variable(variable, value).attempt(&["balance"]).await?;
            refused(&ended, 1, words);
            assert!(!ended.stderr.contains("hunter2"), "a password is told: {ended:#?}");
            assert_eq!(contents(&data_dir)?, before, "{variable}");
        }

        let wallet = Program::wallet(&data_dir);
        let seed = payer.seed_path();
        let failure = |source| Failure::File { path: seed.clone(), source };
        let own_seed = fs::read_to_string(&seed).map_err(failure)?;
        fs::write(&seed, OTHER_SEED).map_err(failure)?;
        let ended = wallet.attempt(&["balance"]).await?;
        refused(&ended, 1, &["belongs to node", "use the seed that the database was made with"]);
        fs::write(&seed, "garbage").map_err(failure)?;
        refused(&wallet.attempt(&["balance"]).await?, 2, &["is damaged", "64 hex digits", "put your copy"]);
        let aside = data_dir.join("seed.aside");
        fs::rename(&seed, &aside).map_err(failure)?;
        refused(&wallet.attempt(&["balance"]).await?, 2, &["cannot read the seed", "own seed there"]);
        fs::rename(&aside, &seed).map_err(failure)?;
        fs::write(&seed, &own_seed).map_err(failure)?;
        assert_eq!(contents(&data_dir)?, before, "a wrong seed");

        let app = payer.start(&["run"])?;
        ground.lsp.wait_for_usable_channels(1).await?;
        refused(&wallet.attempt(&["balance"]).await?, 1, &["in use by another process", "stop it first"]);
        app.terminate(SOON).await?;

        assert_eq!(payer.ask(&["balance"]).await?, balance);
        assert_eq!(payer.ask(&["channels"]).await?, channels);
        Ok(())
    })
}

//! The CLI, asking for what is not there.

use tests::attempt::Program;
use tests::failure::TestResult;

use crate::ground::{on_ground, refused};

const UNKNOWN: &str = "abababababababababababababababababababababababababababababababab";

#[test]
fn a_server_that_does_not_run_is_named() -> TestResult {
    on_ground(async |ground| {
        let data_dir = ground.folder.path().join("not-running");
        let server = Program::lsp_server(&data_dir);
        for arguments in [&["node", "info"][..], &["holds", "list"], &["holds", "cancel", UNKNOWN]] {
            let ended = server.attempt(arguments).await?;
            refused(&ended, 1, &["no server is running for", "not-running", "lsp-server run", "--data-dir"]);
            assert_eq!(ended.stdout, "");
        }
        assert!(!data_dir.exists());
        Ok(())
    })
}

#[test]
fn holds_that_are_not_there_are_neither_released_nor_cancelled() -> TestResult {
    on_ground(async |ground| {
        let server = Program::lsp_server(ground.lsp.data_dir());
        let before = server.attempt(&["devices", "list"]).await?;

        let wrong = server.attempt_with_input(&["holds", "release"], Some(UNKNOWN)).await?;
        refused(&wrong, 1, &["no hold has this pid", "lsp-server holds list"]);
        assert!(!wrong.stderr.contains(UNKNOWN), "a pid is told: {wrong:?}");
        for garbage in ["", "garbage", &UNKNOWN[1..], &"ab".repeat(10_000), "\u{1f50c}"] {
            let ended = server.attempt_with_input(&["holds", "release"], Some(garbage)).await?;
            refused(&ended, 2, &["expected the pid on stdin: 64 hex digits"]);
            assert!(garbage.is_empty() || !ended.stderr.contains(garbage), "stdin is told: {ended:?}");
        }
        refused(&server.attempt(&["holds", "cancel", UNKNOWN]).await?, 1, &["there is no such hold", "list"]);
        refused(&server.attempt(&["holds", "show", UNKNOWN]).await?, 1, &["there is no such hold", "list"]);
        refused(
            &server.attempt(&["holds", "cancel", "garbage"]).await?,
            2,
            &["garbage", "a pid hash has 64 hex digits"],
        );
        refused(&server.attempt(&["hold", "list"]).await?, 2, &["hold", "holds"]);

        assert_eq!(server.attempt(&["devices", "list"]).await?, before, "it still answers");
        Ok(())
    })
}

#[test]
fn what_a_node_refuses_is_told_in_its_words() -> TestResult {
    on_ground(async |ground| {
        let server = Program::lsp_server(ground.lsp.data_dir());
        let nobody = format!("{}@127.0.0.1:{}", ground.lsp.node_id(), tests::ports::free_port()?);
        for (arguments, code, word) in [
            (&["node", "connect", "nobody"][..], 2, "nobody"),
            (&["node", "connect", &nobody], 1, "cannot connect"),
            (&["node", "close", UNKNOWN], 1, "there is no such channel"),
            (&["node", "open", ground.lsp.node_id(), "--capacity-sat", "100000"], 1, "opening"),
            (&["devices", "remove", "garbage"], 2, "a device id has 32 hex digits"),
        ] {
            refused(&server.attempt(arguments).await?, code, &[word]);
        }
        let ground_info = ground.lsp.info().await?;
        assert_eq!((ground_info.channels, ground_info.lightning_balance_msat.0), (1, 0));
        Ok(())
    })
}

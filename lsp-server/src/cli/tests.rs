use std::path::Path;

use clap::CommandFactory;

use super::*;

const NODE: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";

fn parse(line: &str) -> Result<Cli, clap::Error> {
    let line = line.replace("NODE", NODE).replace("HASH", &"ab".repeat(32));
    Cli::try_parse_from(["lsp-server"].into_iter().chain(line.split(' ')))
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_documented_command_is_understood() {
    for line in [
        "--data-dir /data init --network regtest --bitcoind-rpc-url http://127.0.0.1:18443 --bitcoind-rpc-user u \
         --bitcoind-rpc-password p --listen 127.0.0.1:9735 --http-listen 127.0.0.1:8080 --alias alice",
        "run",
        "run --log-format json",
        "doctor",
        "node info",
        "node address",
        "node connect NODE@127.0.0.1:9735",
        "node channels",
        "node open NODE --capacity-sat 1000000 --push-msat 5000 --announce",
        "node close HASH --force",
        "holds list --ended",
        "holds show HASH",
        "holds release",
        "holds cancel HASH",
        "devices list",
        "devices remove 000102030405060708090a0b0c0d0e0f",
        "mailbox list",
        "wakes list",
    ] {
        // In the documentation's long lines only.
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        if let Err(error) = parse(&line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn mistakes_are_found_before_anyone_is_asked() {
    for (line, expected) in [
        ("node connect 127.0.0.1:9735", "NODEID@HOST:PORT"),
        ("node open NODE", "--capacity-sat"),
        ("node close 00", "64 hex digits"),
        ("holds show 00", "PID_HASH"),
        // The pid does not belong on a command line.
        ("holds release HASH", "unexpected argument"),
        ("init --network moon", "--network"),
        ("hold list", "'holds'"),
    ] {
        let error = parse(line).unwrap_err().to_string();
        assert!(error.contains(expected), "{line}: {error}");
    }
}

#[test]
fn data_dir_and_json_may_stand_anywhere() {
    for line in
        ["--data-dir /d --json node info", "node --json info --data-dir /d", "node info --json --data-dir /d"]
    {
        let cli = parse(line).unwrap();
        assert!(cli.json && cli.data_dir == Path::new("/d"), "{line}");
    }
}

use super::*;

const MINIMAL: &str = r#"
    network = "regtest"
    [bitcoind]
    rpc_url = "http://127.0.0.1:18443"
    rpc_user = "user"
    rpc_password = "hunter2"
"#;

fn parse(text: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(Path::new("/data"), text, variables)
}

fn mistakes(text: &str, variables: &[(&str, &str)]) -> Vec<String> {
    match parse(text, variables) {
        Err(ConfigError::Mistakes { mistakes, .. }) => mistakes.iter().map(ToString::to_string).collect(),
        other => panic!("expected mistakes: {other:?}"),
    }
}

#[test]
fn the_least_config_has_defaults_for_the_rest() {
    let config = parse(MINIMAL, &[]).unwrap();
    assert_eq!(config.network, Network::Regtest);
    assert_eq!(config.database, DatabaseUrl::Sqlite("/data/lsp.sqlite".into()));
    assert_eq!(config.lightning.cltv_expiry_delta_blocks, 144);
    assert_eq!(config.holds.hold_blocks_max, 1_008);
    assert_eq!(config.payee.wait_secs, 60);
    assert_eq!(config.mailbox, MailboxLimits::default());
    assert!(!config.push.allow_private_addresses);
    assert_eq!(config.metrics.listen, None);
    assert_eq!(config.chain.stall_secs, 0, "on regtest blocks come when somebody makes one");
}

#[test]
fn a_chain_that_stands_still_is_noticed_wherever_blocks_come_by_themselves() {
    let text = MINIMAL.replace("regtest", "bitcoin");
    assert_eq!(parse(&text, &[]).unwrap().chain.stall_secs, 7_200);
    let set = [("LSP__CHAIN__STALL_SECS", "0"), ("LSP__CHAIN__BLOCK_SECS_MIN", "601")];
    let expected = ["LSP__CHAIN__BLOCK_SECS_MIN: is 601: expected 1 to 600"];
    assert_eq!(mistakes(&text, &set), expected);
    assert_eq!(parse(&text, &set[..1]).unwrap().chain.stall_secs, 0);
}

#[test]
fn metrics_are_served_on_an_address_of_their_own() {
    let listen = |variables| parse(MINIMAL, variables).unwrap().metrics.listen;
    let address = listen(&[("LSP__METRICS__LISTEN", "127.0.0.1:9464")]);
    assert_eq!(address, Some(SocketAddr::from(([127, 0, 0, 1], 9464))));
    assert_eq!(listen(&[("LSP__METRICS__LISTEN", "off")]), None);
    let expected =
        "LSP__METRICS__LISTEN: is also http.listen or in lightning.listen: each needs a port of its own";
    assert_eq!(mistakes(MINIMAL, &[("LSP__METRICS__LISTEN", "127.0.0.1:8080")]), [expected]);
}

#[test]
fn phones_answer_under_an_address_and_nothing_behind_it() {
    for (address, is_good) in [
        ("https://lsp.example.com", true),
        ("http://127.0.0.1:8080/", true),
        ("lsp.example.com", false),
        ("https://lsp.example.com/api", false),
        ("https://lsp.example.com/?a=b", false),
        ("ftp://lsp.example.com", false),
    ] {
        assert_eq!(parse(MINIMAL, &[("LSP__NOTIFY__REPLY_URL", address)]).is_ok(), is_good, "{address}");
    }
}

#[test]
fn every_mistake_is_reported_at_once() {
    let text = r#"
        network = "moonnet"
        [bitcoind]
        rpc_url = "ftp://127.0.0.1"
        rpc_pasword = "hunter2"
        [lightning]
        listen = ["127.0.0.1"]
        alias = "far too long a name for a node announcement"
        cltv_expiry_delta_blocks = 10
        [holds]
        hold_blocks_max = "long"
        [mailbox]
        sender_messages_max = 300
        [http]
        listen = 8080
    "#;
    let found = mistakes(text, &[("LSP__BITCOIND__RPC_USER", "")]);
    let expected = [
        "network: expected bitcoin, testnet, testnet4, signet or regtest",
        "bitcoind.rpc_password: is missing",
        "bitcoind.rpc_url: expected http://HOST:PORT",
        "LSP__BITCOIND__RPC_USER: is empty",
        "lightning.listen: expected a list of addresses",
        "lightning.alias: expected at most 32 bytes of text, it has 43",
        "lightning.cltv_expiry_delta_blocks: is 10: expected 48 to 1008",
        "holds.hold_blocks_max: expected a whole number",
        "mailbox.recipient_messages_max: is 200, less than mailbox.sender_messages_max",
        "http.listen: expected an address with a port",
        "bitcoind.rpc_pasword: is unknown; did you mean bitcoind.rpc_password?",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
    }
}

#[test]
fn unknown_keys_are_refused_with_the_likely_one() {
    for (line, expected) in [
        ("[lightening]\nalias = \"a\"", "lightening: is unknown; did you mean lightning?"),
        (
            "[holds]\nhold_block_max = 1",
            "holds.hold_block_max: is unknown; did you mean holds.hold_blocks_max?",
        ),
        ("[http]\nalias = \"a\"", "http.alias: is unknown; did you mean lightning.alias?"),
        ("[http]\nzebra = 1", "http.zebra: is unknown"),
        ("[zebra]\nstripes = 1", "zebra: is unknown"),
    ] {
        assert_eq!(mistakes(&format!("{MINIMAL}\n{line}"), &[]), [expected]);
    }
    assert_eq!(
        mistakes(MINIMAL, &[("LSP__LIGHTNING__ALAIS", "a")]),
        ["LSP__LIGHTNING__ALAIS: is unknown; did you mean lightning.alias?"]
    );
}

/// At, below and above each end of what a setting may be.
#[test]
fn each_bound_of_a_setting_is_kept() {
    let cases: &[(&str, &[u64], &[u64])] = &[
        ("peers.connections_max", &[200, 201, 100_000], &[0, 199, 100_001]),
        ("peers.connections_per_address_max", &[1, 4_999, 5_000], &[0, 5_001]),
        ("peers.connections_per_address_per_second", &[1, 2], &[0]),
        ("peers.without_channel_max", &[1, 239, 240], &[0, 241]),
        ("peers.onion_messages_per_second", &[1, 199, 200], &[0, 201]),
        ("peers.onion_messages_burst", &[20, 21], &[0, 19]),
        ("channels.per_peer_max", &[1, 9_999, 10_000], &[0, 10_001]),
        ("channels.total_max", &[10, 11], &[0, 9]),
        ("channels.inbound_sat_min", &[1_000, 1_001, 500_000_000], &[0, 999, 500_000_001]),
        ("channels.inbound_sat_max", &[20_000, 20_001], &[0, 19_999]),
        ("holds.hold_blocks_max", &[1, 2, 1_968, 1_969], &[0, 1_970]),
        ("holds.holds_max", &[100, 101], &[0, 99]),
        ("holds.holds_per_peer_max", &[1, 9_999, 10_000], &[0, 10_001]),
        ("holds.holds_kept_per_peer_max", &[100, 101], &[0, 99]),
        ("holds.ended_days_kept", &[28, 29, 36_500], &[0, 27, 36_501]),
        ("holds.hashes_per_hold_max", &[1, 15, 16], &[0, 17]),
        ("holds.parts_per_hold_max", &[1, 2], &[0]),
        ("holds.held_htlcs_max", &[200, 201], &[0, 199]),
        ("holds.held_htlcs_per_peer_max", &[1, 9_999, 10_000], &[0, 10_001]),
        ("holds.held_msat_max", &[10_000_000_000, 10_000_000_001], &[9_999_999_999]),
        ("holds.held_msat_per_peer_max", &[1_000_000, 1_000_001], &[0, 999_999]),
        ("payee.wait_secs", &[1, 59, 60], &[0, 61]),
        ("payee.waiting_htlcs_max", &[50, 51, 10_000], &[0, 49, 10_001]),
        ("payee.waiting_htlcs_per_payee_max", &[1, 999, 1_000], &[0, 1_001]),
        ("mailbox.message_bytes_max", &[1_500, 1_501, 65_534, 65_535], &[0, 1_499, 65_536]),
        ("mailbox.sender_messages_max", &[1, 199, 200], &[0, 201]),
        ("mailbox.client_total_percent", &[1, 2, 100], &[0, 101]),
        ("mailbox.peer_lsp_total_percent", &[1, 2, 100], &[0, 101]),
        ("mailbox.strangers_total_percent", &[1, 2, 100], &[0, 101]),
        ("mailbox.peer_lsp_reserve_percent", &[0, 98, 99], &[100]),
        ("http.connections_max", &[1, 2, 100_000], &[0, 100_001]),
        ("http.requests_max", &[1, 2, 100_000], &[0, 100_001]),
        ("push.devices_per_node_max", &[1, 2], &[0]),
        ("push.used_challenges_max", &[100, 101, 1_000_000], &[0, 99, 1_000_001]),
        ("push.used_challenges_without_channel_max", &[1, 2, 1_000_000], &[0, 1_000_001]),
        ("push.used_challenges_per_node_max", &[1, 2, 10_000], &[0, 10_001]),
        ("push.stranger_pushes_per_hour_max", &[1, 2], &[0]),
        ("push.own_pushes_per_hour_max", &[1, 2], &[0]),
        ("push.cooldown_secs", &[0, 1, 3_600], &[3_601]),
        ("push.stranger_wakes_per_node_max", &[1, 2], &[0]),
        ("push.closed_wakes_days_kept", &[1, 2, 366], &[0, 367]),
    ];
    for (key, within, beyond) in cases {
        let variable = format!("LSP__{}", key.to_uppercase().replace('.', "__"));
        let set = |value: &u64| parse(MINIMAL, &[(variable.as_str(), value.to_string().as_str())]);
        for value in *within {
            assert!(set(value).is_ok(), "{key} = {value}: {:?}", set(value).err());
        }
        for value in *beyond {
            assert!(set(value).is_err(), "{key} = {value} is taken");
        }
    }
}

#[test]
fn the_environment_overrides_the_file() {
    let variables = [
        // A password is text even if it looks like a number.
        ("LSP__BITCOIND__RPC_PASSWORD", "007"),
        ("LSP__LIGHTNING__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("LSP__HOLDS__HOLD_BLOCKS_MAX", "12"),
        ("LSP__PUSH__ALLOW_PRIVATE_ADDRESSES", "true"),
        ("LSP_DATA_DIR", "/elsewhere"),
        ("PATH", "/bin"),
    ];
    let config = parse(MINIMAL, &variables).unwrap();
    assert_eq!(config.bitcoind.rpc_password, "007");
    assert_eq!(config.lightning.listen.len(), 2);
    assert_eq!(config.holds.hold_blocks_max, 12);
    assert!(config.push.allow_private_addresses);
}

#[test]
fn no_error_shows_the_password() {
    let broken = MINIMAL.replace("\"hunter2\"", "\"hunter2");
    let error = parse(&broken, &[]).unwrap_err();
    assert!(matches!(error, ConfigError::Syntax { line: 6, .. }), "{error}");
    let wrong = MINIMAL.replace("\"hunter2\"", "[\"hunter2\"]");
    for error in [error, parse(&wrong, &[]).unwrap_err()] {
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
    }
    assert!(!format!("{:?}", parse(MINIMAL, &[]).unwrap()).contains("hunter2"));
}

#[test]
fn a_missing_file_says_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let error = Config::load(dir.path()).unwrap_err();
    assert!(error.to_string().contains("lsp-server init"), "{error}");
}

#[test]
fn what_init_writes_is_read_back_whatever_it_holds() {
    let settings = InitSettings {
        network: Network::Signet,
        bitcoind: BitcoindConfig {
            rpc_url: "http://127.0.0.1:38332".to_owned(),
            rpc_user: "a \"quoted\" 'user' \\".to_owned(),
            rpc_password: "new\nline {brace} # \u{7f}".to_owned(),
        },
        listen: SocketAddr::from(([127, 0, 0, 1], 9735)),
        http_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
        announced_addresses: vec![SocketAddr::from(([203, 0, 113, 7], 9735))],
        alias: "näme".to_owned(),
    };
    let config = parse(&render(&settings), &[]).unwrap();
    assert_eq!(config.network, settings.network);
    assert_eq!(config.bitcoind.rpc_user, settings.bitcoind.rpc_user);
    assert_eq!(config.bitcoind.rpc_password, settings.bitcoind.rpc_password);
    assert_eq!(config.lightning.listen, [settings.listen]);
    assert_eq!(config.lightning.announced_addresses, settings.announced_addresses);
    assert_eq!(config.lightning.alias, settings.alias);
    assert_eq!(config.http.listen, settings.http_listen);
}

/// The file's comments are its documentation: they must show the real defaults.
#[test]
fn the_defaults_in_comments_are_the_defaults() {
    let active = include_str!("template.toml")
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.contains(" = ") => setting,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let filled = active
        .replace("{network}", "\"regtest\"")
        .replace("{rpc_url}", "\"http://127.0.0.1:18443\"")
        .replace("{rpc_user}", "\"user\"")
        .replace("{rpc_password}", "\"hunter2\"")
        .replace("{listen}", "\"0.0.0.0:9735\"")
        .replace("{announced_addresses}", "[]")
        .replace("{alias}", "\"lightning-rod\"")
        .replace("{http_listen}", "\"127.0.0.1:8080\"");
    let from_comments = parse(&filled, &[]).unwrap();
    assert_eq!(format!("{from_comments:?}"), format!("{:?}", parse(MINIMAL, &[]).unwrap()));
}

#[test]
fn plain_http_is_for_loopback_unless_somebody_says_otherwise() {
    let with = |http: &str| Config::parse(Path::new("/d"), &format!("{MINIMAL}\n[http]\n{http}"), []);
    for fine in [
        "listen = \"127.0.0.1:80\"",
        "listen = \"[::1]:80\"",
        "listen = \"0.0.0.0:80\"\nallow_plain_http = true",
        "listen = \"0.0.0.0:443\"\ntls_certificate = \"a.pem\"\ntls_key = \"/b.pem\"",
    ] {
        with(fine).unwrap();
    }
    for (mistake, word) in [
        ("listen = \"0.0.0.0:80\"", "http.listen"),
        ("listen = \"192.168.0.1:80\"", "http.listen"),
        ("tls_certificate = \"a.pem\"", "http.tls_key"),
        ("tls_key = \"a.pem\"", "http.tls_certificate"),
    ] {
        let error = with(mistake).unwrap_err().to_string();
        assert!(error.contains(word), "{mistake}: {error}");
    }
    let tls = with("tls_certificate = \"a.pem\"\ntls_key = \"/b.pem\"").unwrap().http.tls.unwrap();
    assert_eq!(tls.certificate, Path::new("/d/a.pem"));
    assert_eq!(tls.key, Path::new("/b.pem"));
}

#[test]
fn a_postgres_database_is_named_without_its_password() {
    let set = |url| [("LSP__DATABASE__URL", url)];
    let config =
        parse(MINIMAL, &set("postgres://lsp:s3cret@db.example.com/lsp?sslmode=verify-full")).unwrap();
    assert_eq!(config.database.to_string(), "postgres://lsp@db.example.com:5432/lsp");
    assert!(!format!("{config:?}").contains("s3cret"));
    for wrong in [
        "postgres://lsp:s3cret@db.example.com",
        "postgres://lsp:s3cret@db:port/lsp",
        "mysql://lsp:s3cret@db/lsp",
    ] {
        let mistakes = mistakes(MINIMAL, &set(wrong)).join(" ");
        assert!(mistakes.starts_with("LSP__DATABASE__URL: expected a database URL"), "{mistakes}");
        assert!(!mistakes.contains("s3cret"));
    }
}

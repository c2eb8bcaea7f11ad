//! The bitcoind that `ensure` finds runs a regtest chain and mines.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// `user:password` in base64, as the Authorization header carries it.
const CREDENTIALS: &str = "dXNlcjpwYXNzd29yZA==";

/// Ends with the test, however that ends.
struct Bitcoind {
    child: Child,
    port: u16,
}

impl Drop for Bitcoind {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Bitcoind {
    fn start(exe: &Path, folder: &Path) -> io::Result<Self> {
        // Somebody else may take the port before bitcoind does; then it exits, and another one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let child = Command::new(exe)
                .args(["-regtest", "-server", "-listen=0", "-disablewallet", "-printtoconsole=0"])
                .args([
                    "-rpcuser=user",
                    "-rpcpassword=password",
                    "-rpcbind=127.0.0.1",
                    "-rpcallowip=127.0.0.1",
                ])
                .arg(format!("-rpcport={port}"))
                .arg(format!("-datadir={}", folder.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()?;
            let mut bitcoind = Self { child, port };
            let give_up = Instant::now() + Duration::from_secs(60);
            while bitcoind.child.try_wait()?.is_none() {
                if bitcoind.call("getblockcount", "[]").is_some() {
                    return Ok(bitcoind);
                }
                assert!(Instant::now() < give_up, "bitcoind answers no call");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        Err(io::Error::other("bitcoind does not stay up"))
    }

    /// The answer's body, or `None` while bitcoind is not ready or when the call is refused.
    fn call(&self, method: &str, params: &str) -> Option<String> {
        let body = format!(r#"{{"method":"{method}","params":{params}}}"#);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        write!(
            stream,
            "POST / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {CREDENTIALS}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}

#[test]
fn the_bitcoind_found_mines_a_block() {
    let exe = xtask::bitcoind::ensure(&mut |text| eprintln!("{text}")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bitcoind = Bitcoind::start(&exe, folder.path()).unwrap();

    assert!(bitcoind.call("getblockcount", "[]").unwrap().contains(r#""result":0"#));
    bitcoind.call("generatetodescriptor", r#"[1, "raw(51)"]"#).unwrap();
    assert!(bitcoind.call("getblockcount", "[]").unwrap().contains(r#""result":1"#));
}

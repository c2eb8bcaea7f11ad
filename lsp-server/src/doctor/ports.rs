//! The addresses that the server listens on.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use super::{Check, Running};
use crate::config::Config;

/// The longest path of a Unix socket, in bytes (`sun_path` of Linux, less its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;

pub(super) fn examine(config: &Config, running: Running) -> Vec<Check> {
    let lightning = config.lightning.listen.iter().map(|address| ("lightning port", *address));
    let http = [("http port", config.http.listen)];
    let metrics = config.metrics.listen.map(|address| ("metrics port", address));
    let mut checks: Vec<_> =
        lightning.chain(http).chain(metrics).map(|(name, address)| port(name, address, running)).collect();
    checks.push(admin_socket(&config.admin_socket_path()));
    checks
}

fn port(name: &'static str, address: SocketAddr, running: Running) -> Check {
    if running == Running::Yes {
        return Check::ok(name, format!("{address}, in use by the running server"));
    }
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(name, format!("{address} is free")),
        Err(error) => Check::failed(
            name,
            format!("{address} cannot be listened on: {error}"),
            "stop the process that uses the port (`ss -ltnp` names it), or choose another address",
        ),
    }
}

fn admin_socket(path: &Path) -> Check {
    const NAME: &str = "admin socket";
    let bytes = path.as_os_str().len();
    if bytes <= SOCKET_PATH_BYTES_MAX {
        Check::ok(NAME, path.display().to_string())
    } else {
        Check::failed(
            NAME,
            format!(
                "{} has {bytes} bytes, and a socket's path {SOCKET_PATH_BYTES_MAX} at most",
                path.display()
            ),
            "use a data directory with a shorter path",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_port_in_use_is_found_unless_it_is_ours() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        assert_eq!(port("http port", address, Running::No).verdict, Verdict::Failed);
        assert_eq!(port("http port", address, Running::Yes).verdict, Verdict::Ok);
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        assert_eq!(port("http port", any, Running::No).verdict, Verdict::Ok);
    }

    #[test]
    fn a_path_that_no_socket_can_have_is_found() {
        assert_eq!(admin_socket("/data/admin.sock".as_ref()).verdict, Verdict::Ok);
        assert_eq!(admin_socket("x".repeat(108).as_ref()).verdict, Verdict::Failed);
    }
}

//! Signed device registrations per second: the real `lsp-server`, over HTTP, from many phones at once, whose registrations share
//! commits; and, in turns, from one at a time, each of which waits for a commit of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use ::tests::bitcoind::Bitcoind;
use ::tests::failure::Failure;
use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use lightning::util::message_signing;
use protocol::api::public::{ChallengeRequest, ChallengeResponse, DeviceTarget, RegisterDeviceRequest};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::arguments::Arguments;
use crate::lsp::Lsp;
use crate::outbox::wrong;
use crate::shim::Shim;
use crate::usage::Usage;

const LANES: usize = 64;
/// One registration alone for so many at once.
const ALONE_SHARE: usize = 10;
/// Requests before the first round, so that no round pays for what is done once.
const WARM_UP: usize = 64;
/// The server takes so many in five minutes.
const REGISTRATIONS_MAX: usize = 10_000;
const RESPONSE_BYTES_MAX: usize = 1 << 16;
/// What a registration's answer says of itself.
const DURABLE: &[u8] = b"\"durable\":true";

/// Both ways, all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) lanes: usize,
    pub(crate) at_once: Figures,
    pub(crate) one_by_one: Figures,
    /// Many at once divided by one by one.
    pub(crate) throughput_ratio: f64,
    pub(crate) cpu_ratio: f64,
    /// The most that a server with an fsync for each registration could do, had it nothing else to do, on however many connections.
    pub(crate) fsyncs_per_second: f64,
    /// Many at once divided by that.
    pub(crate) fsync_ratio: f64,
}

/// Per registration at the LSP, but for the throughput.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) registrations: usize,
    pub(crate) registrations_per_second: f64,
    pub(crate) commits: f64,
    pub(crate) fsyncs: f64,
    pub(crate) cpu_ms: f64,
}

struct Run {
    registrations: usize,
    elapsed: Duration,
    usage: Usage,
}

impl Figures {
    fn of(runs: &[Run]) -> Self {
        let registrations: usize = runs.iter().map(|run| run.registrations).sum();
        let elapsed: Duration = runs.iter().map(|run| run.elapsed).sum();
        let usage = runs.iter().map(|run| run.usage).reduce(Usage::and).unwrap_or_default();
        let each = |total: f64| total / registrations as f64;
        Self {
            registrations,
            registrations_per_second: registrations as f64 / elapsed.as_secs_f64(),
            commits: each(usage.commits.unwrap_or_default() as f64),
            fsyncs: each(usage.durable.fsyncs as f64),
            cpu_ms: each(usage.cpu.as_secs_f64() * 1e3),
        }
    }
}

/// Starts an LSP, and registers.
pub(crate) async fn measure(
    arguments: &Arguments,
    folder: &Path,
    bitcoind: &Bitcoind,
    shim: &Shim,
) -> Result<Report, Failure> {
    let (rounds, many) = (arguments.rounds(), arguments.registrations());
    let few = many.div_ceil(ALONE_SHARE);
    if rounds * (many + few) + WARM_UP > REGISTRATIONS_MAX {
        return Err(Failure::wrong(format!(
            "the server takes {REGISTRATIONS_MAX} registrations in five minutes: ask for fewer rounds or registrations"
        )));
    }
    let lsp = Lsp::ours("registrar", folder, bitcoind, shim).await?;
    let http = lsp.http.ok_or_else(|| Failure::wrong("lsp-server has no public API"))?;
    let phones = Phones { lsp: lsp.node_id, http };
    let (mut at_once, mut one_by_one) = (Vec::new(), Vec::new());
    let mut next = 0;
    let mut run = async |lanes, count| {
        let first = next;
        next += count;
        register(&lsp, phones, lanes, first..first + count).await
    };
    run(LANES, WARM_UP).await?;
    for round in 1..=rounds {
        for (lanes, count, runs) in [(LANES, many, &mut at_once), (1, few, &mut one_by_one)] {
            let run = run(lanes, count).await?;
            eprintln!(
                "registrations: round {round}, {lanes} at once: {count} in {:.2} s, {} fsyncs",
                run.elapsed.as_secs_f64(),
                run.usage.durable.fsyncs
            );
            runs.push(run);
        }
    }
    lsp.stop().await?;
    let fsyncs_per_second = fsyncs_per_second(&one_by_one);
    let (at_once, one_by_one) = (Figures::of(&at_once), Figures::of(&one_by_one));
    Ok(Report {
        lanes: LANES,
        throughput_ratio: at_once.registrations_per_second / one_by_one.registrations_per_second,
        cpu_ratio: at_once.cpu_ms / one_by_one.cpu_ms,
        fsyncs_per_second,
        fsync_ratio: at_once.registrations_per_second / fsyncs_per_second,
        at_once,
        one_by_one,
    })
}

fn fsyncs_per_second(runs: &[Run]) -> f64 {
    let (fsyncs, nanos) = runs
        .iter()
        .map(|run| run.usage.durable)
        .fold((0, 0), |(fsyncs, nanos), durable| (fsyncs + durable.fsyncs, nanos + durable.nanos));
    fsyncs as f64 / Duration::from_nanos(nanos).as_secs_f64()
}

/// Whom the phones know.
#[derive(Clone, Copy)]
struct Phones {
    lsp: PublicKey,
    http: SocketAddr,
}

/// Phones get their challenges and sign; from then on, time counts.
async fn register(
    lsp: &Lsp,
    phones: Phones,
    lanes: usize,
    numbers: std::ops::Range<usize>,
) -> Result<Run, Failure> {
    let registrations = numbers.len();
    let mut ready = Vec::with_capacity(lanes);
    for lane in 0..lanes {
        let mut line = Line::open(phones.http).await?;
        let mut requests = Vec::new();
        for number in numbers.clone().skip(lane).step_by(lanes) {
            requests.push(signed(phones.lsp, &mut line, number).await?);
        }
        ready.push((line, requests));
    }
    let before = lsp.usage().await?;
    let started = Instant::now();
    let mut under_way = JoinSet::new();
    for (mut line, requests) in ready {
        under_way.spawn(async move {
            for request in requests {
                let body = line.exchange(&request, 201).await?;
                // Looked at as little as a yes or a no takes: the client shares the CPUs with the server.
                if !body.windows(DURABLE.len()).any(|window| window == DURABLE) {
                    return Err(Failure::wrong("a registration is not durable"));
                }
            }
            Ok(())
        });
    }
    while let Some(done) = under_way.join_next().await {
        done.map_err(|error| wrong(&error))??;
    }
    let elapsed = started.elapsed();
    Ok(Run { registrations, elapsed, usage: lsp.usage().await?.since(before) })
}

/// A registration that only needs to be sent.
async fn signed(lsp: PublicKey, line: &mut Line, number: usize) -> Result<Vec<u8>, Failure> {
    let mut secret = [0x42; 32];
    secret[..8].copy_from_slice(&number.to_be_bytes());
    let secret = SecretKey::from_slice(&secret).map_err(|error| wrong(&error))?;
    let node_id = secret.public_key(&Secp256k1::signing_only());
    let question = line.request("/v1/challenge", &ChallengeRequest { node_id })?;
    let answer: ChallengeResponse = line.post(&question, 200).await?;
    let target = DeviceTarget::new("unifiedpush", format!("https://push.example.com/up/{number:064x}"));
    let mut request = RegisterDeviceRequest::new(node_id, answer.challenge, target);
    request.signature = message_signing::sign(request.text(&lsp).as_bytes(), &secret);
    line.request("/v1/devices", &request)
}

/// A connection that is kept: the least that a client can cost the machine that the server shares with it.
struct Line {
    stream: TcpStream,
    host: SocketAddr,
    buffer: Vec<u8>,
}

fn failure(source: std::io::Error) -> Failure {
    Failure::Start { name: "a phone's connection".to_owned(), source }
}

impl Line {
    async fn open(host: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(host).await.map_err(failure)?;
        stream.set_nodelay(true).map_err(failure)?;
        Ok(Self { stream, host, buffer: Vec::new() })
    }

    fn request(&self, path: &str, body: &impl Serialize) -> Result<Vec<u8>, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| wrong(&error))?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        Ok([head.into_bytes(), body].concat())
    }

    async fn post<T: DeserializeOwned>(&mut self, request: &[u8], expected: u16) -> Result<T, Failure> {
        let body = self.exchange(request, expected).await?;
        serde_json::from_slice(body).map_err(|_| {
            Failure::wrong(format!("not the answer that was expected: {}", String::from_utf8_lossy(body)))
        })
    }

    /// The body of an answer with the status that is expected.
    async fn exchange(&mut self, request: &[u8], expected: u16) -> Result<&[u8], Failure> {
        self.stream.write_all(request).await.map_err(failure)?;
        self.buffer.clear();
        let end = loop {
            if self.stream.read_buf(&mut self.buffer).await.map_err(failure)? == 0
                || self.buffer.len() > RESPONSE_BYTES_MAX
            {
                return Err(Failure::wrong("the server's answer is cut off, or endless"));
            }
            if let Some((status, body)) = whole(&self.buffer) {
                if status != expected {
                    let text = String::from_utf8_lossy(body);
                    return Err(Failure::wrong(format!("the server answers {status}: {text}")));
                }
                break self.buffer.len() - body.len();
            }
        };
        Ok(&self.buffer[end..])
    }
}

/// Status and body, once all of an answer is here.
fn whole(answer: &[u8]) -> Option<(u16, &[u8])> {
    const END: &[u8] = b"\r\n\r\n";
    let head = answer.windows(END.len()).position(|window| window == END)?;
    let (lines, body) = (std::str::from_utf8(&answer[..head]).ok()?, &answer[head + END.len()..]);
    let status = lines.split(' ').nth(1)?.parse().ok()?;
    let length: usize = lines.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    (body.len() == length).then_some((status, body))
}

impl Report {
    /// For people.
    pub(crate) fn table(&self) -> String {
        let line = |name: &str, figures: &Figures| {
            format!(
                "{name:<22}  {:>15.0}  {:>7.3}  {:>6.3}  {:>6.3}\n",
                figures.registrations_per_second, figures.commits, figures.fsyncs, figures.cpu_ms
            )
        };
        format!(
            "signed device registrations, {} and {}\n\n{:<22}  registrations/s  commits  fsyncs  CPU ms\n{}{}\
             at once / one by one: throughput {:.2}, CPU {:.2}\n\
             fsyncs that can be done in a second, one after the other: {:.0}; at once / that: {:.2}\n",
            self.at_once.registrations,
            self.one_by_one.registrations,
            "",
            line(&format!("{} at once", self.lanes), &self.at_once),
            line("one by one", &self.one_by_one),
            self.throughput_ratio,
            self.cpu_ratio,
            self.fsyncs_per_second,
            self.fsync_ratio,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\nx: y\r\n\r\nbody";
        assert_eq!(whole(answer), Some((201, &b"body"[..])));
        for end in 0..answer.len() {
            assert_eq!(whole(&answer[..end]), None, "{end}");
        }
    }
}

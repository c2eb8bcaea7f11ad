//! The package `bitcoin-knots` of Debian sid, unpacked into a cache folder with every library it needs.
//!
//! The system is left as it is: apt runs on a state of its own (lists, cache, an empty status file) and without the
//! system's hooks, nothing is installed, no root is needed. Sid's programs need a newer C library than a stable
//! Debian has, so the packages' own loader starts them with the packages' own libraries.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use super::{ProbeError, probe};

const PACKAGE: &str = "bitcoin-knots";
const SUITE: &str = "sid";
/// Names of finished downloads start with it; the package's version follows.
const FINISHED_PREFIX: &str = "bitcoind-";
/// Holds a download until it is known to run. Whoever has the lock may delete it: nobody else is using it.
const STAGING: &str = "download";
const KEYRINGS: [&str; 2] =
    ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];

/// Why no bitcoind was downloaded.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// Only Debian's packages are known here.
    #[error("it can be downloaded on Debian only")]
    NotDebian,
    /// Neither `XDG_CACHE_HOME` nor `HOME` is set.
    #[error("there is no folder to download it into: set HOME or XDG_CACHE_HOME")]
    NoCacheFolder,
    /// apt has no Debian mirror among its sources.
    #[error("apt's sources name no Debian mirror to download it from")]
    NoMirror,
    /// The keys that Debian signs its archive with are not there.
    #[error("Debian's keyring is not there: install the package debian-archive-keyring")]
    NoKeyring,
    /// A program that does part of the work failed.
    #[error("`{command}` failed: {output}")]
    Command {
        /// The program and its first argument.
        command: String,
        /// The end of what it wrote.
        output: String,
    },
    /// The packages are not laid out as expected.
    #[error("the packages of {PACKAGE} hold no {0}")]
    Layout(&'static str),
    /// What was downloaded does not run here.
    #[error("the downloaded bitcoind cannot be used")]
    Unusable(#[source] ProbeError),
    /// A file or folder of the cache could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// With which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DownloadError {
    move |source| DownloadError::Io { action, path: path.to_owned(), source }
}

/// The newest bitcoind of an earlier download, else a new download.
pub(super) fn cached_or_downloaded(progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DownloadError> {
    if !is_debian() {
        return Err(DownloadError::NotDebian);
    }
    let cache = cache_folder()?;
    if let Some(exe) = cached(&cache) {
        return Ok(exe);
    }
    fs::create_dir_all(&cache).map_err(io_error("create", &cache))?;
    let _lock = lock(&cache, progress)?;
    // Another process may have downloaded it while this one waited.
    match cached(&cache) {
        Some(exe) => Ok(exe),
        None => download(&cache, progress),
    }
}

fn is_debian() -> bool {
    fs::read_to_string("/etc/os-release").is_ok_and(|text| {
        text.lines().filter_map(|line| line.strip_prefix("ID=")).any(|id| id.trim_matches('"') == "debian")
    })
}

fn cache_folder() -> Result<PathBuf, DownloadError> {
    let absolute = |name: &str| env::var_os(name).map(PathBuf::from).filter(|folder| folder.is_absolute());
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .map(|folder| folder.join("lightning-rod"))
        .ok_or(DownloadError::NoCacheFolder)
}

fn cached(cache: &Path) -> Option<PathBuf> {
    let mut found: Vec<(SystemTime, PathBuf)> = fs::read_dir(cache)
        .ok()?
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(FINISHED_PREFIX))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path().join("bitcoind"))))
        .filter(|(_, exe)| exe.is_file())
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, exe)| exe).find(|exe| probe(exe).is_ok())
}

/// Held until the file is dropped, or its process ends.
fn lock(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<File, DownloadError> {
    let path = cache.join("lock");
    let file = File::create(&path).map_err(io_error("create", &path))?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(TryLockError::WouldBlock) => progress("waiting for another process that downloads bitcoind"),
        Err(TryLockError::Error(source)) => return Err(io_error("lock", &path)(source)),
    }
    file.lock().map_err(io_error("lock", &path))?;
    Ok(file)
}

fn download(cache: &Path, progress: &mut dyn FnMut(&str)) -> Result<PathBuf, DownloadError> {
    let staging = cache.join(STAGING);
    remove_folder(&staging)?;
    let result = download_into(cache, &staging, progress);
    match result {
        Ok(exe) => remove_folder(&staging).map(|()| exe),
        // The first error says more than a second one about cleaning up; the next download begins with cleaning up.
        Err(error) => {
            let _ = fs::remove_dir_all(&staging);
            Err(error)
        }
    }
}

fn download_into(
    cache: &Path,
    staging: &Path,
    progress: &mut dyn FnMut(&str),
) -> Result<PathBuf, DownloadError> {
    progress("no bitcoind here: downloading Debian's into the cache (about 45 MB, nothing gets installed)");
    let mirror = mirror()?;
    let apt = PrivateApt::create(&staging.join("apt"), &mirror)?;
    apt.get(&["update"])?;
    progress(&format!("downloading {PACKAGE} and the libraries it needs"));
    apt.get(&["install", "--yes", "--download-only", "--no-install-recommends", PACKAGE])?;

    let finished = staging.join("finished");
    let root = finished.join("root");
    fs::create_dir_all(&root).map_err(io_error("create", &root))?;
    let packages = apt.packages()?;
    progress(&format!("unpacking {} packages", packages.len()));
    for package in &packages {
        run(Command::new("dpkg-deb").arg("--extract").arg(package).arg(&root))?;
    }
    write_wrapper(&finished, "bitcoind")?;
    write_wrapper(&finished, "bitcoin-cli")?;
    probe(&finished.join("bitcoind")).map_err(DownloadError::Unusable)?;

    let target = cache.join(format!("{FINISHED_PREFIX}{}", version(&packages)?));
    // One that is there does not run, else it would have been used.
    remove_folder(&target)?;
    fs::rename(&finished, &target).map_err(io_error("create", &target))?;
    progress(&format!("bitcoind is in {}", target.display()));
    Ok(target.join("bitcoind"))
}

fn version(packages: &[PathBuf]) -> Result<String, DownloadError> {
    let is_ours = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&format!("{PACKAGE}_")))
    };
    let package = packages.iter().find(is_ours).ok_or(DownloadError::Layout(PACKAGE))?;
    let version = run(Command::new("dpkg-deb").arg("--field").arg(package).arg("Version"))?;
    // An epoch's colon would split a search path.
    Ok(version.trim().replace([':', '/'], "_"))
}

/// A script that starts a program of the package with the package's own loader and libraries. It finds them beside
/// itself, so that it runs before and after the folder gets its final name, and it is replaced by the program, so
/// that signals reach it.
fn write_wrapper(folder: &Path, program: &str) -> Result<(), DownloadError> {
    let root = folder.join("root");
    if !root.join("usr/bin").join(program).is_file() {
        return Err(DownloadError::Layout("program of that name"));
    }
    let libraries = library_folders(&root);
    let loader = libraries
        .iter()
        .map(|folder| root.join(folder))
        .flat_map(|folder| names_in(&folder).into_iter().map(move |name| folder.join(name)))
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ld-linux")))
        .ok_or(DownloadError::Layout("loader"))?;
    let loader = loader.strip_prefix(&root).unwrap_or(&loader).display();
    let libraries =
        libraries.iter().map(|folder| format!("$root/{}", folder.display())).collect::<Vec<_>>().join(":");
    let script = format!(
        "#!/bin/sh\nroot=$(dirname -- \"$(readlink -f -- \"$0\")\")/root\n\
         exec \"$root/{loader}\" --library-path \"{libraries}\" \"$root/usr/bin/{program}\" \"$@\"\n"
    );
    // Written by a process of its own: a script that any process holds open for writing cannot be executed, and
    // another thread of this one may be forking at this moment.
    let path = folder.join(program);
    run(Command::new("sh").args(["-c", "printf %s \"$2\" > \"$1\"", "sh"]).arg(&path).arg(script))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(io_error("change", &path))
}

/// The folders below `root`, and named from there, that the C library and its companions are in.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    for parent in ["usr/lib", "lib"] {
        for name in names_in(&root.join(parent)) {
            if name.to_string_lossy().contains("-linux-gnu") {
                folders.push(Path::new(parent).join(name));
            }
        }
    }
    folders
}

fn names_in(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names
}

fn remove_folder(path: &Path) -> Result<(), DownloadError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// The mirror of Debian's main archive that this system uses. A system that never fetched its lists, such as a fresh
/// container, knows no more than its sources' addresses, and says them only when asked for no more.
fn mirror() -> Result<String, DownloadError> {
    let targets = |how: &[&str]| {
        let format = "$(ORIGIN)|$(LABEL)|$(SITE)";
        run(Command::new("apt-get").arg("indextargets").args(how).args([
            "--format",
            format,
            "Created-By: Packages",
        ]))
    };
    if let Some(mirror) = mirror_by_origin(&targets(&[])?) {
        return Ok(mirror);
    }
    mirror_by_name(&targets(&["--no-release-info"])?).ok_or(DownloadError::NoMirror)
}

fn mirror_by_origin(targets: &str) -> Option<String> {
    sites(targets).find(|(origin, _)| *origin == "Debian|Debian").map(|(_, site)| site.to_owned())
}

fn mirror_by_name(targets: &str) -> Option<String> {
    let named_debian = |site: &str| site.trim_end_matches('/').ends_with("/debian");
    sites(targets).find(|(_, site)| named_debian(site)).map(|(_, site)| site.to_owned())
}

/// Origin and label, and site, of each line.
fn sites(targets: &str) -> impl Iterator<Item = (&str, &str)> {
    targets.lines().filter_map(|line| line.rsplit_once('|')).filter(|(_, site)| !site.is_empty())
}

/// An apt whose whole state is in one folder.
struct PrivateApt {
    folder: PathBuf,
}

impl PrivateApt {
    fn create(folder: &Path, mirror: &str) -> Result<Self, DownloadError> {
        let keyring =
            KEYRINGS.iter().find(|path| Path::new(path).is_file()).ok_or(DownloadError::NoKeyring)?;
        for sub in ["state/lists/partial", "cache/archives/partial", "log"] {
            let path = folder.join(sub);
            fs::create_dir_all(&path).map_err(io_error("create", &path))?;
        }
        let write = |name: &str, text: &str| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(io_error("write", &path))
        };
        write("state/status", "")?;
        write("sources.list", &format!("deb [signed-by={keyring}] {mirror} {SUITE} main\n"))?;
        let system = run(Command::new("apt-config").arg("dump"))?;
        write("apt.conf", &configuration(folder, &system))?;
        // A proxy's password may be in it.
        let path = folder.join("apt.conf");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(io_error("change", &path))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn get(&self, arguments: &[&str]) -> Result<String, DownloadError> {
        run(Command::new("apt-get").args(arguments).env("APT_CONFIG", self.folder.join("apt.conf")))
    }

    fn packages(&self) -> Result<Vec<PathBuf>, DownloadError> {
        let archives = self.folder.join("cache/archives");
        let packages: Vec<PathBuf> = names_in(&archives)
            .into_iter()
            .map(|name| archives.join(name))
            .filter(|path| path.extension() == Some(OsStr::new("deb")))
            .collect();
        if packages.is_empty() { Err(DownloadError::Layout("package")) } else { Ok(packages) }
    }
}

/// apt's configuration for a state in `folder`. Of the `system`'s own, only how to fetch is taken over (proxies, for
/// one): not its hooks, which would run on the system, nor its further index files.
fn configuration(folder: &Path, system: &str) -> String {
    let fetching = system
        .lines()
        .filter(|line| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets"))
        .fold(String::new(), |text, line| text + line + "\n");
    let folder = folder.display();
    format!(
        "{fetching}\
         #clear Acquire::Languages;\n\
         Acquire::Languages \"none\";\n\
         Acquire::Retries \"3\";\n\
         Dir::Etc::Main \"/dev/null\";\n\
         Dir::Etc::Parts \"/dev/null\";\n\
         Dir::Etc::SourceList \"{folder}/sources.list\";\n\
         Dir::Etc::SourceParts \"/dev/null\";\n\
         Dir::Etc::Preferences \"/dev/null\";\n\
         Dir::Etc::PreferencesParts \"/dev/null\";\n\
         Dir::State \"{folder}/state\";\n\
         Dir::State::Status \"{folder}/state/status\";\n\
         Dir::Cache \"{folder}/cache\";\n\
         Dir::Log \"{folder}/log\";\n\
         APT::Sandbox::User \"root\";\n\
         APT::Update::Error-Mode \"any\";\n"
    )
}

/// Runs a program to its end and returns what it wrote to standard output.
fn run(command: &mut Command) -> Result<String, DownloadError> {
    let words = [command.get_program()].into_iter().chain(command.get_args().take(1));
    let name = words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ");
    let failed = |output: String| DownloadError::Command { command: name.clone(), output };
    let output = command
        .env("LC_ALL", "C")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stderr = stderr.trim();
    Err(failed(if stderr.is_empty() { output.status.to_string() } else { last_lines(stderr, 6) }))
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_chosen_among_the_systems_sources() {
        let known = "|third|https://third.example/apt\nDebian|Debian-Security|http://m.example/debian-security\n\
                     Debian|Debian|http://m.example/archive\n";
        assert_eq!(mirror_by_origin(known).as_deref(), Some("http://m.example/archive"));
        let fresh = "$(ORIGIN)|$(LABEL)|http://m.example/debian-security\n$(ORIGIN)|$(LABEL)|http://m.example/debian\n";
        assert_eq!(mirror_by_origin(fresh), None);
        assert_eq!(mirror_by_name(fresh).as_deref(), Some("http://m.example/debian"));
        assert_eq!(mirror_by_name("||https://third.example/apt\n"), None);
        assert_eq!(mirror_by_name(""), None);
    }

    #[test]
    fn the_systems_hooks_are_left_behind_and_its_proxy_is_not() {
        let system = "APT::Update::Post-Invoke:: \"rm -f /var/cache/apt/archives/*.deb\";\n\
                      Acquire::http::Proxy \"http://proxy.example:3128\";\n\
                      Acquire::IndexTargets::deb::DEP-11::MetaKey \"x\";\n";
        let ours = configuration(Path::new("/cache/apt"), system);
        assert!(ours.contains("Acquire::http::Proxy \"http://proxy.example:3128\";\n"));
        assert!(!ours.contains("Post-Invoke") && !ours.contains("DEP-11"));
        assert!(ours.contains("Dir::State \"/cache/apt/state\";"));
    }
}

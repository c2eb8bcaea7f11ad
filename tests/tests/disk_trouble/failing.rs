//! Disks that fail for real: writes that the kernel refuses, and a file system that it has made read-only.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tests::failure::Failure;
use tests::folder::Folder;

/// Less than any file of a database in use.
const FILE_BYTES_MAX: u64 = 4_096;
const IMAGE_MIB: &str = "64";

/// From now on the process can write to no file beyond the first page, or again to all. Needs no right that a test lacks.
pub(crate) fn refuse_writes(process: i32, refuse: bool) -> Result<(), Failure> {
    let pid = Pid::from_raw(process).ok_or_else(|| Failure::wrong("no process"))?;
    let limit = Rlimit { current: refuse.then_some(FILE_BYTES_MAX), maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).map(drop).map_err(|error| Failure::wrong(error.to_string()))
}

/// An ext4 of its own, in a file.
pub(crate) struct Ext4 {
    image: Folder,
    mounted_at: Folder,
}

impl Ext4 {
    /// `None` without the right to mount one.
    pub(crate) fn new() -> Result<Option<Self>, Failure> {
        let this = Self { image: Folder::new()?, mounted_at: Folder::new()? };
        let image = this.image.path().join("ext4");
        let made = run("truncate", &["--size", &format!("{IMAGE_MIB}M")], &image)
            && run("mkfs.ext4", &["-q", "-F"], &image)
            && this.mount();
        if !made {
            eprintln!("SKIPPED: the file system that goes read-only. Only root can mount one");
        }
        Ok(made.then_some(this))
    }

    pub(crate) fn path(&self) -> &Path {
        self.mounted_at.path()
    }

    /// As after an error of the disk: what is open stays open, and takes no writes.
    pub(crate) fn fail(&self) -> Result<(), Failure> {
        done("remount", run("mount", &["-o", "remount,abort"], self.path()))
    }

    /// As an operator does, once nobody has a file open there.
    pub(crate) fn repair(&self) -> Result<(), Failure> {
        done("umount", run("umount", &[], self.path()))?;
        // 1: errors were corrected.
        let checked = Command::new("e2fsck").arg("-fy").arg(self.image.path().join("ext4")).output();
        done("e2fsck", checked.is_ok_and(|output| matches!(output.status.code(), Some(0 | 1))))?;
        done("mount", self.mount())
    }

    fn mount(&self) -> bool {
        let mount = Command::new("mount")
            .args(["-t", "ext4", "-o", "loop"])
            .arg(self.image.path().join("ext4"))
            .arg(self.mounted_at.path())
            .output();
        mount.is_ok_and(|output| output.status.success())
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        run("umount", &["--lazy"], self.path());
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) -> bool {
    Command::new(program).args(arguments).arg(path).output().is_ok_and(|output| output.status.success())
}

fn done(what: &str, done: bool) -> Result<(), Failure> {
    if done { Ok(()) } else { Err(Failure::wrong(format!("{what} failed"))) }
}

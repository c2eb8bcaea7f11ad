//! A small disk: a file system of its own, where the machine lets the test mount one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::failure::Failure;
use tests::folder::Folder;

/// Room for a node's database, and little more.
const SIZE: &str = "size=48m";
const FILL_BYTES_MAX: usize = 8 << 20;

pub(crate) struct SmallDisk {
    /// Unmounted before the folder goes.
    mounted: bool,
    folder: Folder,
}

impl SmallDisk {
    /// A file system in memory; without the right to mount one, a folder, which cannot be filled.
    pub(crate) fn new() -> Result<Self, Failure> {
        let folder = Folder::new()?;
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", SIZE, "tmpfs"]).arg(folder.path()).output();
        let mounted = mount.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("SKIPPED: the full disk. Only root can mount a small file system");
        }
        Ok(Self { mounted, folder })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn can_be_filled(&self) -> bool {
        self.mounted
    }

    /// Takes all the space that is left.
    pub(crate) fn fill(&self) {
        let mut bytes = FILL_BYTES_MAX;
        let mut count = 0;
        while bytes > 0 {
            let path = self.filler(count);
            count += 1;
            if fs::write(&path, vec![0; bytes]).is_err() {
                let _ = fs::remove_file(path);
                bytes /= 2;
            }
        }
    }

    pub(crate) fn empty(&self) -> Result<(), Failure> {
        let failure = |source| Failure::File { path: self.path().to_owned(), source };
        for entry in fs::read_dir(self.path()).map_err(failure)? {
            let path = entry.map_err(failure)?.path();
            if path.extension().is_some_and(|extension| extension == "filler") {
                fs::remove_file(path).map_err(failure)?;
            }
        }
        Ok(())
    }

    fn filler(&self, count: u32) -> PathBuf {
        self.path().join(format!("{count}.filler"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        }
    }
}

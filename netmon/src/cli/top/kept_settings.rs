//! The settings of the screen, kept in a file of the user's from one run to the next.
//!
//! The file is `netmon/top.json` in the state directory of the XDG base directories, by default
//! `~/.local/state`. sudo may leave HOME and XDG_STATE_HOME as another user's. Then the home of
//! this user's account is taken: no file of root's comes into the home of another user. Nothing
//! about the file is fatal.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User, geteuid};
use xdg::BaseDirectories;

use crate::{kernel::host::privilege::narrowed, view::tui::ScreenSettings};

/// The directory in the state directory, and the file in it.
const PREFIX: &str = "netmon";
const FILE: &str = "top.json";
/// The greatest size of the file that is read. netmon writes less than 1 KiB.
const LARGEST: u64 = 16 << 10;
/// The bit of a mode that lets everyone write, as to /tmp.
const OTHERS_WRITE: u32 = 0o002;

/// The settings as they are in the file.
pub(super) struct KeptSettings {
    pub(super) settings: ScreenSettings,
    /// The directory of the file; none if nothing is kept.
    directory: Option<PathBuf>,
}

impl KeptSettings {
    /// Returns the settings at the first start, and keeps no others.
    pub(super) fn none() -> Self {
        Self { settings: ScreenSettings::default(), directory: None }
    }

    /// Reads the settings, with no more rights than the user has.
    pub(super) fn read() -> Self {
        let kept = narrowed(&[], || {
            let directory = directory()?;
            let text = read(&directory.join(FILE));
            if let Err(error) = &text {
                log::debug!("{}: {error}", directory.join(FILE).display());
            }
            let settings = ScreenSettings::from_json(&text.unwrap_or_default());
            Some(Self { settings, directory: Some(directory) })
        });
        kept.ok().flatten().unwrap_or_else(Self::none)
    }

    /// Writes the settings if they are others than those that were read.
    pub(super) fn write(self, settings: &ScreenSettings) {
        let Some(directory) = self.directory.filter(|_| self.settings != *settings) else { return };
        let written = narrowed(&[], || write(&directory, &settings.to_json()));
        if let Ok(Err(error)) | Err(error) = written {
            log::debug!("{}: {error}", directory.join(FILE).display());
        }
    }
}

/// Returns the directory of the file: that of the environment, or that of the account.
fn directory() -> Option<PathBuf> {
    let of_environment = BaseDirectories::with_prefix(PREFIX).get_state_home();
    let own = User::from_uid(geteuid()).ok().flatten();
    let of_account = own.map(|user| user.dir.join(".local/state").join(PREFIX));
    [of_environment, of_account].into_iter().flatten().find(|path| is_own(path, geteuid()))
}

/// Returns whether a directory is the user's and no other user can write to it. A directory that is
/// not there is as the directory in which it would be made.
fn is_own(path: &Path, user: Uid) -> bool {
    let found = path.ancestors().find_map(|path| fs::metadata(path).ok());
    found.is_some_and(|found| {
        found.is_dir() && found.uid() == user.as_raw() && found.mode() & OTHERS_WRITE == 0
    })
}

fn read(path: &Path) -> io::Result<String> {
    // Nothing may keep netmon waiting, such as a FIFO in the place of the file.
    let flags = (nix::fcntl::OFlag::O_NONBLOCK | nix::fcntl::OFlag::O_NOFOLLOW).bits();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("no file"));
    }
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes the file in one step, so that two instances leave the settings of one.
fn write(directory: &Path, text: &str) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let new = directory.join(format!("{FILE}.{}", std::process::id()));
    let written = fs::write(&new, text).and_then(|()| fs::rename(&new, directory.join(FILE)));
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    struct Directory(PathBuf);

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn make(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("netmon-kept-{name}-{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&path).expect("a directory");
        Directory(path)
    }

    #[test]
    fn settings_are_kept() {
        let home = make("kept");
        let directory = home.0.join("state").join(PREFIX);
        assert!(read(&directory.join(FILE)).is_err());
        write(&directory, "one").expect("written");
        write(&directory, "two").expect("written");
        assert_eq!(read(&directory.join(FILE)).expect("read"), "two");
        assert_eq!(fs::read_dir(&directory).expect("a directory").count(), 1);
    }

    /// Root does not write into the home of another user, and no user where others can write.
    #[test]
    fn another_users_directory_is_left_alone() {
        let home = make("other");
        let path = home.0.join("not/there");
        assert!(is_own(&path, geteuid()));
        assert!(!is_own(&path, Uid::from_raw(geteuid().as_raw() + 1)));
        fs::set_permissions(&home.0, fs::Permissions::from_mode(0o777)).expect("a mode");
        assert!(!is_own(&path, geteuid()));
    }

    #[test]
    fn no_file_keeps_netmon_waiting_or_fills_its_memory() {
        let home = make("odd");
        let path = home.0.join(FILE);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        assert!(read(&path).is_err());
        fs::remove_file(&path).expect("removed");
        fs::write(&path, " ".repeat(1 << 20)).expect("written");
        assert_eq!(u64::try_from(read(&path).expect("read").len()), Ok(LARGEST));
        fs::remove_file(&path).expect("removed");
        std::os::unix::fs::symlink("/dev/zero", &path).expect("a link");
        assert!(read(&path).is_err());
    }
}

//! Debian's packages: which file shows that one is there, and installing what is missing.

use std::process::Command;
use std::time::Duration;

use crate::error::XtaskError;
use crate::process;

/// The time limit of looking for a program or the user's id.
const ASK_LIMIT: Duration = Duration::from_secs(30);
/// The time limit of refreshing the lists and installing a few hundred megabytes over a slow line.
const INSTALL_LIMIT: Duration = Duration::from_secs(1_800);

/// Debian's compiler with the source of its library.
pub(crate) const COMPILER: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
/// Debian's linker for bare cores, where rustup installed none.
pub(crate) const LINKER: &str = "lld";

/// A program that firmware work needs, and where it comes from.
pub(crate) struct Program {
    /// The executable.
    pub(crate) name: &'static str,
    /// What it is used for.
    pub(crate) purpose: &'static str,
    /// Debian's packages.
    pub(crate) packages: &'static [&'static str],
    /// The work that needs it.
    pub(crate) need: Need,
}

/// A kind of work that needs programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Building firmware, which takes a compiler with the boards' targets.
    Targets,
    /// Running firmware.
    Emulators,
    /// Building the examples in C; `setup` alone installs it only if it is told to.
    CCompiler,
}

/// The programs, apart from compilers.
pub(crate) const PROGRAMS: [Program; 3] = [
    Program {
        name: "qemu-system-arm",
        purpose: "runs firmware for Arm cores",
        packages: &["qemu-system-arm"],
        need: Need::Emulators,
    },
    Program {
        name: "qemu-system-riscv32",
        purpose: "runs firmware for RISC-V cores",
        packages: &["qemu-system-misc"],
        need: Need::Emulators,
    },
    Program {
        name: "arm-none-eabi-gcc",
        purpose: "builds the C example",
        packages: &["gcc-arm-none-eabi", "libnewlib-arm-none-eabi"],
        need: Need::CCompiler,
    },
];

impl Program {
    pub(crate) fn is_installed(&self) -> bool {
        process::find_program(self.name).is_some()
    }
}

/// Installs `packages` with apt, as root or by a sudo that asks nothing.
///
/// They go in one transaction and without recommendations: QEMU's recommended tools may exist in
/// an incompatible version from another release, and apt would then refuse all of it. apt's own lines
/// are shown on standard error: it fetches and unpacks for minutes.
///
/// # Errors
/// When there is no apt, no right to install, or apt fails.
pub(crate) fn install(packages: &[&str], say: &mut dyn FnMut(&str)) -> Result<(), XtaskError> {
    let names = packages.join(" ");
    if process::find_program("apt-get").is_none() {
        return Err(XtaskError::Missing {
            what: format!("{names} (no apt-get here: install the equivalent by hand)"),
        });
    }
    let prefix = privilege().ok_or(XtaskError::NeedsRoot { packages: names.clone() })?;
    say("apt-get update");
    // Lists that cannot be refreshed may still know the packages: the installation decides.
    let updated = process::watch(apt(prefix).arg("update").arg("-q"), INSTALL_LIMIT);
    if let Err(error) = updated {
        say(&format!("going on with the lists as they are: {error}"));
    }
    say(&format!("apt-get install --no-install-recommends {names}"));
    let mut command = apt(prefix);
    command.args(["install", "-y", "-q", "--no-install-recommends"]).args(packages);
    process::watch(&mut command, INSTALL_LIMIT)
}

/// What comes before `apt-get`: nothing for root, `sudo -n` where that works, else no way.
fn privilege() -> Option<&'static [&'static str]> {
    let id = process::read(Command::new("id").arg("-u"), ASK_LIMIT).ok()?;
    if id.trim() == "0" {
        return Some(&[]);
    }
    let sudo = process::read(Command::new("sudo").args(["-n", "true"]), ASK_LIMIT);
    sudo.is_ok().then_some(&["sudo", "-n"])
}

fn apt(prefix: &[&str]) -> Command {
    let mut words = prefix.iter().copied().chain(["env", "DEBIAN_FRONTEND=noninteractive"]);
    let mut command = Command::new(words.next().unwrap_or("env"));
    command.args(words).arg("apt-get");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_is_called_directly_by_root_and_through_sudo_otherwise() {
        let line = process::show(&apt(&[]));
        assert_eq!(line, "env DEBIAN_FRONTEND=noninteractive apt-get");
        let line = process::show(&apt(&["sudo", "-n"]));
        assert_eq!(line, "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get");
    }
}

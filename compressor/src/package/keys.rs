//! Keys in files: two lines of text, of which the first says which half it is.
//!
//! A secret key is never printed, and no message has any of it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bitsback_slots::package::PublicKey;
use bitsback_slots::package::writer::SecretKey;
use rand::TryRngCore;
use rand::rngs::OsRng;

use super::error::UpdateError;
use crate::files::{self, Access};

/// First line of a secret key's file.
const SECRET: &str = "bitsback secret key 1";
/// First line of a public key's file; `PublicKey::from_file` reads it on devices, too.
const PUBLIC: &str = "bitsback public key 1";
/// Most bytes of a file of a key: two lines, and more than anybody adds to them.
const MAX_KEY_BYTES: u64 = 4096;

/// A new key, of the system's random bytes.
pub(crate) fn generate() -> Result<SecretKey, UpdateError> {
    let mut seed = [0; 32];
    let filled = OsRng.try_fill_bytes(&mut seed);
    filled.map_err(|error| UpdateError::Random(error.to_string()))?;
    Ok(SecretKey::new(&seed))
}

/// Reads a file that [`write`] wrote.
pub(crate) fn read(path: &Path) -> Result<SecretKey, UpdateError> {
    digits(path, SECRET).map(|seed| SecretKey::new(&seed))
}

/// Writes the secret half to `path`, for its owner alone, and the other to [`public_path`]. Files that are there
/// stay, and then neither is written.
pub(crate) fn write(key: &SecretKey, path: &Path) -> Result<(), UpdateError> {
    let secret = text(SECRET, key.bytes());
    files::write_new(path, secret.as_bytes(), Access::Owner)?;
    let public = text(PUBLIC, key.public().bytes());
    let written = files::write_new(&public_path(path), public.as_bytes(), Access::Everybody);
    if written.is_err() {
        // It was made just now, and half a pair is in the way of the next attempt.
        let _ = std::fs::remove_file(path);
    }
    Ok(written?)
}

/// Where the public half of the key in `path` is.
pub(crate) fn public_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    name.into()
}

/// Reads a public key, and checks that it is one that signatures can be trusted with.
pub(crate) fn read_public(path: &Path) -> Result<PublicKey, UpdateError> {
    let key = PublicKey::new(digits(path, PUBLIC)?);
    match key.is_sound() {
        true => Ok(key),
        false => Err(UpdateError::DamagedKey { path: path.to_owned(), what: half(PUBLIC) }),
    }
}

/// The word for the half that a first line is of.
fn half(head: &str) -> &'static str {
    if head == SECRET { "secret" } else { "public" }
}

fn text(head: &str, bytes: &[u8; 32]) -> String {
    let mut text = format!("{head}\n");
    for byte in bytes {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('\n');
    text
}

/// The bytes of a key in a file that begins with `head`.
fn digits(path: &Path, head: &str) -> Result<[u8; 32], UpdateError> {
    let path = path.to_owned();
    let bytes = match files::read(&path, MAX_KEY_BYTES) {
        Err(files::FileError::TooLarge { .. }) => return Err(UpdateError::NoKey { path }),
        read => read?,
    };
    let Ok(text) = String::from_utf8(bytes) else { return Err(UpdateError::NoKey { path }) };
    let mut lines = text.trim_end().lines();
    let (wanted, found) = (head, lines.next().unwrap_or_default().trim_end());
    if found != wanted {
        let is_other = found == SECRET || found == PUBLIC;
        let (found, wanted) = (half(found), half(wanted));
        return Err(match is_other {
            true => UpdateError::WrongHalf { path, found, wanted },
            false => UpdateError::NoKey { path },
        });
    }
    let value = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
    let line = lines.next().unwrap_or_default().as_bytes();
    let pairs = line.as_chunks::<2>();
    let byte = |&[high, low]: &[u8; 2]| Some(value(high)? << 4 | value(low)?);
    let bytes: Option<Vec<u8>> = pairs.0.iter().map(byte).collect();
    let bytes = bytes.filter(|_| pairs.1.is_empty() && lines.next().is_none());
    let key = bytes.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    key.ok_or_else(|| UpdateError::DamagedKey { path, what: half(head) })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn keys_come_back_from_their_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fleet.key");
        let key = generate().unwrap();
        write(&key, &path).unwrap();
        assert_eq!(read(&path).unwrap().bytes(), key.bytes());
        assert_eq!(read_public(&public_path(&path)).unwrap(), key.public());
        let text = fs::read_to_string(folder.path().join("fleet.key.pub")).unwrap();
        assert_eq!(PublicKey::from_file(&text), Some(key.public()));
        assert!(generate().unwrap() != key, "two keys are the same");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn keys_are_never_replaced_and_never_halved() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let key = SecretKey::new(&[1; 32]);
        write(&key, &path).unwrap();
        let error = write(&SecretKey::new(&[2; 32]), &path).unwrap_err();
        assert!(matches!(error, UpdateError::File(files::FileError::Exists { .. })), "{error}");
        assert_eq!(read(&path).unwrap().bytes(), key.bytes());
        fs::remove_file(&path).unwrap();
        assert!(write(&SecretKey::new(&[2; 32]), &path).is_err(), "k.pub is there");
        assert!(!path.exists());
        assert_eq!(read_public(&public_path(&path)).unwrap(), key.public());
    }

    #[test]
    fn what_is_no_key_is_told_by_its_kind_and_without_its_digits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let digits = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let secret = format!("{SECRET}\n{digits}\n");
        let errors = |text: &[u8]| {
            fs::write(&path, text).unwrap();
            let messages = [read(&path).err(), read_public(&path).err()];
            messages.map(|error| error.map(|error| error.to_string()).unwrap_or_default())
        };
        let [as_secret, as_public] = errors(secret.as_bytes());
        assert!(as_secret.is_empty() && as_public.contains("is a secret key"), "{as_public}");
        let [as_secret, as_public] = errors(text(PUBLIC, &[2; 32]).as_bytes());
        assert!(as_secret.contains("is a public key"), "{as_secret}");
        assert!(as_public.contains("damaged"), "no point of the curve: {as_public}");
        // The neutral element, with which some signatures fit any message.
        let mut weak = [0; 32];
        weak[0] = 1;
        assert!(errors(text(PUBLIC, &weak).as_bytes())[1].contains("damaged"));
        for changed in [
            secret.replace("9d61", "9d6"),
            secret.replace("9d61", "9d61a"),
            secret.replace("9d61", "9d61ab"),
            secret.replace("9d61", "zd61"),
            secret.replace("9d61", "äd6"),
            format!("{SECRET}\n"),
            format!("{secret}{digits}\n"),
        ] {
            let [message, _] = errors(changed.as_bytes());
            assert!(message.contains("the secret key on line 2 is damaged"), "{message}");
            assert!(!message.contains("b19deffd"), "{message}");
        }
        let long = [b'x'; 5000];
        for other in [&b""[..], b"BBKP", b"\xFF\xFE", b"bitsback secret key 2\n00", &long] {
            for message in errors(other) {
                assert!(message.contains("holds no key"), "{message}");
            }
        }
        assert_eq!(errors(secret.replace('\n', "\r\n").as_bytes())[0], "");
        fs::remove_file(&path).unwrap();
        assert!(matches!(read(&path), Err(UpdateError::File(_))));
    }
}

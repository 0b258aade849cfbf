//! `bitsback keygen`, `package` and `verify` as their users call them.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with `old.bbk`, `new.bbk`, and the golden packages' keys `test.key` and `test.key.pub`.
struct Scene(TempDir);

/// Anybody knows this key: it signs what is golden, and nothing else.
const SECRET: &str = "bitsback secret key 1\n\
    0707070707070707070707070707070707070707070707070707070707070707\n";

fn kept(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests").join(name)
}

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        for (name, model) in [("old", "digits"), ("new", "unsure")] {
            let model = kept("golden").join(model).join("model.bbk");
            fs::copy(model, scene.path(&format!("{name}.bbk"))).unwrap();
        }
        fs::write(scene.path("test.key"), SECRET).unwrap();
        fs::copy(kept("fixtures/packages/test.key.pub"), scene.path("test.key.pub")).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn run(&self, line: &str) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
        command.current_dir(self.0.path()).args(line.split(' ')).output().unwrap()
    }

    /// The result of a command that must succeed.
    fn json(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --json"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// The exit code and the message of a command that must fail.
    fn failure(&self, line: &str) -> (i32, String) {
        let output = self.run(&format!("{line} --json"));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(!text.contains("0707070707"), "{text}");
        let error: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        let message = error["error"]["message"].as_str().unwrap().to_owned();
        (output.status.code().unwrap(), message)
    }

    fn fails(&self, line: &str, code: i32, word: &str) {
        let (found, message) = self.failure(line);
        assert!(found == code && message.contains(word), "{line}: {found}, {message}");
    }
}

#[test]
fn golden_packages_are_made_to_the_byte() {
    let scene = Scene::new();
    let make = "package new.bbk --key test.key --version 7 -o";
    scene.json(&format!("{make} full.bbkp"));
    let made = scene.json(&format!("{make} delta.bbkp --base old.bbk"));
    assert_eq!(made["kind"], "delta");
    let sizes =
        ["package_bytes", "full_bytes", "delta_bytes"].map(|key| made[key].as_u64().unwrap());
    assert!(sizes[0] == sizes[2] && sizes[2] < sizes[1], "{made}");
    for name in ["full.bbkp", "delta.bbkp"] {
        let golden = fs::read(kept("fixtures/packages").join(name)).unwrap();
        assert!(fs::read(scene.path(name)).unwrap() == golden, "{name} has other bytes");
    }
}

#[test]
fn a_package_goes_the_whole_way_with_keys_of_its_own() {
    let scene = Scene::new();
    let keys = scene.json("keygen -o fleet.key");
    assert_eq!((&keys["secret"], &keys["public"]), (&"fleet.key".into(), &"fleet.key.pub".into()));
    scene.fails("keygen -o fleet.key", 2, "is there already");
    fs::remove_file(scene.path("fleet.key.pub")).unwrap();
    scene.fails("keygen -o fleet.key", 2, "fleet.key: is there already");
    fs::write(scene.path("fleet.key"), SECRET).unwrap();
    fs::copy(scene.path("test.key.pub"), scene.path("fleet.key.pub")).unwrap();
    let made = scene.json(
        "package new.bbk --key fleet.key --version 3 --base old.bbk --target cortex-m4 --ram 8K -o u.bbkp",
    );
    let device = "--target cortex-m7 --ram 8K --flash 64K --installed 2";
    let found = scene
        .json(&format!("verify u.bbkp --key fleet.key.pub --base old.bbk {device} -o got.bbk"));
    assert_eq!(fs::read(scene.path("got.bbk")).unwrap(), fs::read(scene.path("new.bbk")).unwrap());
    for key in ["kind", "key", "version", "package_bytes", "model_sha256", "base_sha256"] {
        assert_eq!(made[key], found[key], "{key}");
    }
    assert_eq!((&found["ram_bytes"], &found["kernels"]), (&8192.into(), &"dsp".into()));
    let text = scene.run("verify u.bbkp --key fleet.key.pub --base old.bbk").stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(
        text.contains("delta package of") && text.contains("version 3, signed with key"),
        "{text}"
    );
}

#[test]
fn what_a_device_refuses_is_named() {
    let scene = Scene::new();
    scene.json(
        "package new.bbk --key test.key --version 3 --base old.bbk --target cortex-m4 -o u.bbkp",
    );
    let verify = "verify u.bbkp --key test.key.pub";
    scene.fails(verify, 2, "needs the model that it was made from");
    scene.fails(&format!("{verify} --base new.bbk"), 4, "made from another model");
    scene.fails(&format!("{verify} --installed 3"), 5, "version 3 isn't newer than 3");
    scene.fails(&format!("{verify} --target cortex-m0"), 5, "laid out for dsp, not for thumb1");
    scene.fails(&format!("{verify} --ram 8"), 5, "bytes of RAM");
    scene.fails(&format!("{verify} --flash 1K"), 5, "bytes of flash");
    scene.json("keygen -o other.key");
    scene.fails("verify u.bbkp --key other.key.pub", 4, "signed with another key");
    let good = fs::read(scene.path("u.bbkp")).unwrap();
    let with = |bytes: &[u8], word| {
        fs::write(scene.path("bad.bbkp"), bytes).unwrap();
        scene.fails("verify bad.bbkp --key test.key.pub --base old.bbk -o got.bbk", 4, word);
        assert!(!scene.path("got.bbk").exists());
    };
    with(&good[..good.len() - 1], "truncated");
    with(&good[..50], "truncated");
    with(&[&good[..], b"\n"].concat(), "1 bytes follow the package's end");
    with(b"text", "truncated");
    with(&[0; 300], "no update package");
    let mut changed = good.clone();
    changed[18] ^= 1;
    with(&changed, "the signature doesn't fit");
    scene.json("package old.bbk --key test.key --version 4 -o old.bbkp");
    let old = fs::read(scene.path("old.bbkp")).unwrap();
    let mut swapped = old;
    *swapped.last_mut().unwrap() ^= 1;
    with(&swapped, "the model isn't the one that was signed");
}

#[test]
fn mistakes_are_told_and_nothing_is_replaced() {
    let scene = Scene::new();
    let make = "package new.bbk --version 1 -o u.bbkp --key";
    scene.fails(&format!("{make} test.key.pub"), 2, "is a public key, and a secret one is needed");
    scene.fails(&format!("{make} new.bbk"), 2, "holds no key");
    scene.fails(&format!("{make} none.key"), 74, "none.key");
    scene.fails(&format!("{make} test.key --ram 1"), 2, "--ram 1 is less than");
    scene.fails(&format!("{make} test.key --base test.key"), 4, "test.key is not a usable model");
    scene.fails("package test.key --version 1 -o u.bbkp --key test.key", 4, "not a usable model");
    assert!(!scene.path("u.bbkp").exists());
    scene.fails("package new.bbk --version 1 -o test.key --key test.key", 2, "is an input");
    assert_eq!(fs::read_to_string(scene.path("test.key")).unwrap(), SECRET);
    scene.json(&format!("{make} test.key"));
    scene.fails("verify u.bbkp --key test.key", 2, "is a secret key, and a public one is needed");
    scene.fails("verify u.bbkp --key test.key.pub -o u.bbkp", 2, "is an input");
}

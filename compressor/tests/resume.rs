//! A job that is killed, again and again, ends with the very bytes of one that is not.
#![allow(clippy::unwrap_used, reason = "a failing test should stop where it fails")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How often the job is killed.
const KILLS: u32 = 10;

fn demo(out: &Path, resume: bool) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsback"));
    command.args(["demo", "--no-mcu", "--quiet", "--out"]).arg(out);
    if resume {
        command.arg("--resume");
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn a_killed_demo_resumes_to_the_identical_model() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, killed) = (folder.path().join("whole"), folder.path().join("killed"));
    assert!(demo(&whole, false).wait().unwrap().success());

    // A linear congruential sequence: other moments every time would make a failure a rumour.
    let mut moment: u64 = 0x1234_5678;
    for kill in 0..KILLS {
        let mut child = demo(&killed, true);
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        std::thread::sleep(Duration::from_millis(400 + (moment >> 33) % 900));
        // A fast machine may be done: then there is nothing left to kill, and the last run below
        // still has to agree.
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert!(kill > 0 || !status.success(), "the demo ended before it could be killed");
    }
    assert!(demo(&killed, true).wait().unwrap().success());
    for file in ["model.bbk", "golden/inputs.i8", "golden/outputs.i8", "ledger.csv"] {
        let bytes = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert_eq!(bytes(&whole), bytes(&killed), "{file} differs");
    }
}

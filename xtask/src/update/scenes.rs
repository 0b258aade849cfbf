//! What happens to a device in the field, one thing after the other.

use std::path::Path;
use std::time::Duration;

use bitsback_slots::package::writer::{Built, SecretKey};

use super::host::{Host, Way};
use super::package::{in_other_light, pack, read_key, spoiled, with_margin};
use crate::error::XtaskError;
use crate::files;

/// A secret key that no device knows: that of RFC 8032's second test.
const STRANGER: [u8; 32] = [
    0x4C, 0xCD, 0x08, 0x9B, 0x28, 0xFF, 0x96, 0xDA, 0x9D, 0xB6, 0xC3, 0x46, 0xEC, 0x11, 0x4E, 0x0F,
    0x5B, 0x8A, 0x31, 0x9F, 0x35, 0xAB, 0xA6, 0x24, 0xDA, 0x8C, 0xF6, 0xED, 0x4F, 0xB8, 0xA6, 0xFB,
];
/// Where a header has its version.
const VERSION_AT: usize = 16;
/// Where transfers are cut: behind a whole page of the slot, and in the next.
const CUT_AT: usize = 1000;

/// Models and keys.
struct Props {
    key: SecretKey,
    model: Vec<u8>,
    /// The same with a sentinel.
    watched: Vec<u8>,
    /// Inputs in daylight, with the classes that the model gives them.
    inputs: Vec<(Vec<u8>, u8)>,
}

/// How often the inputs are shown: as many as a trial takes.
const TURNS: usize = 2;

impl Props {
    /// The model of a version: the digits' with a margin of its own.
    fn model(&self, version: u32) -> Vec<u8> {
        with_margin(&self.model, version as u8)
    }

    fn package(&self, version: u32) -> Result<Built, XtaskError> {
        pack(&self.model(version), version, None, 0, &self.key)
    }
}

/// All scenes.
pub(super) fn play(host: &mut Host, root: &Path, folder: &Path) -> Result<(), XtaskError> {
    let key = read_key(&folder.join("example.key"))?;
    let watched = root.join(super::WATCHED);
    let props = Props {
        key,
        model: files::read(&root.join(super::MODEL))?,
        watched: files::read(&watched.join("model.bbk"))?,
        inputs: inputs(&watched)?,
    };
    good_updates(host, &props)?;
    refused(host, &props)?;
    interrupted(host, &props)?;
    cut_anywhere(host, &props)?;
    gone_back_from(host, &props)?;
    watched_by_sentinels(host, &props)
}

/// The golden inputs as pixels, with the classes that belong to them.
fn inputs(folder: &Path) -> Result<Vec<(Vec<u8>, u8)>, XtaskError> {
    let (inputs, outputs) =
        (files::read(&folder.join("inputs.i8"))?, files::read(&folder.join("outputs.i8"))?);
    let pixels = inputs.chunks_exact(64).map(|input| input.iter().map(|&q| q ^ 0x80).collect());
    let class = |row: &[u8]| {
        let scores: Vec<i8> = row.iter().map(|&q| q as i8).collect();
        bitsback_runtime::lead(&scores).0 as u8
    };
    Ok(pixels.zip(outputs.chunks_exact(10).map(class)).collect())
}

fn darker(inputs: &[(Vec<u8>, u8)]) -> Vec<(Vec<u8>, u8)> {
    let dark = |pixels: &Vec<u8>| pixels.iter().map(|&pixel| pixel / 3).collect();
    inputs.iter().map(|(pixels, class)| (dark(pixels), *class)).collect()
}

/// Sends what is missing of a package, and activates it; false if any of it is refused.
fn update(host: &mut Host, package: &Built, way: Way, starts: u8) -> Result<bool, XtaskError> {
    let Some(next) = host.begin(package)? else { return Ok(false) };
    let end = package.payload().len();
    host.send(package, next..end, way)?;
    host.activate(starts)
}

fn must(host: &Host, holds: bool, what: &str) -> Result<(), XtaskError> {
    if holds { Ok(()) } else { Err(host.problem(what)) }
}

fn good_updates(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    host.title("the first model, to a device that has none");
    host.power_on(false)?;
    host.hello(0)?;
    let is_taken = update(host, &props.package(1)?, Way::Whole, 1)?;
    must(host, is_taken, "the first model must be taken")?;
    host.hello(1)?;

    host.title("another one; a frame is damaged on the line");
    let is_taken = update(host, &props.package(2)?, Way::Damaged, 3)?;
    must(host, is_taken, "a good model must be taken")?;
    host.hello(2)?;

    host.title("a delta against the model that runs; an answer is lost");
    let delta = pack(&props.model(3), 3, Some(&props.model(2)), 0, &props.key)?;
    let is_taken = update(host, &delta, Way::Unanswered, 3)?;
    must(host, is_taken, "a good delta must be taken")?;
    host.hello(3)
}

fn refused(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    let stranger = pack(&props.model(4), 4, None, 0, &SecretKey::new(&STRANGER))?;
    let mut changed = props.package(2)?;
    changed.header.version = 9;
    changed.bytes[VERSION_AT] = 9;
    let large = pack(&props.model(4), 4, None, 8192, &props.key)?;
    let foreign = pack(&props.model(4), 4, Some(&props.model(1)), 0, &props.key)?;
    for (title, package) in [
        ("signed by somebody else", stranger),
        ("an old package whose version was changed", changed),
        ("a package that was here before", props.package(2)?),
        ("a model that takes more RAM than the device has for it", large),
        ("a delta against another model than the one that runs", foreign),
    ] {
        host.title(title);
        let begun = host.begin(&package)?;
        must(host, begun.is_none(), "the device must refuse it")?;
    }
    host.title("another model under a header that was signed");
    let mut swapped = props.package(4)?;
    let at = swapped.bytes.len() - 1;
    swapped.bytes[at] ^= 1;
    let is_taken = update(host, &swapped, Way::Whole, 3)?;
    must(host, !is_taken, "the device must refuse it")?;
    host.hello(3)
}

fn interrupted(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    host.title("a transfer that breaks off, then goes on");
    let package = props.package(5)?;
    let next = host.begin(&package)?.ok_or_else(|| host.problem("it must be taken"))?;
    host.send(&package, next..CUT_AT, Way::Whole)?;
    let is_taken = host.activate(3)?;
    must(host, !is_taken, "half a model must not be activated")?;
    let next = host.begin(&package)?.ok_or_else(|| host.problem("it must be taken"))?;
    must(host, 0 < next && next <= CUT_AT, "what is there must not be sent again")?;
    host.send(&package, next..CUT_AT + 100, Way::Whole)?;

    host.title("power goes, and comes back");
    host.power_off()?;
    host.power_on(false)?;
    host.hello(3)?;
    let is_taken = update(host, &package, Way::Whole, 3)?;
    must(host, is_taken, "a good model must be taken")?;
    host.hello(5)
}

/// At moments that nobody chose, by far not all of them: `cargo xtask slots` is for that.
fn cut_anywhere(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    host.title("power goes amid pieces, at moments that nobody chose");
    let package = props.package(6)?;
    for (pieces, micros) in [(0, 0), (14, 200), (12, 400), (0, 800), (14, 100)] {
        host.note("host", "sends, and switches off and on");
        host.cut(&package, pieces, Duration::from_micros(micros))?;
    }
    host.hello(5)?;
    host.send_rest(&package)?;
    let is_taken = host.activate(3)?;
    must(host, is_taken, "a good model must be taken")?;
    host.hello(6)
}

fn gone_back_from(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    host.title("a model that is sound, signed, and wrong");
    let wrong = pack(&spoiled(&props.model)?, 7, None, 0, &props.key)?;
    let is_taken = update(host, &wrong, Way::Whole, 3)?;
    must(host, is_taken, "only its trial shows what it is worth")?;
    host.hello(6)?;

    host.title("a trial that nobody confirms: the host is silent");
    let is_taken = update(host, &props.package(8)?, Way::Whole, 2)?;
    must(host, is_taken, "a good model must be taken")?;
    for _ in 0..2 {
        host.note("host", "switches off and on");
        host.power_off()?;
        host.power_on(false)?;
    }
    host.hello(6)?;

    host.title("the same again, which needn't be sent: the watchdog bites");
    let is_taken = host.activate(2)?;
    must(host, is_taken, "what has failed may be tried again")?;
    host.note("host", "plays the watchdog");
    host.power_off()?;
    host.power_on(true)?;
    host.hello(6)?;

    host.title("and once more, to the end");
    let is_taken = host.activate(2)?;
    must(host, is_taken, "what has failed may be tried again")?;
    host.hello(8)
}

fn watched_by_sentinels(host: &mut Host, props: &Props) -> Result<(), XtaskError> {
    let shown = props.inputs.len() * TURNS;
    let daylight: Vec<_> = props.inputs.iter().cycle().take(shown).cloned().collect();
    let pack = |model: &[u8], version| pack(model, version, None, 0, &props.key);
    let try_out = |host: &mut Host, package: &Built| {
        let is_taken = update(host, package, Way::Whole, 3)?;
        must(host, is_taken, "a good model must be taken")
    };
    host.title("a model with a sentinel, which wants to see some inputs first");
    try_out(host, &pack(&props.watched, 9)?)?;
    host.hello(9)?;
    host.show(&daylight)?;

    host.title("one that was made in another light: its sentinel alarms on trial");
    try_out(host, &pack(&in_other_light(&props.watched)?, 10)?)?;
    host.hello(10)?;
    host.show(&daylight)?;
    host.hello(9)?;

    host.title("the light fails: the sentinel of the model that runs alarms");
    host.show(&darker(&daylight))?;

    host.title("another model alarms in that light, too: it isn't the model");
    try_out(host, &pack(&with_margin(&props.watched, 11), 11)?)?;
    host.hello(11)?;
    host.show(&darker(&daylight))?;
    host.power_off()?;
    host.power_on(false)?;
    host.hello(11)?;
    host.power_off()
}

//! `bitsback keygen`: the keys of update packages.

use std::path::PathBuf;

use serde::Serialize;

use super::output::Context;
use crate::error::Error;
use crate::package::{self, public_path};

/// Make a pair of keys: one that signs update packages, one that devices check them with
///
/// KEY is secret: it is readable for you alone, and whoever has it can give your devices any model. Keep a
/// copy where it can't be lost, for devices that know no other key can't be updated without it. KEY.pub belongs
/// into the firmware: `PublicKey::from_file(include_str!("fleet.key.pub"))`. Take a pair for each product, so that
/// no device installs another product's model. Neither file is ever replaced.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  bitsback keygen -o fleet.key         writes fleet.key and fleet.key.pub
  bitsback package model.bbk --key fleet.key --version 1 -o update.bbkp

With --json: secret, public (the files), key (its short name, as packages and errors have it).")]
pub(crate) struct Keygen {
    /// Where to write the secret key; the public one goes to the same name with .pub
    #[arg(long, short, value_name = "KEY")]
    output: PathBuf,
}

#[derive(Debug, Serialize)]
struct Summary {
    secret: String,
    public: String,
    key: String,
}

impl Keygen {
    pub(super) fn run(&self, context: &Context) -> Result<(), Error> {
        let key = package::generate()?;
        package::write(&key, &self.output)?;
        let summary = Summary {
            secret: self.output.display().to_string(),
            public: public_path(&self.output).display().to_string(),
            key: key.public().id().to_string(),
        };
        let Summary { secret, public, key } = &summary;
        let text = format!(
            "key {key}\n  {secret}: secret, signs packages; keep a copy where it can't be lost\n  \
             {public}: public, goes into the firmware"
        );
        context.result(&text, &summary)
    }
}

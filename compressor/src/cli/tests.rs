//! The command line as a whole.

use clap::CommandFactory;

use super::*;

#[test]
fn the_definition_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_verb_has_a_long_help_with_examples() {
    for verb in Cli::command().get_subcommands_mut() {
        let help = verb.render_long_help().to_string();
        assert!(help.contains("Examples:"), "{}", verb.get_name());
        assert!(verb.get_long_about().is_some(), "{} explains nothing", verb.get_name());
    }
}

#[test]
fn global_flags_stand_on_either_side_of_the_verb() {
    for args in [["bitsback", "--json", "doctor"], ["bitsback", "doctor", "--json"]] {
        assert!(Cli::try_parse_from(args).unwrap().global.json);
    }
}

#[test]
fn a_wrong_verb_is_a_usage_error() {
    let args: Vec<OsString> = ["bitsback", "compres", "--json"].map(OsString::from).into();
    let error = Cli::try_parse_from(&args).unwrap_err();
    assert!(error.use_stderr());
    assert_eq!(usage(&error, &args), ExitCode::from(2));
}

#[test]
fn an_unknown_core_is_answered_with_those_that_are_known() {
    let model = ["model.tflite", "-o", "model.bbk"];
    for verb in [
        [&["bitsback", "import"][..], &model[..]].concat(),
        [&["bitsback", "quantize"][..], &model[..], &["--data", "data"]].concat(),
        vec!["bitsback", "compress", "job.toml"],
        vec!["bitsback", "inspect", "model.bbk"],
        vec!["bitsback", "run", "model.bbk", "x.npy"],
    ] {
        let with = |core| [&verb[..], &["--target", core]].concat();
        assert!(Cli::try_parse_from(with("cortex-m55")).is_ok(), "{verb:?}");
        let text = Cli::try_parse_from(with("cortex-m99")).unwrap_err().to_string();
        for core in crate::compile::Core::ALL {
            assert!(text.contains(core.name()), "{verb:?}: {text}");
        }
    }
}

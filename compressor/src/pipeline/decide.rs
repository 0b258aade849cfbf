//! The margin below which the model abstains, chosen on validation examples that decide nothing else.

use std::path::Path;

use bitsback_runtime::writer::set_margin;

use super::finish::{Input, Model};
use crate::error::{Error, Unmet};
use crate::files::FileError;
use crate::ledger;
use crate::select::DecisionSummary;
use crate::select::margin::{Leads, TestedMargin, choose_margin};
use crate::train::batch::Examples;
use crate::verify;

/// Every margin that was tested, in the output folder; columns as the fields of [`TestedMargin`].
pub(super) const MARGINS_FILE: &str = "ledger-margins.csv";
/// The header is written even when there is no row; a test keeps it equal to the fields.
const COLUMNS: &[&str] = &["margin", "accepted", "errors", "most_errors", "chance", "kept"];

/// What the model decides by, and how that came about.
pub(super) struct Decided {
    pub(super) summary: DecisionSummary,
    tested: Vec<TestedMargin>,
    /// Whether the promise is kept, and if not, why.
    pub(super) verdict: Result<(), Unmet>,
}

impl Decided {
    /// Writes [`MARGINS_FILE`] into `folder`, which exists.
    pub(super) fn write_csv(&self, folder: &Path) -> Result<(), FileError> {
        ledger::write_rows(&folder.join(MARGINS_FILE), COLUMNS, &self.tested)
    }
}

impl Input<'_> {
    /// Chooses the margin and puts it into the model's bytes, if the job asks for a promise that takes one.
    /// The test examples are looked at afterwards.
    ///
    /// # Errors
    /// When the model can't be run.
    pub(super) fn decide(&self, model: &mut Model) -> Result<Option<Decided>, Error> {
        let prepared = self.run.prepared;
        let promise = self.job.requirements.abstaining();
        let (Some(promise), Some(deciding)) = (promise, &prepared.deciding) else {
            return Ok(None);
        };
        let planning = leads(model, &prepared.validation)?;
        let chosen = choose_margin(&planning, &leads(model, deciding)?, promise);
        if let Some(margin @ 1..) = chosen.margin {
            set_margin(&mut model.bytes, margin);
        }
        let on_test = |margin| {
            let test = &prepared.split.test;
            let inputs = verify::quantized_inputs(&model.bytes, &prepared.dataset, test)?;
            let label = |&at: &u32| prepared.dataset.labels[at as usize];
            let labels: Vec<u32> = test.iter().map(label).collect();
            let leads = Leads::count(verify::leads(&model.bytes, &inputs, &labels)?);
            Ok::<_, Error>(leads.at(margin))
        };
        let test = chosen.margin.map(on_test).transpose()?;
        let summary = DecisionSummary::new(&chosen, promise, test);
        let verdict = Unmet::check_margin(&chosen, promise);
        Ok(Some(Decided { summary, tested: chosen.tested, verdict }))
    }
}

/// By how much the model's answers to examples lead.
fn leads(model: &Model, on: &Examples) -> Result<Leads, Error> {
    let inputs = model.compiled.input_quantization.quantize(&on.inputs);
    Ok(Leads::count(verify::leads(&model.bytes, &inputs, &on.labels)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::margin::Promise;

    #[test]
    fn the_header_is_that_of_the_fields() {
        let row = TestedMargin {
            margin: 9,
            accepted: 800,
            errors: 0,
            most_errors: Some(0),
            chance: 0.03125,
            kept: true,
        };
        let value = serde_json::to_value(&row).unwrap();
        let mut keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let mut columns = COLUMNS.to_vec();
        keys.sort_unstable();
        columns.sort_unstable();
        assert_eq!(keys, columns);
        let folder = tempfile::tempdir().unwrap();
        ledger::write_rows(&folder.path().join(MARGINS_FILE), COLUMNS, &[row]).unwrap();
        let text = std::fs::read_to_string(folder.path().join(MARGINS_FILE)).unwrap();
        assert_eq!(
            text,
            "margin,accepted,errors,most_errors,chance,kept\n9,800,0,0,0.03125,true\n"
        );
    }

    #[test]
    fn too_few_examples_are_told_from_too_many_errors() {
        let promise = Promise { percent: 1.0, confidence: 0.95 };
        let verdict_of = |right: usize, wrong: usize| {
            let examples = (0..right + wrong).map(|i| (9, i < wrong));
            let leads = Leads::count(examples);
            Unmet::check_margin(&choose_margin(&leads, &leads, promise), promise)
        };
        assert_eq!(verdict_of(400, 0), Ok(()));
        let Err(few) = verdict_of(300, 0) else { panic!("promised") };
        let text = few.to_string();
        assert!(text.contains("accepted_error_percent = 1 %") && text.contains("some 4"), "{text}");
        assert_eq!(Error::from(few).kind(), crate::error::Kind::Unproven);
        let Err(wrong) = verdict_of(900, 100) else { panic!("promised") };
        let text = wrong.to_string();
        assert!(text.contains("100 of 1000"), "{text}");
        assert_eq!(Error::from(wrong).kind(), crate::error::Kind::Requirement);
    }
}
